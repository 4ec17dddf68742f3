//! Pods by label, so that a selector costs what it finds and not a walk over all pods.

use std::collections::{BTreeMap, HashMap};

use crate::index::Index;
use crate::model::Pod;

/// Pods that run (not finished), by namespace, label and value.
pub(super) struct PodLabels<'i> {
    pods: HashMap<&'i str, HashMap<&'i str, HashMap<&'i str, Vec<&'i Pod>>>>,
}

impl<'i> PodLabels<'i> {
    pub(super) fn new(index: &'i Index) -> PodLabels<'i> {
        let mut pods: HashMap<&str, HashMap<&str, HashMap<&str, Vec<&Pod>>>> = HashMap::new();
        for pod in index.pods.values().filter(|pod| !pod.finished) {
            let labels = pods.entry(&pod.key.namespace).or_default();
            for (label, value) in &pod.labels {
                labels.entry(label).or_default().entry(value).or_default().push(pod);
            }
        }
        PodLabels { pods }
    }

    /// Pods of the namespace that have all of these labels, by name. Nobody for an empty selector, as Kubernetes has
    /// it for Services and as SMI's IdentityBinding has to be read to stay an allow-list.
    pub(super) fn select(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Vec<&'i Pod> {
        let with = selector.iter().map(|(label, value)| self.with(namespace, label, value));
        let fewest = with.min_by_key(|pods| pods.len()).unwrap_or_default();
        let all = |pod: &&&Pod| {
            selector
                .iter()
                .all(|(label, value)| pod.labels.get(label) == Some(value))
        };
        fewest.iter().filter(all).copied().collect()
    }

    fn with(&self, namespace: &str, label: &str, value: &str) -> &[&'i Pod] {
        let values = self.pods.get(namespace).and_then(|labels| labels.get(label));
        values.and_then(|values| values.get(value)).map_or(&[], Vec::as_slice)
    }
}
