//! Where kernel, engine and log meet: the implementations of each side's trait by the other. Neither knows the other.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use tracing::warn;
use weir_core::snapshot::Snapshot;

use crate::bpf::Origins;
use crate::engine::{Direction, Engine, Kernel, ListenerKey, Namespace, PodSpec, Reason, Refusal};
use crate::publish::{DataPlane, LocalPod};
use crate::refusals::Line;

impl Kernel for Origins {
    fn take_origin(&self, cookie: u64, v6: bool, client_port: u16) -> Option<SocketAddr> {
        self.take(cookie, v6, client_port)
    }

    fn mark_upstream(&self, socket: BorrowedFd<'_>, shown: Option<SocketAddr>) -> io::Result<()> {
        Origins::mark_upstream(self, socket, shown)
    }

    fn mark_listener(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        Origins::mark_listener(self, socket)
    }

    fn add_listener(&self, key: ListenerKey, listener: BorrowedFd<'_>) -> io::Result<()> {
        match key.direction {
            Direction::Inbound => self.steer_to(key.cookie, key.v6, listener),
            Direction::Outbound => Ok(()),
        }
    }
}

impl DataPlane for Engine {
    async fn serve(&self, pods: Vec<LocalPod>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut specs = Vec::with_capacity(pods.len());
        for pod in pods {
            match pod.netns.as_fd().try_clone_to_owned() {
                Ok(fd) => specs.push(PodSpec {
                    pod: pod.pod,
                    cookie: pod.netns.cookie(),
                    namespace: Namespace::from(fd),
                    ips: pod.ips,
                }),
                Err(error) => problems.push(format!(
                    "can't serve pod {}, maybe out of file descriptors: {error}",
                    pod.pod
                )),
            }
        }
        problems.extend(self.pods(specs).await.iter().map(ToString::to_string));
        problems
    }

    fn swap(&self, snapshot: Arc<Snapshot>) {
        Engine::swap(self, snapshot);
    }
}

impl Refusal {
    /// As the refusal log takes it.
    pub fn line(self) -> Line {
        let mut line = Line {
            by: "engine",
            protocol: "tcp",
            audit: self.audit,
            source: Some(self.client.ip()),
            count: 1,
            ..Line::default()
        };
        line.name_source(self.source.as_deref());
        if let Some(server) = self.server.or(self.asked) {
            line.destination = Some(server.ip());
            line.port = server.port();
        }
        if let Some(service) = &self.service {
            line.destination_pod = format!("Service {service}");
        }
        line.name_destination(self.destination.as_deref());
        if let Some((method, path)) = self.request {
            (line.method, line.path) = (method, path);
        }
        line.missing = self.reason.to_string();
        line.reason = match &self.reason {
            Reason::Missing(missing) => missing.reason(),
            reason => reason.name(),
        };
        line
    }
}

/// Raises the limit of open files to what the system allows: each enrolled pod takes listeners on every core, each
/// connection two sockets.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives until the calls return.
    let result = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit)
        } else {
            -1
        }
    };
    if result != 0 {
        warn!(error = %io::Error::last_os_error(), "can't raise the limit of open files");
    }
}
