//! DNS, by programs that are not ours.

use anyhow::{Context, Result};
use weir_tests::world::Pod;
use weir_tests::{Mesh, eventually};

#[test]
fn names_resolve_by_the_resolvers_cluster_ip() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (buyer, thief) = (mesh.client("buyer")?, mesh.client("thief")?);
    mesh.manifests.namespace("out", None)?;
    let (inside, outside) = (mesh.client("dns")?, mesh.world.pod("open-dns")?);
    mesh.declare(&outside, "out", "open-dns")?;
    for (name, pod, namespace, ip) in [
        ("kube-dns", "dns", "shop", "10.96.0.53"),
        ("open", "open-dns", "out", "10.96.0.54"),
    ] {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  clusterIP: {ip}\n  \
             selector:\n    app: {pod}\n  ports:\n  - name: dns\n    port: 53\n    targetPort: 5353\n    protocol: UDP\n"
        );
        mesh.manifests.write(&format!("service-{name}"), &text)?;
    }
    mesh.grant_udp("buyer", "dns", &[5353])?;
    let _agent = mesh.agent()?;
    let mut servers = Vec::new();
    for pod in [&inside, &outside] {
        let mut command = pod.command("/usr/sbin/dnsmasq".as_ref())?;
        command.args([
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--port=5353",
            "--user=root",
            "--conf-file=/dev/null",
        ]);
        command.args(["--address=/store.shop.svc/10.96.0.10", "--pid-file="]);
        servers.push(Ended(command.spawn().context("dnsmasq (Debian's dnsmasq-base)")?));
    }
    eventually("the resolver answers", || {
        Ok(dig(&buyer, "10.96.0.53")?.trim() == "10.96.0.10")
    })?;
    for pod in [&buyer, &thief] {
        assert_eq!(
            dig(pod, "10.96.0.54")?.trim(),
            "10.96.0.10",
            "one that takes no part, to {}",
            pod.name
        );
    }
    let refused = dig(&thief, "10.96.0.53")?;
    assert!(!refused.contains("10.96.0.10"), "{refused}");
    Ok(())
}

/// A process that ends with the value.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn dig(pod: &Pod, server: &str) -> Result<String> {
    let mut command = pod.command("/usr/bin/dig".as_ref())?;
    command.args([
        &format!("@{server}"),
        "+short",
        "+time=1",
        "+tries=1",
        "store.shop.svc",
        "A",
    ]);
    let output = command.output().context("dig (Debian's bind9-dnsutils)")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
