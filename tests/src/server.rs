//! A server process inside a pod.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::protocol::Stream;
use crate::world::Pod;
use crate::{exec, wait};

/// Port of the HTTP server.
pub const HTTP: u16 = 80;
/// Port of the TCP server that says who the peer is and echoes.
pub const WHOAMI: u16 = 9000;
/// Port of the TCP server that reads everything and answers with the checksum.
pub const SINK: u16 = 9001;
/// Port of the TCP server that sends as much as it is asked for.
pub const SOURCE: u16 = 9002;
/// Port of the TCP server that resets.
pub const RESET: u16 = 9003;
/// Port of the TCP server that never reads.
pub const SILENT: u16 = 9004;
/// Port of the UDP server that says who the peer is and echoes.
pub const UDP: u16 = 7000;
/// Another one; nothing is granted to it.
pub const OTHER_UDP: u16 = 7001;
/// Every TCP port with its mode.
pub const PORTS: &[(&str, u16)] = &[
    ("http", HTTP),
    ("whoami", WHOAMI),
    ("sink", SINK),
    ("source", SOURCE),
    ("reset", RESET),
    ("silent", SILENT),
];

/// `weir-testapp serve` in a pod, dual stack, on all of [`PORTS`]. Ends with the value.
pub struct Server {
    child: Child,
    input: ChildStdin,
    lines: Arc<Mutex<Vec<String>>>,
}

/// How a plain TCP connection ended at the server.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Ended {
    /// Mode of the port.
    pub mode: String,
    /// What came in.
    pub stream: Stream,
}

impl Server {
    /// Starts the process and waits until it listens. The server calls itself `name`.
    pub fn start(pod: &Pod, name: &str) -> Result<Server> {
        let mut command = pod.command(&exec::testapp()?)?;
        command
            .args(["serve", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.args(PORTS.iter().map(|(mode, port)| format!("{mode}=[::]:{port}")));
        command.args([UDP, OTHER_UDP].map(|port| format!("udp=[::]:{port}")));
        let mut child = command
            .spawn()
            .with_context(|| format!("starting a server in pod {}", pod.name))?;
        let input = child.stdin.take().context("the server's standard input")?;
        let output = child.stdout.take().context("the server's standard output")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                shared
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner())
                    .push(line);
            }
        });
        let server = Server { child, input, lines };
        server
            .wait_line(0, |line| line == "ready")
            .with_context(|| format!("the server in pod {}", pod.name))?;
        Ok(server)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Puts another `sk_lookup` program into the pod, one that gives every connection to the listener of `mode`.
    pub fn hijack(&self, mode: &str) -> Result<()> {
        let before = self.lines().len();
        writeln!(&self.input, "hijack {mode}").context("the server is gone")?;
        let line = self.wait_line(before, |line| line == "hijacked" || line.starts_with("failed"))?;
        if line != "hijacked" {
            bail!("attaching another sk_lookup program: {line}");
        }
        Ok(())
    }

    /// Plain TCP connections that ended so far.
    pub fn ended(&self) -> Vec<Ended> {
        self.lines()
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits until a connection to the port of `mode` has ended and says how.
    pub fn wait_ended(&self, mode: &str) -> Result<Stream> {
        let ended = || self.ended().into_iter().find(|ended| ended.mode == mode);
        let found = wait::until(Duration::from_secs(10), || {
            ended().with_context(|| format!("no {mode} connection has ended at the server"))
        })?;
        Ok(found.stream)
    }

    fn wait_line(&self, from: usize, wanted: impl Fn(&str) -> bool) -> Result<String> {
        wait::until(Duration::from_secs(10), || {
            let lines = self.lines();
            let line = lines.iter().skip(from).find(|line| wanted(line)).cloned();
            line.with_context(|| format!("the server did not answer; it said {lines:?}"))
        })
    }

    fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
