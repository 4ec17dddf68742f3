//! Which protocol a connection has: what is declared, then the first bytes, within bounds. The rows of "What a port
//! speaks" and of rules 5 to 7 of "Access" (docs/semantics.md).

use std::time::{Duration, Instant};

use weir_agent::engine::{Config, Times};

use crate::mesh::{HTTP, Mesh, TCP};
use crate::peer::{Client, Ended, Server};

/// Times are kept give or take so much.
const TICK: Duration = Duration::from_millis(50);

/// The store's Service with this port.
fn port(port: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: store, namespace: shop}}\n\
         spec:\n  clusterIP: 10.0.0.100\n  selector: {{app: store}}\n  ports: [{{{port}, port: 80, targetPort: 8080}}]\n"
    )
}

/// Both versions behind the store.
const SPLIT: &str = "apiVersion: split.smi-spec.io/v1alpha2\nkind: TrafficSplit\nmetadata: {name: halves, namespace: shop}\n\
     spec: {service: store, backends: [{service: store-v1, weight: 1}, {service: store-v2, weight: 1}]}\n";

/// The second store has an account of its own: what is granted at the first one is not granted there.
const OTHER: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: store-2, namespace: shop, labels: {version: two}}\n\
     spec: {nodeName: here, serviceAccountName: other}\nstatus: {podIPs: [{ip: 10.0.0.3}]}\n";

/// HTTP is granted at the second store.
fn http_at_other() -> String {
    HTTP.replace("name: store,", "name: other,")
}

/// Greets, then sends back what it gets.
fn greeter(mesh: &Mesh, last: u8) -> Server {
    Server::start(mesh.address(last, 8080), |_, mut client| {
        client.send("220 hello\r\n");
        let mut byte = [0];
        while std::io::Read::read_exact(&mut client.stream, &mut byte).is_ok() {
            client.send(byte);
        }
    })
}

fn both(manifests: &[&str]) -> Mesh {
    Mesh::new(&manifests.join("---\n"))
}

#[test]
fn a_declared_http_port_gives_a_silent_client_as_long_as_an_idle_one() {
    for declared in [
        "name: http-web",
        "appProtocol: http",
        "appProtocol: http, name: tcp-web",
    ] {
        let mesh = both(&[HTTP, &port(declared)]);
        Server::web(mesh.address(2, 8080), "one");
        let mut buyer = mesh.buyer();
        std::thread::sleep(mesh.config.times.detect + Duration::from_millis(200));
        assert_eq!(buyer.get("/list").status(), 200, "{declared}");
    }
}

#[test]
fn a_silent_client_of_a_declared_http_port_is_closed_in_order() {
    let times = Times {
        idle: Duration::from_millis(100),
        ..Times::default()
    };
    let config = Config {
        cores: 1,
        times,
        ..Config::default()
    };
    let mesh = Mesh::with(config, &[HTTP, &port("name: http")].join("---\n"));
    assert_eq!(mesh.buyer().ended(), Ended::Fin);
    assert_eq!(mesh.stats().refused_protocol, 0);
}

#[test]
fn a_client_that_waits_on_a_declared_http_port_is_closed_when_nothing_is_left() {
    let mesh = both(&[HTTP, &port("name: http")]);
    let mut buyer = mesh.buyer();
    mesh.until("it is there", |stats| stats.open == 1);
    mesh.remove(weir_core::model::Kind::TrafficTarget, "shopping");
    assert_eq!(buyer.ended(), Ended::Fin);
}

#[test]
fn a_client_without_any_grant_on_a_declared_http_port_is_told_so() {
    let mesh = both(&[HTTP, &port("name: http")]);
    assert_eq!(mesh.connect("thief", mesh.store()).get("/list").status(), 403);
}

#[test]
fn what_is_not_http_on_a_declared_http_port_is_answered_at_once() {
    let mesh = both(&[HTTP, &port("name: http")]);
    let store = greeter(&mesh, 2);
    let begun = Instant::now();
    for bytes in ["SSH-2.0-OpenSSH_9.2\r\n", "EHLO me\r\n", "\0\0\0\x01", "GET\t/"] {
        let mut buyer = mesh.buyer();
        let answer = buyer.send(bytes).response();
        assert_eq!(
            (answer.status(), answer.field("connection")),
            (400, Some("close")),
            "{bytes:?}"
        );
    }
    // A TLS client has no use for such an answer.
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.send("\x16\x03\x01\x02\0\x01").ended(), Ended::Reset);
    assert_eq!(mesh.refusal().reason.name(), "not_http");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "the time for a head is longer"
    );
    assert_eq!(store.accepted(), 0);
}

#[test]
fn what_is_not_http_behind_a_request_is_answered_at_once() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/list").status(), 200);
    let begun = Instant::now();
    assert_eq!(buyer.send("SSH-2.0-x\r\n").response().status(), 400);
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_grant_of_bytes_holds_on_a_declared_http_port_too() {
    let mesh = both(&[TCP, &port("name: http")]);
    greeter(&mesh, 2);
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.send("SSH-2.0-x\r\n").exactly(22), b"220 hello\r\nSSH-2.0-x\r\n");
}

#[test]
fn a_declared_tcp_port_is_not_waited_for() {
    let times = Times {
        server_first: Duration::from_secs(60),
        ..Times::default()
    };
    let config = Config {
        cores: 1,
        times,
        ..Config::default()
    };
    for declared in ["name: tcp-web", "appProtocol: tcp", "appProtocol: tls, name: http"] {
        let mesh = Mesh::with(config.clone(), &[TCP, &port(declared)].join("---\n"));
        greeter(&mesh, 2);
        assert_eq!(mesh.buyer().exactly(11), b"220 hello\r\n", "{declared}");
    }
}

#[test]
fn a_declared_tcp_port_where_only_http_is_granted_is_asked_for_http() {
    let mesh = both(&[HTTP, &port("name: tcp-web")]);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/list").status(), 200);
    assert_eq!(buyer.get("/secret").status(), 403);
    assert_eq!(mesh.buyer().send("EHLO me\r\n").ended(), Ended::Reset);
    assert_eq!(mesh.refusal().reason.name(), "missing_rule");
    assert_eq!(mesh.refusal().reason.name(), "not_http");
}

#[test]
fn where_nothing_is_declared_a_server_may_speak_first_soon() {
    let times = Times {
        detect: Duration::from_secs(5),
        server_first: Duration::from_millis(50),
        ..Times::default()
    };
    let mesh = Mesh::timed(times, TCP);
    greeter(&mesh, 2);
    let begun = Instant::now();
    assert_eq!(mesh.buyer().exactly(11), b"220 hello\r\n");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn services_that_disagree_about_a_pods_port_leave_it_to_the_bytes() {
    let mesh = both(&[HTTP, &port("name: http")]);
    Server::web(mesh.address(2, 8080), "one");
    // `store-v1` leads there too, and says nothing.
    let mut by_pod = mesh.connect("buyer", mesh.address(2, 8080));
    let begun = Instant::now();
    assert_eq!(by_pod.get("/list").status(), 200);
    mesh.apply(
        &port("name: http")
            .replace("name: store,", "name: third,")
            .replace("100", "103"),
    );
    mesh.apply(
        &port("name: tcp-x")
            .replace("name: store,", "name: fourth,")
            .replace("100", "104"),
    );
    assert_eq!(mesh.connect("buyer", mesh.address(2, 8080)).ended(), Ended::Reset);
    assert!(begun.elapsed() >= mesh.config.times.detect - TICK, "it had its time");
    assert_eq!(mesh.refusal().reason.name(), "silent");
}

#[test]
fn in_a_split_with_different_grants_a_silent_client_waits_only_for_servers_of_http() {
    let tcp = TCP.to_owned();
    let mesh = both(&[&tcp, OTHER, &http_at_other(), SPLIT]);
    greeter(&mesh, 2);
    Server::web(mesh.address(3, 8080), "two");
    let (mut greeted, mut refused) = (0, 0);
    for _ in 0..6 {
        let begun = Instant::now();
        let mut buyer = mesh.buyer();
        let mut byte = [0; 11];
        match std::io::Read::read_exact(&mut buyer.stream, &mut byte) {
            Ok(()) => {
                assert!(begun.elapsed() < mesh.config.times.detect, "{:?}", begun.elapsed());
                greeted += 1;
            }
            Err(_) => {
                assert!(
                    begun.elapsed() >= mesh.config.times.detect - TICK,
                    "{:?}",
                    begun.elapsed()
                );
                assert_eq!(mesh.refusal().reason.name(), "silent");
                refused += 1;
            }
        }
    }
    assert_eq!((greeted, refused), (3, 3), "a split of connections");
}

#[test]
fn in_a_split_with_different_grants_a_late_request_is_served_where_its_turn_waits() {
    let mesh = both(&[TCP, OTHER, &http_at_other(), SPLIT]);
    greeter(&mesh, 2);
    Server::web(mesh.address(3, 8080), "two");
    let mut served = 0;
    for _ in 0..4 {
        let mut buyer = mesh.buyer();
        std::thread::sleep(Duration::from_millis(150));
        buyer.send("GET /list HTTP/1.1\r\nHost: store\r\n\r\n");
        if buyer.until(b" ").is_some_and(|word| word == b"HTTP/1.1 ") {
            served += 1;
        }
    }
    assert!(served >= 1, "its wait was not cut short");
}

#[test]
fn in_a_split_with_different_grants_bytes_are_refused_where_only_http_is_granted() {
    let mesh = both(&[TCP, OTHER, &http_at_other(), SPLIT]);
    greeter(&mesh, 2);
    let store = Server::web(mesh.address(3, 8080), "two");
    let mut ends = Vec::new();
    for _ in 0..4 {
        let mut buyer: Client = mesh.buyer();
        buyer.send("\x01");
        let mut byte = [0];
        ends.push(std::io::Read::read(&mut buyer.stream, &mut byte).is_ok());
    }
    ends.sort_unstable();
    assert_eq!((ends, store.accepted()), (vec![false, false, true, true], 0));
    assert_eq!(mesh.refusal().reason.name(), "not_http");
}
