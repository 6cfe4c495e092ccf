//! Operators: whose DNS serves a zone, from the names of its name servers.
//!
//! Rules: a name is known by its ending, label by label. A zone whose servers belong to several operators, or to one that
//! is not known here, has none: it outlives the failure of one.
//!
//! Source: the operators' documentation of the name servers that they hand out, and the NS records of their own zones.
//! Their addresses would not do: Azure DNS is partly in no service tag, and others publish none.

/// Endings of name servers, and whose they are. The words are those of `dns_operator` in catalogs.
const ENDINGS: [(&str, &str); 44] = [
    ("akam.net", "akamai"),
    ("akamaistream.net", "akamai"),
    ("alidns.com", "alibaba"),
    ("azure-dns.com", "azure-dns"),
    ("azure-dns.info", "azure-dns"),
    ("azure-dns.net", "azure-dns"),
    ("azure-dns.org", "azure-dns"),
    ("cloudflare.com", "cloudflare"),
    ("cloudflare.net", "cloudflare"),
    ("constellix.com", "constellix"),
    ("constellix.net", "constellix"),
    ("digitalocean.com", "digitalocean"),
    ("dnsmadeeasy.com", "dns-made-easy"),
    ("dnspod.net", "dnspod"),
    ("dnsimple.com", "dnsimple"),
    ("dnsimple-edge.net", "dnsimple"),
    ("domaincontrol.com", "godaddy"),
    ("dynect.net", "dyn"),
    ("easydns.com", "easydns"),
    ("foundationdns.com", "cloudflare"),
    ("foundationdns.net", "cloudflare"),
    ("foundationdns.org", "cloudflare"),
    ("gandi.net", "gandi"),
    ("gandi-ns.fr", "gandi"),
    ("google.com", "google"),
    ("googledomains.com", "google"),
    ("he.net", "hurricane-electric"),
    ("hetzner.com", "hetzner"),
    ("linode.com", "linode"),
    ("name-services.com", "enom"),
    ("nsone.net", "ns1"),
    ("ovh.net", "ovh"),
    ("p.oraclecloud.net", "oracle"),
    ("registrar-servers.com", "namecheap"),
    ("ultradns.biz", "ultradns"),
    ("ultradns.co.uk", "ultradns"),
    ("ultradns.com", "ultradns"),
    ("ultradns.info", "ultradns"),
    ("ultradns.net", "ultradns"),
    ("ultradns.org", "ultradns"),
    ("verisigndns.com", "verisign"),
    ("vercel-dns.com", "vercel"),
    ("wixdns.net", "wix"),
    ("worldnic.com", "network-solutions"),
];

/// Its name servers have no ending in common.
const ROUTE53: &str = "route53";

/// Every operator that can be told.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    ENDINGS.iter().map(|(_, operator)| *operator).chain([ROUTE53])
}

/// The operator of all of these name servers.
pub fn operator<'a>(name_servers: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
    let mut operators = name_servers.into_iter().map(of_one);
    let first = operators.next()??;
    operators.all(|operator| operator == Some(first)).then_some(first)
}

fn of_one(name: &str) -> Option<&'static str> {
    let name = name.trim_end_matches('.');
    // Route 53 has a zone for each number: ns-1.awsdns-01.com, ns-1536.awsdns-00.co.uk.
    // Source: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/route-53-concepts.html
    let is_route53 = name.split('.').nth(1).is_some_and(|zone| {
        let number =
            zone.get(..7).filter(|begin| begin.eq_ignore_ascii_case("awsdns-")).map(|begin| &zone[begin.len()..]);
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    if is_route53 {
        return Some(ROUTE53);
    }
    ENDINGS.iter().find(|(ending, _)| ends_with(name, ending)).map(|(_, operator)| *operator)
}

/// Whether a name is this one or below it, whatever its case.
fn ends_with(name: &str, ending: &str) -> bool {
    let Some(split) = name.len().checked_sub(ending.len()) else { return false };
    name.get(split..).is_some_and(|end| end.eq_ignore_ascii_case(ending))
        && (split == 0 || name.as_bytes().get(split - 1) == Some(&b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_tell_whose_dns_it_is() {
        let rows: [(&[&str], Option<&str>); 11] = [
            (&["ns-421.awsdns-52.com.", "ns-1536.awsdns-00.co.uk"], Some("route53")),
            (&["NS1-03.Azure-DNS.com", "ns2-03.azure-dns.net", "ns4-03.azure-dns.info"], Some("azure-dns")),
            (&["ns1.p34.dynect.net", "ns2.p34.dynect.net"], Some("dyn")),
            (&["dns1.p04.nsone.net"], Some("ns1")),
            (&["adele.ns.cloudflare.com"], Some("cloudflare")),
            (&["ns-cloud-a1.googledomains.com"], Some("google")),
            (&["a1-64.akam.net"], Some("akamai")),
            (&["ns-421.awsdns-52.com", "dns1.p04.nsone.net"], None),
            (&["ns-421.awsdns-52.com", "ns1.example.org"], None),
            (&["ns1.evilcloudflare.com", "ns.awsdns-.example"], None),
            (&[], None),
        ];
        for (servers, expected) in rows {
            assert_eq!(operator(servers.iter().copied()), expected, "{servers:?}");
        }
    }
}
