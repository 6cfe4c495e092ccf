//! The DNS operators, each on its own 127.53.n.1.

use std::net::Ipv4Addr;

use super::Operator;

pub(super) fn standard() -> Vec<Operator> {
    (1..).zip(OPERATORS).map(|(n, (id, servers))| operator(n, id, servers)).collect()
}

fn operator(n: u8, id: &str, servers: &[&str]) -> Operator {
    Operator {
        id: id.into(),
        address: Ipv4Addr::new(127, 53, n, 1),
        servers: servers.iter().copied().map(str::to_owned).collect(),
    }
}

const OPERATORS: &[(&str, &[&str])] = &[
    ("route53", &["ns-512.awsdns-00.net", "ns-1536.awsdns-00.co.uk"]),
    ("azure-dns", &["ns1-01.azure-dns.com", "ns2-01.azure-dns.net"]),
    ("dyn", &["ns1.p16.dynect.net", "ns2.p16.dynect.net"]),
    ("ns1", &["dns1.p01.nsone.net", "dns2.p01.nsone.net"]),
    ("cloudflare", &["ada.ns.cloudflare.com", "bob.ns.cloudflare.com"]),
    ("google", &["ns-cloud-a1.googledomains.com", "ns-cloud-a2.googledomains.com"]),
    ("fastly", &["ns1.fastly.net", "ns2.fastly.net"]),
    ("root", &["a.root-servers.net", "m.root-servers.net"]),
    ("quad9", &["ns1.quad9.net", "ns2.quad9.net"]),
    ("facegram", &["a.ns.facegram.example", "b.ns.facegram.example"]),
    ("akamai", &["a1-64.akam.net", "a9-65.akam.net"]),
    ("ultradns", &["pdns1.ultradns.net", "pdns2.ultradns.net"]),
];
