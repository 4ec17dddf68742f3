//! All objects that are in force, and what the node knows about its pods.
//!
//! Bias: a plain collection without cross-references. Whatever depends on two objects is worked out by
//! [`compile`](crate::compile::compile), so that objects may come in any order: the same objects make the same index.
//! Owned by one task, which applies changes to it and compiles it.

use std::collections::BTreeMap;

use crate::model::{
    EndpointSlice, HttpRouteGroup, IdentityBinding, Key, Kind, Namespace, Object, ObjectRef, Owned, Pod, PortRoute,
    Service, ServiceAccount, TrafficSplit, TrafficTarget,
};

/// One change of the index.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a change lives until it is applied")]
pub enum Change {
    /// An object is new or was changed.
    Upsert(Object),
    /// An object is gone.
    Remove(ObjectRef),
    /// The agent has entered the pod's network namespace. Stands until [`Change::Detach`], whether or not the pod's
    /// object is there: who sees a pod go or come back in another namespace says so.
    Attach {
        /// The pod.
        pod: Key,
        /// The cookie of its network namespace, never 0.
        cookie: u64,
    },
    /// The agent has left the pod's network namespace.
    Detach {
        /// The pod.
        pod: Key,
    },
}

/// Every object by kind and name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    pub(crate) namespaces: BTreeMap<Key, Namespace>,
    pub(crate) accounts: BTreeMap<Key, ServiceAccount>,
    pub(crate) pods: BTreeMap<Key, Pod>,
    pub(crate) services: BTreeMap<Key, Service>,
    pub(crate) slices: BTreeMap<Key, EndpointSlice>,
    pub(crate) replica_sets: BTreeMap<Key, Owned>,
    pub(crate) jobs: BTreeMap<Key, Owned>,
    pub(crate) targets: BTreeMap<Key, TrafficTarget>,
    pub(crate) bindings: BTreeMap<Key, IdentityBinding>,
    pub(crate) groups: BTreeMap<Key, HttpRouteGroup>,
    pub(crate) tcp_routes: BTreeMap<Key, PortRoute>,
    pub(crate) udp_routes: BTreeMap<Key, PortRoute>,
    pub(crate) splits: BTreeMap<Key, TrafficSplit>,
    pub(crate) attached: BTreeMap<Key, u64>,
}

impl Index {
    /// Without any object.
    pub fn new() -> Index {
        Index::default()
    }

    /// Applies a change and says whether anything is different now.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Upsert(object) => self.upsert(object),
            Change::Remove(object) => self.remove(&object),
            Change::Attach { pod, cookie } => put(&mut self.attached, pod, cookie),
            Change::Detach { pod } => self.attached.remove(&pod).is_some(),
        }
    }

    /// The pods, by name.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// The Services, by name.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// Whether the namespace takes part.
    pub fn enrolled(&self, namespace: &str) -> bool {
        let key = Key::new("", namespace);
        self.namespaces
            .get(&key)
            .is_some_and(|namespace| namespace.mode.takes_part())
    }

    /// Whether the object is there.
    pub fn contains(&self, object: &ObjectRef) -> bool {
        let key = &object.key;
        match object.kind {
            Kind::Namespace => self.namespaces.contains_key(key),
            Kind::ServiceAccount => self.accounts.contains_key(key),
            Kind::Pod => self.pods.contains_key(key),
            Kind::Service => self.services.contains_key(key),
            Kind::EndpointSlice => self.slices.contains_key(key),
            Kind::ReplicaSet => self.replica_sets.contains_key(key),
            Kind::Job => self.jobs.contains_key(key),
            Kind::TrafficTarget => self.targets.contains_key(key),
            Kind::IdentityBinding => self.bindings.contains_key(key),
            Kind::HTTPRouteGroup => self.groups.contains_key(key),
            Kind::TCPRoute => self.tcp_routes.contains_key(key),
            Kind::UDPRoute => self.udp_routes.contains_key(key),
            Kind::TrafficSplit => self.splits.contains_key(key),
        }
    }

    fn upsert(&mut self, object: Object) -> bool {
        let key = object.object_ref().key;
        match object {
            Object::Namespace(o) => put(&mut self.namespaces, key, o),
            Object::ServiceAccount(o) => put(&mut self.accounts, key, o),
            Object::Pod(o) => put(&mut self.pods, key, o),
            Object::Service(o) => put(&mut self.services, key, o),
            Object::EndpointSlice(o) => put(&mut self.slices, key, o),
            Object::ReplicaSet(o) => put(&mut self.replica_sets, key, o),
            Object::Job(o) => put(&mut self.jobs, key, o),
            Object::TrafficTarget(o) => put(&mut self.targets, key, o),
            Object::IdentityBinding(o) => put(&mut self.bindings, key, o),
            Object::HttpRouteGroup(o) => put(&mut self.groups, key, o),
            Object::TcpRoute(o) => put(&mut self.tcp_routes, key, o),
            Object::UdpRoute(o) => put(&mut self.udp_routes, key, o),
            Object::TrafficSplit(o) => put(&mut self.splits, key, o),
        }
    }

    fn remove(&mut self, object: &ObjectRef) -> bool {
        let key = &object.key;
        match object.kind {
            Kind::Namespace => self.namespaces.remove(key).is_some(),
            Kind::ServiceAccount => self.accounts.remove(key).is_some(),
            Kind::Pod => self.pods.remove(key).is_some(),
            Kind::Service => self.services.remove(key).is_some(),
            Kind::EndpointSlice => self.slices.remove(key).is_some(),
            Kind::ReplicaSet => self.replica_sets.remove(key).is_some(),
            Kind::Job => self.jobs.remove(key).is_some(),
            Kind::TrafficTarget => self.targets.remove(key).is_some(),
            Kind::IdentityBinding => self.bindings.remove(key).is_some(),
            Kind::HTTPRouteGroup => self.groups.remove(key).is_some(),
            Kind::TCPRoute => self.tcp_routes.remove(key).is_some(),
            Kind::UDPRoute => self.udp_routes.remove(key).is_some(),
            Kind::TrafficSplit => self.splits.remove(key).is_some(),
        }
    }
}

/// Stores the value, and says whether another one or none was there.
fn put<T: PartialEq>(map: &mut BTreeMap<Key, T>, key: Key, value: T) -> bool {
    if map.get(&key) == Some(&value) {
        return false;
    }
    map.insert(key, value);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_object_is_no_change() {
        let mut index = Index::new();
        let account = Object::ServiceAccount(ServiceAccount {
            key: Key::new("shop", "buyer"),
        });
        assert!(index.apply(Change::Upsert(account.clone())));
        assert!(!index.apply(Change::Upsert(account.clone())));
        assert!(index.apply(Change::Remove(account.object_ref())));
        assert!(!index.apply(Change::Remove(account.object_ref())));
    }

    #[test]
    fn a_pod_may_be_attached_before_its_object_comes() {
        let pod = Key::new("shop", "buyer-1");
        let mut index = Index::new();
        assert!(index.apply(Change::Attach {
            pod: pod.clone(),
            cookie: 7
        }));
        assert!(!index.apply(Change::Attach {
            pod: pod.clone(),
            cookie: 7
        }));
        assert!(index.apply(Change::Attach {
            pod: pod.clone(),
            cookie: 8
        }));
        assert!(index.apply(Change::Detach { pod: pod.clone() }));
        assert!(!index.apply(Change::Detach { pod }));
    }
}
