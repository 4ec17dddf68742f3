//! How SOURCE and DESTINATION are written.

use std::fmt;
use std::str::FromStr;

use weir_core::model::{Key, Transport};

/// What a place is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Whatever there is: a pod, then a Service, then a ServiceAccount.
    Any,
    /// `pod:`
    Pod,
    /// `svc:`
    Service,
    /// `sa:`
    Account,
}

/// `[pod:|svc:|sa:]NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) what: What,
    pub(super) key: Key,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (what, name) = match text.split_once(':') {
            Some(("pod", name)) => (What::Pod, name),
            Some(("svc" | "service", name)) => (What::Service, name),
            Some(("sa" | "account", name)) => (What::Account, name),
            Some((what, _)) => return Err(format!("{what:?} is none of pod, svc and sa")),
            None => (What::Any, text),
        };
        match name.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => Ok(Place {
                what,
                key: Key::new(namespace, name),
            }),
            _ => Err("write NAMESPACE/NAME".to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Any => "pod, Service or ServiceAccount",
            What::Pod => "pod",
            What::Service => "Service",
            What::Account => "ServiceAccount",
        };
        write!(f, "{what} {}", self.key)
    }
}

/// A place, a port and a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) place: Place,
    pub(super) port: Option<u16>,
    /// TCP unless `/udp` is behind the port.
    pub(super) transport: Transport,
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Destination, String> {
        let (text, transport) = match text.rsplit_once('/') {
            Some((rest, "udp")) if rest.contains('/') => (rest, Transport::Udp),
            Some((rest, "tcp")) if rest.contains('/') => (rest, Transport::Tcp),
            _ => (text, Transport::Tcp),
        };
        // The colon of `svc:` stands before the slash, that of the port behind it.
        let (place, port) = match text.rsplit_once(':') {
            Some((place, port)) if place.contains('/') => (place, Some(port)),
            _ => (text, None),
        };
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) if port != 0 => Some(port),
            Some(_) => return Err("the port is a number from 1 to 65535".to_owned()),
        };
        Ok(Destination {
            place: place.parse()?,
            port,
            transport,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colon_of_a_kind_is_not_that_of_a_port() {
        let destination = |text: &str| text.parse::<Destination>().unwrap();
        let place = |what| Place {
            what,
            key: Key::new("shop", "store"),
        };
        let tcp = |what, port| Destination {
            place: place(what),
            port,
            transport: Transport::Tcp,
        };
        assert_eq!(destination("shop/store"), tcp(What::Any, None));
        assert_eq!(destination("svc:shop/store"), tcp(What::Service, None));
        assert_eq!(destination("sa:shop/store:80"), tcp(What::Account, Some(80)));
        assert_eq!(destination("shop/store:80"), tcp(What::Any, Some(80)));
    }

    #[test]
    fn a_port_may_be_one_of_udp() {
        let destination = |text: &str| text.parse::<Destination>().unwrap();
        for (text, port, transport) in [
            ("shop/dns:53/udp", Some(53), Transport::Udp),
            ("svc:shop/dns:53/udp", Some(53), Transport::Udp),
            ("shop/dns/udp", None, Transport::Udp),
            ("shop/dns:53/tcp", Some(53), Transport::Tcp),
            ("shop/udp:53", Some(53), Transport::Tcp),
            ("shop/udp", None, Transport::Tcp),
        ] {
            let found = destination(text);
            assert_eq!((found.port, found.transport), (port, transport), "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "store",
            "shop/",
            "/store",
            "a/b/c",
            "node:shop/store",
            "shop/store:0",
            "shop/store:http",
            "shop/store:53/sctp",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
