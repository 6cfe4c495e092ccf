//! Edges: which CDN stands in front of a target, from the CNAME chain and the headers that edges set.
//!
//! Source: the suffixes are the providers' documented endpoint names; the headers are those that their documentation
//! says every answer carries.

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
}
