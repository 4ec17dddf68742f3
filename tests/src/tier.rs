//! The same plain TCP connections on both ways that they can take: decided in the kernel alone, and through the engine.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, bail};

use crate::protocol::{Command, Dial, Seen};
use crate::server::WHOAMI;
use crate::smi;
use crate::world::Pod;
use crate::{Agent, Mesh, Session};

const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 20);

/// A store behind a Service, and a buyer and a clerk who may use every TCP port of it (files `tcp-buyer`, `tcp-clerk`).
pub struct Tier {
    /// Everything.
    pub mesh: Mesh,
    /// A client with a grant.
    pub buyer: Pod,
    /// Another client with a grant.
    pub clerk: Pod,
    /// The server.
    pub store: Pod,
    outcome: &'static str,
}

impl Tier {
    /// The ports are said to be TCP, so the kernel connects client and server directly.
    pub fn kernel() -> Result<Tier> {
        let tier = Tier::new("outcome=\"allow\"")?;
        tier.mesh.service("store", "store", &[&SERVICE.to_string()])?;
        Ok(tier)
    }

    /// The Service is split and its ports say nothing of the protocol, so the engine takes each connection to find out.
    pub fn engine() -> Result<Tier> {
        let tier = Tier::new("outcome=\"l7\"")?;
        tier.mesh.service_to_detect("leaf", "store", &[])?;
        tier.mesh.service_to_detect("store", "store", &[&SERVICE.to_string()])?;
        tier.mesh
            .manifests
            .write("split", &smi::split("split", "store", &[("leaf", 1)]))?;
        Ok(tier)
    }

    fn new(outcome: &'static str) -> Result<Tier> {
        let mut mesh = Mesh::new()?;
        let (buyer, clerk, store) = (mesh.client("buyer")?, mesh.client("clerk")?, mesh.server("store")?);
        mesh.grant_tcp("buyer", "store", &[])?;
        mesh.grant_tcp("clerk", "store", &[])?;
        Ok(Tier {
            mesh,
            buyer,
            clerk,
            store,
            outcome,
        })
    }

    /// A connection to a port of the Service.
    pub fn dial(&self, port: u16) -> Dial {
        Dial::to(IpAddr::V4(SERVICE), port)
    }

    /// A connection to the echo server that has said hello; its number, and what the server saw.
    pub fn hello(&self, session: &mut Session) -> Result<(usize, Seen)> {
        let conn = session.must_open(&self.dial(WHOAMI))?;
        let line = session.text(&Command::ReadLine(conn))?;
        Ok((
            conn,
            serde_json::from_str(&line).with_context(|| format!("not a hello: {line:?}"))?,
        ))
    }

    /// An error unless the connections so far took the way that this tier is for.
    pub fn took_its_way(&self, agent: &Agent) -> Result<()> {
        let metrics = agent.metrics()?;
        let count = metrics.sum("weir_kernel_verdicts_total", &["hook=\"connect\"", self.outcome]);
        let all: f64 = ["outcome=\"allow\"", "outcome=\"l7\""]
            .map(|outcome| metrics.sum("weir_kernel_verdicts_total", &["hook=\"connect\"", outcome]))
            .iter()
            .sum();
        if count == 0.0 || count != all {
            bail!("{count} of {all} connections have {}", self.outcome);
        }
        Ok(())
    }
}

/// Makes of each function two tests, `kernel::NAME` and `engine::NAME`, with its [`Tier`] as the argument.
#[macro_export]
macro_rules! on_both_tiers {
    ($($name:ident)*) => {
        mod kernel {
            $(#[test] fn $name() -> anyhow::Result<()> { super::$name($crate::tier::Tier::kernel()?) })*
        }
        mod engine {
            $(#[test] fn $name() -> anyhow::Result<()> { super::$name($crate::tier::Tier::engine()?) })*
        }
    };
}
