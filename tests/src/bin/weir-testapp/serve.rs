//! `serve`: listeners of one pod, a thread for each connection.
//!
//! It prints `ready` once all listen, then one JSON line for each plain TCP connection that ended. On standard input it
//! takes `hijack MODE` (see `hijack.rs`), and ends when that is closed.

use std::io::BufRead;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};
use weir_tests::protocol::Seen;

use crate::{hijack, serve_http, serve_tcp, serve_udp};

type Handler = fn(&Server, TcpStream, Seen);

/// What all connections of a server share.
pub struct Server {
    pub name: String,
    pub handler: Handler,
    connections: Arc<AtomicU64>,
}

/// Listens on each `MODE=ADDR:PORT` until standard input ends.
pub fn run(name: &str, listeners: &[String]) -> Result<()> {
    let connections = Arc::new(AtomicU64::new(0));
    let mut open = Vec::new();
    for text in listeners {
        let (mode, address) = text
            .split_once('=')
            .with_context(|| format!("{text}: want MODE=ADDR:PORT"))?;
        let address: SocketAddr = address.parse().with_context(|| text.clone())?;
        if mode == "udp" {
            serve_udp::start(name, address).with_context(|| format!("listening on {address}"))?;
            continue;
        }
        let handler: Handler = match mode {
            "http" => serve_http::connection,
            "whoami" => serve_tcp::whoami,
            "sink" => serve_tcp::sink,
            "source" => serve_tcp::source,
            "reset" => serve_tcp::reset,
            "silent" => serve_tcp::silent,
            _ => bail!("{mode}: unknown mode"),
        };
        let listener = listen(address).with_context(|| format!("listening on {address}"))?;
        open.push((mode.to_string(), listener.try_clone().context("dup")?));
        let server = Server {
            name: name.to_string(),
            handler,
            connections: Arc::clone(&connections),
        };
        thread::spawn(move || accept(server, &listener));
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("hijack", mode)) => {
                let (_, listener) = open.iter().find(|(name, _)| name == mode).context("no such listener")?;
                match hijack::attach(listener) {
                    Ok(()) => println!("hijacked"),
                    Err(error) => println!("failed: {error:#}"),
                }
            }
            _ => println!("failed: unknown command"),
        }
    }
    Ok(())
}

/// A listener for IPv4 and, where the address is `[::]`, both families, as most servers have it.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn accept(server: Server, listener: &TcpListener) {
    let server = Arc::new(server);
    loop {
        let (stream, accepted) = match listener.accept() {
            Ok(pair) => pair,
            Err(error) => {
                eprintln!("accept: {error}");
                thread::sleep(std::time::Duration::from_millis(10));
                continue;
            }
        };
        // A connection that is reset before it is looked at has no peer any more.
        let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
            continue;
        };
        let seen = Seen {
            name: server.name.clone(),
            accepted,
            peer,
            local,
            connection: server.connections.fetch_add(1, Ordering::Relaxed) + 1,
            request: 0,
            method: String::new(),
            path: String::new(),
            headers: Vec::new(),
            len: 0,
            sum: 0,
        };
        let server = Arc::clone(&server);
        // Small stacks: there may be thousands of connections.
        let spawned = thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || (server.handler)(&server, stream, seen));
        if let Err(error) = spawned {
            eprintln!("thread: {error}");
        }
    }
}
