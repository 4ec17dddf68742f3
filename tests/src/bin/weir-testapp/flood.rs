//! `flood`: a pod that takes as much as it gets, in one of several ways, until its standard input is closed.
//!
//! It says `on` once it is in full swing, and counts what it has done when it ends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use socket2::SockRef;

/// A request for nothing much, one that is refused, and one for more than anybody reads.
const SMALL: &str = "GET /books HTTP/1.1\r\nhost: other\r\n\r\n";
const REFUSED: &str = "GET /secret HTTP/1.1\r\nhost: other\r\n\r\n";
const LARGE: &str = "GET /bytes/4000000000 HTTP/1.1\r\nhost: other\r\n\r\n";
/// Requests in one write of a pipeline.
const AHEAD: usize = 100;

/// One thread's part, until it fails; counts what it has done.
type Work = fn(SocketAddr, &AtomicU64) -> io::Result<()>;

/// `flood KIND ADDR:PORT`.
pub fn run(kind: &str, to: &str) -> Result<()> {
    let to: SocketAddr = to.parse().context("ADDR:PORT")?;
    let done = Arc::new(AtomicU64::new(0));
    // SAFETY: changes this process's own priority; what is measured is the engine, not who gets the processors.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
    let (threads, work): (usize, Work) = match kind {
        "connect" => (2, connect),
        "slow" => (1, slow),
        "pipeline" => (32, |to, done| pipeline(to, SMALL, done)),
        "refused" => (32, |to, done| pipeline(to, REFUSED, done)),
        "deaf" => (64, deaf),
        "bulk" => (8, bulk),
        _ => bail!("{kind}: connect, slow, pipeline, refused, deaf or bulk"),
    };
    for _ in 0..threads {
        let done = done.clone();
        thread::spawn(move || {
            loop {
                if work(to, &done).is_err() {
                    // Refused: no reason to give up, but one to wait for a moment.
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
    }
    thread::sleep(Duration::from_millis(if kind == "slow" { 2500 } else { 500 }));
    println!("on");
    io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", done.load(Ordering::Relaxed));
    Ok(())
}

/// Opens and resets.
fn connect(to: SocketAddr, done: &AtomicU64) -> io::Result<()> {
    let stream = TcpStream::connect(to)?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    done.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Ten thousand connections with a head that grows by a byte now and then.
fn slow(to: SocketAddr, done: &AtomicU64) -> io::Result<()> {
    let mut open = Vec::new();
    loop {
        if open.len() < 10_000 {
            let mut stream = TcpStream::connect(to)?;
            stream.write_all(b"GET / HTTP/1.1\r\nhost: other\r\nx: ")?;
            open.push(stream);
            done.store(open.len() as u64, Ordering::Relaxed);
        } else {
            thread::sleep(Duration::from_millis(100));
        }
        if open.len().is_multiple_of(1000) {
            open.retain_mut(|stream| stream.write_all(b"a").is_ok());
        }
    }
}

/// Requests without waiting for answers.
fn pipeline(to: SocketAddr, request: &str, done: &AtomicU64) -> io::Result<()> {
    let stream = TcpStream::connect(to)?;
    let mut writer = stream.try_clone()?;
    let requests = request.repeat(AHEAD);
    thread::spawn(move || while writer.write_all(requests.as_bytes()).is_ok() {});
    let (mut space, mut reader) = (vec![0; 64 * 1024], stream);
    loop {
        let read = reader.read(&mut space)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let answers = space[..read].windows(9).filter(|window| window == b"HTTP/1.1 ").count();
        done.fetch_add(answers as u64, Ordering::Relaxed);
    }
}

/// Asks for much and reads nothing.
fn deaf(to: SocketAddr, done: &AtomicU64) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(LARGE.as_bytes())?;
    done.fetch_add(1, Ordering::Relaxed);
    loop {
        thread::park();
    }
}

/// Asks for much and reads it as fast as it comes; counts MiB.
fn bulk(to: SocketAddr, done: &AtomicU64) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(LARGE.as_bytes())?;
    let (mut space, mut sum) = (vec![0; 256 * 1024], 0);
    loop {
        match stream.read(&mut space)? {
            0 => return Ok(()),
            read => sum += read,
        }
        if sum >= 1 << 20 {
            done.fetch_add((sum >> 20) as u64, Ordering::Relaxed);
            sum &= (1 << 20) - 1;
        }
    }
}
