//! The admin address: `/livez`, `/readyz`, `/metrics`, `/plan`, `/debug/connections`. Plain HTTP for probes, scrapers and people on the node.
//!
//! Bias: it only reads. It should listen where pods can't reach it; loopback of the node's namespace is the default.

mod connections;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tracing::{debug, warn};

use crate::engine::Engine;
use crate::metrics::Metrics;

/// What the admin address tells; replaced as a whole by the app's task.
pub struct State {
    /// Why the agent is not ready; `None` once the first plan is in force in kernel and engine.
    pub not_ready: Option<String>,
    /// Renders the plan in force for `/plan`; costs nothing until somebody asks.
    pub plan: Box<dyn Fn() -> serde_json::Value + Send + Sync>,
}

impl Default for State {
    fn default() -> State {
        State {
            not_ready: Some("the first plan is not in force yet".to_owned()),
            plan: Box::new(|| serde_json::Value::Null),
        }
    }
}

/// Shared with the app.
#[derive(Clone)]
pub struct Admin {
    /// Replaced with each plan.
    pub state: Arc<ArcSwap<State>>,
    /// Read at scrape.
    pub metrics: Arc<Metrics>,
    /// Asked what is open.
    pub engine: Arc<Engine>,
}

impl Admin {
    /// Serves until the process ends. A connection that fails costs only itself.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "admin address can't accept, maybe out of file descriptors");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let admin = self.clone();
            tokio::spawn(async move { admin.connection(stream, peer).await });
        }
    }

    async fn connection(self, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let service = service_fn(|request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(&request).await) }
        });
        let mut server = http1::Builder::new();
        server
            .timer(TokioTimer::new())
            .header_read_timeout(std::time::Duration::from_secs(10))
            .max_buf_size(16 << 10);
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
            debug!(%peer, %error, "admin connection ended");
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        const TEXT: &str = "text/plain; charset=utf-8";
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
        }
        match request.uri().path() {
            "/livez" => reply(StatusCode::OK, TEXT, "alive\n"),
            "/readyz" => match &self.state.load().not_ready {
                None => reply(StatusCode::OK, TEXT, "ready\n"),
                Some(reason) => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {reason}\n")),
            },
            "/metrics" => match self.metrics.encode() {
                Ok(text) => reply(StatusCode::OK, Metrics::CONTENT_TYPE, text),
                Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            },
            "/plan" => reply(
                StatusCode::OK,
                "application/json",
                format!("{:#}\n", (self.state.load().plan)()),
            ),
            "/debug/connections" => match connections::look(request.uri().query().unwrap_or_default()) {
                Ok(look) => {
                    let found = self.engine.connections(look).await;
                    reply(
                        StatusCode::OK,
                        "application/json",
                        format!("{:#}\n", connections::render(&found)),
                    )
                }
                Err(error) => reply(StatusCode::BAD_REQUEST, TEXT, format!("{error}\n")),
            },
            _ => reply(
                StatusCode::NOT_FOUND,
                TEXT,
                "there are /livez, /readyz, /metrics, /plan and /debug/connections\n",
            ),
        }
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
