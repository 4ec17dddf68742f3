//! The authority of a request: `host[:port]` (RFC 3986 section 3.2, without user information).

/// `authority` is a host with an optional port and nothing else.
pub(crate) fn is_authority(authority: &[u8]) -> bool {
    let host = without_port(authority);
    let port = authority.get(host.len()..).unwrap_or_default();
    is_host(host) && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port))
}

/// The host of `authority`: what stands before a final `:port`. The brackets of an IPv6 address stay.
pub fn without_port(authority: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', authority).and_then(|colon| authority.split_at_checked(colon)) {
        Some((host, port)) if !port.contains(&b']') => host,
        _ => authority,
    }
}

fn is_host(host: &[u8]) -> bool {
    match host.strip_prefix(b"[") {
        Some(literal) => literal.strip_suffix(b"]").is_some_and(|address| {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        }),
        // reg-name without percent escapes: unreserved and sub-delims, less the comma (it reads as a list).
        None => {
            !host.is_empty()
                && host.iter().all(|&byte| {
                    byte.is_ascii_alphanumeric()
                        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'')
                        || matches!(byte, b'(' | b')' | b'*' | b'+' | b';' | b'=')
                })
        }
    }
}

fn is_port(port: &[u8]) -> bool {
    (1..=5).contains(&port.len())
        && port.iter().all(u8::is_ascii_digit)
        && port
            .iter()
            .fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'))
            <= 65535
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for good in [
            "a",
            "store.shop:8080",
            "10.0.0.1",
            "[::1]",
            "[fd00::1]:80",
            "under_score",
            "a:0",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a:", "a:b", "a:65536", "a:080808", "u@a", "a b", "a,b", "a/b", "[::1", "[::1]80", "::1", "[]",
            "é", "a%41",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn the_port_is_cut_off_and_an_ipv6_address_stays_whole() {
        assert_eq!(without_port(b"a:80"), b"a");
        assert_eq!(without_port(b"a"), b"a");
        assert_eq!(without_port(b"[::1]:80"), b"[::1]");
        assert_eq!(without_port(b"[::1]"), b"[::1]");
    }
}
