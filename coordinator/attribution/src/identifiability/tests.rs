//! Small fleets and catalogs whose blind spots are known.

use std::time::{Duration, Instant};

use super::*;
use crate::vocabulary::{ProbeKind, Verdict};

#[test]
fn two_elements_seen_through_the_same_cells_are_a_serious_pair_only_across_verdicts() {
    let world = world(&[status_page(), shop("shop-a", "us-east-1"), shop("shop-b", "us-east-1")]);

    let report = report(&world, &BTreeMap::new());

    let names: Vec<_> = report.serious.iter().map(names).collect();
    assert_eq!(names, [("azure/*/status", "tld/microsoft", vec![Layer::Dns])], "{report:#?}");
    let region = alike(&report, "aws/us-east-1");
    assert!(region.is_some_and(|alike| alike.elements.iter().all(|element| element.verdict() == Verdict::Aws)));
}

#[test]
fn what_the_report_says_to_add_separates_the_pair() {
    let mut world = world(&[status_page(), shop("shop-a", "us-east-1"), shop("shop-b", "us-east-1")]);
    let before = report(&world, &BTreeMap::new());

    let [addition] = before.serious[0].separated_by.as_slice() else { panic!("{before:#?}") };
    assert_eq!(before.additions[*addition].text, "the name status.cloud.microsoft asked at its authority");

    assert_eq!(with_additions(&mut world, &before).serious, []);
}

#[test]
fn a_customer_behind_a_cdn_is_told_from_it_by_its_origin_or_by_another_site() {
    let behind = Target { cdn: Some("azure/front-door".into()), ..shop("shop-a", "us-east-1").1 };
    let mut world = world(&[("shop-a", behind), shop("shop-b", "eu-west-1")]);

    let before = report(&world, &BTreeMap::new());
    let pair = find(&before, "azure/front-door", "endpoint/shop-a").expect("a site is all that shows the CDN");
    assert_eq!(pair.layers, Layer::ALL);
    assert!(find(&before, "aws/us-east-1", "endpoint/shop-a").is_some(), "at http");

    // What is added brings an element of its own along, which may look like its surroundings.
    let after = with_additions(&mut world, &before);
    let old =
        after.serious.iter().filter(|pair| !pair.one.name.contains("added") && !pair.other.name.contains("added"));
    assert_eq!(old.map(names).collect::<Vec<_>>(), [], "{:#?}", before.additions);
}

#[test]
fn what_healthy_probes_saw_counts_and_not_the_hint() {
    let world = world(&[shop("shop-a", "us-east-1"), shop("shop-b", "us-east-1"), shop("shop-c", "eu-west-1")]);
    assert!(find(&report(&world, &BTreeMap::new()), "azure/front-door", "endpoint/shop-a").is_none());

    let saw = Learned { cdn: Some("azure/front-door".into()), ..Learned::default() };
    let report = report(&world, &BTreeMap::from([("shop-a".into(), saw)]));

    assert!(find(&report, "azure/front-door", "endpoint/shop-a").is_some());
}

#[test]
fn a_region_that_only_its_own_agent_speaks_of_looks_like_that_agent() {
    let mut world = world(&[shop("shop-a", "us-east-1"), shop("shop-b", "us-east-1")]);
    let inside = Vantage { hosted_on: Some("aws".into()), region: Some("sa-east-1".into()), ..vantage("gru", "sa") };
    world.vantages.insert("gru".into(), inside);

    let before = report(&world, &BTreeMap::new());
    assert!(find(&before, "agent/gru", "aws/sa-east-1").is_some(), "{before:#?}");
    let after = with_additions(&mut world, &before);
    assert!(find(&after, "agent/gru", "aws/sa-east-1").is_none());
}

#[test]
fn the_one_agent_of_a_geography_hides_whether_a_cdn_or_its_own_way_there_fails() {
    let behind = |id, region| Target { cdn: Some("azure/front-door".into()), ..shop(id, region).1 };
    let mut world = world(&[("shop-a", behind("shop-a", "us-east-1")), ("shop-b", behind("shop-b", "us-east-1"))]);
    world.vantages.insert("gru".into(), vantage("gru", "sa"));

    let before = report(&world, &BTreeMap::new());
    let pair = find(&before, "azure/front-door/sa", "isp/isp-gru~azure/front-door").expect("a pair");
    assert_eq!(pair.layers, [Layer::Connect, Layer::Tls, Layer::Http]);

    let after = with_additions(&mut world, &before);
    assert!(find(&after, "azure/front-door/sa", "isp/isp-gru~azure/front-door").is_none(), "{before:#?}");
}

#[test]
fn a_name_server_asked_by_its_address_is_told_from_a_resolver_by_asking_the_zone_itself() {
    let server = Target { probe: ProbeKind::Dns, host: Some("zone.example".into()), ..status_page().1 };
    let world = world(&[("status", server), shop("shop-a", "us-east-1"), shop("shop-b", "us-east-1")]);
    let way = |id: &TargetId| if id.as_str() == "status" { Way::Resolver("192.0.2.53".into()) } else { Way::System };

    let before = report_where(&world, &BTreeMap::new(), |_, target| Some(way(target)));

    let pair = find(&before, "azure/*/status", "resolver/192.0.2.53").expect("the server is taken for a resolver");
    let [addition] = pair.separated_by.as_slice() else { panic!("{before:#?}") };
    assert_eq!(before.additions[*addition].text, "the name zone.example asked at its authority");
}

#[test]
fn the_report_is_the_same_when_the_clouds_change_places() {
    let mut world = world(&[status_page(), shop("shop-a", "us-east-1"), shop("shop-b", "eu-west-1")]);
    let behind = Target { cdn: Some("azure/front-door".into()), ..shop("shop-c", "westeurope").1 };
    world.targets.insert("shop-c".into(), behind);
    let inside = Vantage { hosted_on: Some("aws".into()), region: Some("sa-east-1".into()), ..vantage("gru", "sa") };
    world.vantages.insert("gru".into(), inside);

    let (one, other) = (report(&world, &BTreeMap::new()), report(&exchanged(&world), &BTreeMap::new()));

    let pairs = |report: &Report, exchange: bool| {
        let name = |element: &Element| if exchange { exchange_words(&element.name) } else { element.name.clone() };
        let pair = |one: &Element, other: &Element, layers: &[Layer]| {
            let (one, other) = (name(one), name(other));
            (one.clone().min(other.clone()), one.max(other), layers.to_vec())
        };
        let mut pairs: Vec<_> = report.serious.iter().map(|p| pair(&p.one, &p.other, &p.layers)).collect();
        pairs.extend(report.weak.iter().map(|p| pair(&p.one, &p.other, &p.layers)));
        pairs.extend(report.gaps.iter().map(|gap| (name(&gap.element), String::new(), Vec::new())));
        pairs.sort();
        pairs
    };
    assert!(one.serious.len() > 3 && !one.weak.is_empty() && !one.gaps.is_empty(), "{one:#?}");
    assert_eq!(pairs(&one, false), pairs(&other, true));
    let separated = |report: &Report| report.serious.iter().filter(|pair| !pair.separated_by.is_empty()).count();
    assert_eq!(separated(&one), separated(&other));
}

#[test]
fn a_difference_that_rests_on_one_target_or_two_groups_is_weak() {
    // Another name under the domain: the pair differs, at one target.
    let name = Target { host: Some("x.microsoft".into()), ..shop("shop-c", "us-east-1").1 };
    let world = world(&[status_page(), shop("shop-a", "us-east-1"), shop("shop-b", "us-east-1"), ("shop-c", name)]);

    let report = report(&world, &BTreeMap::new());

    let weak = report.weak.iter().find(|weak| weak.other.name == "tld/microsoft").expect("weak");
    assert_eq!((weak.one.name.as_str(), weak.targets, weak.groups), ("azure/*/status", 1, 3), "{report:#?}");
    assert_eq!(report.serious, []);
}

#[test]
fn gaps_say_what_is_lacking() {
    let mut world = world(&[shop("shop-a", "us-east-1"), shop("shop-b", "eu-west-1"), shop("shop-d", "eu-west-1")]);
    let by_dns = Target { probe: ProbeKind::Dns, ..shop("shop-c", "sa-east-1").1 };
    world.targets.insert("shop-c".into(), by_dns);

    let report = report(&world, &BTreeMap::new());

    let lack = |name: &str| report.gaps.iter().find(|gap| gap.element.name == name).map(|gap| gap.lack.clone());
    assert_eq!(lack("aws/us-east-1"), Some(Lack::OneTarget("shop-a".into())));
    assert_eq!(lack("aws/eu-west-1"), None);
    assert_eq!(lack("aws/sa-east-1"), Some(Lack::Unobserved));
    assert_eq!(lack("aws/network/na"), Some(Lack::NoOutsideVantage("na".into())));
    assert!(report.below_quorum.is_none());
    assert!(report.additions.iter().any(|addition| addition.text.contains("outside both clouds in na")));
}

#[test]
fn one_agent_is_below_quorum_and_is_told_so() {
    let mut world = world(&[shop("shop-a", "us-east-1"), shop("shop-b", "us-east-1")]);
    world.vantages.retain(|id, _| id.as_str() == "fra");

    let report = report(&world, &BTreeMap::new());

    assert!(report.below_quorum.is_some_and(|reason| reason.starts_with("1 vantage group in 1 network")));
    let wanted = "2 agents outside both clouds, each on another network";
    assert!(report.additions.iter().any(|addition| addition.text == wanted), "{:#?}", report.additions);
    assert_eq!(super::report(&World::default(), &BTreeMap::new()).serious, [], "an empty world is no error");
}

#[test]
fn a_large_fleet_and_catalog_take_less_than_seconds() {
    let mut world = World::default();
    let geographies = ["na", "sa", "eu", "af", "me", "as", "oc"];
    for n in 0..200_u32 {
        let seen = vantage(&format!("agent-{n}"), geographies[n as usize % 7]);
        let vantage =
            Vantage { asn: Some(n), country: Some(format!("c{}", n % 40)), resolver: Some("1.1.1.1".into()), ..seen };
        world.vantages.insert(format!("agent-{n}").as_str().into(), vantage);
    }
    for n in 0..500_u32 {
        let (id, mut target) = (format!("shop-{n}"), shop("x", "us-east-1").1);
        target.region = Some(format!("region-{}", n % 90));
        target.hosted_on = if n % 2 == 0 { "aws" } else { "azure" }.into();
        target.geography = Some(geographies[n as usize % 7].into());
        target.owner = Some(format!("owner-{}", n % 300));
        target.cdn = (n % 5 == 0).then(|| if n % 3 == 0 { "fastly" } else { "front-door" }.into());
        target.host = Some(format!("www.x{n}.tld{}", n % 60));
        world.targets.insert(id.as_str().into(), target);
    }

    let start = Instant::now();
    let report = report(&world, &BTreeMap::new());

    assert_eq!((report.elements["endpoint"], report.elements["agent"]), (500, 200));
    // The figure is 2 s; ten times that is a hang, whatever else the machine does.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// The report after adding what the first one says, as it was tried.
fn with_additions(world: &mut World, report: &Report) -> Report {
    let mut ways: BTreeMap<TargetId, Way> = BTreeMap::new();
    for (n, addition) in report.additions.iter().enumerate() {
        let id = format!("added-{n}");
        match addition.trial.clone() {
            Some(Trial::Target(target, way)) => {
                let owner = target.owner.as_deref().map(|owner| owner.replace("added", &id));
                ways.insert(id.as_str().into(), way);
                world.targets.insert(id.into(), Target { owner, ..*target });
            }
            Some(Trial::Vantage(vantage)) => {
                world.vantages.insert(id.as_str().into(), Vantage { group: id, ..*vantage });
            }
            None => {}
        }
    }
    report_where(world, &BTreeMap::new(), |_, target| Some(ways.get(target).cloned().unwrap_or_default()))
}

fn names(pair: &Pair) -> (&str, &str, Vec<Layer>) {
    (&pair.one.name, &pair.other.name, pair.layers.clone())
}

fn find<'a>(report: &'a Report, one: &str, other: &str) -> Option<&'a Pair> {
    let (one, other) = (one.min(other), one.max(other));
    report.serious.iter().find(|pair| {
        let (a, b) = (pair.one.name.as_str(), pair.other.name.as_str());
        (a.min(b), a.max(b)) == (one, other)
    })
}

fn alike<'a>(report: &'a Report, name: &str) -> Option<&'a Alike> {
    report.alike.iter().find(|alike| alike.elements.iter().any(|element| element.name == name))
}

/// Four vantages on four networks.
fn world(targets: &[(&str, Target)]) -> World {
    World {
        targets: targets.iter().map(|(id, target)| ((*id).into(), target.clone())).collect(),
        vantages: [("fra", "eu"), ("rbx", "eu"), ("lon", "eu")]
            .map(|(id, geography)| (id.into(), vantage(id, geography)))
            .into(),
    }
}

fn vantage(id: &str, geography: &str) -> Vantage {
    Vantage {
        group: id.into(),
        isp: Some(format!("isp-{id}")),
        country: Some(format!("country-{id}")),
        geography: Some(geography.into()),
        ..Vantage::default()
    }
}

/// A service of a cloud that has one name under a domain of its own.
fn status_page() -> (&'static str, Target) {
    let (_, target) = shop("status", "x");
    let hosted_on = "azure".to_owned();
    let (service, owner) = (Some("status".into()), Some("microsoft".into()));
    let host = Some("status.cloud.microsoft".into());
    ("status", Target { hosted_on, region: None, geography: None, service, owner, host, ..target })
}

/// A customer's endpoint in a region of AWS.
fn shop(id: &'static str, region: &str) -> (&'static str, Target) {
    let target = Target {
        probe: ProbeKind::Https,
        host: Some(format!("www.{id}.example")),
        hosted_on: "aws".into(),
        region: Some(region.into()),
        zone: None,
        service: None,
        plane: None,
        geography: Some("na".into()),
        cdn: None,
        dns_operator: None,
        identity: None,
        issuer: None,
        depends_on: Vec::new(),
        owner: Some(id.into()),
        verified: true,
    };
    (id, target)
}

fn exchanged(world: &World) -> World {
    let mut world = world.clone();
    let turn = |word: &mut Option<String>| *word = word.as_deref().map(exchange_words);
    for target in world.targets.values_mut() {
        target.hosted_on = exchange_words(&target.hosted_on);
        turn(&mut target.cdn);
        turn(&mut target.owner);
    }
    for vantage in world.vantages.values_mut() {
        turn(&mut vantage.hosted_on);
    }
    world
}

fn exchange_words(name: &str) -> String {
    if let Some((near, far)) = name.split_once('~') {
        return format!("{}~{}", exchange_words(near), exchange_words(far));
    }
    let words = [
        ("azure/front-door", "aws/cloudfront"),
        ("aws/cloudfront", "azure/front-door"),
        ("azure/dns", "aws/route53"),
        ("aws/route53", "azure/dns"),
        ("azure", "aws"),
        ("aws", "azure"),
        ("microsoft", "amazon"),
        ("amazon", "microsoft"),
    ];
    let fits = |rest: &str| rest.is_empty() || rest.starts_with('/');
    let found = words.iter().find_map(|(from, to)| Some((name.strip_prefix(from).filter(|rest| fits(rest))?, to)));
    found.map_or_else(|| name.to_owned(), |(rest, to)| format!("{to}{rest}"))
}
