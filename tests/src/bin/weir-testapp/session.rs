//! `session`: one command a line, one answer a line.

use std::io::{BufRead, Write};
use std::net::TcpStream;
use std::{fs, process};

use anyhow::{Context, Result, anyhow};
use socket2::Socket;
use weir_tests::protocol::{Answer, Command, Dial, Opened, Request, Stream};

use crate::conns::Conn;
use crate::pump::Pump;
use crate::{dial, forge, syn, udp};

#[derive(Default)]
struct Session {
    datagrams: udp::Sockets,
    sockets: Vec<Option<(Socket, Dial)>>,
    conns: Vec<Option<Conn>>,
    pumps: Vec<(usize, Pump)>,
}

/// Answers until standard input ends.
pub fn run() -> Result<()> {
    let mut session = Session::default();
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(command) => session
                .run(command)
                .unwrap_or_else(|error| Answer::Error(format!("{error:#}"))),
            Err(error) => Answer::Error(format!("not a command: {error}")),
        };
        writeln!(output, "{}", serde_json::to_string(&answer)?)?;
        output.flush()?;
    }
    Ok(())
}

impl Session {
    fn run(&mut self, command: Command) -> Result<Answer> {
        Ok(match command {
            Command::Socket(dial) => {
                self.sockets.push(Some((dial::socket(&dial).context("socket")?, dial)));
                Answer::Opened(Opened {
                    conn: Some(self.sockets.len() - 1),
                    ..Opened::default()
                })
            }
            Command::Connect(number) => {
                let (socket, dial) = self
                    .sockets
                    .get_mut(number)
                    .and_then(Option::take)
                    .context("no such socket")?;
                Answer::Opened(self.connect(socket, &dial))
            }
            Command::Open(dial) => {
                let socket = dial::socket(&dial).context("socket")?;
                Answer::Opened(self.connect(socket, &dial))
            }
            Command::Call {
                dial,
                request,
                count,
                fresh,
            } => self.call(&dial, &request, count, fresh)?,
            Command::Http { conn, request } => Answer::Responses(vec![self.conn(conn)?.http(&request)]),
            Command::Send { conn, text } => {
                let errno = self
                    .conn(conn)?
                    .stream()
                    .write_all(text.as_bytes())
                    .err()
                    .as_ref()
                    .map_or(0, dial::errno);
                Answer::Stream(Stream {
                    len: text.len() as u64,
                    errno,
                    ..Stream::default()
                })
            }
            Command::SendPattern { conn, len } => Answer::Stream(self.conn(conn)?.send_pattern(len)),
            Command::ReadLine(conn) => {
                Answer::Text(weir_tests::http::read_line(&mut self.conn(conn)?.reader).context("reading a line")?)
            }
            Command::Read { conn, len } => Answer::Stream(self.conn(conn)?.read(len)),
            Command::ShutdownWrite(conn) => {
                self.conn(conn)?
                    .stream()
                    .shutdown(std::net::Shutdown::Write)
                    .context("shutdown")?;
                Answer::Done
            }
            Command::Close(conn) => self.take(conn).map(|_| Answer::Done)?,
            Command::Reset(conn) => self.take(conn)?.reset().map(|()| Answer::Done)?,
            Command::Pump(conn) => {
                let stream: TcpStream = self.conn(conn)?.stream().try_clone().context("dup")?;
                self.pumps.push((conn, Pump::start(stream)));
                Answer::Done
            }
            Command::PumpState(conn) => {
                let pump = self
                    .pumps
                    .iter()
                    .find(|(number, _)| *number == conn)
                    .context("no pump there")?;
                Answer::Pumped(pump.1.state())
            }
            Command::Churn { dial, count, request } => churn(&dial, count, request.as_ref()),
            Command::Syn { from, to, wait_ms } => Answer::Text(syn::send(from, to, wait_ms)?.to_string()),
            Command::UdpOpen(udp) => Answer::Opened(self.datagrams.open(&udp)?),
            Command::UdpConnect { socket, to } => self.datagrams.connect(socket, to)?,
            Command::UdpSend { socket, to, text } => self.datagrams.send(socket, to, &text)?,
            Command::UdpReceive { socket, wait_ms } => self.datagrams.receive(socket, wait_ms)?,
            Command::UdpFlood { socket, first, count } => self.datagrams.flood(socket, first, count)?,
            Command::UdpBurst { to, count, connect } => Answer::Burst(udp::burst(to, count, connect)?),
            Command::Forge { from, to, proto, text } => forge::send(from, to, proto, text.as_bytes())?,
            Command::MoveTo(group) => {
                let file = group.join("cgroup.procs");
                fs::write(&file, process::id().to_string()).with_context(|| format!("{}", file.display()))?;
                Answer::Done
            }
        })
    }

    fn connect(&mut self, socket: Socket, dial: &Dial) -> Opened {
        let mut opened = dial::connect(&socket, dial);
        if opened.errno == 0 {
            opened.conn = Some(self.conns.len());
            self.conns.push(Some(Conn::new(socket)));
        }
        opened
    }

    fn call(&mut self, dial: &Dial, request: &Request, count: u32, fresh: bool) -> Result<Answer> {
        let mut responses = Vec::new();
        let mut first = None;
        let mut open: Option<Conn> = None;
        for _ in 0..count {
            if open.is_none() || fresh {
                let socket = dial::socket(dial).context("socket")?;
                let opened = dial::connect(&socket, dial);
                let refused = opened.errno != 0;
                first.get_or_insert(opened);
                if refused {
                    break;
                }
                open = Some(Conn::new(socket));
            }
            let Some(conn) = &mut open else { break };
            let response = conn.http(request);
            if response.error.is_some() || weir_tests::http::find(&response.headers, "connection") == Some("close") {
                open = None;
            }
            responses.push(response);
        }
        Ok(Answer::Called {
            opened: first.unwrap_or_default(),
            responses,
        })
    }

    fn conn(&mut self, number: usize) -> Result<&mut Conn> {
        let conn = self.conns.get_mut(number).and_then(Option::as_mut);
        conn.ok_or_else(|| anyhow!("connection {number} is not open"))
    }

    fn take(&mut self, number: usize) -> Result<Conn> {
        let conn = self.conns.get_mut(number).and_then(Option::take);
        conn.ok_or_else(|| anyhow!("connection {number} is not open"))
    }
}

fn churn(dial: &Dial, count: u32, request: Option<&Request>) -> Answer {
    let (mut opened, mut served, mut error) = (0, 0, None);
    for _ in 0..count {
        let result = dial::socket(dial).map(|socket| (dial::connect(&socket, dial), socket));
        match result {
            Ok((seen, socket)) if seen.errno == 0 => {
                opened += 1;
                if let Some(request) = request {
                    let response = Conn::new(socket).http(request);
                    served += u32::from(response.status == 200);
                    if let Some(text) = response.error {
                        error.get_or_insert(text);
                    }
                }
            }
            Ok((seen, _)) => drop(error.get_or_insert(format!("connect: errno {}", seen.errno))),
            Err(failure) => drop(error.get_or_insert(failure.to_string())),
        }
    }
    Answer::Churned { opened, served, error }
}
