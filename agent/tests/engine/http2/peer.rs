//! Clients and servers that speak HTTP/2 by the library.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use crate::mesh::Mesh;

/// No test waits longer for a frame.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A thread that drives all clients and servers.
static RUNTIME: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
});

/// Runs `work` to its end, within [`PATIENCE`].
pub fn wait<F: Future>(work: F) -> F::Output {
    RUNTIME
        .block_on(async { tokio::time::timeout(PATIENCE, work).await })
        .expect("nothing came")
}

/// Runs `work` beside the test.
pub fn aside(work: impl Future<Output = ()> + Send + 'static) {
    RUNTIME.spawn(work);
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub head: Response<()>,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().unwrap())
    }
}

/// A client's connection.
#[derive(Clone)]
pub struct Client {
    pub send: SendRequest<Bytes>,
    ended: Arc<Mutex<Option<Result<(), String>>>>,
}

impl Client {
    /// Of this pod, to this address.
    pub fn connect(mesh: &Mesh, pod: &str, to: SocketAddr) -> Client {
        Client::with(mesh, pod, to, &h2::client::Builder::new())
    }

    pub fn with(mesh: &Mesh, pod: &str, to: SocketAddr, builder: &h2::client::Builder) -> Client {
        let stream = mesh.connect(pod, to).stream;
        stream.set_nonblocking(true).unwrap();
        let ended = Arc::new(Mutex::new(None));
        let tell = ended.clone();
        let send = wait(async {
            let stream = TcpStream::from_std(stream).unwrap();
            let (send, connection) = builder.handshake(stream).await.unwrap();
            aside(async move {
                let end = connection.await.map_err(|error| error.to_string());
                *tell.lock().unwrap() = Some(end);
            });
            send
        });
        Client { send, ended }
    }

    /// The buyer, connected to the store.
    pub fn buyer(mesh: &Mesh) -> Client {
        Client::connect(mesh, "buyer", mesh.store())
    }

    /// How the connection ended, once it has.
    pub fn ended(&self) -> Option<Result<(), String>> {
        self.ended.lock().unwrap().clone()
    }

    /// Begins a request with a body to come.
    pub fn open(&self, request: Request<()>, end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = self.send.clone();
        wait(async {
            std::future::poll_fn(|cx| send.poll_ready(cx)).await.unwrap();
            send.send_request(request, end).unwrap()
        })
    }

    /// One request without a body, and its whole answer.
    pub fn ask(&self, request: Request<()>) -> Result<Reply, h2::Error> {
        let (response, _) = self.open(request, true);
        wait(read(response))
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask(get(path)).unwrap()
    }

    /// One request with this body.
    pub fn post(&self, request: Request<()>, body: impl Into<Bytes>) -> Result<Reply, h2::Error> {
        let (response, mut stream) = self.open(request, false);
        // An answer may have come already, and the word that nobody reads this.
        let _ = stream.send_data(body.into(), true);
        wait(read(response))
    }
}

pub fn get(path: &str) -> Request<()> {
    request("GET", path)
}

pub fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("http://store{path}");
    Request::builder()
        .method(method)
        .uri(uri)
        .version(http::Version::HTTP_2)
        .body(())
        .unwrap()
}

/// The whole answer.
pub async fn read(response: ResponseFuture) -> Result<Reply, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let (bytes, trailers) = drain(&mut body).await?;
    Ok(Reply {
        head: Response::from_parts(head, ()),
        body: bytes,
        trailers,
    })
}

/// A body and its trailers.
pub async fn drain(body: &mut RecvStream) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((bytes, body.trailers().await?.unwrap_or_default()))
}

/// A server. Ends with the test's process.
#[derive(Clone, Default)]
pub struct Server {
    accepted: Arc<AtomicUsize>,
    log: Arc<Mutex<Vec<http::request::Parts>>>,
}

impl Server {
    /// Runs `serve` for each stream.
    pub fn start<F, W>(address: SocketAddr, serve: F) -> Server
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> W + Clone + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        Server::with(address, h2::server::Builder::new(), serve)
    }

    pub fn with<F, W>(address: SocketAddr, builder: h2::server::Builder, serve: F) -> Server
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> W + Clone + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let server = Server::default();
        let (accepted, log) = (server.accepted.clone(), server.log.clone());
        let listener = wait(TcpListener::bind(address)).unwrap();
        aside(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let (builder, serve, log) = (builder.clone(), serve.clone(), log.clone());
                aside(async move {
                    let Ok(mut connection) = builder.handshake(stream).await else {
                        return;
                    };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let (parts, body) = request.into_parts();
                        log.lock().unwrap().push(parts.clone());
                        aside(serve(Request::from_parts(parts, body), respond));
                    }
                });
            }
        });
        server
    }

    /// 200 and `NAME METHOD TARGET BODY` for every request.
    pub fn web(address: SocketAddr, name: &'static str) -> Server {
        Server::start(address, move |request, mut respond| async move {
            let (parts, mut body) = request.into_parts();
            let Ok((bytes, _)) = drain(&mut body).await else { return };
            let target = parts.uri.path_and_query().unwrap();
            let text = format!("{name} {} {target} {}", parts.method, String::from_utf8_lossy(&bytes));
            let head = parts.method == "HEAD";
            let response = Response::builder().header("content-length", text.len());
            let mut stream = respond.send_response(response.body(()).unwrap(), head).unwrap();
            if !head {
                stream.send_data(text.into(), true).unwrap();
            }
        })
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Heads of the requests that have come.
    pub fn requests(&self) -> Vec<http::request::Parts> {
        self.log.lock().unwrap().clone()
    }
}

/// 200 and this body, with an end or without.
pub fn ok(respond: &mut SendResponse<Bytes>, body: &'static str, end: bool) -> SendStream<Bytes> {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(body.as_bytes()), end).unwrap();
    stream
}

/// The code that a stream was reset with.
pub fn code<T: std::fmt::Debug>(result: Result<T, h2::Error>) -> Reason {
    let error = result.expect_err("it was not reset");
    assert!(error.is_reset(), "{error:?}");
    error.reason().unwrap()
}
