//! The engine's listeners inside a pod's network namespace.
//!
//! Bias: all or nothing for one pod, and nothing of it for another. Each core opens its own listeners on its own
//! thread (`SO_REUSEPORT` spreads connections), bound to the pod's own addresses: what is sent to the listener's port
//! from outside comes in by `sk_lookup` like everything else and is told apart by its local address.

use std::cell::Cell;
use std::io;
use std::mem::size_of_val;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use super::accept::{self, Place};
use super::core::Core;
use super::kernel::{Direction, ListenerKey};
use super::pods::{PodError, PodSpec};
use super::stats::Counters;
use super::{linger, netns};

/// One pod's listeners of one core. Connections that they accepted go on without them.
pub(super) struct PodListeners {
    /// What they were opened for.
    pub spec: Rc<PodSpec>,
    tasks: Vec<JoinHandle<()>>,
    /// Each with what the kernel said last of connections that it dropped.
    sockets: Vec<(Rc<TcpListener>, Cell<u32>)>,
}

impl PodListeners {
    /// Closes the sockets; they are closed when this returns.
    pub async fn close(mut self) {
        self.sockets.clear();
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // It was aborted; that is what it says.
            let _ = task.await;
        }
    }

    /// Closes the sockets soon. The pod is still known.
    pub fn rest(&mut self) {
        self.sockets.clear();
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }

    /// Counts the connections that the kernel has dropped since this was last asked, because a queue was full: of SYNs
    /// that wait for the client's acknowledgement, or of connections that wait to be accepted.
    pub fn count_overflows(&self, counters: &Counters) {
        for (listener, before) in &self.sockets {
            if let Some(now) = dropped(listener.as_fd()) {
                counters
                    .accept_overflows
                    .add(u64::from(now.wrapping_sub(before.replace(now))));
            }
        }
    }
}

impl Drop for PodListeners {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Opens and registers this core's listeners for a pod, then begins to accept.
pub(super) fn open(core: &Rc<Core>, spec: &PodSpec) -> Result<PodListeners, PodError> {
    let mut listeners = Vec::with_capacity(spec.ips.len() * 2);
    for ip in &spec.ips {
        for direction in [Direction::Outbound, Direction::Inbound] {
            listeners.push((direction, listen(core, spec, *ip, direction)?));
        }
    }
    let spec = Rc::new(spec.clone());
    let mut sockets = Vec::with_capacity(listeners.len());
    let accept = |(direction, listener): (Direction, TcpListener)| {
        let listener = Rc::new(listener);
        sockets.push((listener.clone(), Cell::new(0)));
        let place = Rc::new(Place::new(core, spec.clone(), direction));
        tokio::task::spawn_local(accept::run(core.clone(), listener, place))
    };
    let tasks = listeners.into_iter().map(accept).collect();
    Ok(PodListeners { spec, tasks, sockets })
}

fn listen(core: &Core, spec: &PodSpec, ip: IpAddr, direction: Direction) -> Result<TcpListener, PodError> {
    let address = SocketAddr::new(ip, core.config().port(direction));
    let failed = |source| PodError::Listen {
        pod: spec.pod.clone(),
        address,
        source,
    };
    let socket = spec.namespace.run(|| bound(address)).flatten().map_err(failed)?;
    if spec.namespace.is_elsewhere() {
        let found = netns::cookie_of(socket.as_fd()).map_err(failed)?;
        if found != spec.cookie {
            return Err(PodError::Replaced {
                pod: spec.pod.clone(),
                expected: spec.cookie,
                found,
            });
        }
    }
    let refused = |source| PodError::Register {
        pod: spec.pod.clone(),
        address,
        source,
    };
    // Before it listens, because it then joins the group of sockets that connections are spread over.
    core.kernel().mark_listener(socket.as_fd()).map_err(refused)?;
    let listener = socket.listen(core.config().limits.backlog).map_err(failed)?;
    let key = ListenerKey {
        cookie: spec.cookie,
        v6: ip.is_ipv6(),
        direction,
        core: core.index(),
    };
    core.kernel().add_listener(key, listener.as_fd()).map_err(refused)?;
    Ok(listener)
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // The app must be able to bind its port again while connections that we accepted there are still open.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    // What follows is inherited by what is accepted.
    socket.set_nodelay(true)?;
    // A client that vanished without a word must not keep its seat for ever.
    socket.set_keepalive(true)?;
    linger::abortive(&socket)?;
    socket.bind(address)?;
    Ok(socket)
}

/// How many connections the kernel has dropped at this listener, modulo 2^32 (`sk_drops`, by `SO_MEMINFO`, Linux 4.12).
fn dropped(listener: BorrowedFd<'_>) -> Option<u32> {
    // The order of linux/sock_diag.h: SK_MEMINFO_DROPS is the last.
    let mut meminfo = [0u32; 9];
    let mut length = size_of_val(&meminfo) as libc::socklen_t;
    // SAFETY: the option writes at most `length` bytes into `meminfo`, which lives until the call returns.
    let result = unsafe {
        libc::getsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            meminfo.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let [.., drops] = meminfo;
    (result == 0 && length as usize == size_of_val(&meminfo)).then_some(drops)
}
