//! The oracle against sentences of docs/semantics.md.

use super::*;
use palette::PATHS;

fn pod(account: &str, last: u8) -> Pod {
    Pod {
        namespace: SHOP,
        account: account.to_string(),
        team: "red".to_string(),
        version: String::new(),
        app: "store".to_string(),
        ips: [IpAddr::from([10, 0, 0, last]), IpAddr::from([10, 0, 1, last])],
        churning: false,
    }
}

fn account(name: &str) -> Who {
    Who::Account {
        namespace: SHOP,
        name: name.to_string(),
    }
}

fn state(rules: Vec<Rule>) -> State {
    let mut state = State::default();
    state.pods.insert("client".into(), pod("ann", 1));
    state.pods.insert("server".into(), pod("store", 2));
    state.routes.insert("r".into(), vec![9000]);
    state.udp_routes.insert("u".into(), vec![7000]);
    let one = Match {
        name: "books".into(),
        path: &PATHS[1],
        methods: vec!["GET"],
        gold: false,
    };
    state.groups.insert("g".into(), vec![one]);
    state.targets.insert(
        "t".into(),
        Target {
            destination: account("store"),
            sources: vec![account("ann")],
            rules,
        },
    );
    state
}

fn get(path: &str) -> Ask {
    Ask::Http {
        method: "GET".into(),
        path: path.into(),
        gold: false,
    }
}

/// Bytes at 9000, bytes at 80, GET /books at 9000, at 80, GET / at 80.
fn answers(state: &State) -> [bool; 5] {
    let to = IpAddr::from([10, 0, 0, 2]);
    let ask = |port, ask: Ask| {
        state
            .candidates("client", SocketAddr::new(to, port), &ask, &Held::No)
            .iter()
            .any(|one| one.allowed)
    };
    [
        ask(9000, Ask::Bytes),
        ask(80, Ask::Bytes),
        ask(9000, get("/books/1?x=/")),
        ask(80, get("/books")),
        ask(80, get("/")),
    ]
}

#[test]
fn tcp_and_http_rules_mean_what_the_semantics_say() {
    let tcp = || Rule::Tcp("r".into());
    let http = || Rule::Http("g".into(), vec![]);
    assert_eq!(answers(&state(vec![])), [false; 5], "10: no rules allow nothing");
    assert_eq!(
        answers(&state(vec![tcp()])),
        [true, false, true, false, false],
        "6: any bytes on its ports"
    );
    assert_eq!(
        answers(&state(vec![http()])),
        [false, false, true, true, false],
        "7: HTTP only, on every port"
    );
    assert_eq!(
        answers(&state(vec![tcp(), http()])),
        [false, false, true, false, false],
        "5: both"
    );
    let both = state(vec![Rule::Udp("u".into()), http()]);
    let datagram = |state: &State, port| {
        let to = IpAddr::from([10, 0, 0, 2]);
        let candidates = state.candidates("client", SocketAddr::new(to, port), &Ask::Datagram, &Held::No);
        candidates.iter().any(|one| one.allowed)
    };
    assert_eq!(
        answers(&both),
        answers(&state(vec![http()])),
        "8: a UDPRoute narrows nothing"
    );
    assert_eq!(
        [7000, 7001].map(|port| datagram(&both, port)),
        [true, false],
        "8: its ports"
    );
    assert!(
        !datagram(&state(vec![tcp(), http()]), 9000),
        "8: and they say nothing about UDP"
    );
    let audit = State {
        lenient: Some("audit"),
        ..state(vec![])
    };
    assert_eq!(answers(&audit), [true; 5], "taking part: everything passes");
    let wrong = Rule::Http("g".into(), vec!["books".into(), "nothing".into()]);
    assert_eq!(answers(&state(vec![wrong])), [false; 5], "3: one wrong name");
    let missing = vec![Rule::Tcp("none".into()), http()];
    assert_eq!(
        answers(&state(missing)),
        [false; 5],
        "5: the TCPRoute beside it is missing"
    );
}

#[test]
fn splits_and_selectors_say_who_may_answer() {
    let mut state = state(vec![Rule::Tcp("r".into())]);
    let ip = IpAddr::from([10, 96, 0, 1]);
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        let backend = Service {
            ips: vec![],
            app: None,
            version: Some(version.into()),
            declared: true,
        };
        state.services.insert(name.into(), backend);
        let server = Pod {
            version: version.into(),
            ..pod("store", if version == "one" { 3 } else { 4 })
        };
        state.pods.insert(version.into(), server);
    }
    state.services.insert(
        "root".into(),
        Service {
            ips: vec![ip],
            app: Some("store".into()),
            version: None,
            declared: true,
        },
    );
    let servers = |state: &State| -> Vec<String> {
        let candidates = state.candidates("client", SocketAddr::new(ip, 9000), &Ask::Bytes, &Held::No);
        candidates.into_iter().map(|one| one.server).collect()
    };
    assert_eq!(
        servers(&state),
        ["client", "one", "server", "two"],
        "all that the root selects"
    );
    state.splits.insert(
        "root".into(),
        vec![("v1".into(), 3), ("v2".into(), 0), ("v3".into(), 1)],
    );
    assert_eq!(servers(&state), ["one"], "weight 0 and a missing backend get nothing");
    let held = state.candidates(
        "client",
        SocketAddr::new(ip, 9000),
        &Ask::Bytes,
        &Held::By("two".into()),
    );
    assert_eq!(held.len(), 1, "what has its server stays there");
}
