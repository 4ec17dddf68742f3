//! The fixture of the UDP suites: a buyer who may send to one port of the store, a thief who may not, and the store.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use crate::protocol::Udp;
use crate::server::UDP;
use crate::shop::{STORE4, STORE6};
use crate::world::Pod;
use crate::{Agent, Mesh};

/// File `udp-buyer` has the grant; Service `store` has [`STORE4`] and [`STORE6`].
pub struct Datagrams {
    /// Everything.
    pub mesh: Mesh,
    /// Has a grant for UDP port [`UDP`].
    pub buyer: Pod,
    /// Has none.
    pub thief: Pod,
    /// Serves.
    pub store: Pod,
}

impl Datagrams {
    /// The agent is not started.
    pub fn new() -> Result<Datagrams> {
        let mut mesh = Mesh::new()?;
        let (buyer, thief, store) = (mesh.client("buyer")?, mesh.client("thief")?, mesh.server("store")?);
        mesh.udp_service("store", "store", &[&STORE4.to_string(), &STORE6.to_string()])?;
        mesh.grant_udp("buyer", "store", &[UDP])?;
        Ok(Datagrams {
            mesh,
            buyer,
            thief,
            store,
        })
    }

    /// Both addresses of the store, and both of its Service.
    pub fn places(&self) -> [SocketAddr; 4] {
        [self.store.v4(), self.store.v6(), STORE4, STORE6].map(|ip| SocketAddr::new(ip, UDP))
    }
}

impl Udp {
    /// An unconnected socket of the family.
    pub fn of(ip: IpAddr) -> Udp {
        Udp {
            v6: ip.is_ipv6(),
            ..Udp::default()
        }
    }

    /// A socket that is connected to that place.
    pub fn to(place: SocketAddr) -> Udp {
        Udp {
            connect: Some(place),
            ..Udp::of(place.ip())
        }
    }

    /// An IPv6 socket, whatever the addresses.
    pub fn v6(self) -> Udp {
        Udp { v6: true, ..self }
    }

    /// Bound to this first.
    pub fn bound(self, ip: IpAddr, port: u16) -> Udp {
        Udp {
            bind: Some(SocketAddr::new(ip, port)),
            ..self
        }
    }
}

/// A kernel counter.
pub fn counted(agent: &Agent, hook: &str, outcome: &str) -> Result<f64> {
    let (hook, outcome) = (format!("hook=\"{hook}\""), format!("outcome=\"{outcome}\""));
    Ok(agent.metrics()?.sum("weir_kernel_verdicts_total", &[&hook, &outcome]))
}
