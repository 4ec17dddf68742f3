//! What the engine tells of requests and connections once they have come to their end.

use crate::mesh::{HTTP, Mesh, TCP};
use crate::peer::{Client, Server};

#[test]
fn each_request_comes_to_one_end_whatever_becomes_of_it() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    buyer.get("/list");
    buyer.get("/secret");
    mesh.until("allowed and refused", |stats| stats.finished == 2);
    // Malformed, and nobody there.
    buyer.send("GET / HTTP/1.1\r\n\r\n").response();
    mesh.until("malformed", |stats| stats.finished == 3);
    let nobody = Mesh::new(HTTP);
    nobody.buyer().get("/list");
    nobody.until("nobody listens", |stats| stats.finished == 1);
}

#[test]
fn a_connection_that_policy_ends_comes_to_an_end_as_well() {
    let mesh = Mesh::new(TCP);
    Server::start(mesh.address(2, 8080), |_, mut client: Client| drop(client.rest()));
    let mut buyer = mesh.buyer();
    buyer.send("\x01bytes");
    mesh.until("relayed", |stats| stats.tcp_relayed == 1);
    assert_eq!(mesh.stats().finished, 0, "it is still open");
    mesh.remove(weir_core::model::Kind::TrafficTarget, "piping");
    mesh.until("revoked", |stats| stats.finished == 1 && stats.revoked == 1);
}
