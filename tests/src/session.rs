//! A client process inside a pod, one command at a time.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::exec;
use crate::protocol::{Answer, Burst, Command, Datagram, Dial, Echo, Opened, Pumped, Request, Response, Stream, Udp};
use crate::world::Pod;

/// Longest time that one command may take.
const LIMIT: Duration = Duration::from_secs(120);

/// `weir-testapp session` in a pod. Ends with the value.
pub struct Session {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    name: String,
}

/// Requests over a connection: what connecting gave, and the responses.
#[derive(Clone, Debug)]
pub struct Called {
    /// The first connection.
    pub opened: Opened,
    /// The responses, in order.
    pub responses: Vec<Response>,
}

impl Session {
    /// Starts the process.
    pub fn start(pod: &Pod) -> Result<Session> {
        let mut command = pod.command(&exec::testapp()?)?;
        command.arg("session").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("starting a client in pod {}", pod.name))?;
        let input = child.stdin.take().context("the client's standard input")?;
        let output = child.stdout.take().context("the client's standard output")?;
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Session {
            child,
            input,
            answers,
            name: pod.name.clone(),
        })
    }

    /// Process id of the client.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a command without waiting for its answer: [`Session::answer`] fetches it.
    pub fn begin(&mut self, command: &Command) -> Result<()> {
        let line = serde_json::to_string(command)? + "\n";
        self.input
            .write_all(line.as_bytes())
            .with_context(|| format!("the client in pod {} is gone", self.name))
    }

    /// The answer to the oldest command that has none yet.
    pub fn answer(&mut self) -> Result<Answer> {
        let line = match self.answers.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => bail!("the client in pod {} gave no answer", self.name),
            Err(RecvTimeoutError::Disconnected) => bail!("the client in pod {} ended", self.name),
        };
        match serde_json::from_str(&line).with_context(|| line.clone())? {
            Answer::Error(error) => bail!("the client in pod {}: {error}", self.name),
            answer => Ok(answer),
        }
    }

    /// A command and its answer.
    pub fn run(&mut self, command: &Command) -> Result<Answer> {
        self.begin(command)?;
        self.answer().with_context(|| format!("{command:?}"))
    }

    /// Makes a socket, does not connect it; its number.
    pub fn socket(&mut self, dial: &Dial) -> Result<usize> {
        self.opened(&Command::Socket(dial.clone()))?
            .conn
            .context("a socket without a number")
    }

    /// Connects a socket of [`Session::socket`].
    pub fn connect(&mut self, socket: usize) -> Result<Opened> {
        self.opened(&Command::Connect(socket))
    }

    /// Opens a connection, or says why not.
    pub fn open(&mut self, dial: &Dial) -> Result<Opened> {
        self.opened(&Command::Open(dial.clone()))
    }

    /// Opens a connection that must open; its number.
    pub fn must_open(&mut self, dial: &Dial) -> Result<usize> {
        let opened = self.open(dial)?;
        opened
            .conn
            .with_context(|| format!("connecting to {}: errno {}", dial.to, opened.errno))
    }

    /// `count` requests over one connection.
    pub fn call(&mut self, dial: &Dial, request: &Request, count: u32) -> Result<Called> {
        self.called(dial, request, count, false)
    }

    /// `count` requests, each over a connection of its own.
    pub fn call_fresh(&mut self, dial: &Dial, request: &Request, count: u32) -> Result<Called> {
        self.called(dial, request, count, true)
    }

    /// One request over a new connection; its response.
    pub fn get(&mut self, dial: &Dial, request: &Request) -> Result<Response> {
        let mut called = self.call(dial, request, 1)?;
        let opened = &called.opened;
        called
            .responses
            .pop()
            .with_context(|| format!("connecting to {}: errno {}", dial.to, opened.errno))
    }

    /// One request on an open connection.
    pub fn http(&mut self, conn: usize, request: &Request) -> Result<Response> {
        match self.run(&Command::Http {
            conn,
            request: request.clone(),
        })? {
            Answer::Responses(mut responses) => responses.pop().context("no response"),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// A command that answers with text.
    pub fn text(&mut self, command: &Command) -> Result<String> {
        match self.run(command)? {
            Answer::Text(text) => Ok(text),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// A command that moves bytes one way.
    pub fn stream(&mut self, command: &Command) -> Result<Stream> {
        match self.run(command)? {
            Answer::Stream(stream) => Ok(stream),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// Makes a socket for datagrams, which must work; its number.
    pub fn udp(&mut self, udp: &Udp) -> Result<usize> {
        let opened = self.opened(&Command::UdpOpen(udp.clone()))?;
        opened.conn.with_context(|| format!("{udp:?}: errno {}", opened.errno))
    }

    /// The same, or why not.
    pub fn udp_open(&mut self, udp: &Udp) -> Result<Opened> {
        self.opened(&Command::UdpOpen(udp.clone()))
    }

    /// Sends a datagram; the errno, or 0.
    pub fn udp_send(&mut self, socket: usize, to: impl Into<Option<SocketAddr>>, text: &str) -> Result<i32> {
        let (to, text) = (to.into(), text.to_owned());
        Ok(self.sent(&Command::UdpSend { socket, to, text })?.0)
    }

    /// Connects a socket anew; the errno, or 0.
    pub fn udp_connect(&mut self, socket: usize, to: SocketAddr) -> Result<i32> {
        Ok(self.sent(&Command::UdpConnect { socket, to })?.0)
    }

    /// Waits for a datagram.
    pub fn udp_receive(&mut self, socket: usize, wait_ms: u64) -> Result<Datagram> {
        match self.run(&Command::UdpReceive { socket, wait_ms })? {
            Answer::Datagram(datagram) => Ok(datagram),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// Sends a datagram and waits for its answer: the server's words and whom the answer came from.
    pub fn udp_ask(
        &mut self,
        socket: usize,
        to: impl Into<Option<SocketAddr>>,
        text: &str,
    ) -> Result<(Echo, SocketAddr)> {
        let errno = self.udp_send(socket, to, text)?;
        if errno != 0 {
            bail!("sending {text:?}: errno {errno}");
        }
        let got = self.udp_receive(socket, 2000)?;
        if got.errno != 0 {
            bail!("no answer to {text:?}: errno {}", got.errno);
        }
        let echo: Echo = serde_json::from_str(&got.text).with_context(|| format!("not an echo: {got:?}"))?;
        if echo.text != text {
            bail!("an answer to something else than {text:?}: {echo:?}");
        }
        Ok((echo, got.from.context("an answer from nobody")?))
    }

    /// Many datagrams, each from a socket of its own.
    pub fn udp_burst(&mut self, to: SocketAddr, count: u32, connect: bool) -> Result<Burst> {
        match self.run(&Command::UdpBurst { to, count, connect })? {
            Answer::Burst(burst) => Ok(burst),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// A command that sends: errno and milliseconds.
    pub fn sent(&mut self, command: &Command) -> Result<(i32, f64)> {
        match self.run(command)? {
            Answer::Sent { errno, ms } => Ok((errno, ms)),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// State of a pump on this connection.
    pub fn pumped(&mut self, conn: usize) -> Result<Pumped> {
        match self.run(&Command::PumpState(conn))? {
            Answer::Pumped(pumped) => Ok(pumped),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    fn called(&mut self, dial: &Dial, request: &Request, count: u32, fresh: bool) -> Result<Called> {
        match self.run(&Command::Call {
            dial: dial.clone(),
            request: request.clone(),
            count,
            fresh,
        })? {
            Answer::Called { opened, responses } => Ok(Called { opened, responses }),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    fn opened(&mut self, command: &Command) -> Result<Opened> {
        match self.run(command)? {
            Answer::Opened(opened) => Ok(opened),
            other => bail!("unexpected answer {other:?}"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The world's control group ends what does not end here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
