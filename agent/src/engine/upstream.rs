//! Connections to servers.
//!
//! Bias: the server sees the client, not the agent. A server of this node is reached from inside its own namespace,
//! with the client's address and port shown to it; any other from the client's namespace, so that the packets carry
//! the client's address. An upstream socket is marked before it connects, or it does not connect at all.

use std::io;
use std::rc::Rc;

use tokio::net::{TcpSocket, TcpStream};

use super::accept::Place;
use super::conn::{Conn, Late};
use super::core::Core;
use super::judge::Server;
use super::kernel::Direction;
use super::{linger, spare};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// Nobody listens there, or the address can't be reached.
    #[error("connection failed: {0}")]
    Failed(#[from] io::Error),
    /// No descriptor is left for it.
    #[error("no file descriptor is left")]
    NoDescriptor,
    /// No answer within the time for connecting.
    #[error("no answer in time; may a NetworkPolicy or a dead node drop the packets?")]
    Late,
}

impl ConnectError {
    /// Status and reason of the answer to an HTTP client.
    pub fn answer(&self) -> (u16, &'static str) {
        match self {
            ConnectError::Failed(_) => (503, "the endpoint refused the connection"),
            ConnectError::NoDescriptor => (503, "the node's agent is out of file descriptors"),
            ConnectError::Late => (504, "the endpoint did not answer"),
        }
    }
}

/// Opens a connection for `conn` to `server`.
pub(super) async fn connect(
    core: &Rc<Core>,
    place: &Place,
    conn: &Conn,
    server: &Server,
) -> Result<TcpStream, ConnectError> {
    let connected = async {
        let socket = socket(core, place, conn, server)?;
        conn.allow(core.config().times.connect);
        match conn.in_time(socket.connect(server.address)).await {
            Ok(connected) => Ok(connected?),
            Err(Late) => Err(ConnectError::Late),
        }
    };
    told(core, conn, server, connected.await)
}

/// The same without a look at the deadline of `conn`, which goes on with other work meanwhile: a timer per connection.
pub(super) async fn connect_apart(
    core: &Rc<Core>,
    place: &Place,
    conn: &Conn,
    server: &Server,
) -> Result<TcpStream, ConnectError> {
    let connected = async {
        let socket = socket(core, place, conn, server)?;
        match tokio::time::timeout(core.config().times.connect, socket.connect(server.address)).await {
            Ok(connected) => Ok(connected?),
            Err(_) => Err(ConnectError::Late),
        }
    };
    told(core, conn, server, connected.await)
}

fn told(
    core: &Core,
    conn: &Conn,
    server: &Server,
    connected: Result<TcpStream, ConnectError>,
) -> Result<TcpStream, ConnectError> {
    match &connected {
        Ok(_) => core.counters.upstream_connects.one(),
        Err(error) => {
            core.counters.upstream_failures.one();
            tracing::debug!(server = %server.address, client = %conn.client.pod, %error, "can't connect upstream");
        }
    }
    connected
}

/// A marked socket, for which something idle is closed if there is no other descriptor.
fn socket(core: &Rc<Core>, place: &Place, conn: &Conn, server: &Server) -> Result<TcpSocket, ConnectError> {
    match marked(core, place, conn, server) {
        Err(error) if spare::is_out(&error) => {
            core.counters.no_descriptors.one();
            if core.give_back(1) {
                return Ok(marked(core, place, conn, server)?);
            }
            core.counters.refused_no_descriptors.one();
            Err(ConnectError::NoDescriptor)
        }
        made => Ok(made?),
    }
}

fn marked(core: &Rc<Core>, place: &Place, conn: &Conn, server: &Server) -> io::Result<TcpSocket> {
    let near = match place.direction {
        Direction::Inbound => Some(place.spec.namespace.clone()),
        Direction::Outbound => server.pod.as_ref().and_then(|pod| core.namespace_of(pod.cookie?)),
    };
    let shown = near.is_some().then_some(conn.peer);
    let namespace = near.unwrap_or_else(|| place.spec.namespace.clone());
    let v4 = server.address.is_ipv4();
    let socket = namespace
        .run(|| if v4 { TcpSocket::new_v4() } else { TcpSocket::new_v6() })
        .flatten()?;
    linger::abortive(&socket)?;
    socket.set_nodelay(true)?;
    // A server of another node can vanish without a word.
    socket.set_keepalive(shown.is_none())?;
    core.kernel().mark_upstream(std::os::fd::AsFd::as_fd(&socket), shown)?;
    Ok(socket)
}
