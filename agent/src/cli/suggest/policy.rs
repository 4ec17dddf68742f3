//! What was let pass, as objects that allow it.
//!
//! Requests become an HTTPRouteGroup beside a TCPRoute of their ports: both must hold (Access 5). Bytes become a TCPRoute,
//! datagrams a UDPRoute. A TCPRoute alone would allow any request on its ports, so a port on which requests were seen
//! gets none: what else was seen there is left out, and said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::log::{Entry, Line};

/// Most paths of one client, server and port that are listed.
const MOST_PATHS: usize = 500;
/// From so many on, a comment asks for a pattern.
const MANY_PATHS: usize = 20;

/// A client's ServiceAccount and a server's, each with its namespace in front.
type Pair = ((String, String), (String, String));
/// Paths, and the methods that came for each.
type Paths = BTreeMap<String, BTreeSet<String>>;

/// Everything that was let pass, told apart as far as rules can.
#[derive(Debug, Default)]
pub(super) struct Seen {
    requests: BTreeMap<Pair, BTreeMap<u16, Paths>>,
    bytes: BTreeMap<Pair, BTreeSet<u16>>,
    datagrams: BTreeMap<Pair, BTreeSet<u16>>,
    left_out: BTreeSet<String>,
    lines: usize,
}

/// What comes of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suggestion {
    /// Objects.
    pub yaml: String,
    /// What is in no rule, and why; one line each.
    pub left_out: Vec<String>,
}

impl Seen {
    pub(super) fn add(&mut self, line: Line) {
        match line {
            Line::Other => {}
            Line::Untold => drop(self.left_out.insert(
                "the log tells of more than it shows (\"of more kinds than are told apart\"): look again once this is \
                 allowed"
                    .to_owned(),
            )),
            Line::Unreadable(line) => drop(self.left_out.insert(format!("not read, maybe cut off: {line}"))),
            Line::Audited(entry) => {
                self.lines += 1;
                if let Err(why) = self.entry(&entry) {
                    self.left_out.insert(format!("left out: {}: {why}", describe(&entry)));
                }
            }
        }
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), &'static str> {
        let subject = |identity: &str| {
            let (namespace, account) = identity.split_once('/')?;
            (is_name(namespace) && is_name(account)).then(|| (namespace.to_owned(), account.to_owned()))
        };
        let source =
            subject(&entry.source_identity).ok_or("the client is no pod that is known, which no rule can name")?;
        let destination = subject(&entry.destination_identity).ok_or("the server is no pod that is known")?;
        if entry.port == 0 {
            return Err("it has no port");
        }
        let pair = (source, destination);
        match (entry.protocol.as_str(), entry.method.is_empty()) {
            ("udp", _) => drop(self.datagrams.entry(pair).or_default().insert(entry.port)),
            // HTTP is granted there, and to grant bytes would grant every request with them.
            ("tcp", true) if matches!(entry.reason.as_str(), "not_http" | "http2" | "silent") => {
                return Err("HTTP alone is allowed there, and a TCPRoute alone would allow any request");
            }
            ("tcp", true) => drop(self.bytes.entry(pair).or_default().insert(entry.port)),
            ("tcp", false) => {
                if entry.method == "*" || !entry.method.bytes().all(|c| c.is_ascii_graphic()) {
                    return Err("a rule with this method would mean any");
                }
                if !entry.path.bytes().all(|c| c.is_ascii_graphic()) {
                    return Err("the path can't be written in a rule");
                }
                let paths = self.requests.entry(pair).or_default().entry(entry.port).or_default();
                if paths.len() >= MOST_PATHS && !paths.contains_key(&entry.path) {
                    return Err("there are too many paths already: write a pattern");
                }
                paths
                    .entry(entry.path.clone())
                    .or_default()
                    .insert(entry.method.clone());
            }
            _ => return Err("this protocol has no rules"),
        }
        Ok(())
    }

    /// The objects, in the order of servers and clients.
    pub(super) fn suggest(mut self) -> Suggestion {
        let mut documents = Documents::default();
        for (pair, ports) in &self.requests {
            if let Some(bytes) = self.bytes.get_mut(pair) {
                for port in ports.keys().filter(|port| bytes.remove(port)) {
                    let ((from, client), (to, server)) = pair;
                    self.left_out.insert(format!(
                        "left out: bytes that are no HTTP from {from}/{client} to {to}/{server} port {port}: a TCPRoute alone \
                         would allow any request there"
                    ));
                }
            }
            // Ports with the same requests share a rule.
            let mut alike: BTreeMap<&Paths, Vec<u16>> = BTreeMap::new();
            for (port, paths) in ports {
                alike.entry(paths).or_default().push(*port);
            }
            let mut alike: Vec<_> = alike.into_iter().collect();
            alike.sort_by(|a, b| a.1.cmp(&b.1));
            for (paths, ports) in alike {
                documents.requests(pair, &ports, paths);
            }
        }
        for (pair, ports) in self.bytes.iter().filter(|(_, ports)| !ports.is_empty()) {
            documents.ports(pair, "TCPRoute", "tcp", ports);
        }
        for (pair, ports) in &self.datagrams {
            documents.ports(pair, "UDPRoute", "udp", ports);
        }
        let head = match documents.objects {
            0 => format!("# Nothing to allow: {} lines of mode audit.\n", self.lines),
            objects => format!(
                "# {objects} objects that allow what mode audit let pass, from {} lines of the log. Just that: paths are exact.\n",
                self.lines
            ),
        };
        Suggestion {
            yaml: head + &documents.text,
            left_out: self.left_out.into_iter().collect(),
        }
    }
}

fn describe(entry: &Entry) -> String {
    let who = |identity: &str, address: &str| match identity {
        "" => address.to_owned(),
        identity => format!("{identity} ({address})"),
    };
    let what = match entry.method.as_str() {
        "" => entry.protocol.clone(),
        method => format!("{method:?} {:?}", entry.path),
    };
    let source = who(&entry.source_identity, &entry.source);
    let destination = who(&entry.destination_identity, &entry.destination);
    format!("{what} from {source} to {destination} port {}", entry.port)
}

/// A name as Kubernetes takes it for namespaces and accounts (RFC 1123, with dots).
fn is_name(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(plain) && text.bytes().last().is_some_and(plain);
    ends && text.len() <= 253 && text.bytes().all(|c| plain(c) || c == b'-' || c == b'.')
}

/// The text of the objects.
#[derive(Default)]
struct Documents {
    text: String,
    objects: usize,
    /// Names that are taken, by namespace.
    names: BTreeSet<(String, String)>,
}

impl Documents {
    fn requests(&mut self, pair: &Pair, ports: &[u16], paths: &Paths) {
        let (_, (namespace, _)) = pair;
        let name = self.name(pair, &format!("http-{}", ports.first().copied().unwrap_or_default()));
        self.begin("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", namespace, &name);
        if paths.len() >= MANY_PATHS {
            let _ = writeln!(
                self.text,
                "# {} paths, each by itself. Where they are one thing, write one pattern.",
                paths.len()
            );
        }
        self.text += "spec:\n  matches:\n";
        for (number, (path, methods)) in (1..).zip(paths) {
            let methods: Vec<String> = methods.iter().map(|method| format!("{method:?}")).collect();
            let _ = writeln!(
                self.text,
                "  - name: r{number}\n    pathRegex: '{}$'\n    methods: [{}]",
                escape(path).replace('\'', "''"),
                methods.join(", ")
            );
        }
        self.route(namespace, "TCPRoute", &name, ports.iter());
        self.target(pair, &name, &["TCPRoute", "HTTPRouteGroup"]);
    }

    fn ports(&mut self, pair: &Pair, kind: &str, word: &str, ports: &BTreeSet<u16>) {
        let name = self.name(pair, word);
        self.route(&pair.1.0, kind, &name, ports.iter());
        self.target(pair, &name, &[kind]);
    }

    fn route<'p>(&mut self, namespace: &str, kind: &str, name: &str, ports: impl Iterator<Item = &'p u16>) {
        let ports: Vec<String> = ports.map(u16::to_string).collect();
        self.begin("specs.smi-spec.io/v1alpha4", kind, namespace, name);
        let _ = writeln!(self.text, "spec:\n  matches:\n    ports: [{}]", ports.join(", "));
    }

    fn target(&mut self, ((from, client), (to, server)): &Pair, name: &str, kinds: &[&str]) {
        self.begin("access.smi-spec.io/v1alpha4", "TrafficTarget", to, name);
        let _ = writeln!(
            self.text,
            "spec:\n  destination:\n    kind: ServiceAccount\n    name: {server:?}\n    namespace: {to:?}\n  rules:"
        );
        for kind in kinds {
            let _ = writeln!(self.text, "  - kind: {kind}\n    name: {name:?}");
        }
        let _ = writeln!(
            self.text,
            "  sources:\n  - kind: ServiceAccount\n    name: {client:?}\n    namespace: {from:?}"
        );
    }

    fn begin(&mut self, version: &str, kind: &str, namespace: &str, name: &str) {
        self.objects += 1;
        // Quoted: a name may look like a number or a word of YAML.
        let _ = writeln!(
            self.text,
            "---\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name:?}\n  namespace: {namespace:?}"
        );
    }

    /// `CLIENT-to-SERVER-WHAT`, with the client's namespace in front where it is another, and a number behind it where
    /// that is taken.
    fn name(&mut self, ((from, client), (to, server)): &Pair, what: &str) -> String {
        let part = |text: &str| -> String {
            let cut: String = text.replace('.', "-").chars().take(60).collect();
            cut.trim_end_matches('-').to_owned()
        };
        let client = match from == to {
            true => part(client),
            false => format!("{}-{}", part(from), part(client)),
        };
        let plain = format!("{client}-to-{}-{what}", part(server));
        let mut name = plain.clone();
        let mut number = 1;
        while !self.names.insert((to.clone(), name.clone())) {
            number += 1;
            name = format!("{plain}-{number}");
        }
        name
    }
}

/// The path as a regular expression that matches nothing else.
fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for char in path.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(char) {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}
