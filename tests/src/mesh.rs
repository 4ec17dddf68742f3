//! The usual fixture: a world with namespace `shop`, its manifests and the processes in its pods.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use crate::manifests::{Manifests, PodManifest, Service};
use crate::server::{PORTS, Server, UDP};
use crate::session::Session;
use crate::world::{Pod, Remote, World};
use crate::{Agent, smi};

/// Container ports as most manifests have them: named by protocol, so that nothing has to be detected.
pub const CONTAINER_PORTS: &[(&str, u16)] = &[
    ("http", 80),
    ("tcp-whoami", 9000),
    ("tcp-sink", 9001),
    ("tcp-source", 9002),
    ("tcp-reset", 9003),
    ("tcp-silent", 9004),
];

/// A world and what runs in it. Pods are called as their account and their label `app`.
pub struct Mesh {
    // Servers first: they end before their world goes.
    servers: BTreeMap<String, Server>,
    /// The folder that the agent watches.
    pub manifests: Manifests,
    /// The node.
    pub world: World,
}

impl Mesh {
    /// A world with the enforced namespace `shop` and nothing in it.
    pub fn new() -> Result<Mesh> {
        let world = World::new()?;
        let manifests = Manifests::new(world.dir().join("manifests"))?;
        manifests.namespace("shop", Some("enforce"))?;
        Ok(Mesh {
            servers: BTreeMap::new(),
            manifests,
            world,
        })
    }

    /// A pod of `shop` without a server.
    pub fn client(&mut self, name: &str) -> Result<Pod> {
        let pod = self.world.pod(name)?;
        self.declare(&pod, "shop", name)?;
        Ok(pod)
    }

    /// A pod of `shop` with a server on every port of [`PORTS`].
    pub fn server(&mut self, name: &str) -> Result<Pod> {
        self.server_in(name, "shop")
    }

    /// The same in another namespace, which must be declared.
    pub fn server_in(&mut self, name: &str, namespace: &str) -> Result<Pod> {
        let pod = self.world.pod(name)?;
        self.declare(&pod, namespace, name)?;
        self.serve(&pod)?;
        Ok(pod)
    }

    /// A pod of another node, known to the manifests.
    pub fn remote_client(&mut self, remote: &Remote, name: &str) -> Result<Pod> {
        let pod = self.world.remote_pod(remote, name)?;
        self.declare(&pod, "shop", name)?;
        Ok(pod)
    }

    /// Starts a server in the pod; it calls itself as the pod.
    pub fn serve(&mut self, pod: &Pod) -> Result<()> {
        self.servers.insert(pod.name.clone(), Server::start(pod, &pod.name)?);
        Ok(())
    }

    /// The server of that pod.
    pub fn server_of(&self, pod: &Pod) -> Result<&Server> {
        self.servers
            .get(&pod.name)
            .with_context(|| format!("pod {} has no server", pod.name))
    }

    /// Ends the server of a pod.
    pub fn stop_server(&mut self, pod: &Pod) {
        self.servers.remove(&pod.name);
    }

    /// Writes a pod's manifest.
    pub fn declare(&self, pod: &Pod, namespace: &str, account: &str) -> Result<()> {
        let labels = [("app", pod.name.as_str())];
        self.manifests.pod(&PodManifest {
            pod,
            namespace,
            account,
            labels: &labels,
            ports: CONTAINER_PORTS,
        })
    }

    /// A Service for the pods with that label `app`, on every port of [`PORTS`].
    pub fn service(&self, name: &str, app: &str, ips: &[&str]) -> Result<()> {
        let names: Vec<&str> = CONTAINER_PORTS.iter().map(|(name, _)| *name).collect();
        self.service_with(name, app, ips, &names)
    }

    /// The same with port names that say nothing of the protocol: it is found from the first bytes.
    pub fn service_to_detect(&self, name: &str, app: &str, ips: &[&str]) -> Result<()> {
        self.service_with(name, app, ips, &["a", "b", "c", "d", "e", "f"])
    }

    fn service_with(&self, name: &str, app: &str, ips: &[&str], names: &[&str]) -> Result<()> {
        let selector = [("app", app)];
        let ports: Vec<_> = PORTS
            .iter()
            .zip(names)
            .map(|((_, port), name)| (*name, *port, *port))
            .collect();
        self.manifests.service(&Service {
            name,
            ips,
            selector: &selector,
            ports: &ports,
        })
    }

    /// Grants `source` HTTP (any method) on paths that match, at `destination`: file `http-SOURCE`.
    pub fn grant_http(&self, source: &str, destination: &str, path: &str) -> Result<()> {
        let routes = smi::routes(&format!("for-{source}"), &[("all", path, &["*"])]);
        let rules: &[(&str, &str, &[&str])] = &[("HTTPRouteGroup", &format!("for-{source}"), &[])];
        let target = smi::target(&format!("http-{source}"), destination, &[source], rules);
        self.manifests
            .write(&format!("http-{source}"), &smi::documents(&[routes, target]))
    }

    /// Grants `source` every TCP port of `ports` (none: all) at `destination`: file `tcp-SOURCE`.
    pub fn grant_tcp(&self, source: &str, destination: &str, ports: &[u16]) -> Result<()> {
        let route = smi::tcp_route(&format!("ports-for-{source}"), ports);
        let rules: &[(&str, &str, &[&str])] = &[("TCPRoute", &format!("ports-for-{source}"), &[])];
        let target = smi::target(&format!("tcp-{source}"), destination, &[source], rules);
        self.manifests
            .write(&format!("tcp-{source}"), &smi::documents(&[route, target]))
    }

    /// Grants `source` every UDP port of `ports` (none: all) at `destination`: file `udp-SOURCE`.
    pub fn grant_udp(&self, source: &str, destination: &str, ports: &[u16]) -> Result<()> {
        let name = format!("udp-{source}");
        let route = smi::udp_route(&name, ports);
        let rules: &[(&str, &str, &[&str])] = &[("UDPRoute", &name, &[])];
        let target = smi::target(&name, destination, &[source], rules);
        self.manifests.write(&name, &smi::documents(&[route, target]))
    }

    /// A Service for the pods with that label `app`, on UDP port [`crate::server::UDP`].
    pub fn udp_service(&self, name: &str, app: &str, ips: &[&str]) -> Result<()> {
        let ip = ips.first().map_or(String::new(), |ip| format!("  clusterIP: {ip:?}\n"));
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  clusterIPs: {ips:?}\n\
             {ip}  selector:\n    app: {app}\n  ports:\n  - name: echo\n    port: {UDP}\n    protocol: UDP\n"
        );
        self.manifests.write(&format!("service-{name}"), &text)
    }

    /// A client process in the pod.
    pub fn session(&self, pod: &Pod) -> Result<Session> {
        Session::start(pod)
    }

    /// Starts the agent on the manifests.
    pub fn agent(&self) -> Result<Agent> {
        self.agent_with(&[])
    }

    /// Starts the agent with more arguments.
    pub fn agent_with(&self, args: &[&str]) -> Result<Agent> {
        Agent::start(&self.world, self.dir(), args)
    }

    /// Starts an agent on another node, on the same manifests.
    pub fn agent_at(&self, remote: &Remote) -> Result<Agent> {
        Agent::start(&self.world.at(remote), self.dir(), &[])
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.manifests.dir()
    }
}
