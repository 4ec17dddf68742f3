//! Workloads: what a pod is one of. Metrics and logs speak of them rather than of pods, which come and go.
//!
//! Bias: a name that people know, or the pod's own. Nothing is decided by a workload: a pod may claim any owner in its
//! metadata, and only figures move with it.

use std::fmt;

use sha2::{Digest, Sha256};

/// What a pod is one of: its topmost known controller, or the pod itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `ReplicaSet`, `Job`, `CronJob`, any other controller's kind, or `Pod`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Stands for the three in tables: a digest, the same in every plan.
    pub id: WorkloadId,
}

/// The number of a [`Workload`]: the first 8 bytes of a SHA-256 over its names. Two workloads with one number (never
/// seen) would be counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId(pub u64);

impl Workload {
    /// From namespace, kind and name.
    pub fn new(namespace: impl Into<String>, kind: impl Into<String>, name: impl Into<String>) -> Workload {
        let (namespace, kind, name) = (namespace.into(), kind.into(), name.into());
        let mut digest = Sha256::new();
        for field in ["weir workload 1", &namespace, &kind, &name] {
            digest.update((field.len() as u64).to_le_bytes());
            digest.update(field.as_bytes());
        }
        let bytes = digest.finalize();
        let mut number = [0u8; 8];
        number.copy_from_slice(&bytes[..8]);
        Workload {
            id: WorkloadId(u64::from_le_bytes(number)),
            namespace,
            kind,
            name,
        }
    }
}

impl fmt::Display for Workload {
    /// `namespace/Kind/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}
