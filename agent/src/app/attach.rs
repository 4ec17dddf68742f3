//! Which network namespaces this agent has open: those of the local pods of enrolled namespaces.
//!
//! Bias: a namespace is held only as long as its pod is there, because an open one outlives its pod. What can't be
//! opened is reported with its pod and tried again; until then the pod keeps the namespace that it had, so that nothing
//! that is written or deleted by mistake opens it. Owned by the app's task.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_core::finding::Finding;
use weir_core::index::{Change, Index};
use weir_core::model::{Key, Kind, ObjectRef};

use crate::bpf::netns::Netns;

/// Annotation that names a pod's network namespace.
const ANNOTATION: &str = "metadata.annotations[weir.dev/netns]";

#[derive(Debug)]
struct Attached {
    inode: u64,
    netns: Arc<Netns>,
}

/// The open namespaces.
#[derive(Debug, Default)]
pub struct Attachments {
    open: BTreeMap<Key, Attached>,
    failed: BTreeMap<Key, String>,
}

impl Attachments {
    /// Opens and closes what the index asks for on node `node`, and tells the index. True when anything changed.
    pub fn update(&mut self, index: &mut Index, node: &str) -> bool {
        let wanted: BTreeMap<Key, Option<PathBuf>> = index
            .pods()
            .filter(|pod| pod.node == node && !pod.host_network && !pod.finished && index.enrolled(&pod.key.namespace))
            .map(|pod| (pod.key.clone(), pod.netns.as_ref().map(PathBuf::from)))
            .collect();
        let mut changed = false;
        let gone: Vec<Key> = self
            .open
            .keys()
            .filter(|pod| !wanted.contains_key(*pod))
            .cloned()
            .collect();
        for pod in gone {
            self.open.remove(&pod);
            changed |= index.apply(Change::Detach { pod });
        }
        self.failed.clear();
        for (pod, path) in wanted {
            changed |= self.one(index, pod, path.as_deref());
        }
        changed
    }

    fn one(&mut self, index: &mut Index, pod: Key, path: Option<&Path>) -> bool {
        let Some(path) = path else {
            return self.fail(pod, "a pod of this node has to name its network namespace".to_owned());
        };
        // A namespace that was made anew under the same path has another inode as long as the old one is open.
        let inode = std::fs::metadata(path).map(|metadata| metadata.ino()).ok();
        let same = |attached: &Attached| attached.netns.path() == path && Some(attached.inode) == inode;
        if self.open.get(&pod).is_some_and(same) {
            return false;
        }
        if inode.is_some() && inode == own_inode() {
            // The kernel would refuse the node its own connections.
            return self.fail(
                pod,
                format!("{} is the node's own network namespace, not a pod's", path.display()),
            );
        }
        match Netns::open(path) {
            Ok(netns) => {
                let cookie = netns.cookie();
                let attached = Attached {
                    inode: inode.unwrap_or_default(),
                    netns: Arc::new(netns),
                };
                self.open.insert(pod.clone(), attached);
                index.apply(Change::Attach { pod, cookie })
            }
            Err(error) => self.fail(pod, error.to_string()),
        }
    }

    /// Nothing changes for the pod.
    fn fail(&mut self, pod: Key, message: String) -> bool {
        self.failed.insert(pod, message);
        false
    }

    /// The open namespaces by their cookies.
    pub fn by_cookie(&self) -> BTreeMap<u64, Arc<Netns>> {
        self.open
            .values()
            .map(|attached| (attached.netns.cookie(), attached.netns.clone()))
            .collect()
    }

    /// What could not be opened.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        self.failed.iter().map(|(pod, message)| {
            Finding::error(
                &ObjectRef {
                    kind: Kind::Pod,
                    key: pod.clone(),
                },
                ANNOTATION,
                message.clone(),
            )
            .hint(if self.open.contains_key(pod) {
                "until then the pod is enforced in the namespace that it had; name one such as /run/netns/NAME"
            } else {
                "until then the pod is not enforced on this node; name a namespace such as /run/netns/NAME"
            })
        })
    }
}

/// Inode of the agent's own network namespace; all of them are in one file system.
fn own_inode() -> Option<u64> {
    std::fs::metadata("/proc/self/ns/net")
        .map(|metadata| metadata.ino())
        .ok()
}

#[cfg(test)]
mod tests {
    use weir_core::model::{Mode, Namespace, Object, Pod};

    use super::*;

    #[test]
    fn the_network_namespace_of_the_node_is_nobodys() {
        let mut index = Index::new();
        let pod = Pod {
            key: Key::new("shop", "store"),
            uid: String::new(),
            labels: Default::default(),
            node: "node-1".into(),
            account: "store".into(),
            ips: vec![[10, 0, 0, 1].into()],
            ports: vec![],
            probe_ports: vec![],
            host_network: false,
            netns: Some("/proc/self/ns/net".into()),
            ready: true,
            owner: None,
            finished: false,
        };
        let shop = Namespace {
            name: "shop".into(),
            mode: Mode::Enforce,
            unknown_mode: None,
        };
        index.apply(Change::Upsert(Object::Namespace(shop)));
        index.apply(Change::Upsert(Object::Pod(pod)));
        let mut attachments = Attachments::default();
        assert!(!attachments.update(&mut index, "node-1"));
        assert!(attachments.by_cookie().is_empty());
        assert_eq!(attachments.findings().count(), 1);
    }
}
