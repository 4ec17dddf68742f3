//! `--keep`: the shop stays open, says how to look around, and shows what is refused meanwhile. Ctrl-C closes it.
//!
//! A process is in a pod if it is in the pod's network namespace and in its control group, since that is where the
//! programs are attached. `ip netns exec` alone does the first only; the script `in` does both.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use weir_tests::{agent, exec};

use crate::stage::{Stage, refusals};
use weir_tests::stop;

/// Says what there is and waits for a signal.
pub fn until_told(stage: &mut Stage) -> Result<()> {
    let script = write_script(stage)?;
    tell(stage, &script.to_string_lossy())?;
    let mut shown = stage.agent.log().len();
    while stop::signal().is_none() {
        let log = stage.agent.log();
        // Only whole lines: the rest comes with the next look.
        let new = log.get(shown..).and_then(|new| new.rsplit_once('\n'));
        if let Some((lines, _)) = new {
            shown += lines.len() + 1;
            show(stage, lines);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// `in POD [COMMAND…]`.
fn write_script(stage: &Stage) -> Result<PathBuf> {
    let world = &stage.shop.world;
    let names: Vec<&str> = stage.shop.pods().iter().map(|pod| pod.name.as_str()).collect();
    let text = format!(
        "#!/bin/sh\n\
         # Runs a command, or a shell, as a process of a pod: in its control group and in its network namespace.\n\
         # `node` is where the agent runs.\n\
         set -e\n\
         [ $# -gt 0 ] || {{ echo \"usage: $0 {}|node [COMMAND...]\" >&2; exit 2; }}\n\
         pod=$1\n\
         shift\n\
         [ $# -gt 0 ] || set -- \"${{SHELL:-sh}}\"\n\
         if [ \"$pod\" = node ]; then group={}; else group={}/$pod; fi\n\
         [ -d \"$group\" ] || {{ echo \"$0: there is no pod $pod\" >&2; exit 2; }}\n\
         echo $$ > \"$group/cgroup.procs\"\n\
         exec ip netns exec {}-\"$pod\" \"$@\"\n",
        names.join("|"),
        world.agent_cgroup().display(),
        world.pods_cgroup().display(),
        world.id(),
    );
    let path = world.dir().join("in");
    fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
    fs::set_permissions(&path, Permissions::from_mode(0o755)).with_context(|| format!("{}", path.display()))?;
    Ok(path)
}

fn tell(stage: &Stage, script: &str) -> Result<()> {
    let (screen, files) = (stage.screen, &stage.shop.files);
    let (weir, app) = (exec::weir()?, exec::testapp()?);
    let (weir, app) = (weir.display(), app.display());
    screen.act("The shop is open until Ctrl-C. From another terminal, as root:");
    let (get, many) = match on_path("curl") {
        true => (
            "curl -i http://10.96.0.10/books".to_string(),
            format!("{app} get -n 20 http://10.96.0.10/books | cut -c1-24"),
        ),
        false => (
            format!("{app} get http://10.96.0.10/books"),
            format!("{app} get -n 20 http://10.96.0.10/books | cut -c1-24"),
        ),
    };
    let dir = files.dir().display();
    let lines = [
        ("a request, allowed", format!("{script} buyer {get}")),
        ("a request, refused", format!("{script} thief {get}")),
        ("twenty, to see who answers", format!("{script} buyer {many}")),
        ("a shell in a pod", format!("{script} buyer")),
        (
            "why",
            format!("{weir} explain -f {dir} shop/thief shop/store:80 GET /books"),
        ),
        ("change the shares", format!("edit {}", files.path("split").display())),
        ("take a grant away", format!("rm {}", files.path("books").display())),
        (
            "the plan in force",
            format!("{script} node {app} get http://{}/plan", agent::ADMIN),
        ),
        (
            "the agent's log",
            format!("tail -f {}", stage.agent.log_file().display()),
        ),
    ];
    for (what, command) in lines {
        screen.line(&format!("  {what:<27} {command}"));
    }
    let pods = stage.shop.pods().map(|pod| format!("{} {}", pod.name, pod.ip4));
    screen.line(&format!("  {:<27} {}", "pods", pods.join(", ")));
    screen.line("\nWhat is refused (repeats are counted for ten seconds):");
    Ok(())
}

fn show(stage: &Stage, log: &str) {
    for refusal in refusals(log) {
        let request = [refusal.method, refusal.path].join(" ");
        stage.screen.line(&format!(
            "  {} → {}:{} {}by {}{}: {}",
            refusal.source_pod,
            refusal.destination_pod,
            refusal.port,
            if request == " " { String::new() } else { request + " " },
            refusal.by,
            if refusal.count > 1 {
                format!(", {} times", refusal.count)
            } else {
                String::new()
            },
            refusal.missing
        ));
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| Path::new(&dir).join(program).is_file())
}
