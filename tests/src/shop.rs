//! The shop: who may do what in most suites.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::Mesh;
use crate::server::{RESET, SILENT, SINK, SOURCE, WHOAMI};
use crate::smi;
use crate::world::Pod;

/// ClusterIP of Service `store`.
pub const STORE4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10));
/// ClusterIP of Service `store`, IPv6.
pub const STORE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 0x10));

/// A buyer who may `GET /books…` and use the plain TCP ports of the store, a thief who may nothing, and the store.
pub struct Shop {
    /// Everything.
    pub mesh: Mesh,
    /// Has grants, files `http-buyer` and `tcp-buyer`.
    pub buyer: Pod,
    /// Has none.
    pub thief: Pod,
    /// Serves.
    pub store: Pod,
}

impl Shop {
    /// Opens it, with Service `store` on [`STORE4`] and [`STORE6`]; the agent is not started.
    pub fn open() -> Result<Shop> {
        let mut mesh = Mesh::new()?;
        let (buyer, thief, store) = (mesh.client("buyer")?, mesh.client("thief")?, mesh.server("store")?);
        mesh.service("store", "store", &[&STORE4.to_string(), &STORE6.to_string()])?;
        grant_buyer(&mesh)?;
        Ok(Shop {
            mesh,
            buyer,
            thief,
            store,
        })
    }
}

/// The buyer's grants. Plain TCP is for the kernel alone, HTTP for the engine.
pub fn grant_buyer(mesh: &Mesh) -> Result<()> {
    let routes = smi::routes(
        "books",
        &[
            ("read", "/books", &["GET", "HEAD", "POST"]),
            ("files", "/(bytes|chunked)/", &["GET"]),
        ],
    );
    let target = smi::target("http-buyer", "store", &["buyer"], &[("HTTPRouteGroup", "books", &[])]);
    mesh.manifests.write("http-buyer", &smi::documents(&[routes, target]))?;
    mesh.grant_tcp("buyer", "store", &[WHOAMI, SINK, SOURCE, RESET, SILENT])
}
