//! SMI manifests as text, in the newest version; the older ones are the golden tests' business.

/// An HTTPRouteGroup with matches of (name, path regex, methods).
pub fn routes(name: &str, matches: &[(&str, &str, &[&str])]) -> String {
    let mut text = format!(
        "apiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata:\n  name: {name}\n  namespace: shop\n\
         spec:\n  matches:\n"
    );
    for (name, path, methods) in matches {
        text += &format!("  - name: {name}\n    pathRegex: '{path}'\n    methods: {methods:?}\n");
    }
    text
}

/// A TCPRoute for these ports; none: all of them.
pub fn tcp_route(name: &str, ports: &[u16]) -> String {
    format!(
        "apiVersion: specs.smi-spec.io/v1alpha4\nkind: TCPRoute\nmetadata:\n  name: {name}\n  namespace: shop\n\
         spec:\n  matches:\n    ports: {ports:?}\n"
    )
}

/// A UDPRoute for these ports; none: all of them.
pub fn udp_route(name: &str, ports: &[u16]) -> String {
    tcp_route(name, ports).replace("kind: TCPRoute", "kind: UDPRoute")
}

/// A TrafficTarget: `sources` may use `rules` (kind, name, matches; no matches: all of them) at `destination`.
pub fn target(name: &str, destination: &str, sources: &[&str], rules: &[(&str, &str, &[&str])]) -> String {
    let mut text = format!(
        "apiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\nmetadata:\n  name: {name}\n  namespace: shop\n\
         spec:\n  destination:\n    kind: ServiceAccount\n    name: {destination}\n    namespace: shop\n  rules:\n"
    );
    for (kind, name, matches) in rules {
        text += &format!("  - kind: {kind}\n    name: {name}\n");
        if !matches.is_empty() {
            text += &format!("    matches: {matches:?}\n");
        }
    }
    text += "  sources:\n";
    for source in sources {
        text += &format!("  - kind: ServiceAccount\n    name: {source}\n    namespace: shop\n");
    }
    text
}

/// A TrafficSplit with backends of (service, weight).
pub fn split(name: &str, service: &str, backends: &[(&str, u32)]) -> String {
    let mut text = format!(
        "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata:\n  name: {name}\n  namespace: shop\n\
         spec:\n  service: {service}\n  backends:\n"
    );
    for (service, weight) in backends {
        text += &format!("  - service: {service}\n    weight: {weight}\n");
    }
    text
}

/// Several documents in one file.
pub fn documents(documents: &[String]) -> String {
    documents.join("---\n")
}
