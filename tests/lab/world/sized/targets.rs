//! Targets in number: the standard ones, then round after round a service or customer in each region, a customer of each
//! CDN, an app of each third party, until there are enough.

use std::collections::HashSet;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::super::{
    Front, Probe, Target,
    targets::{self, app, https},
};

pub(super) fn sized(count: usize, seed: u64) -> Vec<Target> {
    let mut targets = targets::standard();
    let mut taken: HashSet<String> = targets.iter().map(|target| target.id.clone()).collect();
    let mut draws = StdRng::seed_from_u64(seed);
    let rounds = (0..ROUNDS).flat_map(|round| round_of(round, &mut draws));
    let wanted = count.saturating_sub(targets.len());
    let more: Vec<Target> = rounds.filter(|target| taken.insert(target.id.clone())).take(wanted).collect();
    targets.extend(more);
    (0..).zip(targets).map(|(number, target)| Target { number, ..target }).collect()
}

/// More than the largest world that the format allows needs.
const ROUNDS: usize = 32;

/// One round: even ones add a service to each region while it has any left, odd ones a customer.
fn round_of(round: usize, draws: &mut StdRng) -> Vec<Target> {
    let mut targets = Vec::new();
    // Far regions come later, so that the main ones have company first.
    for &(cloud, region, geography) in REGIONS.iter().take(if round < FAR_FROM { MAIN } else { REGIONS.len() }) {
        let service = round.is_multiple_of(2).then(|| service(cloud, region, geography, round / 2)).flatten();
        targets.push(service.unwrap_or_else(|| customer(cloud, region, geography, round, draws)));
    }
    for (cdn, front, edge, operator) in CDNS {
        targets.push(behind((cdn, *front, edge, operator), round, draws));
    }
    targets.extend(third_parties(round, draws));
    targets
}

/// The round from which regions beyond the main ones are added, and how many are main.
const FAR_FROM: usize = 6;
const MAIN: usize = 18;

/// The cloud's own endpoint there, of the nth of its services.
fn service(cloud: &str, region: &str, geography: &str, nth: usize) -> Option<Target> {
    let services = if cloud == "aws" { AWS_SERVICES } else { AZURE_SERVICES };
    let &(service, is_api, front) = services.get(nth)?;
    let (host, operator, owner) = match (cloud, service) {
        ("aws", _) => (format!("{service}.{region}.amazonaws.com"), "route53", "amazon"),
        (_, "blob") => (format!("canary{region}.blob.core.windows.net"), "azure-dns", "microsoft"),
        (_, "arm") => (format!("{region}.management.azure.com"), "azure-dns", "microsoft"),
        (_, "cognitive") => (format!("{region}.api.cognitive.microsoft.com"), "azure-dns", "microsoft"),
        _ => (format!("canary{region}.{service}.azure.net"), "azure-dns", "microsoft"),
    };
    let target = https(&format!("{cloud}/{region}/{service}"), &host, operator, owner);
    let target = target.on(cloud, region, geography).service(service).front(front);
    Some(if is_api { target.api() } else { target })
}

/// A customer's app in one zone of the region, or spread over them.
fn customer(cloud: &str, region: &str, geography: &str, round: usize, draws: &mut StdRng) -> Target {
    let owner = format!("{}-{region}-{round}", pick(WORDS, draws));
    let probe = match draws.random_range(0..10) {
        0 | 1 => Probe::Tcp,
        2 => Probe::Tls,
        3 => Probe::Http3,
        _ => Probe::Https,
    };
    let own = if cloud == "aws" { "route53" } else { "azure-dns" };
    let operator = if draws.random_bool(0.4) { own } else { pick(OPERATORS, draws) };
    let target = app(&owner, probe, operator, cloud, region, geography);
    let target = target.issued_by(pick(ISSUERS, draws));
    let target = if draws.random_bool(0.2) { signs_in(target) } else { target };
    match draws.random_range(0..4_usize).checked_sub(1) {
        None => target,
        Some(nth) => target.zone(&zone(region, nth)),
    }
}

fn signs_in(target: Target) -> Target {
    Target { identity: Some("azure/entra-id".into()), ..target }
}

/// The id of the region's nth zone, of three; Tokyo's are not numbered through.
fn zone(region: &str, nth: usize) -> String {
    match region {
        "ap-northeast-1" => format!("apne1-az{}", [1, 2, 4][nth % 3]),
        "eu-central-1" => format!("euc1-az{}", nth + 1),
        other => format!("{}-az{}", other.replace('-', ""), nth + 1),
    }
}

/// A customer of a CDN, whose origin is in a region of a cloud, or nowhere that matters.
fn behind((cdn, front, edge, operator): (&str, Front, &str, &str), round: usize, draws: &mut StdRng) -> Target {
    let (_, short) = cdn.split_once('/').unwrap_or(("", cdn));
    let owner = format!("{}-{short}-{round}", pick(WORDS, draws));
    let host = format!("www.{owner}.example");
    let mut target = https(&format!("{short}/{owner}"), &host, pick(OPERATORS, draws), &owner);
    let own = cdn.split_once('/').map(|(cloud, _)| cloud).filter(|cloud| *cloud != "cdn");
    let origins: Vec<_> = REGIONS[..MAIN].iter().filter(|(cloud, ..)| own.is_none_or(|own| own == *cloud)).collect();
    if own.is_some() || draws.random_bool(0.6) {
        let (cloud, region, geography) = origins.choose(draws).copied().copied().unwrap_or(REGIONS[0]);
        target = target.on(cloud, region, geography);
    }
    let cdn_is_told = draws.random_bool(0.7);
    let probe = if draws.random_bool(0.15) { Probe::Http3 } else { Probe::Https };
    let edge = format!("{owner}.{edge}");
    let target = target.front(front).issued_by(pick(ISSUERS, draws)).behind(cdn, &edge, operator);
    Target { probe, cdn_is_told, ..target }
}

/// Apps on neither cloud: on another cloud, at DNS companies, under other top-level domains.
fn third_parties(round: usize, draws: &mut StdRng) -> Vec<Target> {
    let mut plain = |group: &str, suffix: &str, operator: &str| {
        let owner = format!("{}-{group}-{round}", pick(WORDS, draws));
        let target = https(&format!("{group}/{owner}"), &format!("www.{owner}.{suffix}"), operator, &owner);
        target.issued_by(pick(ISSUERS, draws))
    };
    let gcp = plain("gcp", "example", "google").on("gcp", "us-central1", "na");
    let dns = match round % 3 {
        0 => plain("dyn", "example", "dyn"),
        1 => plain("ns1", "example", "ns1"),
        _ => plain("ultradns", "example", "ultradns"),
    };
    let tld = match round % 4 {
        0 => plain("club", "club", "route53").on("aws", "us-east-1", "na"),
        1 => plain("tld", "org", "cloudflare"),
        2 => plain("club", "club", "ns1"),
        _ => plain("tld", "io", "azure-dns").on("azure", "westeurope", "eu"),
    };
    let control = plain("control", "example", "akamai");
    vec![gcp, dns, tld, control]
}

fn pick(words: &[&'static str], draws: &mut StdRng) -> &'static str {
    words.choose(draws).copied().unwrap_or_default()
}

const REGIONS: &[(&str, &str, &str)] = &[
    ("aws", "us-east-1", "na"),
    ("azure", "eastus", "na"),
    ("aws", "eu-west-1", "eu"),
    ("azure", "westeurope", "eu"),
    ("aws", "ap-northeast-1", "as"),
    ("azure", "southeastasia", "as"),
    ("aws", "us-west-2", "na"),
    ("azure", "centralus", "na"),
    ("aws", "eu-central-1", "eu"),
    ("azure", "uksouth", "eu"),
    ("aws", "sa-east-1", "sa"),
    ("azure", "brazilsouth", "sa"),
    ("aws", "ap-southeast-2", "oc"),
    ("azure", "australiaeast", "oc"),
    ("aws", "us-west-1", "na"),
    ("azure", "westus2", "na"),
    ("aws", "af-south-1", "af"),
    ("azure", "southafricanorth", "af"),
    ("aws", "eu-north-1", "eu"),
    ("azure", "northeurope", "eu"),
    ("aws", "ap-south-1", "as"),
    ("azure", "centralindia", "as"),
    ("aws", "us-east-2", "na"),
    ("azure", "eastus2", "na"),
    ("aws", "me-south-1", "me"),
    ("azure", "uaenorth", "me"),
    ("aws", "ca-central-1", "na"),
    ("azure", "canadacentral", "na"),
];

const AWS_SERVICES: &[(&str, bool, Front)] = &[
    ("s3", false, Front::AwsService),
    ("dynamodb", false, Front::AwsService),
    ("ec2", true, Front::AwsService),
    ("sqs", false, Front::AwsService),
    ("lambda", true, Front::AwsService),
    ("sts", true, Front::AwsService),
];

const AZURE_SERVICES: &[(&str, bool, Front)] = &[
    ("blob", false, Front::AzureBlob),
    ("arm", true, Front::AzureApi),
    ("cognitive", false, Front::AzureApi),
    ("vault", false, Front::AzureApi),
    ("servicebus", false, Front::AzureApi),
    ("batch", true, Front::AzureApi),
];

/// CDN, whose software answers, the suffix of its names, who serves those.
const CDNS: &[(&str, Front, &str, &str)] = &[
    ("azure/front-door", Front::FrontDoor, "azurefd.net", "azure-dns"),
    ("aws/cloudfront", Front::CloudFront, "cloudfront.net", "route53"),
    ("cdn/fastly", Front::Fastly, "map.fastly.net", "fastly"),
    ("cdn/cloudflare", Front::Cloudflare, "cdn.cloudflare.net", "cloudflare"),
    ("cdn/akamai", Front::Nginx, "edgekey.net", "akamai"),
];

const OPERATORS: &[&str] = &["route53", "azure-dns", "cloudflare", "ns1", "google", "akamai", "ultradns", "dyn"];

const ISSUERS: &[&str] = &["lets-encrypt", "digicert", "google-trust", "amazon", "sectigo", "lets-encrypt"];

const WORDS: &[&str] = &[
    "amber", "basil", "cider", "delta", "ember", "ferry", "grain", "haven", "inlet", "jetty", "knoll", "lemon",
    "mango", "noble", "ocean", "pearl", "quill", "raven", "sable", "tidal", "umber", "valor", "wheat", "yeast",
    "zesty",
];
