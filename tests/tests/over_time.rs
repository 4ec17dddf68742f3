//! Open connections while objects and pods change under them: who a pod is, whose address it has, what is undisturbed.

use anyhow::{Context, Result, ensure};
use weir_tests::manifests::PodManifest;
use weir_tests::protocol::{Answer, Command, Dial, Request};
use weir_tests::server::{HTTP, WHOAMI};
use weir_tests::shop::STORE4;
use weir_tests::world::Pod;
use weir_tests::{Mesh, Session, Shop, eventually, smi};

/// A binding of shop with one scheme.
fn binding(scheme: &str) -> String {
    format!(
        "apiVersion: access.smi-spec.io/v1alpha4\nkind: IdentityBinding\nmetadata:\n  name: clients\n  namespace: shop\n\
         spec:\n  schemes:\n  - {scheme}\n"
    )
}

/// Grants that name the binding: `/books` by HTTP, and [`WHOAMI`].
fn grants() -> String {
    let target = |name: &str, kind: &str, route: &str| {
        format!(
            "apiVersion: access.smi-spec.io/v1alpha4\nkind: TrafficTarget\nmetadata:\n  name: {name}\n  namespace: shop\n\
             spec:\n  destination: {{kind: ServiceAccount, name: store, namespace: shop}}\n  \
             rules: [{{kind: {kind}, name: {route}}}]\n  \
             sources: [{{kind: IdentityBinding, group: access.smi-spec.io, name: clients}}]\n"
        )
    };
    smi::documents(&[
        smi::routes("books", &[("read", "/books", &["GET"])]),
        smi::tcp_route("whoami", &[WHOAMI]),
        target("http-clients", "HTTPRouteGroup", "books"),
        target("tcp-clients", "TCPRoute", "whoami"),
    ])
}

fn declare(mesh: &Mesh, pod: &Pod, account: &str, role: &str) -> Result<()> {
    mesh.manifests.pod(&PodManifest {
        pod,
        namespace: "shop",
        account,
        labels: &[("app", pod.name.as_str()), ("role", role)],
        ports: &[],
    })
}

/// One connection of each tier, and nothing of them may be seen to end until [`Open::ends`].
struct Open {
    session: Session,
    http: usize,
    bytes: usize,
}

impl Open {
    fn at(mesh: &Mesh, client: &Pod, store: &Pod) -> Result<Open> {
        let mut session = mesh.session(client)?;
        let mut opened = None;
        eventually("it gets in", || {
            opened = session.open(&Dial::to(store.v4(), WHOAMI))?.conn;
            Ok(opened.is_some())
        })?;
        let bytes = opened.context("not opened")?;
        session.text(&Command::ReadLine(bytes))?;
        let http = session.must_open(&Dial::to(store.v4(), HTTP))?;
        let mut open = Open { session, http, bytes };
        open.goes_on()?;
        Ok(open)
    }

    fn goes_on(&mut self) -> Result<()> {
        let response = self.session.http(self.http, &Request::get("/books"))?;
        ensure!(response.status == 200, "{response:?}");
        let text = "still here\n".to_string();
        self.session.stream(&Command::Send {
            conn: self.bytes,
            text: text.clone(),
        })?;
        let echo = self.session.text(&Command::ReadLine(self.bytes))?;
        ensure!(echo == text, "{echo:?}");
        Ok(())
    }

    fn ends(&mut self) -> Result<()> {
        for conn in [self.bytes, self.http] {
            let end = self.session.stream(&Command::Read { conn, len: None })?;
            // The kernel tier's are destroyed: ECONNABORTED.
            let ended = [libc::ECONNRESET, libc::ECONNABORTED].contains(&end.errno);
            ensure!(end.fin || ended, "still open: {end:?}");
        }
        Ok(())
    }
}

#[test]
fn a_binding_by_labels_is_live() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (client, store) = (mesh.client("client")?, mesh.server("store")?);
    mesh.manifests.write("grants", &grants())?;
    mesh.manifests
        .write("binding", &binding("podLabelSelector: {matchLabels: {role: customer}}"))?;
    declare(&mesh, &client, "any", "customer")?;
    let _agent = mesh.agent()?;
    let mut open = Open::at(&mesh, &client, &store)?;
    // The pod's label goes and comes back; then the binding asks for another one, and back.
    declare(&mesh, &client, "any", "visitor")?;
    open.ends()?;
    declare(&mesh, &client, "any", "customer")?;
    let mut open = Open::at(&mesh, &client, &store)?;
    mesh.manifests
        .write("binding", &binding("podLabelSelector: {matchLabels: {role: visitor}}"))?;
    open.ends()?;
    mesh.manifests
        .write("binding", &binding("podLabelSelector: {matchLabels: {role: customer}}"))?;
    Open::at(&mesh, &client, &store)?.goes_on()
}

#[test]
fn bindings_by_account_and_by_spiffe_id_are_live() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (client, store) = (mesh.client("client")?, mesh.server("store")?);
    mesh.manifests.write("grants", &grants())?;
    let _agent = mesh.agent()?;
    let schemes = [
        ("serviceAccount: client", "serviceAccount: another"),
        (
            "spiffeIdentities: [spiffe://any.domain/ns/shop/sa/client]",
            "spiffeIdentities: [spiffe://any.domain/ns/shop/sa/another]",
        ),
    ];
    for (binds, binds_not) in schemes {
        mesh.manifests.write("binding", &binding(binds))?;
        let mut open = Open::at(&mesh, &client, &store)?;
        mesh.manifests.write("binding", &binding(binds_not))?;
        open.ends().context(binds)?;
        mesh.manifests.write("binding", &binding(binds))?;
        let mut open = Open::at(&mesh, &client, &store)?;
        mesh.declare(&client, "shop", "renamed")?;
        open.ends().context("another account")?;
        mesh.declare(&client, "shop", "client")?;
        Open::at(&mesh, &client, &store)?.goes_on()?;
        mesh.manifests.remove("binding")?;
        eventually("nobody is bound", || {
            let opened = mesh.session(&client)?.open(&Dial::to(store.v4(), WHOAMI))?;
            Ok(opened.errno != 0)
        })?;
    }
    Ok(())
}

#[test]
fn a_pod_whose_manifest_goes_loses_its_connections() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (client, store) = (mesh.client("client")?, mesh.server("store")?);
    mesh.manifests.write("grants", &grants())?;
    mesh.manifests.write("binding", &binding("serviceAccount: client"))?;
    let _agent = mesh.agent()?;
    let mut open = Open::at(&mesh, &client, &store)?;
    mesh.manifests.remove("pod-client")?;
    open.ends()
}

#[test]
fn an_address_that_another_pod_gets_is_not_the_old_one() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let conn = buyer.must_open(&Dial::to(STORE4, HTTP))?;
    assert_eq!(buyer.http(conn, &Request::get("/books"))?.status, 200);
    // The buyer's pod goes, and a thief's gets its address: with it neither a grant nor a connection that was kept.
    let number = shop.buyer.number;
    shop.mesh.manifests.remove("pod-buyer")?;
    eventually("the buyer is unknown", || {
        Ok(buyer.open(&Dial::to(shop.store.v4(), WHOAMI))?.errno != 0)
    })?;
    shop.mesh.world.remove(&shop.buyer)?;
    let heir = shop.mesh.world.pod_with_address_of("heir", number)?;
    shop.mesh.declare(&heir, "shop", "thief")?;
    let mut session = shop.mesh.session(&heir)?;
    eventually("the heir is a pod of the mesh", || {
        let opened = session.open(&Dial::to(STORE4, HTTP))?;
        assert_ne!(opened.errno, 0, "let in as the buyer");
        Ok(opened.errno == libc::ECONNREFUSED)
    })?;
    for port in [HTTP, WHOAMI] {
        session.open(&Dial::to(STORE4, port))?.refused()?;
        session.open(&Dial::to(shop.store.v4(), port))?.refused()?;
    }
    // Once it is a buyer itself, it gets a connection of its own, as the pod that it is.
    shop.mesh.declare(&heir, "shop", "buyer")?;
    eventually("the heir gets in", || {
        Ok(session.open(&Dial::to(STORE4, WHOAMI))?.errno == 0)
    })?;
    let response = session.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?;
    assert_eq!(
        (response.status, response.seen()?.request),
        (200, 1),
        "over a new connection"
    );
    Ok(())
}

#[test]
fn a_thousand_connections_see_nothing_of_twenty_unrelated_edits() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let (mut web, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        let conn = buyer.must_open(&Dial::to(STORE4, HTTP))?;
        web.push((conn, all_of(&mut buyer, conn)?));
        let conn = buyer.must_open(&Dial::to(STORE4, WHOAMI))?;
        buyer.text(&Command::ReadLine(conn))?;
        bytes.push(conn);
    }
    let sum = |name: &str| Ok::<_, anyhow::Error>(agent.metrics()?.sum(name, &[]));
    let connects = sum("weir_engine_upstream_connects_total")?;
    for round in 0..20 {
        let before = agent.plan()?["generation"].as_u64();
        shop.mesh.grant_tcp(&format!("somebody-{round}"), "nobody", &[WHOAMI])?;
        eventually("the edit is in force", || {
            Ok(agent.plan()?["generation"].as_u64() > before)
        })?;
    }
    for (conn, before) in web {
        let requests = all_of(&mut buyer, conn)?;
        ensure!(
            requests > before,
            "another connection to the server: {before}, then {requests}"
        );
    }
    for conn in bytes {
        let text = "still here\n".to_string();
        buyer.stream(&Command::Send {
            conn,
            text: text.clone(),
        })?;
        ensure!(buyer.text(&Command::ReadLine(conn))? == text);
    }
    assert_eq!(sum("weir_engine_revoked_total")?, 0.0);
    assert_eq!(
        sum("weir_engine_upstream_connects_total")?,
        connects,
        "nobody had to connect anew"
    );
    Ok(())
}

/// A request; its number on the server's connection.
fn all_of(session: &mut Session, conn: usize) -> Result<u64> {
    match session.run(&Command::Http {
        conn,
        request: Request::get("/books"),
    })? {
        Answer::Responses(responses) => {
            let response = responses.first().context("no response")?;
            ensure!(response.status == 200, "{response:?}");
            Ok(response.seen()?.request)
        }
        other => anyhow::bail!("{other:?}"),
    }
}
