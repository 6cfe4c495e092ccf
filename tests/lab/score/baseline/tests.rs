//! Small hand-made worlds whose answers are known, and what each peer makes of them.

use faultline_attribution::{
    Cause, Input, Layer, Learned, Observation, Outcome, ProbeKind, Target, Vantage, World, WorldChange,
};

use super::{calibrate::in_force, *};
use crate::{case::TrueIncident, score::components};

const LENGTH_S: i64 = 420;
const ONSET_S: i64 = 120;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000)
}

fn https(cloud: &str, region: Option<&str>, owner: &str, operator: &str) -> Target {
    Target {
        probe: ProbeKind::Https,
        host: Some("www.name.example".into()),
        hosted_on: cloud.into(),
        region: region.map(Into::into),
        zone: None,
        service: None,
        plane: None,
        geography: None,
        cdn: None,
        dns_operator: Some(operator.into()),
        identity: None,
        issuer: None,
        depends_on: Vec::new(),
        owner: Some(owner.into()),
        verified: true,
    }
}

/// Twelve agents in six networks; two regions of each cloud with three targets each, four sites behind Front Door, three
/// behind CloudFront, two controls.
fn world() -> World {
    let mut world = World::default();
    for number in 0..12 {
        let vantage = Vantage {
            group: format!("g{number}"),
            asn: Some(1000 + number / 2),
            isp: Some(format!("isp-{}", number / 2)),
            country: Some(["us", "de", "jp"][number as usize % 3].into()),
            geography: Some(["na", "eu", "as"][number as usize % 3].into()),
            ..Vantage::default()
        };
        world.vantages.insert(format!("a{number}").into(), vantage);
    }
    let mut add = |id: &str, target: Target| drop(world.targets.insert(id.into(), target));
    for (cloud, regions, owner, operator) in [
        ("aws", ["us-east-1", "eu-west-1"], "amazon", "route53"),
        ("azure", ["eastus", "westeurope"], "microsoft", "azure-dns"),
    ] {
        for region in regions {
            for service in ["store", "queue"] {
                let target = https(cloud, Some(region), owner, operator);
                add(&format!("{cloud}/{region}/{service}"), Target { service: Some(service.into()), ..target });
            }
            add(&format!("app/{cloud}-{region}"), https(cloud, Some(region), &format!("shop-{region}"), "ns1"));
        }
    }
    for (number, region) in ["eastus", "eastus", "westeurope", "westeurope"].iter().enumerate() {
        let site = https("azure", Some(region), &format!("tenant-{number}"), ["ns1", "google"][number % 2]);
        add(&format!("fd/{number}"), Target { cdn: Some("azure/front-door".into()), ..site });
    }
    for (number, region) in ["us-east-1", "eu-west-1", "eu-west-1"].iter().enumerate() {
        let site = https("aws", Some(region), &format!("reader-{number}"), ["ns1", "google"][number % 2]);
        add(&format!("cf/{number}"), Target { cdn: Some("aws/cloudfront".into()), ..site });
    }
    for name in ["one", "two"] {
        add(&format!("control/{name}"), https("gcp", None, name, "google"));
    }
    world
}

/// Runs every 30 s for each agent and target, staggered; from the onset, those that `broken` names fail.
fn case(truth: &[(Verdict, &str)], broken: impl Fn(&str, &str) -> Option<(Layer, Cause)>) -> Case {
    let world = world();
    let mut inputs = Vec::new();
    let places = i64::try_from(world.vantages.len() * world.targets.len()).expect("few");
    let mut place = 0;
    for agent in world.vantages.keys() {
        for target in world.targets.keys() {
            place += 1;
            let offset = place * 7919 % places * 30_000_000 / places;
            for round in 0..LENGTH_S / 30 {
                let at = Timestamp::from_micros(at(30 * round).micros() + offset);
                let failure = (at >= self::at(ONSET_S)).then(|| broken(agent.as_str(), target.as_str())).flatten();
                let outcome = failure.map_or(Outcome::Passed, |(layer, cause)| Outcome::Failed { layer, cause });
                let observation = Observation::new(agent.clone(), target.clone(), at, outcome);
                inputs.push((at, Input::Observation(observation)));
            }
        }
    }
    inputs.sort_by_key(|(at, _)| *at);
    let truth = truth.iter().map(|(verdict, element)| TrueIncident {
        verdict: *verdict,
        kinds: Vec::new(),
        elements: vec![(*element).to_owned()],
        onset: at(ONSET_S),
        end: None,
    });
    let (id, family) = ("hand-made".into(), "hand-made".into());
    let truth = truth.collect();
    Case { id, family, seed: 1, world, inputs, start: at(0), end: at(LENGTH_S), truth, background: Vec::new() }
}

const NO_ANSWER: Option<(Layer, Cause)> = Some((Layer::Connect, Cause::ConnectTimeout));

fn region_down() -> Case {
    let truth = [(Verdict::Aws, "aws/us-east-1")];
    let is_there = |target: &str| target.starts_with("aws/us-east-1") || target == "app/aws-us-east-1";
    case(&truth, |_, target| match target {
        "cf/0" => Some((Layer::Http, Cause::HttpStatus)),
        _ => NO_ANSWER.filter(|_| is_there(target)),
    })
}

fn site_down() -> Case {
    case(&[(Verdict::Neither, "endpoint/fd/1")], |_, target| {
        (target == "fd/1").then_some((Layer::Http, Cause::HttpStatus))
    })
}

fn both_down() -> Case {
    let truth = [(Verdict::Aws, "aws/eu-west-1"), (Verdict::Azure, "azure/eastus")];
    // What stands behind a CDN is served from its caches.
    let hit = ["aws/eu-west-1", "app/aws-eu-west-1", "azure/eastus", "app/azure-eastus"];
    case(&truth, move |_, target| NO_ANSWER.filter(|_| hit.iter().any(|hit| target.starts_with(hit))))
}

fn quiet() -> Case {
    case(&[], |_, _| None)
}

/// What a peer says at the end.
fn says(name: &str, case: &Case) -> Answer {
    let told = named(name).expect("a peer").judge(&Blind::of(case));
    assert_eq!(told[0], (case.start, Answer::default()), "{name}: the first answer is at the start");
    in_force(&told, case.end).clone()
}

fn verdicts(name: &str, case: &Case) -> Vec<&'static str> {
    says(name, case).verdicts.into_iter().map(Verdict::word).collect()
}

#[test]
fn nobody_is_accused_when_nothing_fails() {
    let case = quiet();
    for name in NAMES {
        assert_eq!(says(name, &case), Answer::default(), "{name}");
    }
}

#[test]
fn every_peer_sees_a_region_that_is_down() {
    let case = region_down();
    // The site whose origin is gone makes a second cause for whoever looks at each layer alone.
    for name in NAMES.iter().filter(|name| **name != "netbouncer") {
        assert_eq!(verdicts(name, &case), ["aws"], "{name}");
    }
    for name in ["007", "tomo", "score-cover", "netbouncer", "blameit", "flock"] {
        let elements = says(name, &case).elements;
        assert!(elements.contains(&"aws/us-east-1".to_owned()), "{name}: {elements:?}");
    }
}

#[test]
fn votes_blame_the_cloud_for_a_site_behind_its_cdn_and_models_do_not() {
    let case = site_down();
    for name in ["rate-alert", "rate-alert-fast", "stock-alert"] {
        assert_eq!(verdicts(name, &case), ["azure"], "{name}");
    }
    for name in ["tomo", "score-cover", "netbouncer", "blameit", "flock"] {
        let answer = says(name, &case);
        assert_eq!(answer.elements, ["endpoint/fd/1"], "{name}");
        assert_eq!(answer.kinds, ["endpoint-app"], "{name}");
    }
}

#[test]
fn models_find_two_causes_where_the_majority_finds_one_at_most() {
    let case = both_down();
    assert!(verdicts("majority", &case).len() < 2);
    for name in ["rate-alert", "007", "tomo", "score-cover", "netbouncer", "blameit", "flock"] {
        assert_eq!(verdicts(name, &case), ["aws", "azure"], "{name}");
    }
}

#[test]
fn an_agent_that_loses_everything_is_its_own_trouble() {
    let case =
        case(&[(Verdict::Neither, "agent/a3")], |agent, _| (agent == "a3").then_some((Layer::Dns, Cause::DnsTimeout)));
    for name in ["tomo", "score-cover", "netbouncer", "flock", "blameit"] {
        let answer = says(name, &case);
        assert_eq!(answer.elements, ["agent/a3"], "{name}");
        assert_eq!(answer.kinds, ["vantage-isp"], "{name}");
    }
}

#[test]
fn a_stray_failure_of_an_agent_on_a_cloud_does_not_accuse_the_cloud() {
    let mut case = case(&[], |agent, target| {
        (agent == "a0" && target == "control/one").then_some((Layer::Dns, Cause::DnsTimeout))
    });
    let vantage = case.world.vantages.get_mut("a0").expect("an agent");
    (vantage.hosted_on, vantage.region) = (Some("aws".into()), Some("us-east-1".into()));
    for name in NAMES {
        let clouds = [Verdict::Aws, Verdict::Azure];
        assert!(clouds.iter().all(|cloud| !says(name, &case).verdicts.contains(cloud)), "{name}");
    }
}

#[test]
fn netbouncer_recovers_a_lossy_component() {
    // Half of the agents find nothing at Front Door, each all of the time: a loss of one half.
    let case = case(&[(Verdict::Azure, "azure/front-door")], |agent, target| {
        let is_hit = agent.trim_start_matches('a').parse::<u32>().is_ok_and(|number| number % 4 < 2);
        NO_ANSWER.filter(|_| is_hit && target.starts_with("fd/"))
    });
    let answer = says("netbouncer", &case);
    assert!(answer.elements.contains(&"azure/front-door".to_owned()), "{answer:?}");
    assert_eq!(verdicts("netbouncer", &case), ["azure"]);
}

#[test]
fn a_client_error_is_nobodys_failure() {
    let mut case = site_down();
    for (_, input) in &mut case.inputs {
        if let Input::Observation(observation) = input
            && observation.outcome != Outcome::Passed
        {
            observation.status = Some(403);
        }
    }
    for name in NAMES {
        assert_eq!(says(name, &case), Answer::default(), "{name}");
    }
}

#[test]
fn what_a_healthy_probe_saw_wins_over_the_catalog() {
    let mut case = case(&[(Verdict::Neither, "cdn/fastly")], |_, target| {
        NO_ANSWER.filter(|_| matches!(target, "fd/0" | "fd/1" | "cf/0"))
    });
    let learned = Learned { cdn: Some("fastly".into()), ..Learned::default() };
    for target in ["fd/0", "fd/1", "cf/0"] {
        let change = WorldChange::Learned(target.into(), learned.clone());
        case.inputs.insert(0, (case.start, Input::World(change)));
    }
    for name in ["score-cover", "flock"] {
        let answer = says(name, &case);
        assert_eq!(answer.elements, ["cdn/fastly"], "{name}");
        assert_eq!(answer.kinds, ["third-party-cdn"], "{name}");
    }
}

#[test]
fn calibration_prefers_the_parameters_that_find_the_truth() {
    let cases = [region_down(), site_down(), both_down(), quiet()];
    let cases: Vec<&Case> = cases.iter().collect();
    let flock = calibrate("flock", &cases).expect("a peer");
    assert!((flock.objective - 1.0).abs() < 1e-9, "{} {}", flock.parameters, flock.objective);
    let majority = calibrate("majority", &cases).expect("a peer");
    assert!(majority.objective < 0.8, "{} {}", majority.parameters, majority.objective);
    assert!(calibrated("nobody", &cases).is_none());
}

#[test]
fn exported_lines_read_back_as_they_were() {
    for case in [region_down(), both_down(), quiet()] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = components::export(&case, dir.path()).expect("written");
        let text = std::fs::read_to_string(path).expect("read");
        let lines = components::Lines::parse(&text).expect("component lines");
        let of_case = components::Lines::of(&case);
        assert_eq!(lines, components::Lines { components: Vec::new(), ..of_case.clone() });
        assert_eq!(of_case.names().lines().count(), lines.count);
        let names: Vec<&str> = lines.truth.iter().map(|id| of_case.components[*id].1.as_str()).collect();
        let truth: Vec<&str> = case.truth.iter().map(|incident| incident.elements[0].as_str()).collect();
        assert_eq!(names, truth);
        let lost: u32 = lines.cells.iter().map(|(_, lost, _)| lost).sum();
        assert_eq!(lost > 0, !case.truth.is_empty());
        let torn = text.trim_end().trim_end_matches('E');
        assert!(matches!(components::Lines::parse(torn), Err(components::LinesError::Torn)));
    }
}

#[test]
fn the_limit_of_a_hard_fault_is_a_second_or_two() {
    let limit = crate::score::optimum::seconds(&region_down()).expect("a limit");
    // 12 agents at 3 targets and the site behind the CDN each 30 s: 1.6 runs a second, three failures are enough.
    assert!((1.8..2.5).contains(&limit), "{limit}");
    assert_eq!(crate::score::optimum::seconds(&quiet()), None);
}
