//! What the studied incidents expect of targets and vantages, held against what their scenarios break.

use crate::{
    net::{Effect, Fault},
    scenario::{self, Scenario},
    world::World,
};

/// For each incident: target, agent, and the layer at which it can fail, or `ok`; `hidden ...` fails with an element
/// that it needs and nobody tells.
/// Scenario, and for each of its looks: target, layer, what must come of it.
type Expected = (&'static str, &'static [(&'static str, &'static str, &'static str)]);

const EXPECTED: &[Expected] = &[
    (
        "2013-02-22-azure-storage-cert",
        &[("azure/eastus/blob", "bt-lon-1", "tls"), ("aws/us-east-1/s3", "bt-lon-1", "ok")],
    ),
    (
        "2014-11-26-aws-cloudfront-dns",
        &[
            ("cloudfront/news-harbor", "ntt-tyo-1", "dns"),
            ("aws/us-east-1/s3", "ntt-tyo-1", "ok"),
            ("fastly/forum-elm", "ntt-tyo-1", "ok"),
        ],
    ),
    (
        "2016-10-21-dyn-ddos",
        &[
            ("dyn/bird-song", "verizon-nyc-1", "dns"),
            ("dyn/sqs", "verizon-nyc-1", "dns"),
            ("azure/eastus/blob", "verizon-nyc-1", "ok"),
        ],
    ),
    (
        "2018-04-24-route53-bgp-hijack",
        &[
            ("app/shop-one", "comcast-phl-1", "dns"),
            ("app/blog-thirteen", "comcast-phl-1", "dns"),
            ("app/blog-thirteen", "comcast-phl-1", "tls"),
            ("app/shop-one", "bt-lon-1", "ok"),
        ],
    ),
    ("2019-07-02-cloudflare", &[("cloudflare/code-bay", "ntt-tyo-1", "http"), ("aws/us-east-1/s3", "ntt-tyo-1", "ok")]),
    (
        "2019-08-23-aws-apne1-az-cooling",
        &[
            ("app/game-five", "bt-lon-1", "connect"),
            ("app/pay-eleven", "bt-lon-1", "connect"),
            ("app/taxi-twelve", "bt-lon-1", "ok"),
            ("app/mall-tokyo", "bt-lon-1", "http"),
        ],
    ),
    (
        "2019-10-22-aws-route53-ddos",
        &[
            ("aws/us-west-2/s3", "comcast-phl-1", "dns"),
            ("aws/us-west-2/s3", "ntt-tyo-1", "dns"),
            ("address/ec2", "comcast-phl-1", "ok"),
            ("azure/eastus/blob", "comcast-phl-1", "ok"),
        ],
    ),
    (
        "2020-08-30-centurylink-flowspec",
        &[
            ("aws/us-east-1/s3", "verizon-nyc-1", "connect"),
            ("azure/eastus/blob", "verizon-nyc-1", "connect"),
            ("aws/us-east-1/s3", "hetzner-fsn-1", "ok"),
        ],
    ),
    (
        "2020-09-14-azure-uksouth-cooling",
        &[("app/vault-ash", "ntt-tyo-1", "connect"), ("app/poll-cedar", "ntt-tyo-1", "ok")],
    ),
    (
        "2020-09-28-azure-ad",
        &[("azure/entra-id", "comcast-phl-1", "http"), ("azure/eastus/blob", "comcast-phl-1", "ok")],
    ),
    (
        "2020-11-25-aws-use1-kinesis",
        &[
            ("aws/us-east-1/kinesis", "bt-lon-1", "http"),
            ("aws/us-east-1/cognito", "bt-lon-1", "http"),
            ("app/shop-one", "bt-lon-1", "ok"),
            ("aws/eu-west-1/kinesis", "bt-lon-1", "ok"),
        ],
    ),
    ("2021-04-01-azure-dns", &[("azure/westeurope/blob", "bt-lon-1", "dns"), ("aws/us-east-1/s3", "bt-lon-1", "ok")]),
    (
        "2021-06-08-fastly",
        &[
            ("fastly/retail", "bt-lon-1", "http"),
            ("aws/us-east-1/s3", "bt-lon-1", "ok"),
            ("azure/eastus/blob", "bt-lon-1", "ok"),
        ],
    ),
    (
        "2021-06-10-aws-euc1-az-thermal",
        &[("app/auto-alpha", "bt-lon-1", "connect"), ("app/book-gamma", "bt-lon-1", "ok")],
    ),
    ("2021-09-02-aws-apne1-direct-connect", &[("app/game-five", "ntt-tyo-1", "ok")]),
    (
        "2021-09-30-dst-root-ca-x3",
        &[
            ("app/trail-fir", "bt-lon-1", "tls"),
            ("club/wine", "bt-lon-1", "tls"),
            ("aws/us-east-1/s3", "bt-lon-1", "ok"),
        ],
    ),
    ("2021-10-04-facebook", &[("facegram/www", "bt-lon-1", "dns")]),
    (
        "2021-10-07-club-tld",
        &[("club/disco", "bt-lon-1", "dns"), ("club/golf", "bt-lon-1", "dns"), ("aws/us-east-1/s3", "bt-lon-1", "ok")],
    ),
    (
        "2021-12-15-aws-usw-backbone-congestion",
        &[
            ("app/trail-fir", "comcast-phl-1", "connect"),
            ("app/trail-fir", "verizon-nyc-1", "ok"),
            ("app/shop-one", "comcast-phl-1", "ok"),
            ("app/wing-hazel", "comcast-phl-1", "ok"),
        ],
    ),
    ("2022-01-13-firefox-http3", &[("cloudfront/maps-cape", "bt-lon-1", "ok")]),
    ("2022-02-24-aws-crowd-false-alarm", &[("aws/us-east-1/s3", "bt-lon-1", "ok")]),
    (
        "2022-06-21-cloudflare-mcp",
        &[("cloudflare/code-bay", "bt-lon-1", "connect"), ("aws/us-east-1/s3", "bt-lon-1", "ok")],
    ),
    (
        "2022-07-08-rogers",
        &[
            ("aws/us-east-1/s3", "rogers-yyz-1", "connect"),
            ("azure/eastus/blob", "rogers-yyz-1", "connect"),
            ("aws/us-east-1/s3", "bell-yyz-1", "ok"),
        ],
    ),
    (
        "2023-01-25-azure-wan",
        &[
            ("azure/southeastasia/blob", "mtn-jnb-1", "connect"),
            ("front-door/contoso-air", "mtn-jnb-1", "connect"),
            ("aws/us-east-1/s3", "mtn-jnb-1", "ok"),
        ],
    ),
    (
        "2024-07-18-azure-centralus-storage",
        &[
            ("app/gate-iris", "bt-lon-1", "connect"),
            ("app/tax-six", "bt-lon-1", "ok"),
            ("app/shop-one", "bt-lon-1", "ok"),
        ],
    ),
    (
        "2024-07-19-crowdstrike",
        &[
            ("guest/till-pine", "bt-lon-1", "connect"),
            ("azure/westeurope/blob", "bt-lon-1", "ok"),
            ("aws/us-east-1/s3", "bt-lon-1", "ok"),
        ],
    ),
    (
        "2025-02-09-laliga-cloudflare-blocks",
        &[
            ("cloudflare/code-bay", "es-a-mad-1", "tls"),
            ("cloudflare/code-bay", "es-b-mad-1", "connect"),
            ("cloudflare/code-bay", "bt-lon-1", "ok"),
        ],
    ),
    (
        "2025-06-12-gcp-service-control",
        &[
            ("gcp/storage", "bt-lon-1", "http"),
            ("cloudflare/kv-rowan", "bt-lon-1", "hidden cloud/gcp"),
            ("aws/us-east-1/s3", "bt-lon-1", "ok"),
            ("azure/eastus/blob", "bt-lon-1", "ok"),
        ],
    ),
    (
        "2025-07-14-cloudflare-1111",
        &[
            ("aws/us-east-1/s3", "orange-par-1", "dns"),
            ("azure/eastus/blob", "orange-par-1", "dns"),
            ("aws/us-east-1/s3", "bt-lon-1", "ok"),
        ],
    ),
    (
        "2025-10-20-aws-use1-dynamodb-dns",
        &[
            ("aws/us-east-1/dynamodb", "bt-lon-1", "dns"),
            ("app/shop-one", "bt-lon-1", "ok"),
            ("aws/us-west-2/dynamodb", "bt-lon-1", "ok"),
            ("app/queue-two", "bt-lon-1", "connect"),
            ("app/cart-sorrel", "bt-lon-1", "hidden aws/us-east-1/dynamodb"),
            ("azure/eastus/blob", "bt-lon-1", "ok"),
        ],
    ),
    (
        "2025-10-29-azure-front-door",
        &[
            ("front-door/portal", "bt-lon-1", "connect"),
            ("front-door/portal", "bt-lon-1", "dns"),
            ("azure/eastus/blob", "bt-lon-1", "ok"),
            ("address/vm", "bt-lon-1", "ok"),
            ("app/shop-one", "bt-lon-1", "ok"),
        ],
    ),
];

#[test]
fn incidents_break_what_they_broke_and_spare_what_they_spared() {
    let world = World::standard();
    for (id, rows) in EXPECTED {
        let scenario = Scenario::find(id, &world).expect(id);
        for (target, agent, expected) in *rows {
            let (found, from) = (world.target(target).expect(target), world.agent(agent).expect(agent));
            let breaks = scenario.breaks.iter().map(|broken| &broken.fault);
            let mut layers = breaks.filter(|f| f.targets.matches(found) && f.agents.matches(from)).map(layer);
            let hidden = expected.strip_prefix("hidden ");
            let is_so = match hidden {
                Some(element) => found.hidden.iter().any(|hidden| hidden == element),
                None if *expected == "ok" => layers.next().is_none(),
                None => layers.any(|layer| layer == *expected),
            };
            assert!(is_so, "{id}: {target} from {agent}, expected {expected}");
        }
    }
}

#[test]
fn every_incident_that_was_studied_has_expectations() {
    let dated = scenario::names().into_iter().filter(|name| name.starts_with("20"));
    let expected = EXPECTED.iter().map(|(id, _)| *id);
    assert!(dated.eq(expected));
}

#[test]
fn every_break_hits_something_whatever_the_seed() {
    for scenario in scenario::built_in(&World::standard()).expect("all read") {
        for seed in 2..5 {
            let world = scenario.world(seed);
            for fault in scenario.breaks.iter().map(|broken| &broken.fault) {
                let hits = world.targets.iter().any(|target| fault.targets.matches(target));
                let seen = world.agents.iter().any(|agent| fault.agents.matches(agent));
                assert!(hits && seen, "{}, seed {seed}: {fault}", scenario.id);
            }
        }
    }
}

fn layer(fault: &Fault) -> &'static str {
    match fault.effect {
        Effect::Dns(_) => "dns",
        Effect::Connect(_) => "connect",
        Effect::Tls(_) => "tls",
        Effect::Http(_) => "http",
    }
}
