//! Ends open connections that the kernel let through alone and that nothing allows any more.
//!
//! Bias: each connection is judged by the snapshot alone, both as client and as server side, so that it does not matter
//! how it came to be. It runs beside the publisher and twice: a connection that passed its checks just before the
//! grant left may not be in the kernel's tables yet when they are read for the first time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::{info, warn};
use weir_core::identity::Identity;
use weir_core::policy::Verdict;
use weir_core::snapshot::Snapshot;

use crate::bpf::netns::Netns;
use crate::bpf::{Socket, end_sockets};

/// Between the first and the second look.
const AGAIN: Duration = Duration::from_millis(50);

/// Sweeps the pods in a thread of its own.
pub fn start(snapshot: Arc<Snapshot>, pods: BTreeMap<u64, Arc<Netns>>) {
    let sweep = move || {
        for pause in [Duration::ZERO, AGAIN] {
            thread::sleep(pause);
            for (cookie, netns) in &pods {
                match end_sockets(netns, |socket| forbidden(&snapshot, *cookie, socket)) {
                    Ok(result) if result.ended + result.failed > 0 => {
                        info!(
                            netns = %netns.path().display(),
                            seen = result.seen,
                            ended = result.ended,
                            failed = result.failed,
                            "ended connections that are not allowed any more"
                        );
                    }
                    Ok(_) => {}
                    Err(error) => warn!(%error, "can't look for connections that are not allowed any more"),
                }
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("sweep".to_owned()).spawn(sweep) {
        warn!(%error, "can't start the thread that ends connections");
    }
}

/// Whether a socket in the pod is connected straight to (or from) somebody whom the kernel would refuse or send to the
/// engine now.
fn forbidden(snapshot: &Snapshot, cookie: u64, socket: &Socket) -> bool {
    let (local, remote) = (socket.local.ip(), socket.remote.ip());
    // The pod with itself; captured connections and the engine's own, which the engine judges.
    if local == remote || remote.is_unspecified() || remote.is_loopback() {
        return false;
    }
    let Some(pod) = snapshot.local.get(&cookie) else {
        return false;
    };
    let peer = snapshot.peers.get(&remote);
    if peer.is_some_and(|peer| peer.pod == pod.pod) {
        return false;
    }
    if socket.inbound {
        let client = peer.map_or(Identity::UNKNOWN, |peer| peer.identity);
        return snapshot.verdict(client, pod.identity, socket.local.port()) != Verdict::Allow;
    }
    match peer {
        Some(server) if server.enforced => {
            snapshot.verdict(pod.identity, server.identity, socket.remote.port()) != Verdict::Allow
        }
        _ => false,
    }
}
