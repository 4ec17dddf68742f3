//! Identities: numbers that stand for "pods of this account", the same on every node and in every order of arrival.
//!
//! Bias: a number is a digest of what it stands for, not an allocated index, so that it stays put while other objects
//! come and go and two agents agree without talking. Two different identities with one digest (never seen, 64 bits of
//! SHA-256) are both refused rather than confused; the compiler checks.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

use crate::model::Transport;

/// The number that kernel and engine use for an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Identity(pub u64);

impl Identity {
    /// Nobody we know. Nothing is ever granted to it.
    pub const UNKNOWN: Identity = Identity(weir_abi::IDENTITY_UNKNOWN);
    /// No client's: see [`weir_abi::IDENTITY_ANY`].
    pub const ANY: Identity = Identity(weir_abi::IDENTITY_ANY);
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What an identity stands for. Two pods have the same identity when all of this is equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct IdentityInfo {
    /// Namespace of the pods.
    pub namespace: String,
    /// Their ServiceAccount.
    pub account: String,
    /// Names of the IdentityBindings (of the same namespace) that bind them, sorted; only those that some TrafficTarget names.
    pub bindings: Vec<String>,
    /// What container port names lead to, as far as some TrafficTarget's `port` names them: `NAME` for TCP, `NAME/udp`
    /// for UDP (no port's name has a slash).
    pub named_ports: BTreeMap<String, u16>,
}

impl IdentityInfo {
    /// The number: the first 8 bytes of a SHA-256 over all fields, never [`Identity::UNKNOWN`] or [`Identity::ANY`].
    pub fn number(&self) -> Identity {
        let mut digest = Sha256::new();
        let mut field = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        };
        field("weir identity 1");
        field(&self.namespace);
        field(&self.account);
        for binding in &self.bindings {
            field(binding);
        }
        field("ports");
        for (name, port) in &self.named_ports {
            field(name);
            field(&port.to_string());
        }
        let bytes = digest.finalize();
        let mut number = [0u8; 8];
        number.copy_from_slice(&bytes[..8]);
        Identity(u64::from_le_bytes(number).clamp(1, weir_abi::IDENTITY_ANY - 1))
    }
}

impl IdentityInfo {
    /// The key of a port's name in [`IdentityInfo::named_ports`].
    pub(crate) fn port_key(name: &str, transport: Transport) -> String {
        match transport {
            Transport::Udp => format!("{name}/udp"),
            Transport::Tcp | Transport::Sctp => name.to_owned(),
        }
    }

    /// The port of that name and protocol.
    pub(crate) fn named_port(&self, name: &str, transport: Transport) -> Option<u16> {
        self.named_ports.get(&Self::port_key(name, transport)).copied()
    }
}

impl fmt::Display for IdentityInfo {
    /// `namespace/account`, as logs and explanations name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.account)
    }
}
