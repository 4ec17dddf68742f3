//! `POLICY`: down to what both tables allow, then up to what the new one allows.
//!
//! Both tables keep to the rule that an exact port is never stricter than any port, and so does their intersection.
//! Ports are named before "any port" changes and forgotten after it, so that none is stricter in between than at both ends.

use std::collections::{BTreeMap, BTreeSet};

use weir_abi::{ANY_PORT, PEER_ENFORCED, PolicyKey, VERDICT_ALLOW, VERDICT_DENY, VERDICT_L7, is_lenient};

use super::{MapChanges, MapOp};
use crate::identity::Identity;
use crate::plan::KernelTable;

/// Source, destination and protocol.
type Pair = (u64, u64, u32);
/// Verdicts by port.
type Verdicts = BTreeMap<u32, u32>;

/// From the old table to what both allow. Pairs that nobody is judged by yet, because nobody is there or no server
/// enforces, get their new entries at once, so that they are there when the first pod or mode is.
pub(super) fn narrow(old: &KernelTable, new: &KernelTable, changes: &mut MapChanges) {
    let (was, is) = (by_pair(old), by_pair(new));
    let (judged, will_be) = (Judged::by(old), Judged::by(new));
    for (pair, to) in is.iter().filter(|(pair, _)| !was.contains_key(pair)) {
        if !judged.judges(pair) {
            steps(pair, &Verdicts::new(), to, &mut changes.before);
        }
    }
    for (pair, from) in &was {
        let to = match is.get(pair) {
            Some(to) if !judged.enforces(pair) => to.clone(),
            None if !judged.enforces(pair) => Verdicts::new(),
            // Its servers stop enforcing with this plan, and what they grant until then stays.
            _ if !will_be.enforces(pair) => continue,
            Some(to) => both(from, to),
            None => Verdicts::new(),
        };
        if to == *from {
            continue;
        }
        let named: BTreeSet<u32> = from.keys().chain(to.keys()).copied().collect();
        if named
            .iter()
            .any(|port| order(effective(&to, *port)) < order(effective(from, *port)))
        {
            changes.weakened.pairs.insert((Identity(pair.0), Identity(pair.1)));
        }
        steps(pair, from, &to, &mut changes.before);
    }
}

/// From what both tables allow to the new one.
pub(super) fn widen(old: &KernelTable, new: &KernelTable, ops: &mut Vec<MapOp>) {
    let (was, is) = (by_pair(old), by_pair(new));
    let (judged, will_be) = (Judged::by(old), Judged::by(new));
    for (pair, to) in &is {
        match was.get(pair) {
            Some(_) if !judged.enforces(pair) || !will_be.enforces(pair) => {}
            Some(was) => steps(pair, &both(was, to), to, ops),
            None if judged.judges(pair) => steps(pair, &Verdicts::new(), to, ops),
            None => {}
        }
    }
}

/// From the old table to the new one for servers that enforced and do no more. To be done when they are known not to.
pub(super) fn settle(old: &KernelTable, new: &KernelTable, ops: &mut Vec<MapOp>) {
    let (was, is) = (by_pair(old), by_pair(new));
    let (judged, will_be) = (Judged::by(old), Judged::by(new));
    let none = Verdicts::new();
    for (pair, from) in &was {
        if judged.enforces(pair) && !will_be.enforces(pair) {
            steps(pair, from, is.get(pair).unwrap_or(&none), ops);
        }
    }
}

/// Ports that are named anew, then any port, then the ports that need no name any more: at no step is a port stricter
/// than at both ends.
fn steps(pair: &Pair, from: &Verdicts, to: &Verdicts, ops: &mut Vec<MapOp>) {
    let changed = |port: &u32| from.get(port) != to.get(port);
    let set = |port: u32, verdict: u32| MapOp::SetPolicy(key(pair, port), verdict);
    let named = to.iter().filter(|(port, _)| **port != ANY_PORT && changed(port));
    ops.extend(named.map(|(port, verdict)| set(*port, *verdict)));
    match to.get(&ANY_PORT) {
        Some(verdict) if changed(&ANY_PORT) => ops.push(set(ANY_PORT, *verdict)),
        None if changed(&ANY_PORT) => ops.push(MapOp::DeletePolicy(key(pair, ANY_PORT))),
        _ => {}
    }
    let unnamed = from.keys().filter(|port| **port != ANY_PORT && !to.contains_key(port));
    ops.extend(unnamed.map(|port| MapOp::DeletePolicy(key(pair, *port))));
}

/// What both allow.
fn both(a: &Verdicts, b: &Verdicts) -> Verdicts {
    let stricter = |port: u32| {
        let (a, b) = (effective(a, port), effective(b, port));
        if order(a) < order(b) { a } else { b }
    };
    let any = stricter(ANY_PORT);
    let mut both: Verdicts = a.keys().chain(b.keys()).map(|port| (*port, stricter(*port))).collect();
    both.retain(|port, verdict| {
        if *port == ANY_PORT {
            *verdict != VERDICT_DENY
        } else {
            *verdict != any
        }
    });
    both
}

fn effective(verdicts: &Verdicts, port: u32) -> u32 {
    verdicts
        .get(&port)
        .or_else(|| verdicts.get(&ANY_PORT))
        .copied()
        .unwrap_or(VERDICT_DENY)
}

/// How much passes.
fn order(verdict: u32) -> u32 {
    match verdict {
        VERDICT_ALLOW => 2,
        VERDICT_L7 => 1,
        _ => 0,
    }
}

fn key(pair: &Pair, port: u32) -> PolicyKey {
    PolicyKey {
        src: pair.0,
        dst: pair.1,
        port,
        proto: pair.2,
    }
}

fn by_pair(table: &KernelTable) -> BTreeMap<Pair, Verdicts> {
    let mut pairs: BTreeMap<Pair, Verdicts> = BTreeMap::new();
    for (key, verdict) in &table.policy {
        pairs
            .entry((key.src, key.dst, key.proto))
            .or_default()
            .insert(key.port, *verdict);
    }
    pairs
}

/// Identities that a table has anybody for; as destinations, anybody who enforces.
struct Judged {
    sources: BTreeSet<u64>,
    destinations: BTreeSet<u64>,
}

impl Judged {
    fn by(table: &KernelTable) -> Judged {
        let pods = || table.pods.values().map(|pod| pod.identity);
        let enforces = |flags: u32| flags & PEER_ENFORCED != 0 && !is_lenient(flags);
        let enforced = table.peers.values().filter(|peer| enforces(peer.flags));
        let enforced_pods = table.pods.values().filter(|pod| enforces(pod.flags));
        Judged {
            sources: pods().chain(table.peers.values().map(|peer| peer.identity)).collect(),
            destinations: enforced_pods
                .map(|pod| pod.identity)
                .chain(enforced.map(|peer| peer.identity))
                .collect(),
        }
    }

    fn enforces(&self, pair: &Pair) -> bool {
        self.destinations.contains(&pair.1)
    }

    fn judges(&self, pair: &Pair) -> bool {
        self.sources.contains(&pair.0) && self.destinations.contains(&pair.1)
    }
}
