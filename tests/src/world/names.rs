//! What belongs to a world, by name.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{NODE, Remote, directory};
use crate::{exec, netns};

/// The names of a world's parts. Owns none of them.
#[derive(Clone, Debug)]
pub struct Names {
    pub(super) id: String,
    pub(super) cgroup: PathBuf,
    /// Another node of this world, by name; `None`: the first one.
    pub(super) other: Option<String>,
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

    /// The same world, seen from another node of it: an agent that is started with these names runs there.
    pub fn at(&self, remote: &Remote) -> Names {
        Names {
            other: Some(remote.name.clone()),
            ..self.clone()
        }
    }

    /// Name of the node.
    pub fn node(&self) -> &str {
        self.other.as_deref().unwrap_or(NODE)
    }

    /// The control group that the programs are attached to. Pods' processes run below it, the agent does not.
    pub fn pods_cgroup(&self) -> PathBuf {
        match self.other {
            None => self.cgroup.join("pods"),
            Some(_) => self.outside_cgroup(),
        }
    }

    /// Where the agent runs.
    pub fn agent_cgroup(&self) -> PathBuf {
        self.cgroup.join("agent")
    }

    /// Where the processes of other nodes' pods run, and those that left their pod's group: no program of the first node's
    /// agent is attached.
    pub fn outside_cgroup(&self) -> PathBuf {
        self.cgroup.join("outside")
    }

    /// Where the agent pins.
    pub fn bpffs(&self) -> PathBuf {
        let name = match &self.other {
            None => self.id.clone(),
            Some(other) => format!("{}-{other}", self.id),
        };
        Path::new("/sys/fs/bpf").join(name)
    }

    /// Name of the node's network namespace.
    pub fn node_netns(&self) -> String {
        format!("{}-{}", self.id, self.other.as_deref().unwrap_or("node"))
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
