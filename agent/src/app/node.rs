//! The node's own addresses: what the kubelet's probes come from.
//!
//! Bias: what can't be told is not exempt. Loopback addresses are left out, which pods have too, and link-local IPv6 ones,
//! which are not the node's alone. Read anew on every tick of the app, whose task owns the answer.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of the network namespace that this process runs in: the node's, where the agent runs in the host's network.
///
/// # Errors
/// The system does not say; nothing is exempt then.
pub fn addresses() -> io::Result<BTreeSet<IpAddr>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `first` lives until the call returns.
    if unsafe { libc::getifaddrs(&mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = BTreeSet::new();
    let mut next = first;
    // SAFETY: the list is valid until it is freed, and ends with null; an address that is not null is of its family.
    unsafe {
        while let Some(entry) = next.as_ref() {
            if let Some(address) = entry.ifa_addr.as_ref() {
                match i32::from(address.sa_family) {
                    libc::AF_INET => {
                        let v4 = &*entry.ifa_addr.cast::<libc::sockaddr_in>();
                        found.insert(IpAddr::V4(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes())));
                    }
                    libc::AF_INET6 => {
                        let v6 = &*entry.ifa_addr.cast::<libc::sockaddr_in6>();
                        found.insert(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)));
                    }
                    _ => {}
                }
            }
            next = entry.ifa_next;
        }
        libc::freeifaddrs(first);
    }
    found.retain(is_own);
    Ok(found)
}

fn is_own(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_unspecified() && !v4.is_multicast(),
        IpAddr::V6(v6) => {
            !v6.is_loopback() && !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local()
        }
    }
}

/// Whether this process runs in the network namespace of the machine's first process, as far as that can be seen: in a
/// container without the host's processes the first one is its own.
pub fn is_host_network() -> Option<bool> {
    let inode = |pid: &str| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(format!("/proc/{pid}/ns/net"))
            .map(|metadata| metadata.ino())
            .ok()
    };
    Some(inode("1")? == inode("self")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pods_have_too_is_not_the_nodes_own() {
        for (text, own) in [
            ("127.0.0.1", false),
            ("::1", false),
            ("fe80::1", false),
            ("224.0.0.1", false),
            ("169.254.1.1", true),
            ("10.1.0.1", true),
            ("fd00::1", true),
        ] {
            assert_eq!(is_own(&text.parse().unwrap()), own, "{text}");
        }
        assert!(addresses().unwrap().iter().all(|ip| !ip.is_loopback()));
    }
}
