//! The scenarios that the program carries: every file of `tests/scenarios`.

use super::{Scenario, ScenarioError};
use crate::world::World;

/// The names of the built-in scenarios.
pub fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|(name, _)| *name).collect()
}

/// The text of that one.
pub(super) fn text(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(built_in, _)| *built_in == name).map(|(_, text)| *text)
}

/// Every built-in scenario.
pub fn built_in(world: &World) -> Result<Vec<Scenario>, ScenarioError> {
    BUILT_IN.iter().map(|(name, text)| Scenario::parse(&format!("{name}.toml"), text, world)).collect()
}

/// The scenario that is played where none is named.
pub const DEFAULT: &str = "2025-10-29-azure-front-door";

macro_rules! embedded {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*] };
}

const BUILT_IN: &[(&str, &str)] = embedded![
    "2013-02-22-azure-storage-cert",
    "2014-11-26-aws-cloudfront-dns",
    "2016-10-21-dyn-ddos",
    "2018-04-24-route53-bgp-hijack",
    "2019-07-02-cloudflare",
    "2019-08-23-aws-apne1-az-cooling",
    "2019-10-22-aws-route53-ddos",
    "2020-08-30-centurylink-flowspec",
    "2020-09-14-azure-uksouth-cooling",
    "2020-09-28-azure-ad",
    "2020-11-25-aws-use1-kinesis",
    "2021-04-01-azure-dns",
    "2021-06-08-fastly",
    "2021-06-10-aws-euc1-az-thermal",
    "2021-09-02-aws-apne1-direct-connect",
    "2021-09-30-dst-root-ca-x3",
    "2021-10-04-facebook",
    "2021-10-07-club-tld",
    "2021-12-15-aws-usw-backbone-congestion",
    "2022-01-13-firefox-http3",
    "2022-02-24-aws-crowd-false-alarm",
    "2022-06-21-cloudflare-mcp",
    "2022-07-08-rogers",
    "2023-01-25-azure-wan",
    "2024-07-18-azure-centralus-storage",
    "2024-07-19-crowdstrike",
    "2025-02-09-laliga-cloudflare-blocks",
    "2025-06-12-gcp-service-control",
    "2025-07-14-cloudflare-1111",
    "2025-10-20-aws-use1-dynamodb-dns",
    "2025-10-29-azure-front-door",
    "akamai-handshake",
    "api-plane-aws-us-east-1",
    "app-behind-the-other-cloud",
    "app-cert-expired",
    "app-name-lapsed",
    "aws-and-azure-at-once",
    "aws-network-unreachable",
    "azure-dns-timeout",
    "azure-network-eu-loss",
    "bursty-front-door",
    "bursty-quiet",
    "bursty-third-of-vantages",
    "carrier-unknown",
    "cdn-site-cloudfront-as",
    "cdn-site-front-door-eu",
    "cloud-and-cdn-at-once",
    "cognito-5xx-us-east-1",
    "coordinator-half-cut-off",
    "crowd-storm",
    "endpoint-503",
    "entra-id-503",
    "few-vantages-front-door",
    "few-vantages-quiet",
    "few-vantages-region-dark",
    "flapping-15-s-aws-us-west-2",
    "flapping-15-s-entra-id",
    "gcp-region-dark",
    "grey-10-cognitive",
    "grey-10-front-door",
    "grey-5-sqs",
    "half-cut-off-during-route53",
    "hidden-dependency-dynamodb",
    "hostile-quiet",
    "http3-broken",
    "interconnect-as3356-us-east-1",
    "isp-blocks-fastly",
    "liars-10-aws",
    "liars-20-aws",
    "liars-20-azure-during-aws",
    "liars-20-mask",
    "liars-20-mirror",
    "liars-30-aws",
    "owner-names-gone",
    "partial-region-aws-us-east-1",
    "quiet",
    "recovery-in-stages",
    "region-dark-aws-eu-west-1",
    "region-dark-azure-westeurope",
    "resolver-1111-slow",
    "resolver-8888-servfail",
    "root-expiry-lets-encrypt",
    "route53-servfail",
    "service-everywhere-aws-s3",
    "service-everywhere-azure-blob",
    "service-slow-dynamodb",
    "slow-azure-westeurope",
    "stale-cdn-switched",
    "stale-front-door-untold",
    "stale-origin-moved",
    "two-clouds-90-s-apart",
    "two-clouds-same-second",
    "zone-dark-aws-euc1-az2",
    "zone-dark-azure-uksouth-az2",
];
