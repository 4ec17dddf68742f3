//! The kubelet's probes: from the node's own addresses, to the ports that a pod declares for them, and nothing else.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use weir_tests::protocol::{Command, Dial, Request};
use weir_tests::server::{HTTP, SINK, WHOAMI};
use weir_tests::world::Pod;
use weir_tests::{Mesh, Shop, eventually, netns};

/// Nobody listens there.
const CLOSED: u16 = 9099;

/// A shop whose store declares probes of its HTTP and TCP port, and one of a port where nobody listens.
fn probed() -> Result<Shop> {
    let shop = Shop::open()?;
    declare(&shop.mesh, &shop.store, &[HTTP, WHOAMI, CLOSED])?;
    Ok(shop)
}

/// Writes the pod's manifest with probes: HTTP by name, TCP and gRPC by number.
fn declare(mesh: &Mesh, pod: &Pod, ports: &[u16]) -> Result<()> {
    mesh.declare(pod, "shop", &pod.name)?;
    let path = mesh.manifests.path(&format!("pod-{}", pod.name));
    let mut probes = String::new();
    for (port, kind) in ports.iter().zip(["livenessProbe", "readinessProbe", "startupProbe"]) {
        probes += &match *port {
            HTTP => format!("    {kind}: {{httpGet: {{port: http, path: /healthz}}}}\n"),
            CLOSED => format!("    {kind}: {{grpc: {{port: {CLOSED}}}}}\n"),
            port => format!("    {kind}: {{tcpSocket: {{port: {port}}}}}\n"),
        };
    }
    let text = std::fs::read_to_string(path)?.replace("  - name: app\n", &format!("  - name: app\n{probes}"));
    mesh.manifests.write(&format!("pod-{}", pod.name), &text)
}

/// A connection as the kubelet makes one.
fn dial(ip: IpAddr, port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::new(ip, port), Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(stream)
}

/// The status line that an HTTP probe gets.
fn get(ip: IpAddr) -> Result<String> {
    let mut stream = dial(ip, HTTP)?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

fn is_refused(result: std::io::Result<TcpStream>) -> bool {
    result.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[test]
fn a_probe_of_a_declared_port_reaches_the_app_whatever_is_granted() -> Result<()> {
    let shop = probed()?;
    let agent = shop.mesh.agent()?;
    for ip in [shop.store.v4(), shop.store.v6()] {
        // Not through the engine: the path is granted to nobody, and the port to one identity only.
        let status = shop.mesh.world.on_node(|| get(ip)).with_context(|| format!("{ip}"))?;
        assert_eq!(status, "HTTP/1.1 200 OK");
        shop.mesh.world.on_node(|| {
            let mut line = [0; 1];
            dial(ip, WHOAMI)?
                .read_exact(&mut line)
                .context("the server speaks first")
        })?;
    }
    let metrics = agent.metrics()?;
    let probes = |hook: &str| metrics.sum("weir_kernel_verdicts_total", &[hook, "outcome=\"probe\""]);
    assert_eq!((probes("hook=\"sk_lookup\""), probes("hook=\"syn\"")), (4.0, 4.0));
    assert_eq!(metrics.sum("weir_engine_accepted_total", &[]), 0.0);
    assert!(!agent.log().contains("refused"), "{}", agent.log());
    Ok(())
}

#[test]
fn an_undeclared_port_is_refused_to_the_node() -> Result<()> {
    let shop = probed()?;
    let agent = shop.mesh.agent()?;
    for ip in [shop.store.v4(), shop.store.v6()] {
        assert!(shop.mesh.world.on_node(|| Ok(is_refused(dial(ip, SINK))))?, "{ip}");
        // Another pod's probes say nothing about this one's.
        let buyer = if ip.is_ipv4() { shop.buyer.v4() } else { shop.buyer.v6() };
        assert!(
            shop.mesh.world.on_node(|| Ok(is_refused(dial(buyer, HTTP))))?,
            "{buyer}"
        );
    }
    agent.wait_log(&["refused", "port=9001", "the source is no pod that is known"])?;
    Ok(())
}

#[test]
fn a_probe_of_a_port_where_nobody_listens_fails_as_it_should() -> Result<()> {
    let shop = probed()?;
    let agent = shop.mesh.agent()?;
    assert!(
        shop.mesh
            .world
            .on_node(|| Ok(is_refused(dial(shop.store.v4(), CLOSED))))?
    );
    let passed = agent.metrics()?.sum(
        "weir_kernel_verdicts_total",
        &["hook=\"sk_lookup\"", "outcome=\"probe\""],
    );
    assert_eq!(passed, 1.0, "by the pod itself, which answers with a reset");
    Ok(())
}

#[test]
fn a_probe_port_is_open_to_nobody_else() -> Result<()> {
    let shop = probed()?;
    let world = &shop.mesh.world;
    let far = world.remote("far")?;
    let stranger = world.remote_pod(&far, "stranger")?;
    let _agent = shop.mesh.agent()?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    let mut stranger = shop.mesh.session(&stranger)?;
    for ip in [shop.store.v4(), shop.store.v6()] {
        for port in [HTTP, WHOAMI] {
            thief.open(&Dial::to(ip, port))?.refused()?;
            stranger.open(&Dial::to(ip, port))?.refused()?;
            // The other node itself: its addresses are not this one's.
            let refused = netns::within(&format!("{}-far", world.id()), || Ok(is_refused(dial(ip, port))))?;
            assert!(refused, "{ip}:{port}");
        }
    }
    // A grant of HTTP on the port stays one of HTTP, with its paths.
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let conn = buyer.must_open(&Dial::to(shop.store.v4(), HTTP))?;
    assert_eq!(buyer.http(conn, &Request::get("/healthz"))?.status, 403);
    Ok(())
}

#[test]
fn an_address_of_the_node_that_a_pod_claims_is_the_pods() -> Result<()> {
    let shop = probed()?;
    let agent = shop.mesh.agent()?;
    let status = shop.mesh.world.on_node(|| get(shop.store.v6()))?;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: liar, namespace: shop}}\nspec: {{serviceAccountName: thief, nodeName: \
         elsewhere}}\nstatus: {{podIPs: [{{ip: {}}}]}}\n",
        weir_node_v6()
    );
    shop.mesh.manifests.write("liar", &text)?;
    eventually("the node's address is a pod's", || {
        shop.mesh.world.on_node(|| Ok(is_refused(dial(shop.store.v6(), HTTP))))
    })?;
    drop(agent);
    Ok(())
}

/// The node's IPv6 address (see `world/link.rs`).
fn weir_node_v6() -> IpAddr {
    "fd77::1".parse().expect("an address")
}

#[test]
fn a_probe_that_is_removed_is_refused_from_then_on_and_one_that_comes_passes() -> Result<()> {
    let shop = probed()?;
    let _agent = shop.mesh.agent()?;
    let (world, ip) = (&shop.mesh.world, shop.store.v4());
    let mut open = world.on_node(|| Ok(dial(ip, WHOAMI)?))?;
    open.read_exact(&mut [0; 1])?;
    declare(&shop.mesh, &shop.store, &[HTTP])?;
    eventually("the port is refused", || {
        world.on_node(|| Ok(is_refused(dial(ip, WHOAMI))))
    })?;
    eventually("the open connection ends", || {
        Ok(open
            .read(&mut [0; 1024])
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset))
    })?;
    assert_eq!(world.on_node(|| get(ip))?, "HTTP/1.1 200 OK", "the other goes on");
    declare(&shop.mesh, &shop.store, &[HTTP, WHOAMI])?;
    eventually("the port passes again", || {
        world.on_node(|| Ok(dial(ip, WHOAMI).is_ok()))
    })?;
    Ok(())
}

#[test]
fn an_open_probe_outlives_changes_of_policy_and_probes_go_on_without_an_agent() -> Result<()> {
    let shop = probed()?;
    let mut agent = shop.mesh.agent()?;
    let (world, ip) = (&shop.mesh.world, shop.store.v4());
    let mut probe = world.on_node(|| Ok(dial(ip, WHOAMI)?))?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let conn = buyer.must_open(&Dial::to(ip, SINK))?;
    shop.mesh.manifests.remove("tcp-buyer")?;
    eventually("the grant is gone", || {
        let sent = buyer.stream(&Command::SendPattern { conn, len: 10 });
        Ok(sent.map_or(true, |stream| stream.errno != 0))
    })?;
    probe.read_exact(&mut [0; 1]).context("the probe was let alone")?;
    agent.kill()?;
    assert_eq!(world.on_node(|| get(ip))?, "HTTP/1.1 200 OK");
    assert!(world.on_node(|| Ok(is_refused(dial(ip, SINK))))?);
    Ok(())
}
