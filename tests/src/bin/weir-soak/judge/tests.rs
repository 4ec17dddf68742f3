//! Each kind of violation is found, and what may be is not taken for one.

use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::clock;
use crate::event::Kind;
use crate::model::{Pod, Rule, SHOP, Target, Who};

fn state(granted: bool) -> State {
    let pod = |account: &str, last| Pod {
        namespace: SHOP,
        account: account.to_string(),
        team: String::new(),
        version: String::new(),
        app: String::new(),
        ips: [IpAddr::from([10, 0, 0, last]), IpAddr::from([10, 0, 1, last])],
        churning: false,
    };
    let who = |name: &str| Who::Account {
        namespace: SHOP,
        name: name.to_string(),
    };
    let mut state = State::default();
    state.pods.insert("client".into(), pod("ann", 1));
    state.pods.insert("server".into(), pod("store", 2));
    state.routes.insert("r".into(), vec![]);
    if granted {
        let target = Target {
            destination: who("store"),
            sources: vec![who("ann")],
            rules: vec![Rule::Tcp("r".into())],
        };
        state.targets.insert("t".into(), target);
    }
    state
}

fn event(from: u64, outcome: Outcome) -> Event {
    Event {
        client: "client".into(),
        kind: Kind::Echo,
        to: SocketAddr::from(([10, 0, 0, 2], 9000)),
        ask: Ask::Bytes,
        held: None,
        since: from,
        from,
        until: from + 10,
        outcome,
    }
}

fn served() -> Outcome {
    Outcome::Served(Some("server".into()))
}

fn refused() -> Outcome {
    Outcome::Refused("ECONNREFUSED".into())
}

fn is_violation(event: &Event, history: &History) -> bool {
    matches!(judge(event, history), Verdict::Violation(_))
}

#[test]
fn serving_the_forbidden_and_not_serving_the_allowed_are_violations() {
    let (open, shut) = (History::new(state(true)), History::new(state(false)));
    assert_eq!(judge(&event(5, served()), &open), Verdict::Served);
    assert_eq!(judge(&event(5, refused()), &shut), Verdict::Refused);
    assert!(is_violation(&event(5, served()), &shut));
    assert!(is_violation(&event(5, refused()), &open));
    assert!(is_violation(&event(5, Outcome::Failed("504".into())), &open));
    assert!(is_violation(&event(5, Outcome::Failed("time-out".into())), &shut));
    assert!(is_violation(&event(5, Outcome::Torn("x".into())), &open));
    let other = Outcome::Served(Some("somebody else".into()));
    assert!(is_violation(&event(5, other), &open));
}

#[test]
fn while_an_edit_gets_in_force_either_answer_will_do_and_not_after() {
    let mut history = History::new(state(true));
    history.begin("", state(false));
    let written = clock::now();
    assert_eq!(judge(&event(written, served()), &history), Verdict::Open);
    assert_eq!(judge(&event(written, refused()), &history), Verdict::Open);
    history.firm(written + 100);
    assert!(is_violation(&event(written + 200, served()), &history), "revoked");
    assert!(!is_violation(&event(written + 50, served()), &history));
    let mut kept = event(written + 200, refused());
    kept.since = 1;
    assert!(!is_violation(&kept, &history), "a kept connection that ended between");
}

#[test]
fn without_an_agent_only_the_kernel_has_to_go_on() {
    let mut history = History::new(state(true));
    history.goes_down();
    let at = clock::now();
    assert!(
        is_violation(&event(at, refused()), &history),
        "bytes to a pod are the kernel's"
    );
    let mut http = event(at, refused());
    let mut state = state(true);
    state.groups.insert(
        "g".into(),
        vec![crate::model::Match {
            name: "m".into(),
            path: &crate::model::palette::PATHS[0],
            methods: vec![],
            gold: false,
        }],
    );
    if let Some(target) = state.targets.get_mut("t") {
        target.rules = vec![Rule::Http("g".into(), vec![])];
    }
    history.begin("", state);
    history.firm(at);
    http.ask = Ask::Http {
        method: "GET".into(),
        path: "/".into(),
        gold: false,
    };
    (http.since, http.from, http.until) = (at + 10, at + 10, at + 20);
    assert!(!is_violation(&http, &history));
    history.is_up(at + 15);
    (http.since, http.from, http.until) = (at + 20, at + 20, at + 30);
    assert!(is_violation(&http, &history), "it is back");
}

#[test]
fn a_pod_that_is_being_removed_may_fail_and_may_not_get_more() {
    let mut state_now = state(true);
    if let Some(pod) = state_now.pods.get_mut("server") {
        pod.churning = true;
    }
    let history = History::new(state_now);
    assert!(!is_violation(&event(5, Outcome::Failed("time-out".into())), &history));
    let mut shut = state(false);
    if let Some(pod) = shut.pods.get_mut("client") {
        pod.churning = true;
    }
    assert!(is_violation(&event(5, served()), &History::new(shut)));
}
