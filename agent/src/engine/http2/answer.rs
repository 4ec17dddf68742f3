//! What the engine says by itself on a stream.
//!
//! Bias: in the caller's language. A gRPC client gets a status that its library hands to the application; everybody
//! else gets an HTTP status with the reason as text. Either says which rule was missing.

use bytes::Bytes;
use h2::server::SendResponse;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use weir_core::grpc;

use super::super::core::Core;
use super::super::outcome::Ongoing;
use super::request::Shape;

/// Answers with `status` and `reason`. What is left of the request is reset by the library, with NO_ERROR.
pub(super) fn say(
    core: &Core,
    told: &Ongoing<'_>,
    respond: &mut SendResponse<Bytes>,
    shape: Shape,
    status: u16,
    reason: &str,
) {
    let counters = &core.counters;
    match status {
        403 => {}
        502 => counters.bad_gateway.one(),
        503 => counters.unavailable.one(),
        504 => counters.gateway_timeout.one(),
        _ => counters.bad_requests.one(),
    }
    match status {
        _ if shape.grpc => &counters.responses_2xx,
        ..500 => &counters.responses_4xx,
        _ => &counters.responses_5xx,
    }
    .one();
    let sent = match shape.grpc {
        true => {
            told.grpc.set(Some(u32::from(grpc::status_of(status))));
            told.answered(200);
            respond.send_response(trailers_only(status, reason), true).map(drop)
        }
        false => {
            told.answered(status);
            text(respond, shape, status, reason, told)
        }
    };
    // The stream or its connection has gone: there is nobody to tell.
    drop(sent);
}

fn text(
    respond: &mut SendResponse<Bytes>,
    shape: Shape,
    status: u16,
    reason: &str,
    told: &Ongoing<'_>,
) -> Result<(), h2::Error> {
    let body = Bytes::from([reason, "\n"].concat());
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let mut stream = respond.send_response(response, shape.head)?;
    if !shape.head {
        told.count(0, body.len() as u64);
        stream.send_data(body, true)?;
    }
    Ok(())
}

/// "Trailers-Only" of the gRPC protocol.
fn trailers_only(status: u16, reason: &str) -> Response<()> {
    let mut message = Vec::with_capacity(reason.len());
    grpc::encode_message(reason, &mut message);
    let mut response = Response::new(());
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert("grpc-status", HeaderValue::from(u16::from(grpc::status_of(status))));
    if let Ok(message) = HeaderValue::from_maybe_shared(Bytes::from(message)) {
        fields.insert("grpc-message", message);
    }
    response
}
