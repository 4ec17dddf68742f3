//! The product as a child process: `weir agent` on the node of a world.

use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::http::{self, Framing};
use crate::metrics::Metrics;
use crate::world::Names;
use crate::{exec, wait};

/// Admin address, inside the node's own network namespace.
pub const ADMIN: &str = "127.0.0.1:15020";

/// A running agent. Killed with the value.
pub struct Agent {
    world: Names,
    manifests: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
    log: PathBuf,
}

impl Agent {
    /// Starts `weir agent` on a folder and waits until it is ready.
    pub fn start(world: &Names, manifests: &Path, args: &[&str]) -> Result<Agent> {
        let mut agent = Agent::stopped(world, manifests, args);
        agent.run()?;
        Ok(agent)
    }

    /// Not started yet: [`Agent::run`] does it.
    pub fn stopped(world: &Names, manifests: &Path, args: &[&str]) -> Agent {
        let args = args.iter().map(|arg| arg.to_string()).collect();
        Agent {
            world: world.clone(),
            manifests: manifests.to_path_buf(),
            args,
            child: None,
            log: world.dir().join(format!("agent-{}.log", world.node())),
        }
    }

    /// Starts the process and waits for `/readyz`. Its log goes on in the same file.
    pub fn run(&mut self) -> Result<Duration> {
        self.spawn()?;
        // An emulated machine takes half a minute to verify the programs.
        let ready = wait::timed(Duration::from_secs(60), || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                return Ok(Some(status));
            }
            match self.admin("/readyz")? {
                (200, _) => Ok(None),
                (status, body) => bail!("/readyz answers {status}: {body}"),
            }
        });
        match ready {
            Ok((None, took)) => Ok(took),
            Ok((Some(status), _)) => bail!("the agent ended at once: {status}\n{}", self.log()),
            Err(error) => Err(error.context(format!("the agent is not ready\n{}", self.log()))),
        }
    }

    /// Starts the process and does not wait.
    pub fn spawn(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .context("opening the agent's log")?;
        let mut command = self.command()?;
        command.stdout(log.try_clone().context("dup")?).stderr(log);
        self.child = Some(command.spawn().context("starting the agent")?);
        Ok(())
    }

    /// The command that starts it, for those who want to see its output and its end.
    pub fn command(&self) -> Result<Command> {
        let mut command = self.world.node_command(&exec::weir()?)?;
        command.arg("agent").arg("--manifests").arg(&self.manifests).args([
            "--node",
            self.world.node(),
            "--admin",
            ADMIN,
        ]);
        command
            .arg("--cgroup")
            .arg(self.world.pods_cgroup())
            .arg("--bpffs")
            .arg(self.world.bpffs())
            .args(&self.args);
        Ok(command)
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The file that its log goes to.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for a line of the log that holds every one of `words`.
    pub fn wait_log(&self, words: &[&str]) -> Result<String> {
        wait::until(Duration::from_secs(10), || {
            let log = self.log();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_string)
                .with_context(|| format!("no line with {words:?} in the log:\n{log}"))
        })
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the agent is not running")?;
        child.kill().context("killing the agent")?;
        child.wait().context("waiting for the agent")?;
        Ok(())
    }

    /// SIGTERM; how it ended.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM)
    }

    /// Sends a signal; how the agent ended.
    pub fn signal(&mut self, signal: i32) -> Result<ExitStatus> {
        self.tell(signal)?;
        self.ended()
    }

    /// Sends a signal and does not wait.
    pub fn tell(&self, signal: i32) -> Result<()> {
        let pid = self.pid().context("the agent is not running")?;
        // SAFETY: our own child, not waited for yet, so the pid is its.
        if unsafe { libc::kill(pid as i32, signal) } != 0 {
            return Err(std::io::Error::last_os_error()).context("signalling the agent");
        }
        Ok(())
    }

    /// Waits for the agent to end; how it did.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().context("the agent is not running")?;
        wait::until(Duration::from_secs(15), || {
            child
                .try_wait()?
                .with_context(|| format!("the agent does not end\n{}", self.log()))
        })
    }

    /// `weir uninstall` on this world.
    pub fn uninstall_command(&self) -> Result<Command> {
        let mut command = self.world.node_command(&exec::weir()?)?;
        command.arg("uninstall").arg("--bpffs").arg(self.world.bpffs());
        Ok(command)
    }

    /// GET on the admin address; status and body.
    pub fn admin(&self, path: &str) -> Result<(u16, String)> {
        self.world.on_node(|| get(ADMIN.parse()?, path))
    }

    /// `/metrics`.
    pub fn metrics(&self) -> Result<Metrics> {
        let (status, text) = self.admin("/metrics")?;
        if status != 200 {
            bail!("/metrics answers {status}: {text}");
        }
        Ok(Metrics::parse(&text))
    }

    /// `/plan`.
    pub fn plan(&self) -> Result<serde_json::Value> {
        let (status, text) = self.admin("/plan")?;
        if status != 200 {
            bail!("/plan answers {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("/plan is not JSON: {text}"))
    }

    /// Open descriptors of the agent.
    pub fn descriptors(&self) -> Result<usize> {
        let dir = format!("/proc/{}/fd", self.pid().context("the agent is not running")?);
        Ok(fs::read_dir(&dir).context(dir)?.count())
    }

    /// Resident memory of the agent, KiB.
    pub fn memory_kib(&self) -> Result<u64> {
        let file = format!("/proc/{}/status", self.pid().context("the agent is not running")?);
        let text = fs::read_to_string(&file).context(file)?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .context("VmRSS is not a number")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() || std::env::var_os("WEIR_LOG").is_some() {
            eprintln!("--- log of the agent of {}\n{}---", self.world.id(), self.log());
        }
    }
}

fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).context("the admin address")?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let head = http::read_head(&mut reader)?.with_context(|| format!("no answer to GET {path}"))?;
    let framing = http::framing(&head, Framing::Close)?;
    let body = http::read_body(&mut reader, framing, 16 << 20)?;
    Ok((
        head.start[1].parse().context("status")?,
        String::from_utf8(body.bytes).context("not UTF-8")?,
    ))
}
