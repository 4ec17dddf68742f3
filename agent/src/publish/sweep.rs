//! Ends open connections that the kernel let through alone and that nothing allows any more.
//!
//! Bias: each connection is judged by the snapshot in force alone, both as client and as server side, so that it does
//! not matter how it came to be. It runs beside the publisher and looks twice: a connection that passed its checks just
//! before the grant left may not be in the kernel's tables yet when they are read for the first time. Where the second
//! look finds one for the first time that may be the engine's, a third one tells. A plan that comes into force meanwhile is
//! the one that counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::{info, warn};
use weir_core::identity::Identity;
use weir_core::policy::Verdict;
use weir_core::snapshot::Snapshot;

use crate::bpf::netns::Netns;
use crate::bpf::{Fate, Socket, Sweep};

/// Between the first and the second look; the engine has accepted by then what it is to have.
const AGAIN: Duration = Duration::from_millis(50);

/// Sweeps the pods in a thread of its own.
pub fn start(in_force: Arc<ArcSwap<Snapshot>>, pods: BTreeMap<u64, Arc<Netns>>) {
    let sweep = move || {
        let mut sweep = Sweep::default();
        looks(pods.into_iter().collect(), thread::sleep, |(cookie, netns)| {
            // Loaded when the sockets are known: what a newer plan has let in must not be judged by an older one.
            match sweep.look(netns, |socket| fate(&in_force.load(), *cookie, socket)) {
                Ok(result) => {
                    if result.ended + result.failed > 0 {
                        info!(
                            netns = %netns.path().display(),
                            seen = result.seen,
                            ended = result.ended,
                            failed = result.failed,
                            "ended connections that are not allowed any more"
                        );
                    }
                    result.doubted + result.failed == 0
                }
                Err(error) => {
                    warn!(%error, "can't look for connections that are not allowed any more");
                    false
                }
            }
        });
    };
    if let Err(error) = thread::Builder::new().name("sweep".to_owned()).spawn(sweep) {
        warn!(%error, "can't start the thread that ends connections");
    }
}

/// Two looks at each of `pods`, and a third at those where the second one has left something open (`look` says false).
fn looks<P>(mut pods: Vec<P>, pause: impl Fn(Duration), mut look: impl FnMut(&P) -> bool) {
    for pod in &pods {
        look(pod);
    }
    for _ in 0..2 {
        pause(AGAIN);
        pods.retain(|pod| !look(pod));
        if pods.is_empty() {
            return;
        }
    }
}

/// What becomes of a socket in the pod. It ends if it is connected straight to (or from) somebody whom the kernel would
/// refuse or send to the engine now.
fn fate(snapshot: &Snapshot, cookie: u64, socket: &Socket) -> Fate {
    let (local, remote) = (socket.local.ip(), socket.remote.ip());
    // The pod with itself; captured connections and the engine's own, which the engine judges.
    if local == remote || remote.is_unspecified() || remote.is_loopback() {
        return Fate::Keep;
    }
    let Some(pod) = snapshot.local.get(&cookie) else {
        return Fate::Keep;
    };
    let peer = snapshot.peers.get(&remote);
    if peer.is_some_and(|peer| peer.pod == pod.pod) {
        return Fate::Keep;
    }
    let verdict = if socket.inbound {
        let client = peer.map_or(Identity::UNKNOWN, |peer| peer.identity);
        if snapshot.is_probe(remote, pod, socket.local.port()) {
            return Fate::Keep;
        }
        snapshot.verdict_at(client, pod, socket.local.port())
    } else {
        let port = socket.remote.port();
        peer.map_or(Verdict::Allow, |server| snapshot.verdict_at(pod.identity, server, port))
    };
    match verdict {
        Verdict::Allow => Fate::Keep,
        Verdict::L7 => Fate::EngineOnly,
        Verdict::Deny => Fate::End,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use weir_core::identity::IdentityInfo;
    use weir_core::model::{Key, Mode};
    use weir_core::snapshot::{Grant, PairAccess, PodInfo, Ports};

    use super::*;

    const STORE: [u8; 4] = [10, 0, 0, 1];
    const BUYER: [u8; 4] = [10, 0, 0, 2];
    const NOBODY: [u8; 4] = [10, 0, 0, 9];
    const NODE: [u8; 4] = [10, 1, 0, 1];

    /// A store on this node that lets a buyer of another one connect to port 80.
    fn snapshot(port: u16) -> Snapshot {
        let pod = |name: &str, ip: [u8; 4], number: u64, cookie: Option<u64>| {
            Arc::new(PodInfo {
                pod: Key::new("shop", name),
                identity: Identity(number),
                info: Arc::new(IdentityInfo {
                    namespace: "shop".into(),
                    account: name.into(),
                    bindings: Default::default(),
                    named_ports: Default::default(),
                }),
                workload: Arc::new(weir_core::workload::Workload::new("shop", "Pod", name)),
                mode: Mode::Enforce,
                cookie,
                ips: vec![ip.into()],
                probe_ports: vec![8081],
                protocols: Default::default(),
            })
        };
        let (store, buyer) = (pod("store", STORE, 1, Some(7)), pod("buyer", BUYER, 2, None));
        let access = PairAccess {
            grants: vec![Grant {
                target: Key::new("shop", "buyer-reads"),
                ports: Ports::Only(vec![port]),
                http: None,
            }],
            udp: vec![],
        };
        Snapshot {
            peers: [(IpAddr::from(STORE), store.clone()), (IpAddr::from(BUYER), buyer)].into(),
            local: [(7, store)].into(),
            node: [IpAddr::from(NODE)].into(),
            access: [((Identity(2), Identity(1)), Arc::new(access))].into(),
            ..Snapshot::default()
        }
    }

    fn fate_of(snapshot: &Snapshot, local: u16, remote: ([u8; 4], u16), inbound: bool) -> Fate {
        let socket = Socket {
            local: SocketAddr::from((STORE, local)),
            remote: SocketAddr::from(remote),
            inbound,
        };
        fate(snapshot, 7, &socket)
    }

    #[test]
    fn a_connection_that_came_in_ends_with_its_grant() {
        assert_eq!(fate_of(&snapshot(80), 80, (BUYER, 40000), true), Fate::Keep);
        assert_eq!(fate_of(&snapshot(81), 80, (BUYER, 40000), true), Fate::End);
        assert_eq!(fate_of(&snapshot(80), 80, (NOBODY, 40000), true), Fate::End);
    }

    #[test]
    fn a_connection_that_went_out_needs_a_grant_where_the_server_is_enforced() {
        assert_eq!(fate_of(&snapshot(80), 40000, (BUYER, 80), false), Fate::End);
        assert_eq!(fate_of(&snapshot(80), 40000, (NOBODY, 443), false), Fate::Keep);
    }

    #[test]
    fn a_probe_of_the_kubelet_stays_and_nothing_else_of_the_node() {
        assert_eq!(fate_of(&snapshot(80), 8081, (NODE, 40000), true), Fate::Keep);
        assert_eq!(fate_of(&snapshot(80), 80, (NODE, 40000), true), Fate::End);
        assert_eq!(fate_of(&snapshot(80), 8081, (NOBODY, 40000), true), Fate::End);
    }

    #[test]
    fn what_came_in_without_a_grant_stays_while_the_mode_lets_it() {
        for (mode, fate) in [
            (Mode::Audit, Fate::Keep),
            (Mode::Permissive, Fate::Keep),
            (Mode::Enforce, Fate::End),
        ] {
            let mut snapshot = snapshot(80);
            let store = Arc::new(PodInfo {
                mode,
                ..(*snapshot.local[&7]).clone()
            });
            snapshot.local.insert(7, store);
            assert_eq!(fate_of(&snapshot, 81, (BUYER, 40000), true), fate, "{mode:?}");
            assert_eq!(fate_of(&snapshot, 80, (NOBODY, 40000), true), fate, "{mode:?}");
        }
    }

    #[test]
    fn a_third_look_is_taken_only_where_the_second_has_left_something_open() {
        let seen = std::cell::RefCell::new(Vec::new());
        looks(
            vec!["clean", "doubted"],
            |_| {},
            |pod| {
                seen.borrow_mut().push(*pod);
                *pod == "clean"
            },
        );
        assert_eq!(seen.into_inner(), ["clean", "doubted", "clean", "doubted", "doubted"]);
    }

    #[test]
    fn the_pod_with_itself_stays() {
        assert_eq!(fate_of(&snapshot(80), 15001, (STORE, 40000), true), Fate::Keep);
    }
}
