//! Our codec against hyper's server: no bytes are one request here and two there.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use crate::reader::{self, Request};
use crate::{canonical, paths};

/// What we forward is canonical and is read by hyper as exactly the requests that we have judged; and what we accept,
/// hyper reads in the same frames.
///
/// # Panics
/// It is not so.
pub fn differential(bytes: &[u8]) {
    let ours = reader::read(bytes);
    canonical::check(&ours.forwarded, ours.requests.len());
    let again = reader::read(&ours.forwarded);
    assert_eq!(
        again.requests, ours.requests,
        "what we forward, we read in the same way"
    );
    assert_eq!(
        again.forwarded, ours.forwarded,
        "what is canonical is forwarded as it is"
    );
    assert_eq!(
        hyper(&ours.forwarded),
        ours.requests,
        "what we forward, hyper reads in the same way"
    );
    let theirs = hyper(bytes);
    for (number, own) in ours.requests.iter().enumerate() {
        let Some(read) = theirs.get(number) else {
            assert!(is_hypers_own_refusal(own), "hyper refuses request {number}: {own:?}");
            return;
        };
        assert_eq!((&read.method, &read.body), (&own.method, &own.body), "request {number}");
        assert!(
            paths::is_canonical_of(&own.target, &read.target),
            "{read:?} is not {own:?}"
        );
    }
    // Whatever we refuse or wait for must not be what hyper takes for a part of a request that we have let through.
    if let (Some(begun), Some(read)) = (&ours.begun, theirs.get(ours.requests.len())) {
        assert_eq!(begun.method, read.method, "the request that is not whole here");
    }
}

/// hyper is stricter here, and says so with a 400: its URIs end at 65534 bytes.
fn is_hypers_own_refusal(request: &Request) -> bool {
    request.target.len() > 60_000
}

/// The requests that hyper's server reads whole.
fn hyper(bytes: &[u8]) -> Vec<Request> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without I/O");
    }
    let requests = Rc::new(RefCell::new(Vec::new()));
    let seen = requests.clone();
    let serve = service_fn(move |request: hyper::Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let (head, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                let target = match head.uri.path_and_query() {
                    Some(target) => target.to_string(),
                    None => head.uri.to_string(),
                };
                seen.borrow_mut().push(Request {
                    method: head.method.to_string(),
                    target,
                    body: body.to_bytes().to_vec(),
                });
            }
            Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(bytes.len().max(1) + 1_000_000);
            client.write_all(bytes).await.expect("there is room for all of it");
            // Answers fit into the pipe; the end tells hyper that nothing more comes.
            client.shutdown().await.expect("open");
            let connection = http1::Builder::new()
                .half_close(true)
                .max_buf_size(128 * 1024)
                .serve_connection(TokioIo::new(server), serve);
            let _ = connection.await;
        });
    });
    Rc::try_unwrap(requests)
        .map(RefCell::into_inner)
        .unwrap_or_else(|shared| shared.borrow().clone())
}
