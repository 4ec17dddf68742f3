//! What gRPC needs of a mesh: its own way to say that a call was refused (the gRPC over HTTP/2 protocol).
//!
//! Bias: a client library reads what we say as if its server had said it. A refusal is a response of headers alone
//! ("Trailers-Only") with HTTP status 200, `grpc-status` and `grpc-message`. No state.

/// PERMISSION_DENIED.
pub const PERMISSION_DENIED: u8 = 7;

/// `content-type` of a gRPC call: `application/grpc`, alone or with `+proto`, `;…` and the like. Not gRPC-Web.
pub fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let Some((start, rest)) = content_type.split_at_checked(GRPC.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The status that stands for one of our HTTP statuses: what gRPC clients make of them, but for 403 they all agree on.
pub const fn status_of(http: u16) -> u8 {
    match http {
        403 => PERMISSION_DENIED,
        // UNIMPLEMENTED
        501 => 12,
        // INTERNAL
        400 | 417 | 431 => 13,
        // UNAVAILABLE
        408 | 502..=504 => 14,
        // UNKNOWN
        _ => 2,
    }
}

/// The value of `grpc-status`, decimal.
pub fn parse_status(value: &[u8]) -> Option<u8> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Appends `message` as the value of `grpc-message`: printable ASCII as it is, everything else and `%` percent-encoded.
pub fn encode_message(message: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or_default();
    for byte in message.bytes() {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => out.extend([b'%', digit(byte >> 4), digit(byte & 15)]),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for yes in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC; charset=utf-8",
        ] {
            assert!(is_grpc(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            "application/grp",
            "application/grpc-web",
            "application/grpc-web+proto",
            "text/plain",
        ] {
            assert!(!is_grpc(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn messages_are_percent_encoded() {
        let mut out = Vec::new();
        encode_message("100 % of \u{e9}\n", &mut out);
        assert_eq!(out, b"100 %25 of %C3%A9%0A");
    }

    #[test]
    fn statuses_of_our_answers() {
        for (http, grpc) in [(403, 7), (503, 14), (502, 14), (504, 14), (400, 13), (501, 12)] {
            assert_eq!(status_of(http), grpc, "{http}");
        }
        assert_eq!(parse_status(b"14"), Some(14));
        assert_eq!(parse_status(b"x"), None);
    }
}
