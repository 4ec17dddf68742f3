//! Tests of the codec: each refused form as a row, and the properties that hold for any input.

mod body;
mod forward;
mod properties;
mod refused;
mod responses;

use super::*;

/// Parses a whole head.
fn request(bytes: &[u8]) -> Result<RequestHead<'_>, HeadError> {
    parse_request(bytes, &Limits::default()).map(|head| head.expect("a complete head"))
}

fn response(bytes: &[u8]) -> Result<ResponseHead<'_>, HeadError> {
    parse_response(bytes, false, &Limits::default()).map(|head| head.expect("a complete head"))
}

/// What a request looks like to the back-end.
fn forwarded(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    write_request(
        &request(bytes).unwrap(),
        Upstream {
            authority: b"10.0.0.1:80",
            close: false,
        },
        &mut out,
    );
    String::from_utf8(out).unwrap()
}

/// What a response looks like to a client.
fn answered(bytes: &[u8], version: Version, keep_alive: bool) -> (String, Sent) {
    let mut out = Vec::new();
    let sent = write_response(&response(bytes).unwrap(), Downstream { version, keep_alive }, &mut out);
    (String::from_utf8(out).unwrap(), sent)
}
