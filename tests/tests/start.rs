//! What keeps an agent from starting: it says why, ends with 2, and nothing has changed.

use std::os::unix::process::CommandExt;
use std::process::{Command as Process, Output, Stdio};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use weir_tests::pins::Pins;
use weir_tests::protocol::{Dial, Request};
use weir_tests::server::{HTTP, WHOAMI};
use weir_tests::shop::STORE4;
use weir_tests::{Agent, Shop, exec};

#[test]
fn an_agent_that_cannot_start_says_why_and_changes_nothing() -> Result<()> {
    let shop = Shop::open()?;
    let world = &shop.mesh.world;
    let nowhere = world.dir().join("nowhere");
    let plain = world.dir().to_path_buf();
    let (nowhere, plain) = (nowhere.to_string_lossy(), plain.to_string_lossy());
    let pins = Pins::of(world);
    for (option, value, words) in [
        ("--manifests", &*nowhere, &["manifests", &*nowhere] as &[&str]),
        ("--cgroup", &*nowhere, &[&*nowhere]),
        ("--cgroup", &*plain, &["cgroup v2", &*plain]),
        ("--bpffs", &*plain, &["bpffs", &*plain]),
        ("--admin", "192.0.2.1:80", &["192.0.2.1:80"]),
        ("--max-pods", "0", &["--max-"]),
        ("--listen-inbound", "15001", &["--listen-inbound"]),
    ] {
        let output = end(&mut start(&shop, &[(option, value)])?).with_context(|| format!("{option} {value}"))?;
        says(&output, words).with_context(|| format!("{option} {value}"))?;
        assert_eq!(pins.names()?, [""; 0], "{option} {value} pinned something");
    }
    let mut not_root = start(&shop, &[])?;
    // SAFETY: one system call, async-signal-safe. It comes after the one that enters namespace and control group.
    unsafe {
        not_root.pre_exec(|| match libc::setuid(65534) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    says(&end(&mut not_root)?, &["root"])?;
    assert_eq!(pins.names()?, [""; 0]);
    let mut thief = shop.mesh.session(&shop.thief)?;
    for dial in [Dial::to(shop.store.v4(), WHOAMI), Dial::to(shop.store.v4(), HTTP)] {
        thief.must_open(&dial).context("nothing is enforced")?;
    }
    Ok(())
}

#[test]
fn a_second_agent_does_not_start_on_the_address_or_the_pins_of_the_first() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.mesh.agent()?;
    let pins = Pins::of(&shop.mesh.world);
    let links = pins.links()?;
    let own = shop.mesh.world.bpffs().join("other").display().to_string();
    says(
        &end(&mut start(&shop, &[("--bpffs", &own)])?)?,
        &["127.0.0.1:15020", "another agent"],
    )?;
    assert!(!fs::exists(&own)?, "nothing was pinned");
    let bpffs = shop.mesh.world.bpffs();
    says(
        &end(&mut start(&shop, &[("--admin", "127.0.0.1:15021")])?)?,
        &["another agent", &bpffs.to_string_lossy()],
    )?;
    assert_eq!(pins.links()?, links, "links and programs are the first one's");
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    assert_eq!(buyer.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?.status, 200);
    thief.open(&Dial::to(STORE4, HTTP))?.refused()?;
    // What holds the pins ends with the process, however it ends.
    agent.kill()?;
    agent.run()?;
    Ok(())
}

/// `weir agent` with other values for some options.
fn start(shop: &Shop, other: &[(&str, &str)]) -> Result<Process> {
    let usual = Agent::stopped(&shop.mesh.world, shop.mesh.dir(), &[]).command()?;
    let mut args: Vec<String> = usual.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    for (option, value) in other {
        match args.iter().position(|arg| arg == option) {
            Some(at) => args[at + 1] = value.to_string(),
            None => args.extend([option.to_string(), value.to_string()]),
        }
    }
    let mut command = shop.mesh.world.node_command(&exec::weir()?)?;
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

/// Runs it to its end, which is to come soon.
fn end(command: &mut Process) -> Result<Output> {
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    for _ in 0..1000 {
        if child.try_wait()?.is_some() {
            return child.wait_with_output().context("output");
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    let output = child.wait_with_output()?;
    bail!("{command:?} runs on:\n{}", String::from_utf8_lossy(&output.stderr))
}

/// Exit code 2, and one last line with all of these words.
fn says(output: &Output, words: &[&str]) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or_default();
    if output.status.code() != Some(2) || !words.iter().all(|word| last.contains(word)) {
        bail!(
            "wanted exit code 2 and a last line with {words:?}: {}\n{text}",
            output.status
        );
    }
    Ok(())
}
