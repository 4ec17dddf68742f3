//! Who connects to what: origins, arrivals from other nodes, strays, pods that come and go.

use weir_agent::engine::Direction;
use weir_core::model::Kind;

use crate::mesh::{HTTP, Mesh, cookie_of};
use crate::peer::{Ended, Server};

#[test]
fn a_pods_own_address_is_served_like_its_service() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.connect("buyer", mesh.address(2, 8080));
    assert_eq!(buyer.get("/list").text(), "one GET /list");
    assert_eq!(buyer.get("/secret").status(), 403);
}

#[test]
fn a_connection_that_the_kernel_did_not_redirect_is_reset() {
    let mesh = Mesh::new(HTTP);
    let listener = mesh.address(1, mesh.config.outbound_port);
    // The pod itself, past the programs; somebody else; and somebody else from a port of which an origin is known.
    assert_eq!(mesh.stray(mesh.ip(1), listener).ended(), Ended::Reset);
    assert_eq!(mesh.stray(mesh.ip(4), listener).ended(), Ended::Reset);
    assert_eq!(
        mesh.connect_from(mesh.ip(4), "buyer", mesh.store()).ended(),
        Ended::Reset
    );
    assert_eq!(mesh.refusal().reason.name(), "unknown_origin");
    assert_eq!(mesh.stats().refused_unknown, 3);
}

#[test]
fn a_destination_that_means_nothing_is_reset() {
    let mesh = Mesh::new(HTTP);
    assert_eq!(mesh.connect("buyer", mesh.address(200, 80)).ended(), Ended::Reset);
    assert_eq!(mesh.refusal().reason.name(), "unreachable");
}

#[test]
fn an_arrival_from_another_node_is_judged_by_the_pod_that_has_its_address() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut far = mesh.arrive(9, mesh.address(2, 8080));
    let own = far.stream.local_addr().unwrap();
    assert_eq!(far.get("/list").text(), "one GET /list");
    assert_eq!(far.get("/secret").status(), 403);
    assert_eq!(*mesh.table.shown.lock().unwrap(), [Some(own)]);
    let refusal = mesh.refusal();
    assert_eq!(refusal.direction, Direction::Inbound);
    assert_eq!(refusal.source.unwrap().pod.name, "far-buyer");
}

#[test]
fn an_arrival_from_nobody_we_know_is_reset() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    assert_eq!(mesh.arrive(77, mesh.address(2, 8080)).ended(), Ended::Reset);
    assert_eq!(mesh.refusal().reason.name(), "unknown_client");
    assert_eq!(store.accepted(), 0);
}

#[test]
fn an_arrival_at_the_engines_own_ports_or_from_the_pod_itself_is_reset() {
    let mesh = Mesh::new(HTTP);
    for port in [mesh.config.inbound_port, mesh.config.outbound_port] {
        assert_eq!(mesh.arrive(9, mesh.address(2, port)).ended(), Ended::Reset);
        assert_eq!(mesh.refusal().reason.name(), "loop");
    }
    assert_eq!(mesh.arrive(2, mesh.address(2, 8080)).ended(), Ended::Reset);
    assert_eq!(mesh.refusal().reason.name(), "loop");
}

#[test]
fn every_core_listens_for_every_pod() {
    let config = weir_agent::engine::Config {
        cores: 3,
        ..Default::default()
    };
    let mesh = Mesh::with(config, HTTP);
    let listeners = mesh.table.listeners.lock().unwrap().clone();
    assert_eq!(listeners.len(), 4 * 2 * 3, "pods, directions, cores");
    let of_buyer: Vec<_> = listeners
        .iter()
        .filter(|key| key.cookie == cookie_of("buyer"))
        .collect();
    assert_eq!(of_buyer.len(), 6);
    Server::web(mesh.address(2, 8080), "one");
    for _ in 0..30 {
        assert_eq!(mesh.buyer().get("/").status(), 200);
    }
}

#[test]
fn a_pod_that_is_gone_is_not_listened_for_and_its_connections_end() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/list").status(), 200);
    mesh.remove(Kind::Pod, "buyer");
    assert!(mesh.serve_pods().is_empty());
    assert_eq!(buyer.ended(), Ended::Reset);
    let refused = std::net::TcpStream::connect(mesh.address(1, mesh.config.outbound_port));
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_pod_that_cannot_be_served_costs_only_itself() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    mesh.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: late, namespace: shop}\n\
         spec: {nodeName: here, serviceAccountName: late}\nstatus: {podIPs: [{ip: 10.0.0.50}]}\n",
    );
    mesh.attach("late", 77);
    *mesh.table.refuse_listeners_of.lock().unwrap() = Some(77);
    let errors = mesh.serve_pods();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("shop/late"), "{errors:?}");
    let closed = std::net::TcpStream::connect(mesh.address(50, mesh.config.outbound_port));
    assert_eq!(closed.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(mesh.buyer().get("/list").status(), 200);
}

#[test]
fn shutting_down_closes_idle_connections_in_order_and_resets_busy_ones() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |n, mut client| {
        client.request();
        if n == 0 {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        client.rest();
    });
    let (mut idle, mut busy) = (mesh.buyer(), mesh.buyer());
    assert_eq!(idle.get("/list").status(), 200);
    busy.send("POST /up HTTP/1.1\r\nHost: store\r\nContent-Length: 5\r\n\r\nx");
    mesh.until("it is under way", |stats| stats.requests == 2);
    mesh.engine.shutdown(std::time::Duration::from_millis(200));
    assert_eq!(idle.ended(), Ended::Fin);
    assert_eq!(busy.ended(), Ended::Reset);
}

#[test]
fn a_task_that_panics_costs_only_its_connection() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut before = mesh.buyer();
    assert_eq!(before.get("/a").status(), 200);
    *mesh.table.panic_for.lock().unwrap() = Some(cookie_of("buyer"));
    assert_eq!(mesh.buyer().ended(), Ended::Reset);
    *mesh.table.panic_for.lock().unwrap() = None;
    assert_eq!(before.get("/b").status(), 200);
    assert_eq!(mesh.buyer().get("/c").status(), 200);
}
