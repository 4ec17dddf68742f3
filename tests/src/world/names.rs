//! What belongs to a world, by name.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::directory;
use crate::{exec, netns};

/// The names of a world's parts. Owns none of them.
#[derive(Clone, Debug)]
pub struct Names {
    pub(super) id: String,
    pub(super) cgroup: PathBuf,
}

impl Names {
    /// `weir-t-PID-N`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A directory for files of this world.
    pub fn dir(&self) -> PathBuf {
        directory(&self.id)
    }

    /// The control group that the programs are attached to. Pods' processes run below it, the agent does not.
    pub fn pods_cgroup(&self) -> PathBuf {
        self.cgroup.join("pods")
    }

    /// Where the agent runs.
    pub fn agent_cgroup(&self) -> PathBuf {
        self.cgroup.join("agent")
    }

    /// Where the processes of other nodes' pods run, and those that left their pod's group: no program is attached.
    pub fn outside_cgroup(&self) -> PathBuf {
        self.cgroup.join("outside")
    }

    /// Where the agent pins.
    pub fn bpffs(&self) -> PathBuf {
        Path::new("/sys/fs/bpf").join(&self.id)
    }

    /// Name of the node's network namespace.
    pub fn node_netns(&self) -> String {
        format!("{}-node", self.id)
    }

    /// Runs `work` inside the node's network namespace, where the agent's admin address is.
    pub fn on_node<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        netns::within(&self.node_netns(), work)
    }

    /// A command that runs on the node, outside the pods' control group.
    pub fn node_command(&self, program: &Path) -> Result<Command> {
        exec::command(program, &self.node_netns(), &self.agent_cgroup())
    }
}
