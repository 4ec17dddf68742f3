//! gRPC: refusals and failures in its own language.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

use super::peer::{Client, Reply, Server, drain, request};
use super::world::{self, GRPC};
use crate::mesh::Mesh;

/// A call, as far as a mesh sees it.
fn call(method: &str) -> Request<()> {
    let mut call = request("POST", &format!("/shop.Store/{method}"));
    let fields = call.headers_mut();
    fields.insert("content-type", "application/grpc+proto".parse().unwrap());
    fields.insert("te", "trailers".parse().unwrap());
    call
}

/// A server that answers with `status` in trailers.
fn store(mesh: &Mesh, status: &'static str) -> Server {
    Server::start(mesh.address(2, 8080), move |request, mut respond| async move {
        let (body, _) = drain(&mut request.into_body()).await.unwrap();
        let response = Response::builder()
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let mut stream = respond.send_response(response, false).unwrap();
        stream.send_data(body.into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        trailers.insert("grpc-message", "its own words".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    })
}

/// Status and message of an answer without a body.
fn refused(reply: &Reply) -> (Option<&str>, &str) {
    assert_eq!(
        (reply.status(), reply.field("content-type")),
        (200, Some("application/grpc"))
    );
    assert!(reply.body.is_empty() && reply.trailers.is_empty(), "{reply:?}");
    (reply.field("grpc-status"), reply.field("grpc-message").unwrap())
}

#[test]
fn a_call_and_its_status_pass() {
    let mesh = Mesh::new(GRPC);
    let store = store(&mesh, "5");
    let reply = Client::buyer(&mesh)
        .post(call("Read"), Bytes::from_static(b"\0\0\0\0\x01x"))
        .unwrap();
    assert_eq!(reply.body, b"\0\0\0\0\x01x");
    assert_eq!(reply.trailers["grpc-status"], "5");
    assert_eq!(reply.trailers["grpc-message"], "its own words");
    assert_eq!(store.requests()[0].headers["te"], "trailers");
}

#[test]
fn a_refused_call_is_permission_denied_and_says_what_is_missing() {
    let mesh = Mesh::new(GRPC);
    let store = store(&mesh, "0");
    let buyer = Client::buyer(&mesh);
    let reply = buyer.post(call("Write"), "data").unwrap();
    let (status, message) = refused(&reply);
    assert_eq!(status, Some("7"));
    assert!(
        message.contains("shop/calling") && message.contains("/shop.Store/Write"),
        "{message}"
    );
    assert_eq!(store.requests().len(), 0);
    assert_eq!(mesh.stats().refused_request, 1);
    // A page is refused as a page on the same connection.
    assert_eq!(buyer.ask(request("POST", "/shop.Store/Write")).unwrap().status(), 403);
}

#[test]
fn what_fails_on_the_way_is_unavailable() {
    let mesh = Mesh::new(GRPC);
    let buyer = Client::buyer(&mesh);
    let reply = buyer.post(call("Read"), "x").unwrap();
    assert_eq!(refused(&reply), (Some("14"), "the endpoint refused the connection"));
    mesh.apply(world::NOBODY);
    let reply = buyer.post(call("Read"), "x").unwrap();
    assert_eq!(refused(&reply), (Some("14"), "no endpoint is ready"));
}

#[test]
fn a_malformed_call_is_an_internal_error() {
    let mesh = Mesh::new(GRPC);
    let reply = Client::buyer(&mesh).post(call("%2f"), "x").unwrap();
    assert_eq!(refused(&reply).0, Some("13"));
}
