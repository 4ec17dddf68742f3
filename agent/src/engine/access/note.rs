//! What the access log repeats of a request.

use weir_core::matcher::RequestView;
use weir_core::trace::TraceParent;

/// Longest path that is repeated, in bytes.
const PATH: usize = 1024;
/// Longest host.
const HOST: usize = 255;

/// Method, canonical path, host and trace; printable ASCII, everything else percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Method.
    pub method: String,
    /// Canonical path, without the query, cut short.
    pub path: String,
    /// `host[:port]`, where the request names one.
    pub host: Option<String>,
    /// The trace it belongs to.
    pub trace: Option<TraceParent>,
}

impl Note {
    /// Of a request.
    pub fn of(request: &impl RequestView) -> Note {
        Note {
            method: printable(request.method(), PATH),
            path: printable(request.path(), PATH),
            host: request.authority().map(|host| printable(host, HOST)),
            trace: TraceParent::of(request),
        }
    }
}

/// The first `most` bytes; three dots where something was cut off.
fn printable(bytes: &[u8], most: usize) -> String {
    let mut text = String::with_capacity(bytes.len().min(most));
    for byte in bytes.iter().take(most) {
        match byte {
            b'!'..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    if bytes.len() > most {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_is_cut_and_printable() {
        assert_eq!(printable(b"/a\nb\x1b[2J \xff", 100), "/a%0Ab%1B[2J%20%FF");
        assert_eq!(printable(b"/aaaa", 3), "/aa...");
        assert_eq!(printable(b"", 3), "");
    }
}
