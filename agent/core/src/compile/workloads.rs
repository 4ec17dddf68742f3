//! Which workload each pod is one of: Pod → ReplicaSet → Deployment, Pod → Job → CronJob, Pod → anything else.
//!
//! Bias: what objects say, then one rule of Kubernetes itself: a Deployment calls its ReplicaSets `NAME-HASH` and puts
//! the hash on each pod as `pod-template-hash`. So a folder without ReplicaSets still tells Deployments apart.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::index::Index;
use crate::model::{Key, Owned, Owner, Pod};
use crate::workload::{Workload, WorkloadId};

/// The label by which a Deployment tells the pods of its ReplicaSets apart.
const HASH: &str = "pod-template-hash";

/// Workloads, each once.
#[derive(Default)]
pub(super) struct Workloads {
    interned: HashMap<(String, String, String), Arc<Workload>>,
}

impl Workloads {
    /// The workload of a pod.
    pub(super) fn of(&mut self, index: &Index, pod: &Pod) -> Arc<Workload> {
        let (kind, name) = match &pod.owner {
            None => ("Pod", pod.key.name.as_str()),
            Some(owner) => top(index, pod, owner),
        };
        let key = (pod.key.namespace.clone(), kind.to_owned(), name.to_owned());
        let workload = self.interned.entry(key).or_insert_with_key(|(namespace, kind, name)| {
            Arc::new(Workload::new(namespace.as_str(), kind.as_str(), name.as_str()))
        });
        workload.clone()
    }

    /// All of them, by number.
    pub(super) fn all(self) -> BTreeMap<WorkloadId, Arc<Workload>> {
        let by_id = |workload: Arc<Workload>| (workload.id, workload);
        self.interned.into_values().map(by_id).collect()
    }
}

fn top<'i>(index: &'i Index, pod: &'i Pod, owner: &'i Owner) -> (&'i str, &'i str) {
    let above = |objects: &'i BTreeMap<Key, Owned>| {
        let key = Key::new(pod.key.namespace.as_str(), owner.name.as_str());
        objects.get(&key).and_then(|object| object.owner.as_ref())
    };
    let owner_of_owner = match owner.kind.as_str() {
        "ReplicaSet" => above(&index.replica_sets),
        "Job" => above(&index.jobs),
        _ => None,
    };
    if let Some(found) = owner_of_owner {
        return (&found.kind, &found.name);
    }
    let known = index
        .replica_sets
        .contains_key(&Key::new(pod.key.namespace.as_str(), owner.name.as_str()));
    if owner.kind == "ReplicaSet"
        && !known
        && let Some(hash) = pod.labels.get(HASH).filter(|hash| !hash.is_empty())
        && let Some(name) = owner.name.strip_suffix(hash.as_str())
        && let Some(name) = name.strip_suffix('-').filter(|name| !name.is_empty())
    {
        return ("Deployment", name);
    }
    (&owner.kind, &owner.name)
}
