//! Small random worlds: few names, so that objects meet each other, and every way to get something wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use weir_core::index::{Change, Index};
use weir_core::model::*;

/// Mostly one, so that objects meet.
const NAMESPACES: [&str; 8] = ["shop", "shop", "shop", "shop", "shop", "shop", "bank", "out"];
pub const PORTS: [u16; 3] = [80, 8080, 9];

fn pick<T: Clone + std::fmt::Debug + 'static>(from: &[T]) -> impl Strategy<Value = T> + use<T> {
    proptest::sample::select(from.to_vec())
}

/// Namespace and a name of `prefix` with a small number.
fn key(prefix: &'static str, count: usize) -> impl Strategy<Value = Key> {
    (pick(&NAMESPACES), 0..count).prop_map(move |(ns, number)| Key::new(ns, format!("{prefix}{number}")))
}

fn account() -> impl Strategy<Value = String> {
    pick(&["a", "a", "b"]).prop_map(Into::into)
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    pick(&["x", "y"]).prop_map(|app| BTreeMap::from([("app".to_owned(), app.to_owned())]))
}

fn namespace() -> impl Strategy<Value = Object> {
    pick(&[
        ("bank", Mode::Enforce),
        ("bank", Mode::Audit),
        ("bank", Mode::Permissive),
        ("shop", Mode::Enforce),
        ("shop", Mode::Enforce),
        ("shop", Mode::Audit),
        ("out", Mode::Off),
    ])
    .prop_map(|(name, mode)| {
        Object::Namespace(Namespace {
            name: name.into(),
            mode,
            unknown_mode: None,
        })
    })
}

/// An address that no other pod has: it spells namespace and name.
fn own_address(key: &Key, v6: bool) -> IpAddr {
    let sum = |text: &str| {
        text.bytes()
            .fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
    };
    let (ns, name) = (sum(&key.namespace), sum(&key.name));
    if v6 {
        IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ns, name])
    } else {
        IpAddr::from([10, ns, name, 1])
    }
}

fn pod() -> impl Strategy<Value = Object> {
    let flags = (
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.05),
        any::<bool>(),
    );
    (
        key("pod", 4),
        account(),
        labels(),
        pick(&["n1", "n1", "n2", ""]),
        pick(&[80, 8080]),
        flags,
    )
        .prop_map(
            |(key, account, labels, node, web, (ready, host_network, finished, v6))| {
                let mut ips = vec![own_address(&key, false)];
                ips.extend(v6.then(|| own_address(&key, true)));
                Object::Pod(Pod {
                    ips,
                    key,
                    uid: String::new(),
                    labels,
                    node: node.into(),
                    account,
                    ports: vec![
                        ContainerPort {
                            name: Some("web".into()),
                            port: web,
                            transport: Transport::Tcp,
                        },
                        ContainerPort {
                            name: Some("web".into()),
                            port: 9,
                            transport: Transport::Udp,
                        },
                    ],
                    probe_ports: if ready { vec![web] } else { vec![] },
                    host_network,
                    netns: None,
                    ready,
                    owner: None,
                    finished,
                })
            },
        )
}

fn service() -> impl Strategy<Value = Object> {
    let target = prop_oneof![Just(TargetPort::Number(80)), Just(TargetPort::Name("web".into()))];
    let port = (target, pick(&["http", "tcp", "", "web"]), pick(&[80_u16, 81]));
    let transports = pick(&[
        &[Transport::Tcp][..],
        &[Transport::Udp],
        &[Transport::Tcp, Transport::Udp],
    ]);
    (
        key("service", 3),
        prop::option::of(labels()),
        port,
        any::<bool>(),
        transports,
    )
        .prop_map(|(key, selector, (target_port, name, port), v6, transports)| {
            let mut cluster_ips = vec![own_address(
                &Key::new(format!("svc-{}", key.namespace), &key.name),
                false,
            )];
            cluster_ips.extend(v6.then(|| own_address(&key, true)));
            let port = |transport: &Transport| ServicePort {
                name: name.into(),
                port,
                target_port: target_port.clone(),
                transport: *transport,
                app_protocol: None,
            };
            Object::Service(Service {
                key,
                cluster_ips,
                selector,
                ports: transports.iter().map(port).collect(),
            })
        })
}

fn subject(own: impl Strategy<Value = &'static str>) -> impl Strategy<Value = Subject> {
    (own, account(), prop::bool::weighted(0.25), 0..2).prop_map(|(ns, account, binding, number)| match binding {
        true => Subject::IdentityBinding(Key::new(ns, format!("binding{number}"))),
        false => Subject::ServiceAccount(Key::new(ns, account)),
    })
}

fn rule() -> impl Strategy<Value = TargetRule> {
    let names = prop_oneof![
        3 => Just(None),
        2 => pick(&["m0", "m1", "m2", "m9"]).prop_map(|name| Some(vec![name.to_owned()])),
    ];
    let http = (0..3, names).prop_map(|(number, matches)| TargetRule {
        kind: RuleKind::HttpRouteGroup,
        name: format!("group{number}"),
        matches,
    });
    let ports = |kind: RuleKind| {
        (0..3).prop_map(move |number| TargetRule {
            kind: kind.clone(),
            name: format!("route{number}"),
            matches: None,
        })
    };
    prop_oneof![
        5 => http,
        5 => ports(RuleKind::TcpRoute),
        3 => ports(RuleKind::UdpRoute),
        1 => ports(RuleKind::Unknown("TCPRoutes".into())),
    ]
}

fn target() -> impl Strategy<Value = Object> {
    let port = prop_oneof![
        4 => Just(None),
        1 => Just(Some(TargetPortRef::Number(80))),
        1 => Just(Some(TargetPortRef::Name("web".into()))),
    ];
    let rules = prop_oneof![1 => Just(vec![]), 9 => prop::collection::vec(rule(), 1..4)];
    let sources = prop::collection::vec(subject(pick(&NAMESPACES)), 1..4);
    let destination = prop::option::weighted(0.95, (subject(Just("")), prop::option::weighted(0.05, Just("bank"))));
    (key("target", 6), destination, port, rules, sources).prop_map(|(key, destination, port, rules, sources)| {
        let destination = destination.map(|(subject, elsewhere)| {
            let namespace = elsewhere.unwrap_or(&key.namespace);
            match subject {
                Subject::ServiceAccount(named) => Subject::ServiceAccount(Key::new(namespace, named.name)),
                Subject::IdentityBinding(named) => Subject::IdentityBinding(Key::new(namespace, named.name)),
            }
        });
        Object::TrafficTarget(TrafficTarget {
            key,
            destination,
            port,
            rules,
            sources,
        })
    })
}

fn binding() -> impl Strategy<Value = Object> {
    let scheme = prop_oneof![
        labels().prop_map(BindingScheme::PodLabels),
        account().prop_map(BindingScheme::ServiceAccount),
        (pick(&NAMESPACES), account())
            .prop_map(|(ns, sa)| BindingScheme::Spiffe(format!("cluster.local/ns/{ns}/sa/{sa}"))),
        Just(BindingScheme::PodLabels(BTreeMap::new())),
    ];
    (key("binding", 2), prop::collection::vec(scheme, 0..3))
        .prop_map(|(key, schemes)| Object::IdentityBinding(IdentityBinding { key, schemes }))
}

fn group() -> impl Strategy<Value = Object> {
    let spec = |name: &str, path: &str, methods: &[&str]| HttpMatch {
        name: name.into(),
        path_regex: Some(path.into()),
        methods: methods.iter().map(ToString::to_string).collect(),
        headers: vec![],
    };
    let all = vec![
        spec("m0", "/a", &["GET"]),
        spec("m1", "/b|/c", &[]),
        spec("m2", "(", &["*"]),
    ];
    (key("group", 2), proptest::sample::subsequence(all, 0..=3))
        .prop_map(|(key, matches)| Object::HttpRouteGroup(HttpRouteGroup { key, matches }))
}

fn port_route() -> impl Strategy<Value = Object> {
    let ports = pick(&[vec![], vec![80], vec![80, 8080], vec![0], vec![0, 9]]);
    (key("route", 2), ports, prop::bool::weighted(0.7)).prop_map(|(key, ports, tcp)| {
        let route = PortRoute { key, ports };
        if tcp {
            Object::TcpRoute(route)
        } else {
            Object::UdpRoute(route)
        }
    })
}

fn split() -> impl Strategy<Value = Object> {
    let backend = (0..4, pick(&[0_u64, 500, 1000, 9000])).prop_map(|(number, weight_millis)| SplitBackend {
        service: format!("service{number}"),
        weight_millis,
    });
    let matches = (0..3).prop_map(|number| RouteRef {
        kind: RuleKind::HttpRouteGroup,
        name: format!("group{number}"),
    });
    let created = pick(&["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]);
    (
        key("split", 3),
        0..4,
        prop::collection::vec(backend, 0..4),
        prop::collection::vec(matches, 0..2),
        created,
    )
        .prop_map(|(key, root, backends, matches, created)| {
            Object::TrafficSplit(TrafficSplit {
                key,
                service: format!("service{root}"),
                backends,
                matches,
                created: created.into(),
            })
        })
}

/// Objects with distinct names.
pub fn objects() -> impl Strategy<Value = Vec<Object>> {
    let object = prop_oneof![
        1 => namespace(),
        10 => pod(),
        3 => service(),
        12 => target(),
        2 => binding(),
        6 => group(),
        6 => port_route(),
        2 => split(),
    ];
    (prop::bool::weighted(0.95), prop::collection::vec(object, 0..60)).prop_map(|(enrolled, mut objects)| {
        let mode = if enrolled { Mode::Enforce } else { Mode::Off };
        objects.push(Object::Namespace(Namespace {
            name: "shop".into(),
            mode,
            unknown_mode: None,
        }));
        distinct(objects)
    })
}

pub fn distinct(objects: Vec<Object>) -> Vec<Object> {
    let by_name: BTreeMap<ObjectRef, Object> = objects
        .into_iter()
        .map(|object| (object.object_ref(), object))
        .collect();
    by_name.into_values().collect()
}

/// An index of these objects. The agent has entered all pods but those without a node, in namespaces of this round.
pub fn index(objects: &[Object], round: u64) -> Index {
    let mut index = Index::new();
    for object in objects {
        if let Object::Pod(pod) = object
            && let Some(cookie) = attached(&pod.key, &pod.node, round)
        {
            index.apply(Change::Attach {
                pod: pod.key.clone(),
                cookie,
            });
        }
        index.apply(Change::Upsert(object.clone()));
    }
    index
}

/// The cookie of a pod that the agent has entered: all but those without a node. Some pods are in the same namespace in
/// every round, the others in another each time.
pub fn attached(pod: &Key, node: &str, round: u64) -> Option<u64> {
    let name = pod
        .to_string()
        .bytes()
        .fold(7_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
    let cookie = (name % 1_000_000_007) * 16 + if name % 3 == 0 { round } else { 1 };
    (!node.is_empty()).then_some(cookie)
}
