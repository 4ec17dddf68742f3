//! The folder that the agent watches: written as people write it, changed as editors do, by rename.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::world::Pod;

/// A folder of manifests.
#[derive(Clone, Debug)]
pub struct Manifests {
    dir: PathBuf,
}

/// A pod, as its manifest says it.
#[derive(Clone, Debug)]
pub struct PodManifest<'a> {
    /// The pod of the world.
    pub pod: &'a Pod,
    /// Namespace.
    pub namespace: &'a str,
    /// `spec.serviceAccountName`.
    pub account: &'a str,
    /// Labels.
    pub labels: &'a [(&'a str, &'a str)],
    /// Ports: name and number.
    pub ports: &'a [(&'a str, u16)],
}

/// A Service.
#[derive(Clone, Debug)]
pub struct Service<'a> {
    /// Name.
    pub name: &'a str,
    /// ClusterIPs, of each family at most one.
    pub ips: &'a [&'a str],
    /// Selector.
    pub selector: &'a [(&'a str, &'a str)],
    /// Ports: name, number, target.
    pub ports: &'a [(&'a str, u16, u16)],
}

impl Manifests {
    /// An empty folder; it is made.
    pub fn new(dir: PathBuf) -> Result<Manifests> {
        fs::create_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
        Ok(Manifests { dir })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes `name.yaml` beside its place and renames it there, so that no reader sees half a file.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        let partial = self.dir.join(format!(".{name}.partial"));
        fs::write(&partial, text).with_context(|| format!("{}", partial.display()))?;
        fs::rename(&partial, &path).with_context(|| format!("{}", path.display()))
    }

    /// Removes `name.yaml`.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
    }

    /// Path of `name.yaml`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.yaml"))
    }

    /// A Namespace; `mode` is the value of `weir.dev/mode`.
    pub fn namespace(&self, name: &str, mode: Option<&str>) -> Result<()> {
        let labels = mode.map_or(String::new(), |mode| format!("  labels:\n    weir.dev/mode: {mode}\n"));
        let text = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n{labels}");
        self.write(&format!("namespace-{name}"), &text)
    }

    /// A Pod.
    pub fn pod(&self, manifest: &PodManifest) -> Result<()> {
        let PodManifest {
            pod,
            namespace,
            account,
            ..
        } = manifest;
        let mut text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\n  namespace: {namespace}\n  uid: {}\n  annotations:\n    \
             weir.dev/netns: {}\n",
            pod.name,
            pod.netns,
            pod.netns_path().display()
        );
        text += &map("  labels", manifest.labels);
        text += &format!(
            "spec:\n  serviceAccountName: {account}\n  nodeName: {}\n  containers:\n  - name: app\n",
            pod.node
        );
        if !manifest.ports.is_empty() {
            text += "    ports:\n";
        }
        for (name, port) in manifest.ports {
            text += &format!("    - name: {name}\n      containerPort: {port}\n");
        }
        text += &format!(
            "status:\n  podIP: {}\n  podIPs:\n  - ip: {}\n  - ip: {}\n",
            pod.ip4, pod.ip4, pod.ip6
        );
        self.write(&format!("pod-{}", pod.name), &text)
    }

    /// A Service of namespace `shop`.
    pub fn service(&self, service: &Service) -> Result<()> {
        let mut text = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {}\n  namespace: shop\nspec:\n  clusterIPs: {:?}\n",
            service.name, service.ips
        );
        if let Some(first) = service.ips.first() {
            text += &format!("  clusterIP: {first:?}\n");
        }
        text += &map("  selector", service.selector);
        text += "  ports:\n";
        for (name, port, target) in service.ports {
            text += &format!("  - name: {name}\n    port: {port}\n    targetPort: {target}\n");
        }
        self.write(&format!("service-{}", service.name), &text)
    }
}

fn map(key: &str, entries: &[(&str, &str)]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let indent = " ".repeat(key.len() - key.trim_start().len() + 2);
    entries.iter().fold(format!("{key}:\n"), |text, (key, value)| {
        text + &format!("{indent}{key}: {value:?}\n")
    })
}
