//! Tests of the matcher: the rules of Matching by name, and agreement with an evaluator that is plainly right.

mod naive;

use super::*;

fn spec(name: &str, path: Option<&str>, methods: &[&str], headers: &[(&str, &str)]) -> MatchSpec {
    MatchSpec {
        name: name.to_owned(),
        path_regex: path.map(str::to_owned),
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn probe(method: &str, path: &str, headers: &[(&str, &str)]) -> Probe {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Probe {
        method: method.to_owned(),
        path: path.into(),
        authority: Some("store.shop:8080".to_owned()),
        headers,
    }
}

fn set(specs: &[MatchSpec]) -> RouteSet {
    let (set, errors) = RouteSet::compile(specs.iter().cloned());
    assert_eq!(errors, []);
    set
}

/// Whether a request with `path` meets a single match with `pattern`.
fn path_meets(pattern: &str, path: &str) -> bool {
    set(&[spec("m", Some(pattern), &[], &[])])
        .find(&probe("GET", path, &[]))
        .is_some()
}

/// Whether a request with `headers` meets a single match on one header.
fn header_meets(name: &str, pattern: &str, headers: &[(&str, &str)]) -> bool {
    set(&[spec("m", None, &[], &[(name, pattern)])])
        .find(&probe("GET", "/", headers))
        .is_some()
}

#[test]
fn a_set_is_shared_between_threads() {
    fn shared<T: Send + Sync + std::fmt::Debug>() {}
    shared::<std::sync::Arc<RouteSet>>();
}

#[test]
fn an_empty_set_matches_nothing() {
    assert!(set(&[]).is_empty());
    assert_eq!(set(&[]).find(&probe("GET", "/", &[])), None);
}

#[test]
fn a_path_is_anchored_at_its_start_only() {
    assert!(path_meets("/a", "/a/b"));
    assert!(path_meets("/a$", "/a") && !path_meets("/a$", "/a/b"));
    assert!(!path_meets("/b", "/a/b") && !path_meets("b", "/b"));
    assert!(path_meets("", "/a") && path_meets(".*", "/a"));
}

#[test]
fn alternations_stay_inside_the_anchor() {
    assert!(path_meets("/a|/b", "/b/x"));
    assert!(!path_meets("/a|/b", "/x/b"));
    // Also when many patterns share an automaton.
    let specs: Vec<_> = (0..20)
        .map(|n| spec("m", Some(&format!("/x{n}|/y{n}")), &[], &[]))
        .collect();
    assert_eq!(set(&specs).find(&probe("GET", "/y7", &[])), Some(7));
    assert_eq!(set(&specs).find(&probe("GET", "/z/y7", &[])), None);
}

#[test]
fn methods_are_case_sensitive_and_a_star_is_any() {
    let meets = |methods: &[&str], method| {
        set(&[spec("m", None, methods, &[])])
            .find(&probe(method, "/", &[]))
            .is_some()
    };
    assert!(meets(&["GET", "HEAD"], "HEAD") && !meets(&["GET"], "get") && !meets(&["get"], "GET"));
    assert!(meets(&["*"], "GET") && meets(&["PUT", "*"], "GET") && meets(&[], "GET"));
}

#[test]
fn header_names_have_no_case_and_values_are_searched() {
    assert!(header_meets("User-Agent", "fox", &[("user-AGENT", "Firefox/1")]));
    assert!(!header_meets("user-agent", "^fox", &[("User-Agent", "Firefox/1")]));
}

#[test]
fn an_absent_header_never_matches_and_an_empty_one_may() {
    assert!(!header_meets("x", ".*", &[]));
    assert!(header_meets("x", ".*", &[("X", "")]));
}

#[test]
fn lines_of_one_header_are_joined_first() {
    assert!(header_meets(
        "x",
        "^a, b, c$",
        &[("x", "a"), ("y", "-"), ("X", "b"), ("x", "c")]
    ));
    assert!(header_meets(
        "Cookie",
        "^a=1; b=2$",
        &[("cookie", "a=1"), ("cookie", "b=2")]
    ));
}

#[test]
fn all_headers_of_a_match_must_hold() {
    let both = [spec("m", None, &[], &[("x", "1"), ("y", "2"), ("x", "^1$")])];
    assert_eq!(set(&both).find(&probe("GET", "/", &[("x", "1"), ("y", "2")])), Some(0));
    assert_eq!(set(&both).find(&probe("GET", "/", &[("x", "1")])), None);
    assert_eq!(set(&both).find(&probe("GET", "/", &[("x", "11"), ("y", "2")])), None);
}

#[test]
fn host_is_the_authority_with_and_without_its_port() {
    assert!(header_meets("Host", "^store.shop$", &[]));
    assert!(header_meets("host", "^store.shop:8080$", &[]));
    assert!(!header_meets("host", "^8080$", &[("host", "8080")]));
    let none = Probe {
        authority: None,
        ..probe("GET", "/", &[])
    };
    assert_eq!(set(&[spec("m", None, &[], &[("host", ".*")])]).find(&none), None);
}

#[test]
fn the_first_match_wins_and_unwanted_ones_are_passed_over() {
    let specs = [
        spec("post", Some("/a"), &["POST"], &[]),
        spec("any", None, &[], &[]),
        spec("a", Some("/a"), &[], &[]),
        spec("ab", Some("/a/b"), &[], &[]),
    ];
    let set = set(&specs);
    assert_eq!(set.find(&probe("POST", "/a/b", &[])), Some(0));
    assert_eq!(set.find(&probe("GET", "/a/b", &[])), Some(1));
    assert_eq!(set.find_where(&probe("GET", "/a/b", &[]), |index| index > 1), Some(2));
    assert_eq!(set.find_where(&probe("GET", "/a/b", &[]), |index| index > 2), Some(3));
    assert_eq!(set.find_where(&probe("GET", "/a/b", &[]), |_| false), None);
}

#[test]
fn a_broken_pattern_costs_its_own_match_only() {
    for bad in [
        "(",
        "a)|(?:.*",
        "[",
        "(?x)/a # ) (",
        "a{2,1}",
        r"\p{Greek}",
        "(?<n>a)\\k<n>",
        "(?=a)",
        "(a{100}){100}",
    ] {
        let specs = [
            spec("bad", Some(bad), &[], &[]),
            spec("worse", None, &[], &[("X", bad)]),
            spec("good", None, &[], &[]),
        ];
        let (set, errors) = RouteSet::compile(specs);
        // The comment of a verbose pattern is fine by itself, and must not swallow what stands behind it.
        if bad.starts_with("(?x)") {
            assert_eq!(errors, []);
            assert_eq!(set.find(&probe("GET", "/b", &[])), Some(2));
            continue;
        }
        let named: Vec<_> = errors
            .iter()
            .map(|error| (error.name.as_str(), error.field.as_str()))
            .collect();
        assert_eq!(named, [("bad", "pathRegex"), ("worse", "headers.x")], "{bad}");
        assert_eq!(set.find(&probe("GET", "/a", &[("x", "a")])), Some(2), "{bad}");
    }
    let long = "a".repeat(MAX_PATTERN_BYTES + 1);
    assert_eq!(RouteSet::compile([spec("long", Some(&long), &[], &[])]).1.len(), 1);
}

#[test]
fn patterns_are_over_bytes() {
    let set = set(&[spec("m", None, &[], &[("x", "^.$")])]);
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: \xE9\r\n\r\n";
    let head = crate::http1::parse_request(head, &crate::http1::Limits::default())
        .unwrap()
        .unwrap();
    assert_eq!(set.find(&head), Some(0));
}

#[test]
fn a_search_within_a_search_is_its_own() {
    let set = set(&[spec("a", Some("/a"), &[], &[]), spec("b", Some("/b"), &[], &[])]);
    let inner = |_| set.find(&probe("GET", "/b", &[])) == Some(1);
    assert_eq!(set.find_where(&probe("GET", "/a", &[]), inner), Some(0));
}

#[test]
fn an_explanation_names_every_condition_that_fails() {
    let specs = [
        spec(
            "all",
            Some("/b"),
            &["POST"],
            &[("X-A", "1"), ("y", "2"), ("Host", "^other")],
        ),
        spec("met", None, &[], &[]),
        spec("broken", Some("("), &[], &[]),
    ];
    let (set, _) = RouteSet::compile(specs);
    let explained = set.explain(&probe("GET", "/a", &[("x-a", "2")]));
    assert_eq!(
        explained.iter().map(|mismatch| mismatch.index).collect::<Vec<_>>(),
        [0, 2]
    );
    let said: Vec<_> = explained[0].reasons.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "the method is none of POST",
            "the path does not match ^(?:/b)",
            "the header x-a does not match 1",
            "there is no header y",
            "the header host does not match ^other",
        ]
    );
    assert!(
        explained[1].reasons[0]
            .to_string()
            .starts_with("the match is broken: pathRegex: ")
    );
}

#[test]
fn a_thousand_routes_are_one_search() {
    let specs: Vec<_> = (0..1000)
        .map(|n| spec("m", Some(&format!("/api/v1/service{n}/[a-z]+$")), &[], &[]))
        .collect();
    let set = set(&specs);
    assert_eq!(set.find(&probe("GET", "/api/v1/service999/items", &[])), Some(999));
    assert_eq!(set.find(&probe("GET", "/api/v1/service1000/items", &[])), None);
    assert_eq!(set.paths.searches(), 1);
}

#[test]
fn a_set_too_large_for_one_automaton_is_cut_and_still_right() {
    let specs: Vec<_> = (0..40)
        .map(|n| spec("m", Some(&format!("/{n}(ab{{500}}){{4}}|/n{n}/")), &[], &[]))
        .collect();
    let set = set(&specs);
    assert!(set.paths.searches() > 1);
    for n in [0, 1, 19, 20, 38, 39] {
        assert_eq!(set.find(&probe("GET", &format!("/n{n}/"), &[])), Some(n));
    }
}
