//! The enrolled pods of this node, as the publisher hands them over.
//!
//! Bias: a pod that can't be served costs only itself. Its error goes back to the publisher, which must not capture
//! it; the others are listening when the call returns.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir_core::model::Key;

use super::Shared;
use super::netns::Namespace;

/// An enrolled pod of this node.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// Namespace and name.
    pub pod: Key,
    /// Cookie of its network namespace; what tells pods apart.
    pub cookie: u64,
    /// The network namespace itself.
    pub namespace: Namespace,
    /// Its addresses, at most one per family. The engine listens on each.
    pub ips: Vec<IpAddr>,
}

/// Why a pod has no listeners.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// A socket could not be made.
    #[error(
        "can't listen on {address} in the network namespace of pod {pod}: {source}; is the address there, and may the agent enter?"
    )]
    Listen {
        /// The pod.
        pod: Key,
        /// What was to be bound.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The namespace is not the one that the kernel's programs know the pod by.
    #[error("network namespace of pod {pod} has cookie {found}, not {expected}: it was made anew")]
    Replaced {
        /// The pod.
        pod: Key,
        /// Cookie in the plan.
        expected: u64,
        /// Cookie of the socket.
        found: u64,
    },
    /// The kernel's programs did not take the listener.
    #[error("can't register the listener on {address} of pod {pod}: {source}; is the listener map full?")]
    Register {
        /// The pod.
        pod: Key,
        /// Where it listens.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The core's thread is gone.
    #[error("can't listen for pod {pod}: the engine has stopped")]
    Stopped {
        /// The pod.
        pod: Key,
    },
}

impl PodError {
    /// The pod that it is about.
    pub fn pod(&self) -> &Key {
        match self {
            PodError::Listen { pod, .. }
            | PodError::Replaced { pod, .. }
            | PodError::Register { pod, .. }
            | PodError::Stopped { pod } => pod,
        }
    }
}

/// A pod with the count of its open connections, which all cores share.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    /// The pod.
    pub spec: PodSpec,
    /// How many connections it has.
    pub open: Arc<AtomicUsize>,
}

impl Admitted {
    /// The same pod with the same addresses: its listeners are good for both.
    pub fn is_same(&self, other: &Admitted) -> bool {
        self.spec.cookie == other.spec.cookie && self.spec.pod == other.spec.pod && self.spec.ips == other.spec.ips
    }
}

/// A connection's place among those that a pod, and all pods together, may have.
pub(super) struct Seat {
    shared: Arc<Shared>,
    pod: Arc<AtomicUsize>,
}

impl Seat {
    /// Takes a place, or none if the pod has its share or the engine is full.
    pub fn take(shared: &Arc<Shared>, pod: &Admitted) -> Option<Seat> {
        // Counted first, so that two cores can't both take the last one; dropped again if that was too many.
        let limits = &shared.config.limits;
        let in_all = shared.open.fetch_add(1, Ordering::Relaxed);
        let of_pod = pod.open.fetch_add(1, Ordering::Relaxed);
        let seat = Seat {
            shared: shared.clone(),
            pod: pod.open.clone(),
        };
        (in_all < limits.connections && of_pod < limits.connections_per_pod).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.pod.fetch_sub(1, Ordering::Relaxed);
    }
}
