//! Who a pod is changes while its connections are open.

use weir_core::model::Kind;

use crate::mesh::{HTTP, Mesh, TCP};
use crate::peer::{Ended, Server};

#[test]
fn identities_by_label_change_both_ways_while_connections_are_open() {
    let binding = |label: &str| {
        format!(
            "apiVersion: access.smi-spec.io/v1alpha4\nkind: IdentityBinding\nmetadata: {{name: clients, namespace: shop}}\n\
             spec: {{schemes: [{{podLabelSelector: {{matchLabels: {{{label}}}}}}}]}}\n"
        )
    };
    let grant = "apiVersion: access.smi-spec.io/v1alpha4\nkind: TrafficTarget\nmetadata: {name: bound, namespace: shop}\n\
         spec:\n  destination: {kind: ServiceAccount, name: store}\n  rules: [{kind: HTTPRouteGroup, name: web}]\n  \
         sources: [{kind: IdentityBinding, group: access.smi-spec.io, name: clients}]\n";
    let routes = HTTP.split_once("---\n").unwrap().0;
    let thief = |label: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: thief, namespace: shop, labels: {{{label}}}}}\n\
             spec: {{nodeName: here, serviceAccountName: thief}}\nstatus: {{podIPs: [{{ip: 10.0.0.4}}]}}\n"
        )
    };
    let mesh = Mesh::new(&[routes, &binding("\"role\": client"), grant].join("---\n"));
    Server::web(mesh.address(2, 8080), "one");
    let connect = || mesh.connect("thief", mesh.store());
    assert_eq!(connect().ended(), Ended::Reset, "no label, no identity");
    mesh.apply(&thief("\"role\": client"));
    let mut open = connect();
    assert_eq!(open.get("/list").status(), 200);
    // The binding is edited: the pod stays, its identity is another one, to which nothing is granted.
    mesh.apply(&binding("\"role\": customer"));
    assert_eq!(open.ended(), Ended::Fin);
    assert_eq!(connect().ended(), Ended::Reset);
    mesh.apply(&thief("\"role\": customer"));
    let mut open = connect();
    assert_eq!(open.get("/list").status(), 200);
    // The pod's label goes.
    mesh.apply(&thief("\"role\": client"));
    assert_eq!(open.ended(), Ended::Fin);
    mesh.apply(&binding("\"role\": client"));
    assert_eq!(connect().get("/list").status(), 200);
}

#[test]
fn a_store_that_is_given_another_account_loses_what_is_under_way() {
    let mesh = Mesh::new(HTTP);
    let (tell, told) = std::sync::mpsc::channel();
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        client.request();
        tell.send(client.ended()).unwrap();
    });
    let mut buyer = mesh.buyer();
    buyer.send("GET /list HTTP/1.1\r\nHost: store\r\n\r\n");
    mesh.until("it is under way", |stats| stats.upstream_connects == 1);
    mesh.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: store-1, namespace: shop, labels: {app: store, version: one}}\n\
         spec: {nodeName: here, serviceAccountName: other}\nstatus: {podIPs: [{ip: 10.0.0.2}]}\n",
    );
    assert_eq!(buyer.ended(), Ended::Reset);
    assert_eq!(told.recv_timeout(std::time::Duration::from_secs(5)), Ok(Ended::Reset));
}

/// A binding of buyer and store, which no target names yet, and one that names it.
const BOUND: [&str; 2] = [
    "apiVersion: access.smi-spec.io/v1alpha4\nkind: IdentityBinding\nmetadata: {name: all, namespace: shop}\n\
     spec: {schemes: [{serviceAccount: buyer}, {serviceAccount: store}]}\n",
    "apiVersion: access.smi-spec.io/v1alpha4\nkind: TrafficTarget\nmetadata: {name: among, namespace: shop}\n\
     spec:\n  destination: {kind: IdentityBinding, group: access.smi-spec.io, name: all}\n  \
     rules: [{kind: HTTPRouteGroup, name: web}]\n  \
     sources: [{kind: IdentityBinding, group: access.smi-spec.io, name: all}]\n",
];

#[test]
fn a_target_that_names_a_binding_for_the_first_time_disturbs_nothing_that_stays_allowed() {
    let mesh = Mesh::new(HTTP);
    mesh.apply(BOUND[0]);
    let (go, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        while let Some(request) = client.request() {
            if request.head.contains("/late") {
                wait.lock().unwrap().recv().unwrap();
            }
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let mut idle = mesh.buyer();
    assert_eq!(idle.get("/list").status(), 200);
    let mut busy = mesh.buyer();
    busy.send("GET /late HTTP/1.1\r\nHost: store\r\n\r\n");
    mesh.until("it is under way", |stats| {
        stats.upstream_connects + stats.upstream_reuses == 2
    });
    let connects = mesh.stats().upstream_connects;
    mesh.apply(BOUND[1]);
    mesh.until("it was judged again", |stats| stats.rejudged > 0);
    go.send(()).unwrap();
    assert_eq!(busy.response().status(), 200);
    assert_eq!(idle.get("/list").status(), 200);
    mesh.remove(Kind::TrafficTarget, "among");
    assert_eq!(idle.get("/list").status(), 200);
    assert_eq!(busy.get("/list").status(), 200);
    let stats = mesh.stats();
    assert_eq!(
        (stats.revoked, stats.upstream_connects),
        (0, connects),
        "connections to servers stay, too"
    );
    // The other way round: who is granted something by the binding alone loses it with the binding's name.
    mesh.apply(BOUND[1]);
    mesh.remove(Kind::TrafficTarget, "shopping");
    assert_eq!(idle.get("/list").status(), 200);
    mesh.remove(Kind::TrafficTarget, "among");
    assert_eq!(idle.ended(), Ended::Fin);
}

#[test]
fn bytes_go_on_when_a_binding_is_named_and_still_allowed() {
    let mesh = Mesh::new(TCP);
    mesh.apply(BOUND[0]);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        while let Some(some) = client.some(1) {
            client.send(some);
        }
    });
    let mut open = mesh.buyer();
    assert_eq!(open.send("a").exactly(1), b"a");
    mesh.apply(HTTP.split_once("---\n").unwrap().0);
    mesh.apply(BOUND[1]);
    assert_eq!(open.send("b").exactly(1), b"b");
    mesh.remove(Kind::TrafficTarget, "piping");
    assert_eq!(
        open.ended(),
        Ended::Reset,
        "bytes are not granted by the binding's target"
    );
}
