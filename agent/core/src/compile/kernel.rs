//! The kernel's half of a plan, derived from the engine's half.
//!
//! Nothing is decided here: policy entries are the verdicts of the same [`PairAccess`] values that the engine reads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use weir_abi::{
    ANY_PORT, Addr, IPPROTO_TCP, IPPROTO_UDP, PolicyKey, SERVICE_L7, SERVICE_LENIENT, ServiceEntry, ServiceKey, Slot,
    SlotKey, VERDICT_ALLOW, VERDICT_DENY, VERDICT_L7,
};

use crate::identity::Identity;
use crate::model::{Key, Mode};
use crate::pick::alias_table;
use crate::plan::KernelTable;
use crate::policy::Verdict;
use crate::snapshot::{PairAccess, PodInfo, PortProtocol, Ports, Root, SplitRoute};

/// `POLICY` entries of one pair: for each protocol one for any port, and one for each port that is allowed more than that.
pub(super) fn policy(pair: (Identity, Identity), access: &PairAccess, into: &mut BTreeMap<PolicyKey, u32>) {
    let tcp = access.grants.iter().map(|grant| &grant.ports);
    let udp = access.udp.iter().map(|grant| &grant.ports);
    let (tcp, udp) = (named(tcp), named(udp));
    let mut put = |proto: u32, any: Verdict, ports: BTreeSet<u16>, verdict: &dyn Fn(u16) -> Verdict| {
        let key = |port: u32| PolicyKey {
            src: pair.0.0,
            dst: pair.1.0,
            port,
            proto,
        };
        if any != Verdict::Deny {
            into.insert(key(ANY_PORT), code(any));
        }
        let ports = ports.into_iter().map(|port| (port, verdict(port)));
        into.extend(
            ports
                .filter(|(_, verdict)| *verdict != any)
                .map(|(port, verdict)| (key(port.into()), code(verdict))),
        );
    };
    put(IPPROTO_TCP, access.verdict_elsewhere(), tcp, &|port| {
        access.verdict(port)
    });
    put(IPPROTO_UDP, access.udp_verdict_elsewhere(), udp, &|port| {
        access.udp_verdict(port)
    });
}

/// The ports that are named in these sets.
fn named<'g>(sets: impl Iterator<Item = &'g Ports>) -> BTreeSet<u16> {
    let named = sets.flat_map(|ports| match ports {
        Ports::All => &[][..],
        Ports::Only(ports) => ports,
    });
    named.copied().collect()
}

fn code(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Deny => VERDICT_DENY,
        Verdict::L7 => VERDICT_L7,
        Verdict::Allow => VERDICT_ALLOW,
    }
}

/// `POLICY` entries of [`Identity::ANY`]: ports of lenient servers that Services declare as bytes. The others are seen by
/// the engine first. Where the pods of an identity differ, the first bytes tell.
pub(super) fn lenient_ports(peers: &BTreeMap<IpAddr, Arc<PodInfo>>, into: &mut BTreeMap<PolicyKey, u32>) {
    let lenient = || {
        peers
            .values()
            .filter(|pod| pod.mode.is_lenient() && pod.identity != Identity::UNKNOWN)
    };
    let mut ports: BTreeMap<(Identity, u16), bool> = BTreeMap::new();
    for pod in lenient() {
        for (port, protocol) in &pod.protocols {
            let bytes = *protocol == PortProtocol::Tcp;
            *ports.entry((pod.identity, *port)).or_insert(true) &= bytes;
        }
    }
    for pod in lenient() {
        for ((_, port), bytes) in ports.range_mut((pod.identity, 0)..=(pod.identity, u16::MAX)) {
            *bytes &= pod.protocols.contains_key(port);
        }
    }
    for ((identity, port), _) in ports.into_iter().filter(|(_, bytes)| *bytes) {
        let key = PolicyKey {
            src: Identity::ANY.0,
            dst: identity.0,
            port: port.into(),
            proto: IPPROTO_TCP,
        };
        into.insert(key, VERDICT_ALLOW);
    }
}

/// `SERVICES` and `SLOTS` of one protocol. `mode` is that of a Service's namespace: for a lenient one the kernel can pick an endpoint
/// where the engine should and is not there.
pub(super) fn services(
    roots: &BTreeMap<SocketAddr, Arc<Root>>,
    proto: u32,
    mode: impl Fn(&Key) -> Mode,
    table: &mut KernelTable,
) {
    for (address, root) in roots {
        let key = ServiceKey {
            addr: Addr::from_ip(address.ip()),
            port: address.port().into(),
            proto,
        };
        let lenient = root.engine_picks() && mode(&root.service).is_lenient();
        let slots = match root.routes.last() {
            Some(last) if lenient || !root.engine_picks() => slots(last),
            _ => vec![],
        };
        let block = if slots.is_empty() { 0 } else { block(&key, &slots) };
        let entry = ServiceEntry {
            block,
            slots: u32::try_from(slots.len()).unwrap_or(u32::MAX),
            flags: match (root.engine_picks(), lenient) {
                (true, true) => SERVICE_L7 | SERVICE_LENIENT,
                (true, false) => SERVICE_L7,
                (false, _) => 0,
            },
        };
        table.services.insert(key, entry);
        for (slot, value) in (0..).zip(slots) {
            table.slots.insert(
                SlotKey {
                    block,
                    slot,
                    reserved: 0,
                },
                value,
            );
        }
    }
}

/// The alias table over all endpoints of a route, in the order of their addresses: the programs search in it whether an
/// endpoint is still there.
fn slots(route: &SplitRoute) -> Vec<Slot> {
    let weights = endpoint_weights(route);
    let columns = alias_table(&weights.iter().map(|(_, weight)| *weight).collect::<Vec<_>>());
    let slot = |(column, (own, _)): (&crate::pick::AliasColumn, &(SocketAddr, u64))| {
        let alias = weights.get(column.alias).map_or(own, |(address, _)| address);
        Slot {
            addr: Addr::from_ip(own.ip()),
            alias_addr: Addr::from_ip(alias.ip()),
            port: own.port().into(),
            alias_port: alias.port().into(),
            threshold: column.threshold,
            reserved: 0,
        }
    };
    columns.iter().zip(&weights).map(slot).collect()
}

/// The weight of each endpoint: its backends' weights divided evenly among their endpoints, exactly where the common
/// denominator fits into 128 bits (always, with numbers that people write).
fn endpoint_weights(route: &SplitRoute) -> Vec<(SocketAddr, u64)> {
    let common = route
        .backends
        .iter()
        .try_fold(1_u128, |common, backend| lcm(common, backend.endpoints.len() as u128));
    let common = common
        .filter(|common| *common <= u128::from(u64::MAX))
        .unwrap_or(1 << 63);
    let mut weights: BTreeMap<SocketAddr, u128> = BTreeMap::new();
    for backend in &route.backends {
        let share = u128::from(backend.weight).saturating_mul(common) / (backend.endpoints.len() as u128).max(1);
        for endpoint in &backend.endpoints {
            let weight = weights.entry(*endpoint).or_default();
            *weight = weight.saturating_add(share);
        }
    }
    let divisor = weights.values().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
    let largest = weights.values().max().copied().unwrap_or_default() / divisor;
    let excess = (128 - largest.leading_zeros()).saturating_sub(64);
    let reduced = |weight: u128| u64::try_from((weight / divisor) >> excess).unwrap_or(u64::MAX).max(1);
    weights
        .into_iter()
        .map(|(endpoint, weight)| (endpoint, reduced(weight)))
        .collect()
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: u128, b: u128) -> Option<u128> {
    (a / gcd(a, b).max(1)).checked_mul(b)
}

/// Digest of a Service's slots: the first 8 bytes of a SHA-256, never 0.
fn block(key: &ServiceKey, slots: &[Slot]) -> u64 {
    let mut digest = Sha256::new();
    let mut words = |words: &[u32]| words.iter().for_each(|word| digest.update(word.to_le_bytes()));
    words(&key.addr.0);
    words(&[key.port, key.proto]);
    for slot in slots {
        words(&slot.addr.0);
        words(&slot.alias_addr.0);
        words(&[slot.port, slot.alias_port, slot.threshold]);
    }
    let bytes = digest.finalize();
    let mut block = [0; 8];
    block.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(block).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;
    use crate::snapshot::Backend;
    use proptest::prelude::*;

    /// Backends with these weights and as many endpoints, all of them different.
    fn route(backends: &[(u64, usize)]) -> SplitRoute {
        let backend = |(number, (weight, endpoints)): (usize, &(u64, usize))| Backend {
            service: Key::new("shop", format!("store-{number}")),
            weight: *weight,
            endpoints: (0..*endpoints)
                .map(|at| ([10, number as u8, (at / 250) as u8, (at % 250) as u8], 80).into())
                .collect(),
        };
        SplitRoute {
            split: None,
            matches: None,
            backends: backends.iter().enumerate().map(backend).collect(),
        }
    }

    #[test]
    fn an_endpoint_of_two_backends_has_both_shares() {
        let mut both = route(&[(1, 2), (1, 1)]);
        both.backends[1].endpoints = vec![both.backends[0].endpoints[0]];
        let weights: Vec<u64> = endpoint_weights(&both).into_iter().map(|(_, weight)| weight).collect();
        assert_eq!(weights, [3, 1]);
    }

    #[test]
    fn the_largest_weights_and_odd_numbers_of_endpoints_do_not_overflow() {
        let odd = [1, 499, 491, 487, 479, 467, 463, 461, 457, 449].map(|endpoints| (u64::MAX, endpoints));
        assert!(endpoint_weights(&route(&odd)).iter().all(|(_, weight)| *weight > 0));
    }

    proptest! {
        #[test]
        fn the_weight_of_a_backend_is_divided_evenly_and_exactly(
            backends in prop::collection::vec((1_u64..1_000_000, 1_usize..60), 1..5),
        ) {
            let weights: BTreeMap<SocketAddr, u64> = endpoint_weights(&route(&backends)).into_iter().collect();
            let of = |number: usize| route(&backends).backends[number].endpoints.iter().map(|e| weights[e]).collect::<Vec<_>>();
            let (first, first_weight) = (of(0).iter().map(|w| u128::from(*w)).sum::<u128>(), u128::from(backends[0].0));
            for (number, (weight, _)) in backends.iter().enumerate() {
                let own = of(number);
                prop_assert!(own.iter().all(|weight| *weight == own[0]));
                let sum: u128 = own.iter().map(|weight| u128::from(*weight)).sum();
                prop_assert_eq!(sum * first_weight, first * u128::from(*weight));
            }
        }
    }
}
