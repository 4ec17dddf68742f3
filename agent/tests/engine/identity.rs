//! Who a pod is changes while its connections are open.

use crate::mesh::{HTTP, Mesh};
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
    // The binding is edited: the pod stays, its identity is another one.
    mesh.apply(&binding("\"role\": customer"));
    assert_eq!(open.ended(), Ended::Reset);
    assert_eq!(connect().ended(), Ended::Reset);
    mesh.apply(&thief("\"role\": customer"));
    let mut open = connect();
    assert_eq!(open.get("/list").status(), 200);
    // The pod's label goes.
    mesh.apply(&thief("\"role\": client"));
    assert_eq!(open.ended(), Ended::Reset);
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
