use proptest::prelude::*;
use regex_automata::meta::Regex;

use super::*;

fn compiled(pattern: &str) -> Regex {
    Regex::builder()
        .syntax(regex_automata::util::syntax::Config::new().unicode(false).utf8(false))
        .build(pattern)
        .unwrap()
}

/// The rules of Matching, read out one by one.
fn meets(spec: &MatchSpec, request: &Probe) -> bool {
    let path = spec
        .path_regex
        .as_ref()
        .is_none_or(|path| compiled(&format!("^(?:{path})")).is_match(&request.path));
    let method = spec.methods.is_empty() || spec.methods.iter().any(|have| have == "*" || *have == request.method);
    path && method
        && spec
            .headers
            .iter()
            .all(|(name, pattern)| header_meets(name, pattern, request))
}

fn header_meets(name: &str, pattern: &str, request: &Probe) -> bool {
    if name.eq_ignore_ascii_case("host") {
        let authority = request.authority.as_deref();
        let forms = authority
            .into_iter()
            .chain(authority.and_then(|a| a.rsplit_once(':')).map(|(host, _)| host));
        return forms.into_iter().any(|form| compiled(pattern).is_match(form));
    }
    let lines = request
        .headers
        .iter()
        .filter(|(have, _)| have.eq_ignore_ascii_case(name));
    let values: Vec<_> = lines.map(|(_, value)| value.as_str()).collect();
    let separator = if name.eq_ignore_ascii_case("cookie") {
        "; "
    } else {
        ", "
    };
    !values.is_empty() && compiled(pattern).is_match(&values.join(separator))
}

fn any_spec() -> impl Strategy<Value = MatchSpec> {
    let paths = [
        "", ".*", "/", "/a", "/a|/b", "/[ab]+$", "b", "(?i)/A", "/.*b", "/a{2}", "^/b", "/a/?$", "(?:)$", "(?m)/a$",
    ];
    let values = [
        "",
        "1",
        "^1$",
        "1|2",
        "^1, 2$",
        "^1; 2$",
        "a.c",
        "^$",
        "[^1]",
        "shop$",
        "^s.*[0-9]$",
    ];
    (
        prop::option::of(prop::sample::select(paths.to_vec())),
        prop::collection::vec(prop::sample::select(vec!["GET", "POST", "get", "*"]), 0..3),
        prop::collection::vec(
            (
                prop::sample::select(vec!["x", "X", "cookie", "Host", "y"]),
                prop::sample::select(values.to_vec()),
            ),
            0..3,
        ),
    )
        .prop_map(|(path, methods, headers)| spec("m", path, &methods, &headers))
}

fn any_probe() -> impl Strategy<Value = Probe> {
    let headers = (
        prop::sample::select(vec!["x", "X", "Cookie", "y"]),
        prop::sample::select(vec!["", "1", "2", "abc"]),
    );
    (
        prop::sample::select(vec!["GET", "POST", "PUT"]),
        "/[ab/]{0,5}",
        prop::option::of(prop::sample::select(vec!["shop", "shop:80"])),
        prop::collection::vec(headers, 0..4),
    )
        .prop_map(|(method, path, authority, headers)| Probe {
            authority: authority.map(str::to_owned),
            ..probe(method, &path, &headers)
        })
}

proptest! {
    #[test]
    fn a_set_agrees_with_one_match_at_a_time(
        specs in prop::collection::vec(any_spec(), 0..24),
        probes in prop::collection::vec(any_probe(), 1..8),
        unwanted in 0_usize..24,
    ) {
        let set = set(&specs);
        for request in &probes {
            let met: Vec<_> = (0..specs.len()).filter(|&index| meets(&specs[index], request)).collect();
            prop_assert_eq!(set.find(request), met.first().copied());
            let wanted = met.iter().copied().find(|&index| index != unwanted);
            prop_assert_eq!(set.find_where(request, |index| index != unwanted), wanted);
            let missed: Vec<_> = set.explain(request).into_iter().map(|mismatch| mismatch.index).collect();
            prop_assert_eq!(missed, (0..specs.len()).filter(|index| !met.contains(index)).collect::<Vec<_>>());
        }
    }
}
