//! A world: one node with its pods, out of network namespaces and control groups.
//!
//! ```text
//!  pod a ── veth ──┐                      ┌── veth ── pod d     (of the other node: no agent captures there)
//!  pod b ── veth ──┤ node (router, agent) ├── veth ── node-b ──┘
//!  pod c ── veth ──┘                      │
//! ```
//!
//! The node is a namespace too, so the machine's own routes, forwarding and addresses stay as they are, and every world
//! has the same addresses as the next. Pods have one IPv4 /32 and one IPv6 /128 and a default route to the node;
//! there is no bridge. Names begin with `weir-t-PID-N`: what a dead process left behind is found by its pid.

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{netns, wait};

pub mod cgroup;
pub mod janitor;
mod link;
mod names;
mod pod;

pub use names::Names;
pub use pod::Pod;

/// What every name of every world begins with.
pub const PREFIX: &str = "weir-t-";
/// Name of the node that the agent runs on, as manifests know it.
pub const NODE: &str = "node-a";

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A node with pods. Removes all of it when dropped.
pub struct World {
    names: Names,
    next_pod: AtomicU32,
    next_node: AtomicU32,
}

/// A node of the cluster that no agent runs on, behind the first one.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its name, for `spec.nodeName`.
    pub name: String,
    netns: String,
    number: u32,
}

impl World {
    /// Makes the node. Fails without root, without `ip`, and without cgroup v2.
    pub fn new() -> Result<World> {
        // SAFETY: no arguments, no memory.
        if unsafe { libc::geteuid() } != 0 {
            bail!("not root: network namespaces, control groups and BPF need it; run the tests as root");
        }
        janitor::start()?;
        let id = format!(
            "{PREFIX}{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let cgroup = cgroup::mount_point()?.join(&id);
        let world = World {
            names: Names {
                id,
                cgroup,
                other: None,
            },
            next_pod: AtomicU32::new(1),
            next_node: AtomicU32::new(1),
        };
        for group in [world.pods_cgroup(), world.agent_cgroup(), world.outside_cgroup()] {
            cgroup::make(&group)?;
        }
        fs::create_dir_all(world.dir()).with_context(|| format!("{}", world.dir().display()))?;
        link::make_node(&world.node_netns(), 0)?;
        Ok(world)
    }

    /// A pod of this node.
    pub fn pod(&self, name: &str) -> Result<Pod> {
        let number = self.next_pod.fetch_add(1, Ordering::Relaxed);
        self.pod_with_address_of(name, number)
    }

    /// A pod of this node with the addresses that belong to `number` (see [`Pod::number`]): those of a removed pod.
    pub fn pod_with_address_of(&self, name: &str, number: u32) -> Result<Pod> {
        let group = self.pods_cgroup().join(name);
        Pod::make(&self.names.id, NODE, &self.node_netns(), group, name, (1, number))
    }

    /// Another node, reached over a link of its own.
    pub fn remote(&self, name: &str) -> Result<Remote> {
        let number = self.next_node.fetch_add(1, Ordering::Relaxed);
        let remote = Remote {
            name: name.to_string(),
            netns: format!("{}-{name}", self.names.id),
            number,
        };
        link::make_node(&remote.netns, number)?;
        link::join_nodes(&self.node_netns(), &remote.netns, number)?;
        Ok(remote)
    }

    /// A pod of another node.
    pub fn remote_pod(&self, remote: &Remote, name: &str) -> Result<Pod> {
        let number = self.next_pod.fetch_add(1, Ordering::Relaxed);
        let group = self.outside_cgroup().join(name);
        Pod::make(
            &self.names.id,
            &remote.name,
            &remote.netns,
            group,
            name,
            (1 + remote.number, number),
        )
    }

    /// A namespace that a process of a pod could make for itself, behind the pod and with an address of its own. Its
    /// processes run in the pod's control group.
    pub fn nested(&self, inside: &Pod) -> Result<Pod> {
        inside.nest()
    }

    /// Ends a pod: its processes, its link, its namespace.
    pub fn remove(&self, pod: &Pod) -> Result<()> {
        cgroup::destroy(&pod.cgroup)?;
        netns::batch(&pod.node_netns, &format!("link del p{}\n", pod.number))?;
        netns::remove(&pod.netns)
    }
}

impl Deref for World {
    type Target = Names;

    fn deref(&self) -> &Names {
        &self.names
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = clean(&self.names.id) {
            eprintln!("cleaning up {}: {error:#}", self.names.id);
        }
    }
}

fn directory(id: &str) -> PathBuf {
    std::env::temp_dir().join(id)
}

/// Removes everything of one world: processes first, then names. Goes on after an error and returns the first.
pub fn clean(id: &str) -> Result<()> {
    let mut results = vec![cgroup::mount_point().and_then(|root| cgroup::destroy(&root.join(id)))];
    for name in netns::list(&format!("{id}-"))? {
        results.push(netns::remove(&name));
    }
    let pins = fs::read_dir("/sys/fs/bpf")
        .into_iter()
        .flatten()
        .flatten()
        .map(|dir| dir.path());
    let other = format!("{id}-");
    // Those of the first node's agent, and of agents of other nodes.
    let ours = |dir: &PathBuf| {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        name == id || name.starts_with(&other)
    };
    for dir in pins.filter(ours).chain([directory(id)]) {
        // Pins of a killed agent's programs go one after the other; a busy one is worth a second try.
        results.push(wait::until(Duration::from_secs(1), || match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", dir.display()))
            }
            _ => Ok(()),
        }));
    }
    results.into_iter().collect()
}
