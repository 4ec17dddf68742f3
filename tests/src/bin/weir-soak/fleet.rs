//! The processes: pods with servers and clients in them, and the threads that read what the clients tell.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use weir_tests::World;
use weir_tests::server::{HTTP, SINK, SOURCE, Server, UDP, WHOAMI};
use weir_tests::world::{Pod, Remote};

use crate::court::Court;
use crate::event::{Kind, Orders, Work};
use crate::rng::Rng;

/// ClusterIPs of Service `store`, whose ports say what they speak.
pub const STORE: [&str; 2] = ["10.96.0.10", "fd96::10"];
/// ClusterIPs of Service `any`, whose ports do not.
pub const ANY: [&str; 2] = ["10.96.0.20", "fd96::20"];
/// ClusterIPs of Service `depot`.
pub const DEPOT: [&str; 2] = ["10.96.0.30", "fd96::30"];

/// A client process.
struct Client {
    child: Child,
    input: ChildStdin,
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All of them, and the pods that they run in.
pub struct Fleet {
    // In front of the world: they end before it goes.
    clients: BTreeMap<String, Client>,
    servers: BTreeMap<String, Server>,
    pods: BTreeMap<String, Pod>,
    remote: Option<Remote>,
    court: Arc<Court>,
    pause_ms: u64,
    paused: bool,
    /// The node.
    pub world: World,
}

impl Fleet {
    /// A node without pods. Each worker pauses that long between rounds, in the mean.
    pub fn new(court: Arc<Court>, pause_ms: u64) -> Result<Fleet> {
        Ok(Fleet {
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            pods: BTreeMap::new(),
            remote: None,
            court,
            pause_ms,
            paused: false,
            world: World::new()?,
        })
    }

    /// Where its clients are heard.
    pub fn court(&self) -> Arc<Court> {
        self.court.clone()
    }

    /// A pod of this node, at the addresses of `number` where one is given.
    pub fn pod(&mut self, name: &str, number: Option<u32>) -> Result<Pod> {
        let pod = match number {
            Some(number) => self.world.pod_with_address_of(name, number)?,
            None => self.world.pod(name)?,
        };
        self.pods.insert(name.to_string(), pod.clone());
        Ok(pod)
    }

    /// A pod of another node.
    pub fn far_pod(&mut self, name: &str) -> Result<Pod> {
        if self.remote.is_none() {
            self.remote = Some(self.world.remote("node-b")?);
        }
        let remote = self.remote.as_ref().context("the other node")?;
        let pod = self.world.remote_pod(remote, name)?;
        self.pods.insert(name.to_string(), pod.clone());
        Ok(pod)
    }

    /// The pod of that name.
    pub fn place(&self, name: &str) -> Result<&Pod> {
        self.pods.get(name).with_context(|| format!("there is no pod {name}"))
    }

    /// Starts a server in it.
    pub fn serve(&mut self, pod: &Pod) -> Result<()> {
        self.servers.insert(pod.name.clone(), Server::start(pod, &pod.name)?);
        Ok(())
    }

    /// Starts a client in it. One that is not captured knows no Services, only the addresses of `direct`.
    pub fn call(&mut self, pod: &Pod, direct: &[Pod], captured: bool, rng: &mut Rng) -> Result<()> {
        let orders = Orders {
            client: pod.name.clone(),
            ips: [pod.v4(), pod.v6()],
            seed: rng.next(),
            work: if captured {
                inside(direct, self.pause_ms, rng)
            } else {
                outside(direct, self.pause_ms)
            },
        };
        let mut command = pod.command(&std::env::current_exe().context("path of this program")?)?;
        command.arg("client").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("starting a client in pod {}", pod.name))?;
        let mut input = child.stdin.take().context("the client's standard input")?;
        let output = child.stdout.take().context("the client's standard output")?;
        let court = self.court.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                court.hear(&line);
            }
        });
        writeln!(input, "{}", serde_json::to_string(&orders)?)?;
        if self.paused {
            writeln!(input, "pause")?;
        }
        self.clients.insert(pod.name.clone(), Client { child, input });
        Ok(())
    }

    /// Ends what runs in a pod, and the pod.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        self.clients.remove(name);
        self.servers.remove(name);
        let pod = self
            .pods
            .remove(name)
            .with_context(|| format!("there is no pod {name}"))?;
        self.world.remove(&pod)
    }

    /// Lets all clients rest, or go on.
    pub fn pause(&mut self, paused: bool) -> Result<()> {
        self.paused = paused;
        for client in self.clients.values_mut() {
            writeln!(client.input, "{}", if paused { "pause" } else { "resume" }).context("a client is gone")?;
        }
        Ok(())
    }

    /// A client that ended by itself: a fault of the soak's.
    pub fn fallen(&mut self) -> Option<String> {
        let mut clients = self.clients.iter_mut();
        clients.find_map(|(name, client)| match client.child.try_wait() {
            Ok(None) => None,
            _ => Some(name.clone()),
        })
    }

    /// All pods there are.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }
}

/// What a captured client does: every protocol through both Services, by both families, and some by a pod's address.
fn inside(direct: &[Pod], pause_ms: u64, rng: &mut Rng) -> Vec<Work> {
    let mut work = Vec::new();
    let mut add = |kind, ip: &str, port| {
        if let Ok(ip) = ip.parse::<IpAddr>() {
            let to = SocketAddr::new(ip, port);
            work.push(Work { kind, to, pause_ms });
        }
    };
    let [store, any, depot] = [STORE, ANY, DEPOT].map(|ips| rng.of(&ips));
    add(Kind::Kept, store, HTTP);
    add(Kind::Fresh, store, HTTP);
    add(Kind::Pipelined, store, HTTP);
    add(Kind::Kept, any, HTTP);
    add(Kind::Fresh, depot, HTTP);
    add(Kind::Upgraded, store, HTTP);
    add(Kind::Upgraded, any, HTTP);
    add(Kind::Udp, depot, UDP);
    add(Kind::Udp, store, UDP);
    for ip in [store, any, depot] {
        add(Kind::Echo, ip, WHOAMI);
    }
    add(Kind::Tls, any, WHOAMI);
    for (kind, port) in [(Kind::Up, SINK), (Kind::Down, SOURCE)] {
        add(kind, store, port);
        add(kind, any, port);
    }
    for pod in direct {
        let ip = if rng.once_in(2) { pod.v4() } else { pod.v6() };
        add(Kind::Kept, &ip.to_string(), HTTP);
        add(Kind::Echo, &ip.to_string(), WHOAMI);
        add(Kind::Udp, &ip.to_string(), UDP);
    }
    work
}

/// What a client does whose connections are judged on arrival only.
fn outside(direct: &[Pod], pause_ms: u64) -> Vec<Work> {
    let mut work = Vec::new();
    for pod in direct {
        for ip in [pod.v4(), pod.v6()] {
            for (kind, port) in [
                (Kind::Kept, HTTP),
                (Kind::Pipelined, HTTP),
                (Kind::Echo, WHOAMI),
                (Kind::Up, SINK),
                (Kind::Down, SOURCE),
                (Kind::Upgraded, HTTP),
                (Kind::Udp, UDP),
            ] {
                let to = SocketAddr::new(ip, port);
                work.push(Work { kind, to, pause_ms });
            }
        }
    }
    work
}
