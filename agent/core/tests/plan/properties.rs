//! What holds for any objects.

use std::net::IpAddr;

use proptest::prelude::*;
use weir_core::compile::compile;
use weir_core::finding::Severity;
use weir_core::index::{Change, Index};
use weir_core::matcher::Probe;
use weir_core::model::{
    HttpMatch, HttpRouteGroup, Key, Kind, Object, RuleKind, Subject, TargetRule, TrafficSplit, TrafficTarget,
};
use weir_core::plan::Plan;
use weir_core::policy::Verdict;
use weir_core::snapshot::PodInfo;

use weir_abi::{IPPROTO_TCP, IPPROTO_UDP};

use crate::kernel;
use crate::random::{self, PORTS};
use crate::world::settings;

fn plan(index: &Index) -> Plan {
    compile(index, &settings("n1"), 1)
}

fn requests() -> Vec<Probe> {
    let request = |method: &str, path: &str| Probe {
        method: method.into(),
        path: path.into(),
        ..Probe::default()
    };
    vec![
        request("GET", "/a/1"),
        request("POST", "/a"),
        request("POST", "/c"),
        request("GET", "/d"),
    ]
}

/// Marks a port of UDP in a tuple; no port of [`PORTS`] has this bit.
const UDP: u16 = 1 << 15;

/// The verdict on a port, and for each of `requests` whether it is allowed.
type Access = ((IpAddr, IpAddr, u16), Verdict, Vec<bool>);

/// How much of everything that this node could be asked is allowed: for every two pods of which one is its own.
fn access(plan: &Plan) -> Vec<Access> {
    let snapshot = &plan.snapshot;
    let mut all = Vec::new();
    let mut peers: Vec<(&IpAddr, &PodInfo)> = snapshot.peers.iter().map(|(ip, pod)| (ip, &**pod)).collect();
    peers.sort_by_key(|(ip, _)| **ip);
    for (from, src) in &peers {
        for (to, dst) in peers
            .iter()
            .filter(|(_, dst)| dst.mode.takes_part() && (src.cookie.is_some() || dst.cookie.is_some()))
        {
            for port in PORTS {
                let verdict = snapshot.verdict(src.identity, dst.identity, port);
                let allowed = |request: &Probe| {
                    snapshot
                        .authorize_http(src.identity, dst.identity, port, request)
                        .is_ok()
                };
                all.push(((**from, **to, port), verdict, requests().iter().map(allowed).collect()));
                // Datagrams stand behind the ports of TCP; there are no requests in them.
                let udp = snapshot.udp_verdict(src.identity, dst.identity, port);
                all.push(((**from, **to, UDP | port), udp, vec![]));
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_order_of_arrival_gives_the_same_plan(
        (objects, shuffled) in random::objects().prop_flat_map(|objects| (Just(objects.clone()), Just(objects).prop_shuffle())),
        passing in random::objects(),
    ) {
        let straight = random::index(&objects, 1);
        let mut detour = random::index(&passing, 2);
        for object in &passing {
            detour.apply(Change::Remove(object.object_ref()));
            if let Object::Pod(pod) = object {
                detour.apply(Change::Detach { pod: pod.key.clone() });
            }
        }
        for object in &shuffled {
            detour.apply(Change::Upsert(object.clone()));
        }
        for object in &shuffled {
            if let Object::Pod(pod) = object && let Some(cookie) = random::attached(&pod.key, &pod.node, 1) {
                detour.apply(Change::Attach { pod: pod.key.clone(), cookie });
            }
        }
        prop_assert_eq!(&straight, &detour);
        prop_assert_eq!(plan(&straight), plan(&detour));
    }

    #[test]
    fn kernel_and_snapshot_agree_on_every_tuple(objects in random::objects()) {
        let plan = plan(&random::index(&objects, 1));
        for src in plan.snapshot.peers.values() {
            for dst in plan.snapshot.peers.values() {
                for port in PORTS.into_iter().chain([0, 65535]) {
                    let kernel = |proto| kernel::policy(&plan.kernel, src.identity.0, dst.identity.0, port, proto);
                    let (tcp, udp) = (kernel(IPPROTO_TCP), kernel(IPPROTO_UDP));
                    prop_assert_eq!(tcp, plan.snapshot.verdict(src.identity, dst.identity, port));
                    prop_assert_eq!(udp, plan.snapshot.udp_verdict(src.identity, dst.identity, port));
                    let granted = plan.snapshot.authorize_udp(src.identity, dst.identity, port).is_ok();
                    prop_assert_eq!(udp, if granted { Verdict::Allow } else { Verdict::Deny });
                }
            }
        }
        for ((_, _, _), verdict, requests) in access(&plan) {
            match verdict {
                Verdict::Deny => prop_assert!(requests.iter().all(|allowed| !allowed)),
                Verdict::Allow => prop_assert!(requests.iter().all(|allowed| *allowed)),
                Verdict::L7 => {}
            }
        }
    }

    #[test]
    fn removing_an_object_never_widens_access(objects in random::objects(), which in any::<prop::sample::Index>()) {
        prop_assume!(!objects.is_empty());
        let removed = which.get(&objects);
        // Both do what they say: a namespace that is not enrolled is not enforced, a split no longer splits.
        prop_assume!(!matches!(removed.object_ref().kind, Kind::Namespace | Kind::TrafficSplit));
        let rest: Vec<Object> = objects.iter().filter(|object| *object != removed).cloned().collect();
        let before = access(&plan(&random::index(&objects, 1)));
        for (tuple, verdict, requests) in access(&plan(&random::index(&rest, 1))) {
            let (_, had, could) = before.iter().find(|(other, _, _)| *other == tuple).expect("pods only go");
            prop_assert!(verdict <= *had, "{tuple:?} was {had:?} and is {verdict:?} without {removed:?}");
            prop_assert!(requests.iter().zip(could).all(|(now, then)| now <= then), "{tuple:?} without {removed:?}");
        }
    }

    #[test]
    fn an_object_that_is_in_error_costs_only_itself(objects in random::objects(), which in 0..BAD) {
        let bad = bad(which);
        let without = random::index(&objects, 1);
        let mut with = without.clone();
        with.apply(Change::Upsert(bad.clone()));
        let (without, with) = (plan(&without), plan(&with));
        prop_assert_eq!(&without.kernel, &with.kernel);
        prop_assert_eq!(&without.snapshot, &with.snapshot);
        let (own, others): (Vec<_>, Vec<_>) = with.findings.into_iter().partition(|f| f.object == bad.object_ref());
        // It may be the first to name another object that is wrong.
        prop_assert!(without.findings.iter().all(|finding| others.contains(finding)));
        prop_assert!(own.iter().any(|finding| finding.severity == Severity::Error), "{own:?}");
    }
}

const BAD: usize = 7;

/// Objects that grant or change nothing, each in its own way. Their names are not among the random ones.
fn bad(which: usize) -> Object {
    let account = |ns: &str, name: &str| Subject::ServiceAccount(Key::new(ns, name));
    let rule = |kind: RuleKind, name: &str| TargetRule {
        kind,
        name: name.into(),
        matches: None,
    };
    let target = TrafficTarget {
        key: Key::new("shop", "bad"),
        destination: Some(account("shop", "a")),
        port: None,
        rules: vec![rule(RuleKind::TcpRoute, "route0")],
        sources: vec![account("shop", "b")],
    };
    let target = |change: &dyn Fn(&mut TrafficTarget)| {
        let mut target = target.clone();
        change(&mut target);
        Object::TrafficTarget(target)
    };
    match which {
        0 => target(&|t| t.destination = None),
        1 => target(&|t| t.destination = Some(account("bank", "a"))),
        2 => target(&|t| t.rules = vec![]),
        3 => target(&|t| t.sources = vec![]),
        4 => target(&|t| t.rules.push(rule(RuleKind::HttpRouteGroup, "nowhere"))),
        5 => target(&|t| t.rules.push(rule(RuleKind::Unknown("HTTPRoute".into()), "group0"))),
        _ => Object::TrafficSplit(TrafficSplit {
            key: Key::new("shop", "bad"),
            service: "service0.bank".into(),
            backends: vec![],
            matches: vec![],
            created: String::new(),
        }),
    }
}

#[test]
fn a_match_that_does_not_compile_costs_only_itself() {
    let spec = |name: &str, path: &str| HttpMatch {
        name: name.into(),
        path_regex: Some(path.into()),
        methods: vec![],
        headers: vec![],
    };
    let group = |matches| {
        Object::HttpRouteGroup(HttpRouteGroup {
            key: Key::new("shop", "store"),
            matches,
        })
    };
    let world = |matches| {
        let (mut objects, _) = crate::world::objects(include_str!("../golden/access-01-union/objects.yaml"));
        objects.push(group(matches));
        plan(&crate::world::index(objects))
    };
    let without = world(vec![spec("read", "/items")]);
    let with = world(vec![spec("broken", "("), spec("read", "/items")]);
    assert_eq!(without.kernel, with.kernel);
    assert_eq!(access(&without), access(&with));
}
