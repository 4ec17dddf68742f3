//! Streams when the policy changes, and connections that end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::{Response, StatusCode};
use weir_core::model::Kind;

use super::peer::{Client, PATIENCE, Server, code, get, ok, read, request, wait};
use super::{raw, world};
use crate::mesh::{HTTP, Mesh, eventually};

/// What HTTP grants, less what begins with `/l`.
fn less() -> String {
    HTTP.replace("[^s]", "[^l]")
}

/// A store that never answers `/l/waiting`, begins to answer `/l/part` and `/keep`, and goes on when told to.
fn store(mesh: &Mesh) -> Arc<Mutex<Vec<SendStream<Bytes>>>> {
    let begun = Arc::new(Mutex::new(Vec::new()));
    let streams = begun.clone();
    Server::start(mesh.address(2, 8080), move |request, mut respond| {
        let streams = streams.clone();
        async move {
            if request.uri().path().ends_with("/waiting") {
                let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                return;
            }
            let stream = ok(&mut respond, "part ", false);
            streams.lock().unwrap().push(stream);
        }
    });
    begun
}

#[test]
fn streams_whose_grant_goes_end_and_their_neighbours_see_nothing() {
    let mesh = Mesh::new(HTTP);
    let begun = store(&mesh);
    let buyer = Client::buyer(&mesh);
    let keep = wait(buyer.open(get("/keep"), true).0).unwrap();
    let part = wait(buyer.open(get("/l/part"), true).0).unwrap();
    let waiting = buyer.open(get("/l/waiting"), true).0;
    mesh.until("all are under way", |stats| stats.requests == 3);
    std::thread::sleep(Duration::from_millis(50));
    mesh.apply(&less());
    let refused = wait(read(waiting)).unwrap();
    assert_eq!(refused.status(), 403);
    assert!(refused.text().contains("shop/shopping"), "{}", refused.text());
    let mut part = part.into_body();
    assert_eq!(wait(part.data()).unwrap().unwrap(), "part ");
    assert_eq!(code(wait(part.data()).unwrap()), Reason::CANCEL);
    begun.lock().unwrap()[0]
        .send_data(Bytes::from_static(b"and all"), true)
        .unwrap();
    let mut keep = keep.into_body();
    assert_eq!(wait(super::peer::drain(&mut keep)).unwrap().0, b"part and all");
    let stats = mesh.stats();
    assert_eq!((stats.revoked, stats.rejudged), (2, 3));
    assert_eq!(buyer.get("/l/waiting").status(), 403);
    assert!(buyer.ended().is_none());
}

#[test]
fn a_grpc_call_that_waits_is_told_permission_denied() {
    let mesh = Mesh::new(world::GRPC);
    Server::start(mesh.address(2, 8080), |_, mut respond| async move {
        let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
    });
    let mut call = request("POST", "/shop.Store/Watch");
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    let (response, _stream) = Client::buyer(&mesh).open(call, false);
    mesh.until("it is under way", |stats| stats.upstream_connects == 1);
    mesh.apply(&world::GRPC.replace("(Read|Watch)", "Read"));
    let reply = wait(read(response)).unwrap();
    assert_eq!((reply.status(), reply.field("grpc-status")), (200, Some("7")));
}

#[test]
fn an_unrelated_change_disturbs_nobody() {
    let mesh = Mesh::new(HTTP);
    let begun = store(&mesh);
    let buyer = Client::buyer(&mesh);
    let response = wait(buyer.open(get("/keep"), true).0).unwrap();
    for round in 0..20 {
        mesh.apply(
            &HTTP
                .replace("name: buyer", "name: nobody")
                .replace("shopping", &format!("other-{round}")),
        );
    }
    mesh.until("it was judged", |stats| stats.rejudged > 0);
    begun.lock().unwrap()[0].send_data(Bytes::new(), true).unwrap();
    assert_eq!(wait(super::peer::drain(&mut response.into_body())).unwrap().0, b"part ");
    assert_eq!(mesh.stats().revoked, 0);
}

#[test]
fn a_connection_with_nothing_left_is_told_goodbye() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let buyer = Client::buyer(&mesh);
    assert_eq!(buyer.get("/list").status(), 200);
    mesh.remove(Kind::TrafficTarget, "shopping");
    eventually("it is closed", || buyer.ended().is_some());
    assert_eq!(buyer.ended(), Some(Ok(())), "in order");
    assert_eq!(mesh.stats().revoked, 0);
}

#[test]
fn a_connection_to_a_server_goes_with_the_last_grant() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let buyer = Client::buyer(&mesh);
    assert_eq!(buyer.get("/list").status(), 200);
    mesh.remove(Kind::TrafficTarget, "shopping");
    eventually("it is closed", || buyer.ended().is_some());
    mesh.apply(HTTP);
    assert_eq!(Client::buyer(&mesh).get("/list").status(), 200);
    assert_eq!(store.accepted(), 2);
}

#[test]
fn a_server_that_is_not_who_it_was_ends_its_streams() {
    let mesh = Mesh::new(HTTP);
    let _begun = store(&mesh);
    let buyer = Client::buyer(&mesh);
    let part = wait(buyer.open(get("/l/part"), true).0).unwrap();
    let waiting = buyer.open(get("/l/waiting"), true).0;
    mesh.until("both are under way", |stats| stats.requests == 2);
    std::thread::sleep(Duration::from_millis(50));
    mesh.attach("store-1", 4711);
    assert_eq!(wait(read(waiting)).unwrap().status(), 503);
    let mut part = part.into_body();
    wait(part.data()).unwrap().unwrap();
    assert_eq!(code(wait(part.data()).unwrap()), Reason::INTERNAL_ERROR);
}

#[test]
fn a_client_that_is_not_who_it_was_is_reset() {
    let mesh = Mesh::new(HTTP);
    let _begun = store(&mesh);
    let buyer = Client::buyer(&mesh);
    let part = wait(buyer.open(get("/keep"), true).0).unwrap();
    mesh.attach("buyer", 4711);
    let mut part = part.into_body();
    wait(part.data()).unwrap().unwrap();
    assert!(wait(part.data()).unwrap().is_err());
    eventually("it is closed", || buyer.ended().is_some_and(|ended| ended.is_err()));
}

#[test]
fn a_split_applies_to_the_next_stream() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    Server::web(mesh.address(3, 8080), "two");
    let buyer = Client::buyer(&mesh);
    assert_eq!(buyer.get("/list").text(), "one GET /list ");
    mesh.apply(&world::EVEN.replace("weight: 1}, {service: store-v2", "weight: 0}, {service: store-v2"));
    assert_eq!(buyer.get("/list").text(), "two GET /list ");
}

#[test]
fn an_idle_connection_is_told_goodbye() {
    let mut config = world::config();
    config.times.idle = Duration::from_millis(200);
    let mesh = Mesh::with(config, HTTP);
    Server::start(mesh.address(2, 8080), |_, mut respond| async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        ok(&mut respond, "slow", true);
    });
    let buyer = Client::buyer(&mesh);
    assert_eq!(buyer.get("/list").text(), "slow", "a stream under way is no idleness");
    eventually("it is closed", || buyer.ended().is_some());
    assert_eq!(buyer.ended(), Some(Ok(())));
}

#[test]
fn a_client_that_does_not_hear_goodbye_is_closed() {
    let mut config = world::config();
    config.times.idle = Duration::from_millis(100);
    config.times.drain = Duration::from_millis(100);
    let mesh = Mesh::with(config, HTTP);
    let mut raw = raw::Raw::buyer(&mesh);
    assert_eq!(raw.goaway(), Some(0));
    drop(raw);
    eventually("it is gone", || mesh.stats().open == 0);
}

#[test]
fn a_stopping_engine_lets_streams_end_and_takes_no_more() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |_, mut respond| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        respond.send_response(Response::new(()), true).unwrap();
    });
    let buyer = Client::buyer(&mesh);
    let idle = Client::buyer(&mesh);
    let waiting = buyer.open(get("/list"), true).0;
    mesh.until("it is under way", |stats| stats.upstream_connects == 1);
    let Mesh { engine, .. } = mesh;
    let begun = std::time::Instant::now();
    engine.shutdown(PATIENCE);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(wait(waiting).unwrap().status(), StatusCode::OK);
    for client in [buyer, idle] {
        eventually("it is closed", || client.ended().is_some());
        assert_eq!(client.ended(), Some(Ok(())));
    }
}
