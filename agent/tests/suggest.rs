//! `weir suggest`: what it prints compiles to grants for just what was let pass.

use weir_agent::cli::suggest::suggest;
use weir_core::compile::compile;
use weir_core::convert::{Converted, convert_all};
use weir_core::index::{Change, Index};
use weir_core::matcher::Probe;
use weir_core::plan::{Plan, Settings};

fn line(source: &str, destination: &str, port: u16, protocol: &str, method: &str, path: &str) -> String {
    serde_json::json!({
        "message": "would be refused", "audit": true, "by": "engine", "source": "10.0.0.9", "source_identity": source,
        "destination": "10.0.0.2", "destination_identity": destination, "port": port, "protocol": protocol,
        "method": method, "path": path, "missing": "no rule", "reason": "no_target", "count": 1,
    })
    .to_string()
}

/// A shop with pods of these accounts, enforced, and the policy.
fn plan(policy: &str) -> Plan {
    let mut index = Index::new();
    let mut yaml = String::new();
    for namespace in ["shop", "bank"] {
        yaml += &format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{weir.dev/mode: enforce}}}}\n"
        );
    }
    for (at, name) in ["shop/buyer", "shop/store", "bank/buyer", "shop/thief"]
        .iter()
        .enumerate()
    {
        let (namespace, account) = name.split_once('/').unwrap();
        yaml += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {account}, namespace: {namespace}}}\nspec: {{serviceAccountName: \
             {account}, nodeName: n1}}\nstatus: {{podIPs: [{{ip: 10.0.0.{}}}]}}\n",
            at + 1
        );
    }
    yaml += policy;
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&yaml).expect("YAML");
    for converted in documents.iter().flat_map(convert_all) {
        match converted.expect("an object") {
            Converted::Object { object, findings } => {
                assert!(findings.is_empty(), "{findings:?}");
                index.apply(Change::Upsert(*object));
            }
            Converted::Ignored { .. } => panic!("ignored"),
        }
    }
    let settings = Settings {
        node: "n1".into(),
        outbound_port: 15001,
        inbound_port: 15006,
        errno: 111,
        node_addresses: Default::default(),
    };
    let plan = compile(&index, &settings, 1);
    assert!(
        plan.findings
            .iter()
            .all(|finding| !finding.to_string().contains("error")),
        "{:?}",
        plan.findings
    );
    plan
}

fn allows(plan: &Plan, source: &str, port: u16, request: Option<(&str, &str)>) -> bool {
    let pod = |name: &str| {
        let mut pods = plan.snapshot.peers.values();
        pods.find(|pod| pod.pod.to_string() == name).expect("a pod").identity
    };
    let (src, dst) = (pod(source), pod("shop/store"));
    match request {
        None => plan.snapshot.authorize_tcp(src, dst, port).is_ok(),
        Some((method, path)) => {
            let probe = Probe {
                method: method.into(),
                path: path.into(),
                ..Probe::default()
            };
            plan.snapshot.authorize_http(src, dst, port, &probe).is_ok()
        }
    }
}

#[test]
fn just_what_was_let_pass_is_allowed() {
    let log = [
        line("shop/buyer", "shop/store", 80, "tcp", "GET", "/books/1.html"),
        line("shop/buyer", "shop/store", 80, "tcp", "HEAD", "/books/1.html"),
        line("shop/buyer", "shop/store", 8080, "tcp", "POST", "/it's/a+(b)|c"),
        line("bank/buyer", "shop/store", 80, "tcp", "GET", "/"),
        line("shop/buyer", "shop/store", 5432, "tcp", "", ""),
        line("shop/buyer", "shop/store", 53, "udp", "", ""),
    ]
    .join("\n");
    let suggestion = suggest(log.as_bytes()).unwrap();
    assert_eq!(suggestion.left_out, [""; 0]);
    let plan = plan(&suggestion.yaml);
    for (source, port, request, allowed) in [
        ("shop/buyer", 80, Some(("GET", "/books/1.html")), true),
        ("shop/buyer", 80, Some(("HEAD", "/books/1.html")), true),
        ("shop/buyer", 80, Some(("POST", "/books/1.html")), false),
        ("shop/buyer", 80, Some(("GET", "/books/1xhtml")), false),
        ("shop/buyer", 80, Some(("GET", "/books/1.html2")), false),
        ("shop/buyer", 80, Some(("GET", "/x/books/1.html")), false),
        ("shop/buyer", 8080, Some(("GET", "/books/1.html")), false),
        ("shop/buyer", 8080, Some(("POST", "/it's/a+(b)|c")), true),
        ("shop/buyer", 8080, Some(("POST", "/it's/aa(b)|c")), false),
        ("shop/buyer", 80, Some(("POST", "/it's/a+(b)|c")), false),
        ("bank/buyer", 80, Some(("GET", "/")), true),
        ("bank/buyer", 80, Some(("GET", "/books/1.html")), false),
        ("shop/buyer", 80, Some(("GET", "/")), false),
        ("shop/thief", 80, Some(("GET", "/")), false),
        ("shop/buyer", 5432, None, true),
        ("shop/buyer", 80, None, false),
        ("shop/buyer", 53, None, false),
        ("bank/buyer", 5432, None, false),
    ] {
        let got = allows(&plan, source, port, request);
        assert_eq!(got, allowed, "{source} {port} {request:?}\n{}", suggestion.yaml);
    }
    let identity = |name: &str| {
        let mut pods = plan.snapshot.peers.values();
        pods.find(|pod| pod.pod.to_string() == name).expect("a pod").identity
    };
    for (port, allowed) in [(53, true), (5432, false)] {
        let granted = plan
            .snapshot
            .authorize_udp(identity("shop/buyer"), identity("shop/store"), port);
        assert_eq!(granted.is_ok(), allowed, "udp {port}");
    }
}

#[test]
fn the_same_log_in_any_order_gives_the_same_text() {
    let mut lines: Vec<String> = (0..40)
        .map(|at| {
            line(
                "shop/buyer",
                "shop/store",
                80 + at % 3,
                "tcp",
                "GET",
                &format!("/{}", at / 3),
            )
        })
        .collect();
    lines.push(line("shop/buyer", "shop/store", 9000, "tcp", "", ""));
    let one = suggest(lines.join("\n").as_bytes()).unwrap();
    lines.reverse();
    assert_eq!(suggest(lines.join("\n").as_bytes()).unwrap(), one);
    // Repeats add nothing but their number.
    lines.extend(lines.clone());
    let twice = suggest(lines.join("\n").as_bytes()).unwrap();
    let body = |yaml: &str| yaml.split_once('\n').unwrap().1.to_owned();
    assert_eq!(body(&twice.yaml), body(&one.yaml));
}

#[test]
fn what_no_rule_can_say_is_told_and_never_widened() {
    let log = [
        line("", "shop/store", 80, "tcp", "GET", "/"),
        line("shop/buyer", "", 80, "tcp", "GET", "/"),
        line("shop/buyer", "shop/store", 80, "tcp", "*", "/"),
        line("shop/buyer", "shop/store", 81, "tcp", "GET", "/a"),
        line("shop/buyer", "shop/store", 81, "tcp", "", ""),
        line("shop/buyer", "shop/store", 82, "sctp", "", ""),
        line("shop/buyer", "shop/store", 83, "tcp", "", "").replace("no_target", "not_http"),
        line("shop/Not A Name", "shop/store", 82, "tcp", "", ""),
        "WARN weir_agent::refusals: refused, of more kinds than are told apart count=9".to_owned(),
    ]
    .join("\n");
    let suggestion = suggest(log.as_bytes()).unwrap();
    assert_eq!(suggestion.left_out.len(), 8, "{:#?}", suggestion.left_out);
    let plan = plan(&suggestion.yaml);
    assert!(allows(&plan, "shop/buyer", 81, Some(("GET", "/a"))));
    for (port, request) in [
        (81, None),
        (80, Some(("GET", "/"))),
        (82, None),
        (83, None),
        (80, Some(("PUT", "/"))),
    ] {
        assert!(!allows(&plan, "shop/buyer", port, request), "{port} {request:?}");
    }
}

#[test]
fn nothing_makes_no_objects() {
    let suggestion = suggest(&b"agent started\n"[..]).unwrap();
    assert!(suggestion.yaml.starts_with("# Nothing to allow"), "{}", suggestion.yaml);
    assert!(!suggestion.yaml.contains("kind:"));
}

#[test]
fn accounts_whose_names_run_together_keep_their_objects_apart() {
    let log = [
        line("a-b/c", "shop/store", 80, "tcp", "", ""),
        line("a/b-c", "shop/store", 81, "tcp", "", ""),
    ]
    .join("\n");
    let yaml = suggest(log.as_bytes()).unwrap().yaml;
    assert!(
        yaml.contains("\"a-b-c-to-store-tcp\"") && yaml.contains("\"a-b-c-to-store-tcp-2\""),
        "{yaml}"
    );
}
