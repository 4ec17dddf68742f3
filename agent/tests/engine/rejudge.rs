//! Open connections when the policy changes: what is not allowed any more ends, in both directions; the rest sees nothing.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_core::model::Kind;

use crate::mesh::{HTTP, Mesh, TCP};
use crate::peer::{Client, Ended, Server};

const GET: &str = "GET /list HTTP/1.1\r\nHost: store\r\n\r\n";

/// A grant that has nothing to do with anybody here.
fn unrelated(round: usize) -> String {
    HTTP.replace("name: buyer", "name: nobody")
        .replace("name: shopping", &format!("name: other-{round}"))
}

/// What HTTP grants, less what begins with `/l`.
fn less() -> String {
    HTTP.replace("[^s]", "[^l]")
}

/// A store that sends each piece of an answer when it is told to, and tells how its connection ended.
fn store(mesh: &Mesh, pieces: &'static [&'static str]) -> (Sender<()>, Receiver<Ended>) {
    let (go, told) = channel();
    let (tell, ended) = channel();
    let (told, tell) = (Mutex::new(told), Mutex::new(tell));
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        client.until(b"\r\n\r\n");
        for piece in pieces {
            told.lock().unwrap().recv().unwrap();
            client.send(piece);
        }
        let mut space = [0; 4096];
        let ended = loop {
            match std::io::Read::read(&mut client.stream, &mut space) {
                Ok(0) => break Ended::Fin,
                Ok(_) => {}
                Err(_) => break Ended::Reset,
            }
        };
        tell.lock().unwrap().send(ended).unwrap();
    });
    (go, ended)
}

fn told(ended: &Receiver<Ended>) -> Ended {
    ended.recv_timeout(Duration::from_secs(5)).expect("still open")
}

fn under_way(mesh: &Mesh, requests: u64) {
    mesh.until("it is under way", |stats| stats.upstream_connects == requests);
}

#[test]
fn a_request_under_way_is_reset_on_both_sides_when_its_grant_goes() {
    let mesh = Mesh::new(HTTP);
    let (_go, ended) = store(&mesh, &[]);
    let mut buyer = mesh.buyer();
    buyer.send(GET);
    under_way(&mesh, 1);
    let begun = std::time::Instant::now();
    mesh.apply(&less());
    assert_eq!(buyer.ended(), Ended::Reset);
    assert!(begun.elapsed() < Duration::from_secs(2), "at once");
    assert_eq!(told(&ended), Ended::Reset);
    let refusal = mesh.refusal();
    assert_eq!(refusal.request, Some(("GET".to_owned(), "/list".to_owned())));
    assert_eq!(refusal.reason.name(), "missing_rule");
    assert_eq!((mesh.stats().revoked, mesh.stats().rejudged), (1, 1));
}

#[test]
fn a_response_under_way_is_cut_when_its_grant_goes() {
    let mesh = Mesh::new(HTTP);
    let (go, ended) = store(&mesh, &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"]);
    let mut buyer = mesh.buyer();
    buyer.send(GET);
    go.send(()).unwrap();
    buyer.until(b"hello").unwrap();
    mesh.remove(Kind::TrafficTarget, "shopping");
    assert_eq!((buyer.ended(), told(&ended)), (Ended::Reset, Ended::Reset));
}

#[test]
fn an_upload_under_way_is_cut_when_its_grant_goes() {
    let mesh = Mesh::new(HTTP);
    let (_go, ended) = store(&mesh, &[]);
    let mut buyer = mesh.buyer();
    buyer.send("POST /up HTTP/1.1\r\nHost: store\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    under_way(&mesh, 1);
    mesh.apply(&HTTP.replace("[POST, PUT]", "[PUT]"));
    assert_eq!((buyer.ended(), told(&ended)), (Ended::Reset, Ended::Reset));
}

#[test]
fn a_request_from_another_node_is_judged_again_too() {
    let mesh = Mesh::new(HTTP);
    let (_go, ended) = store(&mesh, &[]);
    let mut far = mesh.arrive(9, mesh.address(2, 8080));
    far.send(GET);
    under_way(&mesh, 1);
    mesh.apply(&less());
    assert_eq!((far.ended(), told(&ended)), (Ended::Reset, Ended::Reset));
}

#[test]
fn a_request_that_is_still_allowed_goes_on_through_any_number_of_changes() {
    let mesh = Mesh::new(HTTP);
    let pieces = ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "hello", "world"];
    let (go, _ended) = store(&mesh, Box::leak(Box::new(pieces)));
    let mut buyer = mesh.buyer();
    // All forms whose canonical head differs from what was sent.
    buyer
        .send("GET http://store//%6cist/./?q HTTP/1.1\r\nHOST:store\r\nX-A:1\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n");
    under_way(&mesh, 1);
    for (round, _) in pieces.iter().enumerate() {
        for edit in 0..5 {
            mesh.apply(&unrelated(round * 10 + edit));
        }
        go.send(()).unwrap();
    }
    assert_eq!(buyer.response().text(), "helloworld");
    mesh.until("it was judged again", |stats| stats.rejudged >= 2);
    assert_eq!(mesh.stats().revoked, 0);
}

#[test]
fn a_host_that_the_client_did_not_name_grants_nothing_later_either() {
    let by_host = |host: &str| {
        format!(
            "apiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata: {{name: web, namespace: shop}}\n\
             spec: {{matches: [{{name: all, {host}}}]}}\n---\n{}",
            HTTP.split_once("---\n").unwrap().1
        )
    };
    let mesh = Mesh::new(&by_host("methods: [GET]"));
    let (_go, ended) = store(&mesh, &[]);
    let mut buyer = mesh.buyer();
    buyer.send("GET /list HTTP/1.0\r\n\r\n");
    under_way(&mesh, 1);
    // The server was shown a Host that we wrote. A rule on it speaks of what clients say.
    mesh.apply(&by_host("headers: [{host: \".*\"}]"));
    assert_eq!((buyer.ended(), told(&ended)), (Ended::Reset, Ended::Reset));
}

#[test]
fn a_request_that_is_sent_stays_where_it_is_when_the_split_changes() {
    let mesh = Mesh::new(HTTP);
    let (go, _ended) = store(&mesh, &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    let next = Server::web(mesh.address(3, 8080), "two");
    let mut buyer = mesh.buyer();
    buyer.send(GET);
    under_way(&mesh, 1);
    mesh.apply(
        "apiVersion: split.smi-spec.io/v1alpha2\nkind: TrafficSplit\nmetadata: {name: canary, namespace: shop}\n\
         spec: {service: store, backends: [{service: store-v2, weight: 1}]}\n",
    );
    go.send(()).unwrap();
    assert_eq!(buyer.response().text(), "ok");
    assert_eq!(buyer.get("/list").text(), "two GET /list");
    assert_eq!(next.requests().len(), 1);
}

#[test]
fn a_request_that_waits_for_its_server_is_answered_403() {
    let mesh = Mesh::new(HTTP);
    // A listener with no room: the connection comes about when the kernel asks again, a second later.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&mesh.address(2, 8080).into()).unwrap();
    listener.listen(0).unwrap();
    let fill: Vec<_> = (0..4)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&mesh.address(2, 8080).into());
            socket
        })
        .collect();
    let mut buyer = mesh.buyer();
    buyer.send(GET);
    mesh.until("it was judged", |stats| stats.requests == 1);
    mesh.apply(&less());
    drop(fill);
    let (done, is_done) = channel();
    let accepting = std::thread::spawn(move || {
        listener.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while is_done.try_recv().is_err() {
            match listener.accept() {
                Ok((socket, _)) => sent += std::io::Read::read(&mut &socket, &mut [0; 16]).unwrap_or(0),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        sent
    });
    assert_eq!(buyer.response().status(), 403);
    done.send(()).unwrap();
    assert_eq!(accepting.join().unwrap(), 0, "the server has seen nothing of it");
    assert_eq!(mesh.stats().upstream_connects, 1, "it did get a connection");
}

#[test]
fn a_connection_that_became_idle_during_a_change_is_judged_as_idle() {
    let mesh = Mesh::new(HTTP);
    // The answer comes before the body, which is then read for nothing.
    let (go, _ended) = store(&mesh, &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    let mut buyer = mesh.buyer();
    buyer.send("POST /up HTTP/1.1\r\nHost: store\r\nContent-Length: 5\r\n\r\n");
    go.send(()).unwrap();
    assert_eq!(buyer.response().text(), "ok");
    mesh.remove(Kind::TrafficTarget, "shopping");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(buyer.send("hello").ended(), Ended::Fin);
    assert_eq!(mesh.stats().revoked, 0);
}

#[test]
fn allowed_connections_see_nothing_of_twenty_unrelated_edits() {
    let mesh = Mesh::new(&format!("{HTTP}---\n{}", TCP.replace("name: buyer", "name: thief")));
    let store = Server::start(mesh.address(2, 8080), |_, mut client| {
        let mut first = [0];
        match client.stream.peek(&mut first) {
            Ok(1) if first == [1] => {
                while std::io::Read::read_exact(&mut client.stream, &mut first).is_ok() {
                    client.send(first);
                }
            }
            _ => {
                while client.request().is_some() {
                    client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
            }
        }
    });
    // A client that stays silent for too long where only HTTP is granted is refused: each speaks at once.
    let spoken = |_| {
        let mut buyer = mesh.buyer();
        assert_eq!(buyer.get("/list").text(), "ok");
        buyer
    };
    let mut web: Vec<Client> = (0..100).map(spoken).collect();
    let mut bytes: Vec<Client> = (0..100).map(|_| mesh.connect("thief", mesh.store())).collect();
    let all = |web: &mut [Client], bytes: &mut [Client]| {
        for client in web {
            assert_eq!(client.get("/list").text(), "ok");
        }
        for client in bytes {
            assert_eq!(client.send("\x01").exactly(1), b"\x01");
        }
    };
    all(&mut web, &mut bytes);
    let (accepted, before) = (store.accepted(), mesh.stats());
    for round in 0..20 {
        mesh.apply(&unrelated(round));
    }
    all(&mut web, &mut bytes);
    let after = mesh.stats();
    assert_eq!(
        (store.accepted(), after.upstream_connects),
        (accepted, before.upstream_connects)
    );
    assert_eq!((after.revoked, after.open, after.accepted), (0, 200, 200));
}

#[test]
fn an_idle_connection_to_a_service_of_hundreds_stays_while_one_of_them_may_be_reached() {
    let mut slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: store-a, namespace: shop, \
         labels: {kubernetes.io/service-name: store}}\naddressType: IPv4\nports: [{name: web, port: 8080}]\nendpoints:\n"
        .to_owned();
    let mut pods = String::new();
    for last in 110..250 {
        slice += &format!("- {{addresses: [10.0.0.{last}], conditions: {{ready: true}}}}\n");
        pods += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: other-{last}, namespace: shop}}\n\
             spec: {{nodeName: there, serviceAccountName: other}}\nstatus: {{podIPs: [{{ip: 10.0.0.{last}}}]}}\n"
        );
    }
    slice += "- {addresses: [10.0.0.2], conditions: {ready: true}}\n";
    let mesh = Mesh::new(&format!("{HTTP}---\n{slice}{pods}"));
    let store = Arc::new(Server::web(mesh.address(2, 8080), "one"));
    let mut idle: Vec<Client> = (0..50).map(|_| mesh.buyer()).collect();
    for client in &mut idle {
        // Refused at 140 of 141 endpoints, and still of use.
        assert!([200, 403].contains(&client.get("/list").status()));
    }
    mesh.apply(&unrelated(0));
    assert!(idle[0].is_quiet());
    mesh.apply(&HTTP.replace("name: buyer", "name: thief"));
    for client in &mut idle {
        assert_eq!(client.ended(), Ended::Fin);
    }
    assert!(store.accepted() <= 1);
}
