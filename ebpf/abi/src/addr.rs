//! Addresses, in the one form that kernel and user space share. The only byte-order conversions are here.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 address: four words in network byte order, IPv4 as `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2).
///
/// One form for IPv4, IPv6 and IPv4-mapped sockets, so that one table serves all three.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Addr(pub [u32; 4]);

impl Addr {
    /// No address (`::`).
    pub const NONE: Addr = Addr([0; 4]);
    /// The third word of an IPv4-mapped address, in network byte order.
    pub const MAPPED: u32 = 0xffff_u32.to_be();

    /// From the word that the kernel keeps for an IPv4 address (network byte order).
    #[inline(always)]
    pub const fn from_v4_word(word: u32) -> Addr {
        Addr([0, 0, Addr::MAPPED, word])
    }

    /// True for an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == Addr::MAPPED
    }

    /// True for `::`, which stands for "no address of this family".
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.0[0] | self.0[1] | self.0[2] | self.0[3] == 0
    }

    /// True for 127.0.0.0/8, its mapped form, and `::1`.
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        if self.is_v4() {
            u32::from_be(self.0[3]) >> 24 == 127
        } else {
            self.0[0] | self.0[1] | self.0[2] == 0 && self.0[3] == 1u32.to_be()
        }
    }

    /// From the standard library's address; a mapped IPv6 address becomes the IPv4 one.
    pub const fn from_ip(ip: IpAddr) -> Addr {
        match ip {
            IpAddr::V4(v4) => Addr::from_v4_word(u32::from_ne_bytes(v4.octets())),
            IpAddr::V6(v6) => {
                let o = v6.octets();
                Addr([
                    u32::from_ne_bytes([o[0], o[1], o[2], o[3]]),
                    u32::from_ne_bytes([o[4], o[5], o[6], o[7]]),
                    u32::from_ne_bytes([o[8], o[9], o[10], o[11]]),
                    u32::from_ne_bytes([o[12], o[13], o[14], o[15]]),
                ])
            }
        }
    }

    /// To the standard library's address; a mapped address becomes IPv4.
    pub const fn to_ip(&self) -> IpAddr {
        if self.is_v4() {
            return IpAddr::V4(Ipv4Addr::from_octets(self.0[3].to_ne_bytes()));
        }
        let mut octets = [0u8; 16];
        let mut word = 0;
        while word < 4 {
            let bytes = self.0[word].to_ne_bytes();
            let mut byte = 0;
            while byte < 4 {
                octets[word * 4 + byte] = bytes[byte];
                byte += 1;
            }
            word += 1;
        }
        IpAddr::V6(Ipv6Addr::from_octets(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in ["10.1.2.3", "127.0.0.1", "fd00::1", "2001:db8:1:2:3:4:5:6", "::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(Addr::from_ip(ip).to_ip(), ip);
        }
        let mapped: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
        assert_eq!(Addr::from_ip(mapped).to_ip(), "10.1.2.3".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_v4_word_is_what_the_kernel_keeps() {
        let addr = Addr::from_v4_word(u32::from_ne_bytes([10, 1, 2, 3]));
        assert_eq!(addr.to_ip(), "10.1.2.3".parse::<IpAddr>().unwrap());
        assert!(addr.is_v4());
    }

    #[test]
    fn loopback_is_all_of_its_forms() {
        for (text, expected) in [
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("::ffff:127.0.0.1", true),
            ("::1", true),
            ("128.0.0.1", false),
            ("::2", false),
            ("fd7f::1", false),
        ] {
            assert_eq!(Addr::from_ip(text.parse().unwrap()).is_loopback(), expected, "{text}");
        }
    }
}
