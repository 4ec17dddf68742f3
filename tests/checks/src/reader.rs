//! Our codec's reading of a client's bytes: which requests there are, and what is forwarded of them.

use weir_core::http1::{Body, BodyMode, Limits, Upstream, parse_request, write_request};

/// A request as some server reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Path and query as they are on the wire, in origin form; or `*`.
    pub target: String,
    pub body: Vec<u8>,
}

/// What our codec makes of a connection's bytes.
#[derive(Debug, Default)]
pub struct Reading {
    /// The requests that are whole.
    pub requests: Vec<Request>,
    /// What is forwarded of them: canonical bytes, one request behind the other. No more than that: a request that is
    /// not whole is left out.
    pub forwarded: Vec<u8>,
    /// The head of a request that is not whole, or whose body is broken.
    pub begun: Option<Request>,
    /// The last request asked to stop speaking HTTP, or to close: nobody reads on.
    pub ended: bool,
}

/// Reads all requests up to the first fault, as a server that keeps its connection would.
pub fn read(mut input: &[u8]) -> Reading {
    let limits = Limits::default();
    let mut reading = Reading::default();
    while let Ok(Some(head)) = parse_request(input, &limits) {
        let mut target = String::from_utf8_lossy(&head.path).into_owned();
        if let Some(query) = head.query {
            target.push('?');
            target.push_str(&String::from_utf8_lossy(query));
        }
        let mut request = Request {
            method: head.method.to_owned(),
            target,
            body: Vec::new(),
        };
        let mut wire = Vec::new();
        let upstream = Upstream {
            authority: b"10.0.0.1:80",
            close: false,
        };
        write_request(&head, upstream, &mut wire);
        input = &input[head.head_len..];
        let (framing, keeps) = (head.framing, head.keep_alive && head.upgrade.is_none());
        let mut data = Body::new(framing, BodyMode::Data, &limits);
        let mut raw = Body::new(framing, BodyMode::Wire, &limits);
        let (used, whole) = run(&mut data, input, &mut request.body);
        let (used_raw, whole_raw) = run(&mut raw, input, &mut wire);
        assert_eq!(whole, whole_raw, "both modes end, or none");
        assert!(!whole || used == used_raw, "both modes end at the same byte");
        if !whole {
            reading.begun = Some(request);
            return reading;
        }
        input = &input[used..];
        reading.requests.push(request);
        reading.forwarded.append(&mut wire);
        if !keeps {
            reading.ended = true;
            return reading;
        }
    }
    reading
}

/// How many bytes a body took, and whether it is whole.
pub fn run(body: &mut Body, input: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
    let mut at = 0;
    while let Ok(step) = body.advance(&input[at..]) {
        out.extend_from_slice(&input[at + step.skip..at + step.consumed()]);
        at += step.consumed();
        if body.is_done() || step.consumed() == 0 {
            return (at, body.is_done());
        }
    }
    (at, false)
}
