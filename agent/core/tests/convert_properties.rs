//! What holds for any input: the converters never panic, and damage to an object never widens what it grants.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use weir_core::convert::{Converted, convert, convert_all};
use weir_core::model::{HttpMatch, Object, RuleKind, TargetRule};

/// Words that lead far into the converters.
const WORDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "labels",
    "annotations",
    "spec",
    "status",
    "items",
    "destination",
    "sources",
    "rules",
    "specs",
    "matches",
    "ports",
    "port",
    "headers",
    "methods",
    "pathRegex",
    "schemes",
    "podLabelSelector",
    "matchLabels",
    "serviceAccount",
    "spiffeIdentities",
    "service",
    "backends",
    "weight",
    "clusterIP",
    "clusterIPs",
    "selector",
    "targetPort",
    "podIPs",
    "ip",
    "podIP",
    "containers",
    "containerPort",
    "conditions",
    "type",
    "endpoints",
    "addresses",
    "kubernetes.io/service-name",
    "weir.dev/mode",
    "weir.dev/netns",
    "v1",
    "Pod",
    "Service",
    "Namespace",
    "List",
    "shop",
    "enforce",
    "access.smi-spec.io/v1alpha1",
    "TrafficTarget",
    "IdentityBinding",
    "ServiceAccount",
    "specs.smi-spec.io/v1alpha4",
    "HTTPRouteGroup",
    "TCPRoute",
    "split.smi-spec.io/v1alpha1",
    "TrafficSplit",
    "500m",
    "1e3",
    "8080",
    "10.0.0.1",
    "None",
    "discovery.k8s.io/v1",
    "EndpointSlice",
    "addressType",
    "protocol",
    "spiffe://a/ns/shop/sa/b",
];

const TYPES: &[(&str, &str)] = &[
    ("v1", "Namespace"),
    ("v1", "ServiceAccount"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("access.smi-spec.io/v1alpha1", "TrafficTarget"),
    ("access.smi-spec.io/v1alpha4", "IdentityBinding"),
    ("specs.smi-spec.io/v1alpha2", "HTTPRouteGroup"),
    ("specs.smi-spec.io/v1alpha4", "TCPRoute"),
    ("specs.smi-spec.io/v1alpha4", "UDPRoute"),
    ("split.smi-spec.io/v1alpha1", "TrafficSplit"),
    ("v1", "List"),
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => ".*"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u32..70_000).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Arbitrary fields behind a head that some converter takes.
fn any_object() -> impl Strategy<Value = Value> {
    let fields = prop::collection::vec((text(), any_json()), 0..6);
    (proptest::sample::select(TYPES), fields, any::<bool>()).prop_map(|((api_version, kind), fields, named)| {
        let mut object: Map<String, Value> = fields.into_iter().collect();
        object.insert("apiVersion".to_owned(), json!(api_version));
        object.insert("kind".to_owned(), json!(kind));
        if named {
            object.insert("metadata".to_owned(), json!({"name": "a", "namespace": "shop"}));
        }
        Value::Object(object)
    })
}

fn whole() -> Vec<Value> {
    vec![
        json!({"apiVersion": "access.smi-spec.io/v1alpha2", "kind": "TrafficTarget", "metadata": {"name": "t", "namespace": "shop"},
            "spec": {"destination": {"kind": "ServiceAccount", "name": "store", "namespace": "shop", "port": 8080},
                "rules": [{"kind": "TCPRoute", "name": "tcp"}, {"kind": "HTTPRouteGroup", "name": "routes", "matches": ["buy"]}],
                "sources": [{"kind": "ServiceAccount", "name": "buyer", "namespace": "shop"}]}}),
        json!({"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "TCPRoute", "metadata": {"name": "tcp", "namespace": "shop"},
            "spec": {"matches": {"name": "db", "ports": [3306, 3307]}}}),
        json!({"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup", "metadata": {"name": "routes", "namespace": "shop"},
            "spec": {"matches": [{"name": "buy", "pathRegex": "/buy", "methods": ["GET"], "headers": [{"x-beta": "1"}]}]}}),
        json!({"apiVersion": "access.smi-spec.io/v1alpha4", "kind": "IdentityBinding", "metadata": {"name": "b", "namespace": "shop"},
            "spec": {"schemes": {"podLabelSelector": {"matchLabels": {"app": "store", "tier": "web"}}}}}),
    ]
}

/// Paths to every value inside.
fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| pointers(value, format!("{at}/{name}"), all)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, value)| pointers(value, format!("{at}/{index}"), all)),
        _ => {}
    }
    all.push(at);
}

/// What `damaged` grants that `whole` does not.
fn wider(whole: &Object, damaged: &Object) -> Option<&'static str> {
    let found = |wrong: bool, what| wrong.then_some(what);
    match (whole, damaged) {
        (Object::TrafficTarget(whole), Object::TrafficTarget(damaged)) => {
            let grants = |rule: &TargetRule| !rule.name.is_empty() && !matches!(rule.kind, RuleKind::Unknown(_));
            if damaged.destination.is_none() || damaged.sources.is_empty() || !damaged.rules.iter().any(grants) {
                return None;
            }
            let rules = || whole.rules.iter().zip(&damaged.rules);
            found(damaged.port != whole.port, "the port is lost")
                .or(found(
                    damaged.rules.len() != whole.rules.len(),
                    "a rule is lost, which narrows the others",
                ))
                .or(found(
                    rules().any(|(whole, damaged)| grants(damaged) && whole.matches != damaged.matches),
                    "a rule lost its matches",
                ))
        }
        (Object::TcpRoute(_), Object::TcpRoute(damaged)) => {
            found(damaged.ports.is_empty(), "some ports became all ports")
        }
        (Object::HttpRouteGroup(whole), Object::HttpRouteGroup(damaged)) => {
            let conditions = |it: &HttpMatch| (it.path_regex.clone(), it.methods.clone(), it.headers.clone());
            let same = damaged
                .matches
                .iter()
                .all(|it| conditions(it) == conditions(&whole.matches[0]));
            found(!same, "a match lost a condition")
        }
        (Object::IdentityBinding(whole), Object::IdentityBinding(damaged)) => found(
            !damaged.schemes.is_empty() && damaged.schemes != whole.schemes,
            "a selector lost a label",
        ),
        _ => Some("it became another object"),
    }
}

fn object(value: &Value) -> Option<Object> {
    match convert(value) {
        Ok(Converted::Object { object, .. }) => Some(*object),
        _ => None,
    }
}

/// Every single value of each object is replaced by something that can't be meant.
#[test]
fn damage_to_one_value_never_widens_access() {
    let mut tried = 0;
    for whole in whole() {
        let wanted = object(&whole).expect("the whole object converts");
        let mut all = Vec::new();
        pointers(&whole, String::new(), &mut all);
        for pointer in all {
            for garbage in [
                json!(null),
                json!(true),
                json!(-1),
                json!(0.5),
                json!({"x": 1}),
                json!([[]]),
                json!([null]),
            ] {
                let mut damaged = whole.clone();
                *damaged.pointer_mut(&pointer).expect("taken from it") = garbage.clone();
                tried += 1;
                if let Some(damaged) = object(&damaged).filter(|_| !pointer.starts_with("/metadata")) {
                    assert_eq!(wider(&wanted, &damaged), None, "{pointer} := {garbage}");
                }
            }
        }
    }
    assert!(tried > 300, "only {tried} were tried");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_json_converts_or_is_rejected(value in any_json()) {
        let _ = convert(&value);
        let _ = convert_all(&value);
    }

    #[test]
    fn arbitrary_fields_of_every_kind_convert_or_are_rejected(value in any_object()) {
        for error in convert_all(&value).into_iter().filter_map(Result::err) {
            prop_assert!(!error.message.is_empty());
            prop_assert!(!error.to_string().contains('\n'), "an error is one line: {error}");
        }
        if let Ok(Converted::Object { object, .. }) = convert(&value) {
            prop_assert!(!object.object_ref().key.name.is_empty());
        }
    }
}
