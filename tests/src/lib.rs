//! The test harness: network namespaces as pods, processes as apps, and the product as a black box.
//!
//! Bias: real kernel objects over speed. A [`World`] is a node of its own (router, pods, cgroup, bpffs directory), so
//! that worlds run side by side and nothing of the machine's own network is touched. The product is only ever the binary
//! that `WEIR_BIN` names; nothing here links it.
//!
//! State belongs to the [`World`]: it removes what it made when it is dropped, and a janitor process does so when this
//! process is killed.

pub mod agent;
pub mod client;
pub mod datagrams;
pub mod exec;
pub mod flood;
pub mod http;
pub mod manifests;
pub mod mesh;
pub mod metrics;
pub mod netns;
pub mod pattern;
pub mod pins;
pub mod protocol;
pub mod script;
pub mod server;
pub mod session;
pub mod shop;
pub mod smi;
pub mod stop;
pub mod tier;
pub mod tool;
pub mod wait;
pub mod world;

pub use agent::Agent;
pub use datagrams::Datagrams;
pub use flood::Flood;
pub use manifests::Manifests;
pub use mesh::Mesh;
pub use script::Script;
pub use session::Session;
pub use shop::Shop;
pub use wait::eventually;
pub use world::{Pod, World};
