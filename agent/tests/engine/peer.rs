//! Clients and servers of tests: plain blocking sockets that do just what they are told.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// No test waits longer for a byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Fin,
    Reset,
}

/// One end of a connection, with what was read too far.
pub struct Client {
    pub stream: TcpStream,
    ahead: Vec<u8>,
}

/// A message, taken apart as far as tests look at it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Start line and fields, without the empty line.
    pub head: String,
    /// As sent, chunk framing taken off.
    pub body: Vec<u8>,
    /// What came behind the last chunk.
    pub trailers: String,
}

impl Message {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (have, value) = line.split_once(": ")?;
            have.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Client {
    pub fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            ahead: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    pub fn get(&mut self, path: &str) -> Message {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: store\r\n\r\n"))
            .response()
    }

    /// The next response, with the body that its head declares.
    pub fn response(&mut self) -> Message {
        self.message(false).expect("closed instead of a response")
    }

    /// The next response, to a HEAD.
    pub fn response_to_head(&mut self) -> Message {
        self.message(true).expect("closed instead of a response")
    }

    /// The next request; `None` once the peer has closed.
    pub fn request(&mut self) -> Option<Message> {
        self.message(false)
    }

    /// Bytes up to and with `end`.
    pub fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.windows(end.len()).position(|window| window == end) {
                return Some(self.ahead.drain(..at + end.len()).collect());
            }
            if self.fill() == 0 {
                return None;
            }
        }
    }

    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert_ne!(self.fill(), 0, "closed before {count} bytes had come");
        }
        self.ahead.drain(..count).collect()
    }

    /// So many bytes; `None` once the connection has ended, in whatever way.
    pub fn some(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < count {
            let mut space = [0; 65536];
            match self.stream.read(&mut space) {
                Ok(read @ 1..) => self.ahead.extend_from_slice(&space[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing came"),
                _ => return None,
            }
        }
        Some(self.ahead.drain(..count).collect())
    }

    /// How the connection ends; nothing may come before that.
    pub fn ended(&mut self) -> Ended {
        assert!(self.ahead.is_empty(), "left over: {}", self.ahead.escape_ascii());
        let mut byte = [0; 1];
        match self.stream.read(&mut byte) {
            Ok(0) => Ended::Fin,
            Ok(_) => panic!("a byte: {}", byte.escape_ascii()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ended::Reset,
            Err(error) => panic!("still open: {error}"),
        }
    }

    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Everything up to the end.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.ahead)
    }

    /// Nothing comes for a while, and the connection stays open.
    pub fn is_quiet(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let quiet = matches!(self.stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        quiet && self.ahead.is_empty()
    }

    fn fill(&mut self) -> usize {
        let mut space = [0; 65536];
        let read = self.stream.read(&mut space).unwrap();
        self.ahead.extend_from_slice(&space[..read]);
        read
    }

    fn message(&mut self, bodiless: bool) -> Option<Message> {
        let head = self.until(b"\r\n\r\n")?;
        let head = String::from_utf8(head[..head.len() - 4].to_vec()).unwrap();
        let mut message = Message {
            head,
            body: Vec::new(),
            trailers: String::new(),
        };
        let response = message.head.starts_with("HTTP/");
        let bodiless = bodiless || response && matches!(message.status(), 100..200 | 204 | 304);
        if bodiless {
        } else if let Some(length) = message.field("content-length") {
            message.body = self.exactly(length.parse().unwrap());
        } else if message.field("transfer-encoding").is_some() {
            self.chunks(&mut message);
        } else if response {
            message.body = self.rest();
        }
        Some(message)
    }

    fn chunks(&mut self, message: &mut Message) {
        loop {
            let line = String::from_utf8(self.until(b"\r\n").unwrap()).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            if size == 0 {
                break;
            }
            message.body.extend(self.exactly(size));
            assert_eq!(self.exactly(2), b"\r\n");
        }
        loop {
            let line = String::from_utf8(self.until(b"\r\n").unwrap()).unwrap();
            if line == "\r\n" {
                return;
            }
            message.trailers.push_str(&line);
        }
    }
}

fn wait_readable(listener: &TcpListener) {
    let mut poll = libc::pollfd {
        fd: listener.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, alive for the call.
    unsafe { libc::poll(&mut poll, 1, -1) };
}

/// A server in a thread per connection. Ends with the test's process.
pub struct Server {
    accepted: Arc<AtomicUsize>,
    log: Arc<Mutex<Vec<Message>>>,
}

impl Server {
    /// Runs `serve` for each connection, with its number from 0.
    pub fn start(address: SocketAddr, serve: impl Fn(usize, Client) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind(address).unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, serve) = (accepted.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            loop {
                // A blocking accept() would hold a descriptor while it waits, which some tests have to count.
                wait_readable(&listener);
                let Ok((stream, _)) = listener.accept() else {
                    // None is left; some test wants it so.
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                let number = count.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                std::thread::spawn(move || serve(number, Client::new(stream)));
            }
        });
        Server {
            accepted,
            log: Arc::default(),
        }
    }

    /// A web server: 200 and `NAME METHOD TARGET` for every request, and a log of them.
    pub fn web(address: SocketAddr, name: &'static str) -> Server {
        let log = Arc::new(Mutex::new(Vec::new()));
        let requests = log.clone();
        let server = Server::start(address, move |_, mut client| {
            while let Some(request) = client.request() {
                let mut words = request.head.split(' ');
                let body = format!("{name} {} {}", words.next().unwrap(), words.next().unwrap());
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let bodiless = request.head.starts_with("HEAD ");
                requests.lock().unwrap().push(request);
                client.send(if bodiless { head } else { head + &body });
            }
        });
        Server { log, ..server }
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Requests answered so far, of a web server.
    pub fn requests(&self) -> Vec<Message> {
        self.log.lock().unwrap().clone()
    }
}
