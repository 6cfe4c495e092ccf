//! Address: what kind of place an IP address is, for whoever is about to connect to one that others chose.
//!
//! Rule: an address that stands for an IPv4 address (mapped, NAT64 or 6to4) is what that address is, since that is where
//! packets to it end up (`an_address_in_disguise_is_what_it_stands_for`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// A host on the internet.
    Public,
    /// This machine.
    Loopback,
    /// A network that is not the internet: private, link-local, unique-local, shared by carrier-grade NAT, or behind a NAT64
    /// of the network's own.
    Private,
    /// Nobody's: kept for documentation, benchmarks or the future, or a tunnel that is no more.
    Reserved,
    /// A cloud's metadata service, which hands out credentials.
    Metadata,
    /// No single host: unspecified, multicast, broadcast, or "this network".
    NoHost,
}

impl Reach {
    /// What kind of place an address is.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => of_v6(v6),
        }
    }

    /// In words, after "is".
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Reserved => "a reserved address",
            Self::Metadata => "a cloud metadata service",
            Self::NoHost => "no single host's address",
        }
    }
}

/// EC2, Azure and most others; Azure's host agent; Alibaba; Oracle.
const METADATA_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// EC2; Google.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Source: the IANA registry of special-purpose IPv4 addresses.
fn of_v4(v4: Ipv4Addr) -> Reach {
    let [a, b, c, _] = v4.octets();
    match (a, b, c) {
        _ if METADATA_V4.contains(&v4) => Reach::Metadata,
        _ if a == 0 || v4.is_multicast() || v4.is_broadcast() => Reach::NoHost,
        (127, ..) => Reach::Loopback,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (169, 254, _) | (100, 64..=127, _) => Reach::Private,
        (192, 0, 0 | 2) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) | (240.., ..) => Reach::Reserved,
        _ => Reach::Public,
    }
}

/// Source: the IANA registry of special-purpose IPv6 addresses.
fn of_v6(v6: Ipv6Addr) -> Reach {
    let v4 = |high: u16, low: u16| of_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match v6.segments() {
        _ if METADATA_V6.contains(&v6) => Reach::Metadata,
        _ if v6.is_unspecified() || v6.is_multicast() => Reach::NoHost,
        _ if v6.is_loopback() => Reach::Loopback,
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            v4(high, low)
        }
        // A network's own NAT64, unique-local, link-local, and what was site-local.
        [0x64, 0xff9b, 1, ..] | [0xfc00..=0xfdff | 0xfe80..=0xfeff, ..] => Reach::Private,
        // IPv4-compatible; Teredo and documentation; documentation; discard.
        [0, 0, 0, 0, 0, 0, ..] | [0x2001, 0 | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] | [0x100, 0, 0, 0, ..] => {
            Reach::Reserved
        }
        _ => Reach::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(address: &str) -> Reach {
        Reach::of(address.parse().expect(address))
    }

    #[test]
    fn every_kind_of_place_is_told_by_its_address() {
        for (expected, addresses) in [
            (
                Reach::Public,
                "8.8.8.8 1.1.1.1 172.32.0.1 100.128.0.1 192.0.1.1 198.20.0.1 2606:4700::1111 2001:4860::8888",
            ),
            (Reach::Loopback, "127.0.0.1 127.255.255.254 ::1"),
            (Reach::Private, "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.1.1 100.64.0.1 100.127.255.255"),
            (Reach::Private, "fc00::1 fd12:3456::1 fe80::1 fec0::1 64:ff9b:1::a00:1"),
            (Reach::Metadata, "169.254.169.254 168.63.129.16 100.100.100.200 192.0.0.192 fd00:ec2::254 fd20:ce::254"),
            (Reach::NoHost, "0.0.0.0 0.1.2.3 224.0.0.1 239.255.255.255 255.255.255.255 :: ff02::1"),
            (Reach::Reserved, "192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 192.0.0.1 240.0.0.1 255.255.255.254"),
            (Reach::Reserved, "2001:db8::1 3fff::1 2001::1 100::1 ::2"),
        ] {
            for address in addresses.split(' ') {
                assert_eq!(reach(address), expected, "{address}");
            }
        }
    }

    #[test]
    fn an_address_in_disguise_is_what_it_stands_for() {
        for (address, expected) in [
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("::ffff:10.0.0.1", Reach::Private),
            ("::ffff:8.8.8.8", Reach::Public),
            ("64:ff9b::7f00:1", Reach::Loopback),
            ("64:ff9b::a9fe:a9fe", Reach::Metadata),
            ("64:ff9b::192.168.1.1", Reach::Private),
            ("64:ff9b::8.8.8.8", Reach::Public),
            ("2002:7f00:1::", Reach::Loopback),
            ("2002:a00:1::1", Reach::Private),
            ("2002:808:808::1", Reach::Public),
        ] {
            assert_eq!(reach(address), expected, "{address}");
        }
    }
}
