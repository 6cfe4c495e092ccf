//! Edges: which CDN stands in front of a target, from the CNAME chain and the headers that edges set.
//!
//! Source: the suffixes are the providers' documented endpoint names; the headers are those that their documentation
//! says every answer carries.

use faultline_attribution::Maker;

use super::learn::Sighting;

/// Suffixes of CNAMEs, and the CDN behind them.
const SUFFIXES: [(&str, &str); 15] = [
    ("azurefd.net", "azure/front-door"),
    ("azureedge.net", "azure/front-door"),
    ("t-msedge.net", "azure/front-door"),
    ("s-msedge.net", "azure/front-door"),
    ("b-msedge.net", "azure/front-door"),
    ("cloudfront.net", "aws/cloudfront"),
    ("fastly.net", "cdn/fastly"),
    ("fastlylb.net", "cdn/fastly"),
    ("cdn.cloudflare.net", "cdn/cloudflare"),
    ("akamaiedge.net", "cdn/akamai"),
    ("akamai.net", "cdn/akamai"),
    ("edgekey.net", "cdn/akamai"),
    ("edgesuite.net", "cdn/akamai"),
    ("b-cdn.net", "cdn/bunny"),
    ("gcdn.co", "cdn/gcore"),
];

/// Headers that only one CDN sets.
const HEADERS: [(&str, &str); 3] =
    [("x-azure-ref", "azure/front-door"), ("x-amz-cf-id", "aws/cloudfront"), ("cf-ray", "cdn/cloudflare")];

/// The CDN in front, if these facts show one. The chain says who is asked and wins over headers, which pass through.
pub fn cdn(facts: &Sighting) -> Option<&'static str> {
    let by_name = facts.cnames.iter().rev().find_map(|name| by_suffix(name));
    let by_header = || HEADERS.iter().find(|(header, _)| facts.edge.contains_key(*header)).map(|(_, cdn)| *cdn);
    let fastly = || {
        let served_by = facts.edge.get("x-served-by")?;
        served_by.starts_with("cache-").then_some("cdn/fastly")
    };
    by_name.or_else(by_header).or_else(fastly)
}

/// Every CDN that can be told.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    SUFFIXES.iter().chain(&HEADERS).map(|(_, cdn)| *cdn)
}

/// Who wrote a failing HTTP answer behind a CDN, where its headers show it.
///
/// A CDN hands the origin's `server` header on (Cloudflare puts its own name there), so that a foreign name there is the
/// origin's mark. An edge that answers for itself says so in its own way.
///
/// Source: the CDNs' documentation of the headers that they add, and of the answers that they make themselves.
pub fn maker<'h>(header: impl Fn(&str) -> Option<&'h str>, status: u16) -> Option<Maker> {
    let holds = |name: &str, text: &str| header(name).is_some_and(|value| value.to_ascii_lowercase().contains(text));
    let is_set = |name: &str| header(name).is_some_and(|value| !value.is_empty());
    // Each CDN: whether it stands in front, the names that its own edge has for itself, whether the edge made the error.
    let edges: [(bool, &[&str], bool); 4] = [
        (is_set("cf-ray"), &["cloudflare"], holds("server", "cloudflare") && (520..=529).contains(&status)),
        (
            is_set("x-amz-cf-id") || holds("x-cache", "cloudfront"),
            &["cloudfront"],
            holds("x-cache", "error from cloudfront"),
        ),
        (is_set("x-azure-ref"), &["front-door", "frontdoor"], true),
        (holds("x-served-by", "cache-"), &["varnish", "fastly"], status == 503 && holds("server", "varnish")),
    ];
    let (_, own_names, made_it) = edges.into_iter().find(|(is_there, ..)| *is_there)?;
    if is_set("server") && !own_names.iter().any(|name| holds("server", name)) {
        return Some(Maker::Origin);
    }
    made_it.then_some(Maker::Edge)
}

fn by_suffix(name: &str) -> Option<&'static str> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    SUFFIXES
        .iter()
        .find(|(suffix, _)| name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
        .map(|(_, cdn)| *cdn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(cnames: &[&str], edge: &[(&str, &str)]) -> Sighting {
        Sighting {
            cnames: cnames.iter().map(|name| (*name).to_owned()).collect(),
            edge: edge.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..Sighting::default()
        }
    }

    #[test]
    fn chains_and_headers_name_the_cdn() {
        let rows = [
            (facts(&["shop-abc.z01.azurefd.net."], &[]), Some("azure/front-door")),
            (facts(&["d111.CloudFront.net"], &[("x-cache", "Hit")]), Some("aws/cloudfront")),
            (facts(&[], &[("x-azure-ref", "present")]), Some("azure/front-door")),
            (facts(&[], &[("x-served-by", "cache-fra-1")]), Some("cdn/fastly")),
            (facts(&["notfastly.net.example"], &[("server", "nginx")]), None),
            (facts(&["evilfastly.net"], &[]), None),
            // A site on Fastly whose origin sits behind Front Door: the chain says who answers.
            (facts(&["x.map.fastly.net"], &[("x-azure-ref", "present")]), Some("cdn/fastly")),
        ];
        for (facts, expected) in rows {
            assert_eq!(cdn(&facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn an_answer_shows_whether_edge_or_origin_wrote_it() {
        type Row<'r> = (&'r [(&'r str, &'r str)], u16, Option<Maker>);
        let rows: [Row<'_>; 10] = [
            (&[("x-azure-ref", "present")], 503, Some(Maker::Edge)),
            (&[("x-azure-ref", "present"), ("server", "nginx")], 503, Some(Maker::Origin)),
            (&[("x-amz-cf-id", "present"), ("x-cache", "Error from cloudfront")], 502, Some(Maker::Edge)),
            (&[("x-cache", "Error from cloudfront"), ("server", "AmazonS3")], 503, Some(Maker::Origin)),
            (&[("x-cache", "Error from cloudfront"), ("server", "CloudFront")], 504, Some(Maker::Edge)),
            (&[("cf-ray", "present"), ("server", "cloudflare")], 522, Some(Maker::Edge)),
            (&[("cf-ray", "present"), ("server", "cloudflare")], 503, None),
            (&[("x-served-by", "cache-fra-1"), ("server", "Varnish")], 503, Some(Maker::Edge)),
            (&[("x-served-by", "cache-fra-1"), ("server", "gunicorn")], 503, Some(Maker::Origin)),
            (&[("server", "nginx")], 503, None),
        ];
        for (headers, status, expected) in rows {
            let header = |name: &str| headers.iter().find(|(held, _)| *held == name).map(|(_, value)| *value);
            assert_eq!(maker(header, status), expected, "{headers:?} {status}");
        }
    }
}
