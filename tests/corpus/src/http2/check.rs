//! A case against a client and a server that are connected through the mesh.

use std::fmt::Debug;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::frame::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, field, frame, status,
};
use super::{Case, Gets, Request};

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The path of [`probe`], and what a server has to answer to it.
const PROBE: (&str, &[u8]) = ("/probe", b"probed");

/// The stream of [`probe`].
const BEHIND: u32 = 101;

/// What came back on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// An answer of this final status, to its end.
    Status(u16),
    /// A reset of the stream, answered or not.
    Reset(u32),
    /// The end of the connection, with this code.
    Goaway(u32),
    /// Its end without a word; or nothing in time.
    Nothing,
}

/// What a server has seen since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests that came whole. A server answers them when they are.
    pub whole: Vec<Request>,
    /// How many broke off.
    pub cut: usize,
}

/// The two ends of the mesh.
pub trait Ends {
    /// A new connection of the client to the server.
    fn connect(&mut self) -> TcpStream;

    /// What the server has seen, [`probe`] left out; waits for the end of what has begun.
    fn seen(&mut self) -> Seen;
}

/// The request behind each case: a GET of `/probe`, which a server answers with 200 and `probed`.
pub fn probe() -> Vec<u8> {
    let pairs = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "store"),
        (":path", PROBE.0),
    ];
    let block: Vec<u8> = pairs
        .iter()
        .flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes()))
        .collect();
    frame(HEADERS, END_STREAM | END_HEADERS, BEHIND, &block)
}

/// Sends a case, if there is one, on a new connection: what became of it, and whether the probe behind it on the same
/// connection was served.
pub fn talk(stream: &mut TcpStream, wire: &[u8]) -> (Came, bool) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    // No dynamic table: each header block that comes can be read by itself.
    let settings = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
    let open = [PREFACE, &settings, &frame(SETTINGS, ACK, 0, &[]), wire].concat();
    if stream.write_all(&open).is_err() {
        return (Came::Nothing, false);
    }
    let came = match wire {
        [] => Came::Nothing,
        _ => listen(stream, 1).0,
    };
    if matches!(came, Came::Goaway(_)) || stream.write_all(&probe()).is_err() {
        return (came, false);
    }
    match listen(stream, BEHIND) {
        (Came::Goaway(code), _) => (Came::Goaway(code), false),
        (behind, body) => (came, behind == Came::Status(200) && body == PROBE.1),
    }
}

/// What becomes of a stream, and its body.
fn listen(stream: &mut TcpStream, number: u32) -> (Came, Vec<u8>) {
    let (mut last, mut body) = (None, Vec::new());
    while let Ok(frame) = Frame::read(stream) {
        match frame.kind {
            // The announcement of an end in order.
            GOAWAY if frame.number(4) == 0 => {}
            GOAWAY => return (Came::Goaway(frame.number(4)), body),
            _ if frame.stream != number => {}
            RST_STREAM => return (Came::Reset(frame.number(0)), body),
            HEADERS => last = status(&frame.payload).or(last),
            DATA => body.extend(&frame.payload),
            _ => {}
        }
        let ends = matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0;
        if let Some(status) = last.filter(|_| ends && frame.stream == number) {
            return (Came::Status(status), body);
        }
    }
    (Came::Nothing, body)
}

/// Runs one case.
///
/// # Errors
/// What is not as the case has it.
pub fn check(case: &Case, ends: &mut impl Ends) -> Result<(), String> {
    let (came, probed) = talk(&mut ends.connect(), &case.wire());
    let next = probed || talk(&mut ends.connect(), &[]).1;
    let seen = ends.seen();
    equal("came", came, case.comes_to())?;
    equal("the next stream is served", probed, !matches!(came, Came::Goaway(_)))?;
    equal("the next connection is served", next, true)?;
    match case.gets() {
        Some(Gets::Cut(_)) => equal("the server saw, besides what was cut", seen.whole, Vec::new()),
        Some(Gets::Whole(request)) => {
            let whole = vec![request];
            equal("the server saw", seen, Seen { whole, cut: 0 })
        }
        None => equal("the server saw", seen, Seen::default()),
    }
}

fn equal<T: PartialEq + Debug>(what: &str, came: T, want: T) -> Result<(), String> {
    match came == want {
        true => Ok(()),
        false => Err(format!("{what}\n  {came:?}\n  want\n  {want:?}")),
    }
}
