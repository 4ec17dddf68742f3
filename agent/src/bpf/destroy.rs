//! Ends open connections of a pod: sock_diag(7), asked inside the pod's namespace.
//!
//! Connections that the kernel decided alone pass no program any more once they are open; when their grant goes, the
//! socket is destroyed and both ends see a reset at once.
//!
//! Bias: the caller judges every socket; what can't be read is left to the next sweep. The agent's own sockets in
//! the pod (listeners, both legs of the engine) are never touched: the engine ends those by itself. They are told by
//! their inode, which a connection has only between accept and close; before and after, what the engine may carry
//! gets the benefit of the doubt until a second look finds it still there.

mod diag;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::netns::{Netns, NetnsError};
use diag::{Diag, Entry};

const TCP_FIN_WAIT1: u8 = 4;
const TCP_FIN_WAIT2: u8 = 5;
const TCP_TIME_WAIT: u8 = 6;
const TCP_LAST_ACK: u8 = 9;
const TCP_LISTEN: u8 = 10;
const TCP_CLOSING: u8 = 11;
/// The kernel's default range of ports that clients get (`ip_local_port_range`).
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

/// A TCP socket in a pod that is no listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its own address.
    pub local: SocketAddr,
    /// Its peer's.
    pub remote: SocketAddr,
    /// The connection came in, see `came_in`.
    pub inbound: bool,
}

/// What is to become of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep,
    /// Only the engine may carry it: it ends unless it is the engine's.
    EngineOnly,
    /// It ends.
    End,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Sockets looked at.
    pub seen: usize,
    /// Sockets ended.
    pub ended: usize,
    /// Sockets that could not be ended.
    pub failed: usize,
    /// Sockets that may be the engine's and were seen for the first time: another look has to tell.
    pub doubted: usize,
}

/// A sweep over pods, in more than one look.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Inodes of the agent's sockets, as of the last time they were needed, and before.
    own: BTreeSet<u32>,
    /// Cookies of sockets that an earlier look has left, because they may be the engine's.
    doubted: BTreeSet<[u32; 2]>,
}

impl Sweep {
    /// Looks at every TCP connection of the namespace once, and ends those that `judge` says are to end.
    ///
    /// # Errors
    /// The namespace can't be entered, or sock_diag does not answer.
    pub fn look(&mut self, netns: &Netns, judge: impl Fn(&Socket) -> Fate + Sync) -> Result<Ended, NetnsError> {
        netns.run(|| {
            let diag = Diag::open()?;
            let mut found = diag.dump(libc::AF_INET as u8)?;
            found.extend(diag.dump(libc::AF_INET6 as u8)?);
            let listening: BTreeSet<u16> = found
                .iter()
                .filter(|entry| entry.state == TCP_LISTEN)
                .map(|entry| entry.local.port())
                .collect();
            let ephemeral = ephemeral_ports();
            found.retain(|entry| entry.state != TCP_LISTEN && entry.state != TCP_TIME_WAIT);
            let mut result = Ended {
                seen: found.len(),
                ..Ended::default()
            };
            let judged = found.into_iter().map(|entry| {
                let inbound = came_in(entry.local.port(), entry.remote.port(), &listening, &ephemeral);
                let (local, remote) = (entry.local, entry.remote);
                (judge(&Socket { local, remote, inbound }), entry)
            });
            let condemned: Vec<(Fate, Entry)> = judged.filter(|(fate, _)| *fate != Fate::Keep).collect();
            self.know_own(&condemned);
            let doubted = self.doubted.len();
            for (fate, entry) in condemned {
                if !self.is_to_end(fate, &entry) {
                    continue;
                }
                match diag.destroy(&entry) {
                    Ok(()) => result.ended += 1,
                    // It ended by itself meanwhile.
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                    Err(_) => result.failed += 1,
                }
            }
            result.doubted = self.doubted.len() - doubted;
            Ok(result)
        })
    }

    /// Asks for the agent's sockets, which takes long with many connections, only when there is one to tell apart.
    /// After the dump, so that none in it is missed; what was known before stays, as some may have been closed since.
    fn know_own(&mut self, condemned: &[(Fate, Entry)]) {
        let is_known = |entry: &Entry| entry.inode == 0 || self.own.contains(&entry.inode);
        if !condemned.iter().all(|(_, entry)| is_known(entry)) {
            self.own.extend(own_inodes());
        }
    }

    fn is_to_end(&mut self, fate: Fate, entry: &Entry) -> bool {
        // Closed by its owner: what is in its queue was sent while that was allowed, and nobody reads what comes.
        let orphaned =
            entry.inode == 0 && matches!(entry.state, TCP_FIN_WAIT1 | TCP_FIN_WAIT2 | TCP_CLOSING | TCP_LAST_ACK);
        match fate {
            Fate::Keep => false,
            _ if entry.inode != 0 && self.own.contains(&entry.inode) => false,
            Fate::End => true,
            // The engine may be about to accept it, or have accepted it just now.
            Fate::EngineOnly => !orphaned && !self.doubted.insert(entry.id.cookie),
        }
    }
}

/// Whether a connection came in: the pod listens on its port, or nobody does any more but it is no port that clients
/// get, while the other one is.
fn came_in(local: u16, remote: u16, listening: &BTreeSet<u16>, ephemeral: &RangeInclusive<u16>) -> bool {
    listening.contains(&local) || !ephemeral.contains(&local) && ephemeral.contains(&remote)
}

/// The ports that clients get in this thread's network namespace.
fn ephemeral_ports() -> RangeInclusive<u16> {
    let read = || {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let mut ports = text.split_ascii_whitespace().map(str::parse);
        Some(ports.next()?.ok()?..=ports.next()?.ok()?)
    };
    read().unwrap_or(EPHEMERAL)
}

/// Inodes of the sockets that this process has open.
fn own_inodes() -> BTreeSet<u32> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.path()).ok()?;
            target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::diag::SockId;
    use super::*;

    fn entry(state: u8, inode: u32, cookie: u32) -> Entry {
        let any = SocketAddr::from(([10, 0, 0, 1], 80));
        let id = SockId {
            cookie: [cookie, 0],
            ..SockId::default()
        };
        Entry {
            family: libc::AF_INET as u8,
            state,
            inode,
            id,
            local: any,
            remote: any,
        }
    }

    const ESTABLISHED: u8 = 1;

    #[test]
    fn a_connection_came_in_although_its_listener_is_closed() {
        let (open, none) = (BTreeSet::from([8080, 50051]), BTreeSet::new());
        for (local, remote, listening, expected) in [
            (8080, 40000, &open, true),
            (50051, 40000, &open, true),
            (8080, 40000, &none, true),
            (40000, 8080, &none, false),
            (40000, 50051, &none, false),
            // A client that has bound a low port (NFS does).
            (900, 2049, &none, false),
        ] {
            assert_eq!(
                came_in(local, remote, listening, &EPHEMERAL),
                expected,
                "{local} {remote}"
            );
        }
    }

    #[test]
    fn sockets_of_the_agent_are_never_ended() {
        let mut sweep = Sweep {
            own: [7].into(),
            ..Sweep::default()
        };
        for _ in 0..2 {
            assert!(!sweep.is_to_end(Fate::End, &entry(ESTABLISHED, 7, 1)));
            assert!(!sweep.is_to_end(Fate::EngineOnly, &entry(ESTABLISHED, 7, 1)));
        }
    }

    #[test]
    fn what_the_engine_may_be_about_to_accept_ends_with_the_second_look() {
        let mut sweep = Sweep::default();
        for inode in [0, 9] {
            let waiting = entry(ESTABLISHED, inode, inode + 1);
            assert!(!sweep.is_to_end(Fate::EngineOnly, &waiting));
            assert!(sweep.is_to_end(Fate::EngineOnly, &waiting));
        }
        assert!(
            sweep.is_to_end(Fate::End, &entry(ESTABLISHED, 0, 3)),
            "refused by both tiers"
        );
    }

    #[test]
    fn what_the_engine_has_sent_and_closed_still_arrives() {
        let mut sweep = Sweep::default();
        let closed = entry(TCP_FIN_WAIT1, 0, 1);
        assert!(!sweep.is_to_end(Fate::EngineOnly, &closed));
        assert!(!sweep.is_to_end(Fate::EngineOnly, &closed));
    }
}
