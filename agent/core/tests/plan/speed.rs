//! A large cluster compiles in well under a second; a loop over pods times targets would take minutes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use weir_core::compile::compile;
use weir_core::index::{Change, Index};
use weir_core::model::*;

use crate::world::settings;

const PODS: usize = 10_000;
const ACCOUNTS: usize = 1_000;

fn cluster() -> Index {
    let mut index = Index::new();
    let mut put = |object| index.apply(Change::Upsert(object));
    put(Object::Namespace(Namespace {
        name: "big".into(),
        mode: Mode::Enforce,
        unknown_mode: None,
    }));
    for number in 0..PODS {
        let account = format!("account{}", number % ACCOUNTS);
        put(Object::Pod(Pod {
            key: Key::new("big", format!("pod{number}")),
            uid: String::new(),
            labels: BTreeMap::from([
                ("app".to_owned(), account.clone()),
                ("tier".to_owned(), "web".to_owned()),
            ]),
            node: format!("n{}", number % 100),
            account,
            ips: vec![[10, 1, (number / 250) as u8, (number % 250) as u8].into()],
            ports: vec![],
            probe_ports: vec![],
            host_network: false,
            netns: None,
            ready: true,
            owner: None,
            finished: false,
        }));
    }
    for number in 0..ACCOUNTS {
        let name = format!("account{number}");
        put(Object::Service(Service {
            key: Key::new("big", &name),
            cluster_ips: vec![[10, 96, (number / 250) as u8, (number % 250) as u8].into()],
            selector: Some(BTreeMap::from([
                ("tier".to_owned(), "web".to_owned()),
                ("app".to_owned(), name.clone()),
            ])),
            ports: vec![ServicePort {
                name: "http".into(),
                port: 80,
                target_port: TargetPort::Number(8080),
                transport: Transport::Tcp,
                app_protocol: None,
            }],
        }));
        let mut path = String::from("/");
        write!(path, "{name}/[a-z]+").expect("a String takes it");
        let read = HttpMatch {
            name: "read".into(),
            path_regex: Some(path),
            methods: vec!["GET".into()],
            headers: vec![],
        };
        put(Object::HttpRouteGroup(HttpRouteGroup {
            key: Key::new("big", &name),
            matches: vec![read],
        }));
        let account = |number: usize| Subject::ServiceAccount(Key::new("big", format!("account{}", number % ACCOUNTS)));
        put(Object::TrafficTarget(TrafficTarget {
            key: Key::new("big", &name),
            destination: Some(account(number)),
            port: None,
            rules: vec![TargetRule {
                kind: RuleKind::HttpRouteGroup,
                name: name.clone(),
                matches: None,
            }],
            sources: (1..=5).map(|more| account(number + more)).collect(),
        }));
    }
    index
}

#[test]
fn ten_thousand_pods_compile_at_once() {
    let index = cluster();
    let start = Instant::now();
    let plan = compile(&index, &settings("n7"), 1);
    let took = start.elapsed();
    println!("compiled in {took:?}");
    assert_eq!(plan.kernel.peers.len(), PODS);
    assert_eq!(plan.kernel.services.len(), ACCOUNTS);
    assert!(plan.findings.is_empty(), "{:?}", plan.findings.first());
    // Without optimisation on a busy machine; a release build takes a tenth.
    assert!(took < Duration::from_secs(20), "took {took:?}");
}
