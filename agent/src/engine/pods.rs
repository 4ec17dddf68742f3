//! The enrolled pods of this node, as the publisher hands them over.
//!
//! Bias: a pod that can't be served costs only itself. Its error goes back to the publisher, which must not capture
//! it; the others are listening when the call returns.

use std::io;
use std::net::{IpAddr, SocketAddr};

use weir_core::model::Key;

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

impl PodSpec {
    /// The same pod with the same addresses: its listeners are good for both.
    pub(super) fn is_same(&self, other: &PodSpec) -> bool {
        self.cookie == other.cookie && self.pod == other.pod && self.ips == other.ips
    }
}
