//! What holds at every step from one plan to the next.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;
use weir_abi::{ANY_PORT, IPPROTO_TCP, IPPROTO_UDP};
use weir_core::compile::compile;
use weir_core::diff::{MapOp, diff};
use weir_core::model::Object;
use weir_core::plan::{KernelTable, Plan};
use weir_core::policy::Verdict;

use crate::kernel::{self, Tuple};
use crate::random::{self, PORTS};
use crate::world::settings;

/// A world, and the same after some objects came, went and changed.
fn two() -> impl Strategy<Value = (Plan, Plan)> {
    let kept = random::objects().prop_flat_map(|objects| {
        let count = objects.len();
        (Just(objects.clone()), proptest::sample::subsequence(objects, 0..=count))
    });
    (kept, random::objects(), 0..20_usize).prop_map(|((old, mut kept), new, more)| {
        kept.extend(new.into_iter().take(more));
        let plan = |objects: &[Object], round| compile(&random::index(objects, round), &settings("n1"), round);
        (plan(&old, 1), plan(&random::distinct(kept), 2))
    })
}

fn tuples(old: &Plan, new: &Plan) -> Vec<Tuple> {
    let ends = |plan: &Plan| {
        plan.snapshot
            .peers
            .iter()
            .map(|(ip, pod)| (pod.cookie.unwrap_or(0), *ip))
            .collect()
    };
    let mut all: BTreeSet<(u64, IpAddr)> = ends(old);
    all.append(&mut ends(new));
    all.insert((0, IpAddr::from([192, 0, 2, 1])));
    let mut tuples = Vec::new();
    for (client, from) in &all {
        for (server, to) in &all {
            let tuple = |port, proto| Tuple {
                client: *client,
                from: *from,
                server: *server,
                to: *to,
                port,
                proto,
            };
            tuples.extend(PORTS.map(|port| tuple(port, IPPROTO_TCP)));
            tuples.extend(PORTS.map(|port| tuple(port, IPPROTO_UDP)));
        }
    }
    tuples
}

fn verdicts(table: &KernelTable, tuples: &[Tuple]) -> Vec<Verdict> {
    tuples.iter().map(|tuple| kernel::verdict(table, tuple)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_same_plan_changes_nothing(objects in random::objects()) {
        let plan = compile(&random::index(&objects, 1), &settings("n1"), 1);
        prop_assert!(diff(&plan.kernel, &plan.kernel).is_empty());
    }

    #[test]
    fn all_steps_lead_to_the_new_plan((old, new) in two()) {
        let changes = diff(&old.kernel, &new.kernel);
        let mut table = old.kernel.clone();
        changes.before.iter().chain(&changes.after).for_each(|op| table.apply(op));
        prop_assert_eq!(table, new.kernel);
    }

    #[test]
    fn access_only_shrinks_before_the_swap_and_never_exceeds_the_new_plan_after_it((old, new) in two()) {
        let tuples = tuples(&old, &new);
        let (was, is) = (verdicts(&old.kernel, &tuples), verdicts(&new.kernel, &tuples));
        let changes = diff(&old.kernel, &new.kernel);
        let mut table = old.kernel.clone();
        let mut last = was.clone();
        for op in &changes.before {
            table.apply(op);
            let now = verdicts(&table, &tuples);
            for (at, tuple) in tuples.iter().enumerate() {
                prop_assert!(now[at] <= last[at], "{tuple:?} widened from {:?} to {:?} by {op:?}", last[at], now[at]);
            }
            last = now;
        }
        for op in std::iter::once(None).chain(changes.after.iter().map(Some)) {
            op.into_iter().for_each(|op| table.apply(op));
            let now = verdicts(&table, &tuples);
            for (at, tuple) in tuples.iter().enumerate() {
                prop_assert!(now[at] <= is[at], "{tuple:?} is {:?} and not {:?} after {op:?}", now[at], is[at]);
            }
        }
    }

    #[test]
    fn what_both_plans_allow_between_the_same_pods_is_never_interrupted((old, new) in two()) {
        let same = |ip: &IpAddr, cookie: &u64| {
            // Whatever their mode, as long as it is one.
            let entry = |plan: &Plan| {
                let peer = plan.kernel.peers.get(&weir_abi::Addr::from_ip(*ip));
                let pod = plan.kernel.pods.get(cookie);
                let part = peer.map(|peer| (peer.identity, peer.cookie, peer.flags & weir_abi::PEER_ENFORCED));
                (part, pod.map(|pod| (pod.identity, pod.ip4, pod.ip6)))
            };
            entry(&old) == entry(&new)
        };
        let mut tuples = tuples(&old, &new);
        tuples.retain(|tuple| same(&tuple.from, &tuple.client) && same(&tuple.to, &tuple.server));
        let (was, is) = (verdicts(&old.kernel, &tuples), verdicts(&new.kernel, &tuples));
        let changes = diff(&old.kernel, &new.kernel);
        let mut table = old.kernel.clone();
        for op in changes.before.iter().chain(&changes.after) {
            table.apply(op);
            let now = verdicts(&table, &tuples);
            for (at, tuple) in tuples.iter().enumerate() {
                prop_assert!(now[at] >= was[at].min(is[at]), "{tuple:?} is {:?} after {op:?}", now[at]);
            }
        }
    }

    #[test]
    fn whoever_may_do_less_is_named((old, new) in two()) {
        let changes = diff(&old.kernel, &new.kernel);
        for tuple in tuples(&old, &new) {
            let (was, is) = (kernel::verdict(&old.kernel, &tuple), kernel::verdict(&new.kernel, &tuple));
            if is >= was {
                continue;
            }
            let address = |ip: IpAddr| changes.weakened.addresses.contains(&weir_abi::Addr::from_ip(ip));
            let identity = |ip: IpAddr| old.snapshot.peers.get(&ip).map(|pod| pod.identity);
            let pair = identity(tuple.from).zip(identity(tuple.to));
            let named = pair.is_some_and(|pair| changes.weakened.pairs.contains(&pair));
            prop_assert!(named || address(tuple.from) || address(tuple.to), "{tuple:?} went from {was:?} to {is:?}");
        }
    }

    #[test]
    fn a_service_never_points_to_a_slot_that_is_not_there((old, new) in two()) {
        let changes = diff(&old.kernel, &new.kernel);
        let mut table = old.kernel.clone();
        for op in changes.before.iter().chain(&changes.after) {
            table.apply(op);
            for entry in table.services.values() {
                for slot in 0..entry.slots {
                    let key = weir_abi::SlotKey { block: entry.block, slot, reserved: 0 };
                    prop_assert!(table.slots.contains_key(&key), "after {op:?}");
                }
            }
        }
    }

    #[test]
    fn an_exact_port_is_never_stricter_than_any_port(objects in random::objects()) {
        let plan = compile(&random::index(&objects, 1), &settings("n1"), 1);
        for (key, verdict) in &plan.kernel.policy {
            let any = plan.kernel.policy.get(&weir_abi::PolicyKey { port: ANY_PORT, ..*key });
            let order = |verdict: u32| [weir_abi::VERDICT_DENY, weir_abi::VERDICT_L7, weir_abi::VERDICT_ALLOW].iter().position(|v| *v == verdict);
            prop_assert!(key.port == ANY_PORT || any.is_none_or(|any| order(*any) < order(*verdict)));
        }
    }
}

#[test]
fn one_new_grant_is_one_entry() {
    let (objects, _) = crate::world::objects(include_str!("../golden/access-01-union/objects.yaml"));
    let plan = |objects: Vec<Object>| compile(&crate::world::index(objects), &settings("n1"), 1);
    let without = objects
        .iter()
        .filter(|object| object.object_ref().key.name != "b-web")
        .cloned()
        .collect();
    let changes = diff(&plan(without).kernel, &plan(objects).kernel);
    assert_eq!(changes.before, []);
    assert!(matches!(changes.after[..], [MapOp::SetPolicy(key, weir_abi::VERDICT_ALLOW)] if key.port == 8080));
}
