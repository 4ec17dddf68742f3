//! `weir explain` on a small shop: what it says, in both forms, and its exit status.

use std::path::PathBuf;

use clap::Parser;
use weir_agent::cli::explain::{ExplainArgs, Report, explain};

#[derive(Parser)]
struct Weir {
    #[command(flatten)]
    args: ExplainArgs,
}

fn ask(question: &[&str]) -> anyhow::Result<Report> {
    let shop = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/explain/shop.yaml");
    let shop = shop.to_str().expect("a path of this tree");
    let words = ["explain", "-f", shop].into_iter().chain(question.iter().copied());
    explain(&Weir::try_parse_from(words)?.args)
}

fn said(question: &[&str]) -> String {
    ask(question).expect("it can be said").to_string()
}

#[test]
fn an_allowed_request_names_target_group_and_match() {
    let said = said(&["shop/buyer-1", "shop/store-1:8080", "GET", "/books?sort=1"]);
    assert_eq!(
        said,
        "allowed: shop/buyer-1 (shop/buyer) to shop/store-1:8080 (shop/store)\n  \
         by TrafficTarget shop/browse: HTTPRouteGroup store, match read\n  \
         the engine judges each request\n"
    );
}

#[test]
fn what_only_audit_lets_pass_says_so_and_what_it_lacks() {
    let modes = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/explain/modes.yaml");
    let modes = modes.to_str().expect("a path of this tree");
    let report = ask(&["-f", modes, "shop/buyer-1", "watched/depot-1:80", "GET", "/"]).expect("it can be said");
    assert!(report.allowed);
    let said = report.to_string();
    assert!(
        said.contains("by the mode of its namespace, audit: would be refused, and is reported"),
        "{said}"
    );
    assert!(
        said.contains("no TrafficTarget allows shop/buyer to reach watched/depot"),
        "{said}"
    );
}

#[test]
fn a_refused_request_says_why_each_match_does_not_hold() {
    let report = ask(&["shop/buyer", "shop/store-1:8080", "POST", "/admin"]).expect("it can be said");
    assert!(!report.allowed);
    let [answer] = &report.answers[..] else {
        panic!("{report}")
    };
    assert_eq!(
        answer.missing.as_deref(),
        Some("TrafficTarget shop/browse allows no POST /admin")
    );
    let [read, beta] = &answer.candidates[..] else {
        panic!("{report}")
    };
    assert_eq!(read.route.as_deref(), Some("store/read"));
    assert_eq!(
        read.why,
        "the method is none of GET; the path does not match ^(?:/books)"
    );
    assert_eq!(beta.route.as_deref(), Some("store/beta"));
    assert_eq!(beta.why, "there is no header x-beta; there is no header host");
}

#[test]
fn a_stranger_hears_who_is_named_instead() {
    let said = said(&["sa:shop/thief", "shop/store-1:8080", "GET", "/books"]);
    assert!(said.contains("refused: shop/any-pod-of-thief (shop/thief)"), "{said}");
    assert!(
        said.contains("no TrafficTarget allows shop/thief to reach shop/store"),
        "{said}"
    );
    assert!(
        said.contains("not by TrafficTarget shop/browse: it names shop/buyer as a source, not shop/thief"),
        "{said}"
    );
}

#[test]
fn a_service_shows_where_its_split_sends_it() {
    let report = ask(&["shop/buyer-1", "shop/store:80", "GET", "/books"]).expect("it can be said");
    assert!(report.allowed);
    let [routing] = &report.routing[..] else {
        panic!("{report}")
    };
    assert_eq!(routing.split.as_deref(), Some("shop/store"));
    let shares: Vec<_> = routing
        .shares
        .iter()
        .map(|share| (share.backend.as_str(), share.percent))
        .collect();
    assert_eq!(shares, [("shop/store-v1", 90.0), ("shop/store-v2", 10.0)]);
}

#[test]
fn any_bytes_are_judged_without_a_method() {
    let said = said(&["shop/buyer-1", "svc:shop/store"]);
    assert!(
        said.contains("TrafficTarget shop/browse allows only HTTP on port 8080"),
        "{said}"
    );
    assert!(said.contains("ask with a method and a path"), "{said}");
}

#[test]
fn headers_and_host_are_part_of_the_question() {
    let with = |headers: &[&str]| {
        ask(&[&["shop/buyer-1", "pod:shop/store-1:8080", "PUT", "/x"], headers].concat())
            .expect("it can be said")
            .allowed
    };
    assert!(with(&["-H", "X-Beta: 1", "-H", "Host: store.shop"]));
    assert!(!with(&["-H", "X-Beta: 1", "-H", "Host: bank"]));
    assert!(!with(&["-H", "X-Beta: 0", "-H", "Host: store.shop"]));
}

#[test]
fn the_agent_of_another_node_has_no_say() {
    let on = |node| ask(&["shop/buyer-1", "shop/store-1:8080", "GET", "/books", "--node", node]);
    assert!(on("n1").expect("it can be said").allowed);
    let error = on("n9").expect_err("no answer").to_string();
    assert!(error.contains("no say"), "{error}");
}

#[test]
fn what_is_not_there_can_not_be_explained() {
    for (question, why) in [
        (
            &["shop/nobody", "shop/store-1:8080"][..],
            "there is no pod, Service or ServiceAccount shop/nobody",
        ),
        (&["shop/buyer-1", "shop/store-1"], "which port of shop/store-1?"),
        (&["shop/buyer-1", "shop/store:81"], "has no ClusterIP with TCP port 81"),
        (
            &["shop/buyer-1", "shop/store-1:8080", "GET", "/%00"],
            "answered with 400",
        ),
        (&["shop/job", "shop/store-1:8080"], "it has finished"),
        (&["shop/buyer-1", "shop/store-1:8080", "GET"], "required arguments"),
    ] {
        let error = ask(question).expect_err("no answer").to_string();
        assert!(error.contains(why), "{question:?}: {error}");
    }
}

#[test]
fn a_split_of_the_engine_is_not_said_to_be_decided_in_the_kernel() {
    let split = said(&["shop/thief", "shop/store:80", "GET", "/books"]);
    assert!(
        split.contains("the engine picks the backend and judges there"),
        "{split}"
    );
    assert!(!split.contains("decided in the kernel"), "{split}");
    let pod = said(&["shop/thief", "shop/store-1:8080", "GET", "/books"]);
    assert!(pod.contains("decided in the kernel when the client connects"), "{pod}");
}

#[test]
fn datagrams_are_judged_by_udp_routes() {
    let said_allowed = said(&["shop/buyer-1", "shop/store-1:5353/udp"]);
    assert_eq!(
        said_allowed,
        "allowed: shop/buyer-1 (shop/buyer) to shop/store-1:5353/udp (shop/store)\n  \
         by TrafficTarget shop/names: datagrams to this port\n  \
         decided in the kernel, the engine never sees it\n"
    );
    let refused = ask(&["shop/buyer-1", "shop/store-1:8080/udp"]).expect("it can be said");
    assert!(!refused.allowed);
    let [answer] = &refused.answers[..] else {
        panic!("{refused}")
    };
    assert_eq!(
        answer.missing.as_deref(),
        Some("TrafficTarget shop/names allows no UDP port 8080")
    );
    assert_eq!(answer.candidates[0].why, "it holds for port 5353, not 8080");
    let stranger = said(&["sa:shop/thief", "shop/store-1:5353/udp"]);
    assert!(
        stranger.contains("no TrafficTarget with a UDPRoute allows shop/thief to reach shop/store"),
        "{stranger}"
    );
    assert!(stranger.contains("it names shop/buyer as a source"), "{stranger}");
    assert!(ask(&["shop/buyer-1", "shop/store-1:5353/udp", "GET", "/"]).is_err());
}

#[test]
fn datagrams_to_a_service_go_to_its_endpoints() {
    let report = ask(&["shop/buyer-1", "shop/names/udp"]).expect("it can be said");
    assert!(report.allowed, "{report}");
    let [routing] = &report.routing[..] else {
        panic!("{report}")
    };
    assert_eq!((routing.port, routing.by_engine), (53, false));
    assert_eq!(report.answers[0].port, 5353);
    assert!(
        ask(&["shop/buyer-1", "shop/store:80/udp"]).is_err(),
        "it has a TCP port only"
    );
}
