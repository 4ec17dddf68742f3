//! A pod: a network namespace with addresses, and the control group that its processes run in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{cgroup, link};
use crate::{exec, netns};

/// A pod of a world. A handle: the world removes the pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Name, as in the manifests.
    pub name: String,
    /// `spec.nodeName`.
    pub node: String,
    /// Name of its network namespace.
    pub netns: String,
    /// Its control group.
    pub cgroup: PathBuf,
    /// IPv4 address.
    pub ip4: Ipv4Addr,
    /// IPv6 address.
    pub ip6: Ipv6Addr,
    /// Number of its link and the last part of its addresses.
    pub number: u32,
    pub(super) node_netns: String,
}

impl Pod {
    pub(super) fn make(
        world: &str,
        node: &str,
        node_netns: &str,
        group: PathBuf,
        name: &str,
        (net, number): (u32, u32),
    ) -> Result<Pod> {
        let pod = Pod {
            name: name.to_string(),
            node: node.to_string(),
            netns: format!("{world}-{name}"),
            cgroup: group,
            ip4: link::v4(net, number),
            ip6: link::v6(net, number),
            number,
            node_netns: node_netns.to_string(),
        };
        cgroup::make(&pod.cgroup)?;
        link::make_pod(&pod.netns, node_netns, (net, number))?;
        Ok(pod)
    }

    pub(super) fn nest(&self) -> Result<Pod> {
        let number = self.number;
        let nested = Pod {
            name: format!("{}-nested", self.name),
            netns: format!("{}-nested", self.netns),
            ip4: link::v4(240, number),
            ip6: link::v6(240, number),
            node_netns: self.netns.clone(),
            ..self.clone()
        };
        netns::sysctl(
            &self.netns,
            &[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")],
        )?;
        link::make_pod(&nested.netns, &self.netns, (240, number))?;
        let (ip4, ip6) = (nested.ip4, nested.ip6);
        netns::batch(
            &self.node_netns,
            &format!(
                "route add {ip4}/32 via {} dev p{number} onlink\nroute add {ip6}/128 via fe80::2 dev p{number}\n",
                self.ip4
            ),
        )?;
        Ok(nested)
    }

    /// Path of the namespace, for the annotation `weir.dev/netns`.
    pub fn netns_path(&self) -> PathBuf {
        netns::path(&self.netns)
    }

    /// IPv4 address as [`IpAddr`].
    pub fn v4(&self) -> IpAddr {
        self.ip4.into()
    }

    /// IPv6 address as [`IpAddr`].
    pub fn v6(&self) -> IpAddr {
        self.ip6.into()
    }

    /// A command that runs in the pod: in its network namespace and its control group.
    pub fn command(&self, program: &Path) -> Result<Command> {
        exec::command(program, &self.netns, &self.cgroup)
    }
}
