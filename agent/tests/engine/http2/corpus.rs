//! The corpus of doubtful HTTP/2 over sockets: a client that sends frames, and a server that records requests.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use h2::RecvStream;
use http::{HeaderMap, Request};
use weir_corpus::Bytes;
use weir_corpus::http2::{self, Ends, Pair, Seen, check};

use super::peer::{Server, drain, ok};
use crate::mesh::{Mesh, eventually};

/// Anything but `/s…`, for the buyer.
const OPEN: &str = include_str!("../corpus.yaml");

/// What has come, and how many requests have begun and not ended.
#[derive(Default)]
struct Tape {
    seen: Seen,
    open: usize,
}

struct Loopback {
    mesh: Mesh,
    tape: Arc<Mutex<Tape>>,
}

impl Ends for Loopback {
    fn connect(&mut self) -> TcpStream {
        self.mesh.buyer().stream
    }

    fn seen(&mut self) -> Seen {
        eventually("what has begun ends", || self.tape.lock().unwrap().open == 0);
        std::mem::take(&mut self.tape.lock().unwrap().seen)
    }
}

/// By name; those of one name in order.
fn pairs(fields: &HeaderMap) -> Vec<Pair> {
    let bytes = |bytes: &[u8]| Bytes::from(bytes);
    let mut pairs: Vec<Pair> = fields
        .iter()
        .map(|(name, value)| (bytes(name.as_str().as_bytes()), bytes(value.as_bytes())))
        .collect();
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    pairs
}

/// Reads a request to its end, if it has one.
async fn whole(request: Request<RecvStream>) -> Option<http2::Request> {
    let (head, mut body) = request.into_parts();
    let (data, trailers) = drain(&mut body).await.ok()?;
    let part = |part: Option<&str>| Bytes::from(part.unwrap_or_default().as_bytes());
    Some(http2::Request {
        method: part(Some(head.method.as_str())),
        scheme: part(head.uri.scheme_str()),
        authority: part(head.uri.authority().map(|authority| authority.as_str())),
        path: part(head.uri.path_and_query().map(|path| path.as_str())),
        fields: pairs(&head.headers),
        body: Bytes::from(&data[..]),
        trailers: pairs(&trailers),
    })
}

#[test]
fn every_case_of_the_corpus_comes_out_right() {
    let mesh = Mesh::with(super::world::config(), OPEN);
    let tape = Arc::new(Mutex::new(Tape::default()));
    let shared = tape.clone();
    Server::start(mesh.address(2, 8080), move |request, mut respond| {
        let tape = shared.clone();
        tape.lock().unwrap().open += 1;
        async move {
            let head = request.method() == "HEAD";
            let request = whole(request).await;
            let probe = request.as_ref().is_some_and(|request| *request.path == *b"/probe");
            {
                let mut tape = tape.lock().unwrap();
                tape.open -= 1;
                match &request {
                    Some(request) if !probe => tape.seen.whole.push(request.clone()),
                    Some(_) => {}
                    None => tape.seen.cut += 1,
                }
            }
            if request.is_some() && head {
                respond.send_response(http::Response::new(()), true).unwrap();
            } else if request.is_some() {
                ok(&mut respond, if probe { "probed" } else { "ok" }, true);
            }
        }
    });
    let mut ends = Loopback { mesh, tape };
    let cases = http2::all();
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(error) = check(case, &mut ends) {
            wrong.push(format!("{}: {error}", case.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    assert!(cases.len() >= 60, "only {} cases were found", cases.len());
}
