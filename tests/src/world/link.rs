//! Links and routes. No bridge: the node routes between /32s and /128s, as most CNIs do.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::netns;

/// Router settings. `rp_filter` off: a pod's address is reached over its own link only, and nothing is asymmetric here,
/// but the strict mode of some distributions refuses the link addresses.
const ROUTER: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/default/accept_dad", "0"),
];

/// IPv4 address of machine `number` in net `net`; net 0 are the nodes, 1 and up their pods.
pub fn v4(net: u32, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a4d_0000 | net << 8 | number)
}

/// IPv6 address of the same machine.
pub fn v6(net: u32, number: u32) -> Ipv6Addr {
    Ipv6Addr::from(0xfd77_u128 << 112 | (net as u128) << 16 | number as u128)
}

/// A namespace that routes. Its own addresses sit on `lo`.
pub fn make_node(name: &str, number: u32) -> Result<()> {
    netns::add(name)?;
    netns::sysctl(name, ROUTER)?;
    let (ip4, ip6) = (v4(0, number + 1), v6(0, number + 1));
    netns::batch(
        name,
        &format!("link set lo up\naddr add {ip4}/32 dev lo\naddr add {ip6}/128 dev lo nodad\n"),
    )
}

/// A link between the first node and another one, with routes to each other's pods.
pub fn join_nodes(node: &str, remote: &str, number: u32) -> Result<()> {
    let (near4, far4) = (v4(250, number * 2), v4(250, number * 2 + 1));
    let net = 1 + number;
    let ends = [
        (node, format!("n{number}"), near4, far4, "fe80::1", "fe80::2"),
        (remote, "up0".to_string(), far4, near4, "fe80::2", "fe80::1"),
    ];
    netns::batch(
        node,
        &format!("link add name n{number} type veth peer name up0 netns {remote}\n"),
    )?;
    for (name, link, mine, peer, ll, peer_ll) in ends {
        let routes = if name == node {
            let (other4, other6) = (v4(0, number + 1), v6(0, number + 1));
            format!(
                "route add {}/24 via {peer} dev {link}\nroute add {other4}/32 via {peer} dev {link}\n\
                 route add {}/112 via {peer_ll} dev {link}\nroute add {other6}/128 via {peer_ll} dev {link}\n",
                v4(net, 0),
                v6(net, 0)
            )
        } else {
            format!("route add default via {peer} dev {link}\nroute add default via {peer_ll} dev {link}\n")
        };
        netns::batch(
            name,
            &format!(
                "link set {link} addrgenmode none\nlink set {link} up\naddr add {mine}/31 dev {link}\n\
                 addr add {ll}/64 dev {link} nodad\n{routes}"
            ),
        )?;
    }
    Ok(())
}

/// A pod's namespace with its link `eth0` to the node, where the other end is `p{number}`.
pub fn make_pod(name: &str, node: &str, (net, number): (u32, u32)) -> Result<()> {
    let (ip4, ip6) = (v4(net, number), v6(net, number));
    netns::add(name)?;
    let link = format!("p{number}");
    netns::batch(
        node,
        &format!(
            "link add name {link} type veth peer name eth0 netns {name}\n\
             link set {link} addrgenmode none\nlink set {link} up\n\
             addr add 169.254.1.1/32 dev {link}\naddr add fe80::1/64 dev {link} nodad\n\
             route add {ip4}/32 dev {link}\nroute add {ip6}/128 dev {link}\n"
        ),
    )?;
    netns::batch(
        name,
        &format!(
            "link set lo up\nlink set eth0 addrgenmode none\nlink set eth0 up\n\
             addr add {ip4}/32 dev eth0\naddr add {ip6}/128 dev eth0 nodad\naddr add fe80::2/64 dev eth0 nodad\n\
             route add default via 169.254.1.1 dev eth0 onlink\nroute add default via fe80::1 dev eth0\n"
        ),
    )
}
