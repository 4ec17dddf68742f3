//! The soak's own idea of SMI: what the manifests say, and who may do what by it.
//!
//! Bias: simple enough to be believed. It shares nothing with the product, knows only the handful of patterns that the
//! soak uses, and looks everything up anew for each question. docs/semantics.md is what it was written from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::event::Ask;

pub mod palette;
pub mod render;

use palette::Pattern;

/// The namespace that is enforced.
pub const SHOP: &str = "shop";
/// One that takes no part.
pub const YARD: &str = "yard";

/// Everything that the manifests say at a moment.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// By name. All of them run.
    pub pods: BTreeMap<String, Pod>,
    /// By name, all in [`SHOP`], as everything that follows.
    pub services: BTreeMap<String, Service>,
    pub targets: BTreeMap<String, Target>,
    pub groups: BTreeMap<String, Vec<Match>>,
    /// TCPRoutes.
    pub routes: BTreeMap<String, Vec<u16>>,
    /// UDPRoutes.
    pub udp_routes: BTreeMap<String, Vec<u16>>,
    /// By the root Service's name: backends and weights.
    pub splits: BTreeMap<String, Vec<(String, u32)>>,
    /// `weir.dev/mode` of [`SHOP`] where it is not `enforce`.
    pub lenient: Option<&'static str>,
    /// IdentityBindings by name: the value of label `team` that they bind.
    pub bindings: BTreeMap<String, String>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub namespace: &'static str,
    pub account: String,
    /// Label `team`.
    pub team: String,
    /// Label `version`; empty for clients.
    pub version: String,
    /// Label `app`; empty for clients.
    pub app: String,
    pub ips: [IpAddr; 2],
    /// It is just being made or removed: what it is asked may fail.
    pub churning: bool,
}

/// A Service: selects by `app` or `version`.
#[derive(Clone, Debug)]
pub struct Service {
    pub ips: Vec<IpAddr>,
    pub app: Option<String>,
    pub version: Option<String>,
    /// Its ports are named by what they speak.
    pub declared: bool,
}

/// A source or a destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Account { namespace: &'static str, name: String },
    Binding(String),
}

/// A TrafficTarget.
#[derive(Clone, Debug)]
pub struct Target {
    pub destination: Who,
    pub sources: Vec<Who>,
    pub rules: Vec<Rule>,
}

/// A rule of it. The names may be of nothing.
#[derive(Clone, Debug)]
pub enum Rule {
    Tcp(String),
    Udp(String),
    /// Group, and matches; none: all.
    Http(String, Vec<String>),
}

/// A match of an HTTPRouteGroup.
#[derive(Clone)]
pub struct Match {
    pub name: String,
    pub path: &'static Pattern,
    /// None: any.
    pub methods: Vec<&'static str>,
    /// `x-tier: gold` is asked for.
    pub gold: bool,
}

/// Whether a connection has its server already.
#[derive(Clone, Debug)]
pub enum Held {
    /// It is new.
    No,
    /// It has this one, if it is one of bytes, and asks anew with each request otherwise.
    Maybe(String),
    /// It has this one.
    By(String),
}

/// A server that may get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Name of the pod.
    pub server: String,
    /// Whether policy lets it.
    pub allowed: bool,
    /// Whether it may get any bytes, so that a connection goes straight to it.
    pub bytes: bool,
    /// Whether the kernel decides alone, so that it works without an agent.
    pub kernel: bool,
}

impl State {
    /// All servers that what a client asks of an address may go to.
    pub fn candidates(&self, client: &str, to: SocketAddr, ask: &Ask, held: &Held) -> Vec<Candidate> {
        let port = to.port();
        let service = self.services.iter().find(|(_, service)| service.ips.contains(&to.ip()));
        let mut servers: BTreeSet<String> = match (held, service) {
            (Held::By(held), _) => self.pods.keys().filter(|name| *name == held).cloned().collect(),
            (_, Some((name, _))) => self.endpoints_of(name),
            (_, None) => self.at(to.ip()).collect(),
        };
        // What may be any bytes went straight to its server, and stays there.
        if let Held::Maybe(held) = held
            && self.allows_bytes(client, held, port)
        {
            servers.insert(held.clone());
        }
        let direct = service.is_none_or(|(_, service)| service.declared && port != 80);
        let candidate = |server: String| {
            // Whoever asks, and whatever: the mode of the server counts.
            let lenient = self.lenient.is_some();
            if matches!(ask, Ask::Datagram) {
                let allowed = lenient || self.allows_datagrams(client, &server, port);
                let (bytes, kernel) = (true, true);
                return Candidate {
                    server,
                    allowed,
                    bytes,
                    kernel,
                };
            }
            let tcp = self.allows_bytes(client, &server, port);
            let allowed = lenient || tcp || self.allows_request(client, &server, port, ask);
            Candidate {
                server,
                allowed,
                bytes: tcp,
                kernel: tcp && direct,
            }
        };
        servers.into_iter().map(candidate).collect()
    }

    fn at(&self, ip: IpAddr) -> impl Iterator<Item = String> {
        let pods = self.pods.iter().filter(move |(_, pod)| pod.ips.contains(&ip));
        pods.map(|(name, _)| name.clone())
    }

    /// Names of the pods that a connection to a Service may end at.
    fn endpoints_of(&self, service: &str) -> BTreeSet<String> {
        let Some(backends) = self.splits.get(service) else {
            return self.selected(service);
        };
        let weighted = backends.iter().filter(|(_, weight)| *weight > 0);
        weighted.flat_map(|(backend, _)| self.selected(backend)).collect()
    }

    fn selected(&self, service: &str) -> BTreeSet<String> {
        let Some(service) = self.services.get(service) else {
            return BTreeSet::new();
        };
        let fits = |pod: &Pod| {
            let app = service.app.as_ref().is_none_or(|app| *app == pod.app);
            pod.namespace == SHOP && app && service.version.as_ref().is_none_or(|version| *version == pod.version)
        };
        let pods = self.pods.iter().filter(|(_, pod)| fits(pod));
        pods.map(|(name, _)| name.clone()).collect()
    }

    /// Access 6: any bytes, where a target has TCPRoutes alone.
    pub fn allows_bytes(&self, client: &str, server: &str, port: u16) -> bool {
        self.between(client, server).any(|target| {
            let grant = self.grant(target);
            grant.http.is_none() && grant.ports.is_some_and(|ports| ports.contains(port))
        })
    }

    /// Access 8: datagrams, where a target has UDPRoutes, whatever stands beside them.
    fn allows_datagrams(&self, client: &str, server: &str, port: u16) -> bool {
        self.between(client, server)
            .any(|target| self.grant(target).udp.contains(port))
    }

    /// Access 5 and 7: a request, where a target has HTTPRouteGroups, alone or beside TCPRoutes.
    fn allows_request(&self, client: &str, server: &str, port: u16, ask: &Ask) -> bool {
        self.between(client, server).any(|target| {
            let grant = self.grant(target);
            let port_fits = grant.ports.is_none_or(|ports| ports.contains(port));
            port_fits
                && grant
                    .http
                    .is_some_and(|matches| matches.iter().any(|one| one.meets(ask)))
        })
    }

    /// The targets that speak of the two. A server that takes no part is not the soak's business.
    fn between(&self, client: &str, server: &str) -> impl Iterator<Item = &Target> {
        let pods = self.pods.get(client).zip(self.pods.get(server));
        self.targets.values().filter(move |target| {
            pods.is_some_and(|(client, server)| {
                self.is(server, &target.destination) && target.sources.iter().any(|source| self.is(client, source))
            })
        })
    }

    fn is(&self, pod: &Pod, who: &Who) -> bool {
        match who {
            Who::Account { namespace, name } => pod.namespace == *namespace && pod.account == *name,
            Who::Binding(name) => {
                pod.namespace == SHOP && self.bindings.get(name).is_some_and(|team| *team == pod.team)
            }
        }
    }

    /// The bindings, and the targets that name one with what they come to: together they are part of who a pod is.
    pub fn named_bindings(&self) -> (BTreeMap<String, String>, Vec<String>) {
        let names_one = |target: &Target| {
            let mut whos = target.sources.iter().chain([&target.destination]);
            whos.any(|who| matches!(who, Who::Binding(_)))
        };
        let targets = self.targets.iter().filter(|(_, target)| names_one(target));
        let text = |(name, target): (&String, &Target)| {
            let grant = self.grant(target);
            let http = grant.http.is_some_and(|matches| !matches.is_empty());
            format!("{name} {target:?} {http}")
        };
        let targets: Vec<String> = targets.map(text).collect();
        // One that nobody names is nobody's business.
        let bindings = if targets.is_empty() {
            BTreeMap::new()
        } else {
            self.bindings.clone()
        };
        (bindings, targets)
    }

    fn grant(&self, target: &Target) -> Grant<'_> {
        let mut grant = Grant::default();
        for rule in &target.rules {
            match rule {
                Rule::Tcp(name) => {
                    let ports = grant.ports.get_or_insert_default();
                    ports.add(self.routes.get(name));
                }
                Rule::Udp(name) => grant.udp.add(self.udp_routes.get(name)),
                Rule::Http(group, names) => {
                    let http = grant.http.get_or_insert_default();
                    let Some(matches) = self.groups.get(group) else {
                        continue;
                    };
                    // Access 3: one wrong name, and the whole rule matches nothing.
                    if names.iter().all(|name| matches.iter().any(|one| one.name == *name)) {
                        http.extend(
                            matches
                                .iter()
                                .filter(|one| names.is_empty() || names.contains(&one.name)),
                        );
                    }
                }
            }
        }
        grant
    }
}

/// What a target's rules come to. None: there is no rule of that kind.
#[derive(Default)]
struct Grant<'a> {
    ports: Option<Ports>,
    udp: Ports,
    http: Option<Vec<&'a Match>>,
}

#[derive(Default)]
struct Ports {
    all: bool,
    some: BTreeSet<u16>,
}

impl Ports {
    /// Those of a route, if it exists; one without ports means all.
    fn add(&mut self, route: Option<&Vec<u16>>) {
        self.all |= route.is_some_and(Vec::is_empty);
        self.some.extend(route.into_iter().flatten());
    }

    fn contains(&self, port: u16) -> bool {
        self.all || self.some.contains(&port)
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Match {
            name,
            path,
            methods,
            gold,
        } = self;
        write!(
            f,
            "{name} {} {methods:?}{}",
            path.regex,
            if *gold { " gold" } else { "" }
        )
    }
}

impl Match {
    fn meets(&self, ask: &Ask) -> bool {
        let Ask::Http { method, path, gold } = ask else {
            return false;
        };
        let path = path.split('?').next().unwrap_or_default();
        let method_fits = self.methods.is_empty() || self.methods.iter().any(|one| *one == "*" || one == method);
        method_fits && (self.path.meets)(path) && (*gold || !self.gold)
    }
}

#[cfg(test)]
mod tests;
