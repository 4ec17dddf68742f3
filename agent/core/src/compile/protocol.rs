//! What a Service port says about its protocol.

use crate::model::ServicePort;
use crate::snapshot::PortProtocol;

/// `appProtocol` first, then the prefix of the port's name; what neither tells is found out from the first bytes.
///
/// An `appProtocol` that is not known here (`mysql`, `example.com/thing`) says no more than none: the name is asked.
pub(super) fn declared(port: &ServicePort) -> PortProtocol {
    let app = port.app_protocol.as_deref().map(str::to_ascii_lowercase);
    app.as_deref()
        .and_then(of_app_protocol)
        .unwrap_or_else(|| of_name(&port.name))
}

/// The names that Kubernetes defines (KEP-3726), and the plain ones in use.
fn of_app_protocol(app: &str) -> Option<PortProtocol> {
    match app {
        "http" | "http1" | "http/1.1" | "kubernetes.io/ws" | "ws" | "grpc-web" => Some(PortProtocol::Http),
        "http2" | "h2c" | "grpc" | "kubernetes.io/h2c" => Some(PortProtocol::Http2),
        "tcp" | "tls" | "https" | "kubernetes.io/wss" | "wss" => Some(PortProtocol::Tcp),
        _ => None,
    }
}

/// The longest prefix counts: `https-api` is not HTTP to us, `http2-api` is HTTP/2.
fn of_name(name: &str) -> PortProtocol {
    const PREFIXES: [(&str, PortProtocol); 8] = [
        ("https", PortProtocol::Tcp),
        ("http2", PortProtocol::Http2),
        ("http", PortProtocol::Http),
        ("h2c", PortProtocol::Http2),
        ("grpc-web", PortProtocol::Http),
        ("grpc", PortProtocol::Http2),
        ("tcp", PortProtocol::Tcp),
        ("tls", PortProtocol::Tcp),
    ];
    PREFIXES
        .iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map_or(PortProtocol::Detect, |(_, protocol)| *protocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{TargetPort, Transport};

    fn port(name: &str, app: Option<&str>) -> PortProtocol {
        declared(&ServicePort {
            name: name.into(),
            port: 80,
            target_port: TargetPort::Number(80),
            transport: Transport::Tcp,
            app_protocol: app.map(Into::into),
        })
    }

    #[test]
    fn app_protocol_wins_over_the_name() {
        assert_eq!(port("http", Some("tcp")), PortProtocol::Tcp);
        assert_eq!(port("tcp-x", Some("kubernetes.io/h2c")), PortProtocol::Http2);
        assert_eq!(port("http-x", Some("mysql")), PortProtocol::Http);
    }

    #[test]
    fn the_longest_prefix_of_a_name_counts() {
        for (name, expected) in [
            ("http", PortProtocol::Http),
            ("http-web", PortProtocol::Http),
            ("http2", PortProtocol::Http2),
            ("https", PortProtocol::Tcp),
            ("grpc-api", PortProtocol::Http2),
            ("grpc-web", PortProtocol::Http),
            ("tls", PortProtocol::Tcp),
            ("", PortProtocol::Detect),
            ("web", PortProtocol::Detect),
        ] {
            assert_eq!(port(name, None), expected, "{name}");
        }
    }
}
