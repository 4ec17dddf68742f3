//! The manifests of `deploy/examples/shop`, copied to where they can be edited.
//!
//! Addresses and node are the playground's own already; only the pods' network namespaces have other names here, since
//! several playgrounds may be up at once. An edit names the text that it replaces and fails where that is not there
//! exactly once: the demo must not show a change that was none.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use weir_tests::Manifests;
use weir_tests::world::{NODE, Pod};

/// What the names of the pods' namespaces begin with in the examples.
const EXAMPLE: &str = "/run/netns/shop-";

/// The folder that the agent watches.
pub struct Files {
    manifests: Manifests,
}

impl Files {
    /// Copies the examples to `dir`; their pods get the namespaces whose paths begin with `netns`.
    pub fn copy(dir: PathBuf, netns: &str) -> Result<Files> {
        let manifests = Manifests::new(dir)?;
        let source = source();
        for entry in fs::read_dir(&source).with_context(|| format!("{}", source.display()))? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            if let (Some(name), Some("yaml")) = (name, path.extension().and_then(|end| end.to_str())) {
                let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
                manifests.write(name, &text.replace(EXAMPLE, netns))?;
            }
        }
        Ok(Files { manifests })
    }

    /// An error unless the file of the pod says where the playground has put it.
    pub fn must_place(&self, pod: &Pod) -> Result<()> {
        let text = self.text(&pod.name)?;
        let lines = [
            format!("weir.dev/netns: {}", pod.netns_path().display()),
            format!("nodeName: {NODE}"),
            format!("- ip: {}", pod.ip4),
            format!("- ip: {}", pod.ip6),
        ];
        match lines
            .iter()
            .find(|line| !text.lines().any(|found| found.trim() == *line))
        {
            Some(line) => bail!(
                "{}: the playground needs the line `{line}`",
                self.path(&pod.name).display()
            ),
            None => Ok(()),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.manifests.dir()
    }

    /// Path of `name.yaml`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.manifests.path(name)
    }

    /// Text of `name.yaml`.
    pub fn text(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
    }

    /// Replaces pieces of `name.yaml`; when it was in place.
    pub fn edit(&self, name: &str, changes: &[(&str, &str)]) -> Result<Instant> {
        let mut text = self.text(name)?;
        for (from, to) in changes {
            if text.matches(from).count() != 1 {
                bail!("{}: {from:?} is not there exactly once", self.path(name).display());
            }
            text = text.replace(from, to);
        }
        self.write(name, &text)
    }

    /// Writes `name.yaml`; when it was in place.
    pub fn write(&self, name: &str, text: &str) -> Result<Instant> {
        self.manifests.write(name, text)?;
        Ok(Instant::now())
    }

    /// Removes `name.yaml`; when it was gone.
    pub fn remove(&self, name: &str) -> Result<Instant> {
        self.manifests.remove(name)?;
        Ok(Instant::now())
    }
}

/// The folder of the checkout that this was built from.
pub fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/shop")
}
