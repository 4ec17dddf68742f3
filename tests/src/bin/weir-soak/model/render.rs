//! The state as manifests: one file for each object, so that an edit changes one file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use weir_tests::server::{HTTP, SINK, SOURCE, UDP, WHOAMI};
use weir_tests::world::Pod as Place;

use super::{Match, Pod, Rule, SHOP, Service, State, Target, Who};

/// The ports of Services and pods: a name that says what is spoken, one that does not, and the number.
const PORTS: &[(&str, &str, u16)] = &[
    ("http", "a", HTTP),
    ("tcp-whoami", "b", WHOAMI),
    ("tcp-sink", "c", SINK),
    ("tcp-source", "d", SOURCE),
];

impl State {
    /// The file of that name, without its ending, as it has to be now. Nothing where its object is not there.
    /// Pods have files of their own, see [`pod`].
    pub fn file(&self, file: &str) -> String {
        let Some((kind, name)) = file.split_once('-') else {
            return String::new();
        };
        let text = match kind {
            "target" => self.targets.get(name).map(|target| self::target(name, target)),
            "group" => self.groups.get(name).map(|matches| group(name, matches)),
            "route" => self.routes.get(name).map(|ports| {
                object("specs.smi-spec.io/v1alpha4", "TCPRoute", name)
                    + &format!("spec: {{matches: {{ports: {ports:?}}}}}\n")
            }),
            "udp" => self.udp_routes.get(name).map(|ports| {
                object("specs.smi-spec.io/v1alpha4", "UDPRoute", name)
                    + &format!("spec: {{matches: {{ports: {ports:?}}}}}\n")
            }),
            "split" => self.splits.get(name).map(|backends| split(name, backends)),
            "binding" => self.bindings.get(name).map(|team| {
                object("access.smi-spec.io/v1alpha4", "IdentityBinding", name)
                    + &format!("spec:\n  schemes:\n    podLabelSelector: {{matchLabels: {{team: {team}}}}}\n")
            }),
            "namespace" => Some(format!(
                "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{weir.dev/mode: {}}}}}\n",
                self.lenient.unwrap_or("enforce")
            )),
            "service" => self.services.get(name).map(|service| self::service(name, service)),
            _ => None,
        };
        text.unwrap_or_default()
    }

    /// Makes the object of that file what it is in another state.
    pub fn restore(&mut self, file: &str, other: &State) {
        fn copy<V: Clone>(to: &mut BTreeMap<String, V>, from: &BTreeMap<String, V>, name: &str) {
            to.remove(name);
            to.extend(
                from.get_key_value(name)
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        }
        match file.split_once('-') {
            Some(("target", name)) => copy(&mut self.targets, &other.targets, name),
            Some(("group", name)) => copy(&mut self.groups, &other.groups, name),
            Some(("route", name)) => copy(&mut self.routes, &other.routes, name),
            Some(("namespace", _)) => self.lenient = other.lenient,
            Some(("udp", name)) => copy(&mut self.udp_routes, &other.udp_routes, name),
            Some(("split", name)) => copy(&mut self.splits, &other.splits, name),
            Some(("binding", name)) => copy(&mut self.bindings, &other.bindings, name),
            _ => {}
        }
    }

    /// Names of the files of all objects but pods.
    pub fn files(&self) -> Vec<String> {
        let mut files = vec![format!("namespace-{SHOP}")];
        let mut add = |kind: &str, names: &mut dyn Iterator<Item = &String>| {
            files.extend(names.map(|name| format!("{kind}-{name}")));
        };
        add("service", &mut self.services.keys());
        add("target", &mut self.targets.keys());
        add("group", &mut self.groups.keys());
        add("route", &mut self.routes.keys());
        add("udp", &mut self.udp_routes.keys());
        add("split", &mut self.splits.keys());
        add("binding", &mut self.bindings.keys());
        files
    }
}

/// A pod's manifest.
pub fn pod(pod: &Pod, place: &Place) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\n  namespace: {}\n  uid: {}\n  annotations: {{weir.dev/netns: {}}}\n  \
         labels: {{team: {:?}, app: {:?}, version: {:?}}}\nspec:\n  serviceAccountName: {}\n  nodeName: {}\n",
        place.name,
        pod.namespace,
        place.netns,
        place.netns_path().display(),
        pod.team,
        pod.app,
        pod.version,
        pod.account,
        place.node
    );
    text += "  containers:\n  - name: app\n    ports:\n";
    for (name, _, port) in PORTS {
        let _ = writeln!(text, "    - {{name: {name}, containerPort: {port}}}");
    }
    let _ = writeln!(text, "    - {{name: udp, containerPort: {UDP}, protocol: UDP}}");
    let [first, second] = pod.ips;
    text + &format!("status:\n  podIP: {first}\n  podIPs: [{{ip: \"{first}\"}}, {{ip: \"{second}\"}}]\n")
}

/// Says that everything up to edit `number` has been read: a Service that `/plan` shows, and nobody uses. Each file
/// has one of its own, by `place`.
pub fn marker(file: &str, place: u16, number: u64) -> (String, String) {
    let [high, low] = place.to_be_bytes();
    let ip = IpAddr::from([10, 98, high, low]);
    let port = 1 + number % 60_000;
    let text = object("v1", "Service", &format!("marker-{file}"))
        + &format!("spec:\n  clusterIP: {ip}\n  clusterIPs: [\"{ip}\"]\n  ports: [{{name: tcp, port: {port}}}]\n");
    (text, format!("\"{ip}:{port}\""))
}

fn object(version: &str, kind: &str, name: &str) -> String {
    format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {SHOP}}}\n")
}

fn target(name: &str, target: &Target) -> String {
    let mut text = object("access.smi-spec.io/v1alpha4", "TrafficTarget", name);
    let _ = write!(text, "spec:\n  destination: {}\n  rules:\n", who(&target.destination));
    for rule in &target.rules {
        let _ = match rule {
            Rule::Tcp(name) => writeln!(text, "  - {{kind: TCPRoute, name: {name}}}"),
            Rule::Udp(name) => writeln!(text, "  - {{kind: UDPRoute, name: {name}}}"),
            Rule::Http(name, matches) if matches.is_empty() => {
                writeln!(text, "  - {{kind: HTTPRouteGroup, name: {name}}}")
            }
            Rule::Http(name, matches) => {
                writeln!(text, "  - {{kind: HTTPRouteGroup, name: {name}, matches: {matches:?}}}")
            }
        };
    }
    text += "  sources:\n";
    for source in &target.sources {
        let _ = writeln!(text, "  - {}", who(source));
    }
    text
}

fn who(who: &Who) -> String {
    match who {
        Who::Account { namespace, name } => format!("{{kind: ServiceAccount, name: {name}, namespace: {namespace}}}"),
        Who::Binding(name) => format!("{{kind: IdentityBinding, group: access.smi-spec.io, name: {name}}}"),
    }
}

fn group(name: &str, matches: &[Match]) -> String {
    let mut text = object("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", name) + "spec:\n  matches:\n";
    for one in matches {
        let _ = writeln!(text, "  - name: {}\n    pathRegex: '{}'", one.name, one.path.regex);
        if !one.methods.is_empty() {
            let _ = writeln!(text, "    methods: {:?}", one.methods);
        }
        if one.gold {
            text += "    headers:\n    - x-tier: '^gold$'\n";
        }
    }
    text
}

fn split(service: &str, backends: &[(String, u32)]) -> String {
    let mut text = object("split.smi-spec.io/v1alpha4", "TrafficSplit", service);
    let _ = write!(text, "spec:\n  service: {service}\n  backends:\n");
    for (service, weight) in backends {
        let _ = writeln!(text, "  - {{service: {service}, weight: {weight}}}");
    }
    text
}

fn service(name: &str, service: &Service) -> String {
    let ips: Vec<String> = service.ips.iter().map(IpAddr::to_string).collect();
    let mut text = object("v1", "Service", name);
    let _ = writeln!(text, "spec:\n  clusterIPs: {ips:?}");
    if let Some(first) = ips.first() {
        let _ = writeln!(text, "  clusterIP: {first:?}");
    }
    text += "  selector:\n";
    for (label, value) in [("app", &service.app), ("version", &service.version)] {
        if let Some(value) = value {
            let _ = writeln!(text, "    {label}: {value:?}");
        }
    }
    text += "  ports:\n";
    for (declared, other, port) in PORTS {
        let name = if service.declared { declared } else { other };
        let _ = writeln!(text, "  - {{name: {name}, port: {port}, targetPort: {port}}}");
    }
    let _ = writeln!(text, "  - {{name: udp, port: {UDP}, targetPort: {UDP}, protocol: UDP}}");
    text
}
