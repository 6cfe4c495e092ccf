//! What agents saw in, what is learned out.

use super::*;
use crate::ranges::Document;

const AWS: &str = r#"{"createDate": "1", "prefixes": [
  {"ip_prefix": "3.0.0.0/15", "region": "us-east-1", "service": "EC2"},
  {"ip_prefix": "3.8.0.0/14", "region": "eu-west-2", "service": "EC2"},
  {"ip_prefix": "75.2.0.0/17", "region": "GLOBAL", "service": "GLOBALACCELERATOR"},
  {"ip_prefix": "13.32.0.0/15", "region": "GLOBAL", "service": "CLOUDFRONT"}]}"#;
const AZURE: &str = r#"{"values": [
  {"name": "AzureCloud.westeurope", "properties": {"region": "westeurope", "addressPrefixes": ["20.50.0.0/16"]}},
  {"name": "AzureFrontDoor.Frontend", "properties": {"region": "", "addressPrefixes": ["13.107.246.0/24"]}}]}"#;
const FASTLY: &str = r#"{"addresses": ["151.101.0.0/16"]}"#;

const US: &str = "3.0.1.1";
const UK: &str = "3.8.1.1";
const FRONT_DOOR: &str = "13.107.246.40";

fn ranges() -> Arc<Ranges> {
    let all = [(Document::Aws, "", AWS), (Document::Azure, "", AZURE), (Document::Fastly, "", FASTLY)];
    Arc::new(Ranges::parse(all).expect("ranges"))
}

/// One target, as agents look at it.
struct Look {
    learner: Learner,
    learned: Learned,
}

impl Look {
    fn new() -> Self {
        Self { learner: Learner::new(ranges()), learned: Learned::default() }
    }

    fn see(&mut self, agent: usize, sighting: &Sighting) -> bool {
        let news = self.learner.learn(&format!("agent-{agent}").as_str().into(), &"shop".into(), sighting);
        let is_news = news.is_some();
        self.learned = news.unwrap_or_else(|| self.learned.clone());
        is_news
    }

    fn place(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        (self.learned.cdn.as_deref(), self.learned.hosted_on.as_deref(), self.learned.region.as_deref())
    }
}

fn at(address: &str) -> Sighting {
    Sighting { address: Some(address.parse().expect("address")), ..Sighting::default() }
}

fn alias(name: &str, address: &str) -> Sighting {
    Sighting { cnames: vec![name.to_owned()], ..at(address) }
}

#[test]
fn a_range_tells_the_cdn_or_the_host() {
    let header = |sighting: Sighting| Sighting { edge: HashMap::from([("cf-ray".into(), "x".into())]), ..sighting };
    let rows = [
        (at(US), (None, Some("aws"), Some("us-east-1"))),
        (at("20.50.1.1"), (None, Some("azure"), Some("westeurope"))),
        (at("75.2.1.1"), (None, Some("aws"), None)),
        (at(FRONT_DOOR), (Some("azure/front-door"), None, None)),
        (at("13.33.1.1"), (Some("aws/cloudfront"), None, None)),
        (at("192.0.2.1"), (None, None, None)),
        // A chain or a header that shows a CDN hides the host; a CDN's own range beats both.
        (alias("x.azurefd.net", "20.50.1.1"), (Some("azure/front-door"), None, None)),
        (header(at(US)), (Some("cdn/cloudflare"), None, None)),
        (alias("x.azurefd.net", "151.101.1.1"), (Some("cdn/fastly"), None, None)),
    ];
    for (sighting, expected) in rows {
        let mut look = Look::new();
        look.see(1, &sighting);
        assert_eq!(look.place(), expected, "{sighting:?}");
    }
}

#[test]
fn fields_are_learned_one_by_one_and_the_region_only_from_nine_in_ten() {
    let mut look = Look::new();
    for agent in 0..10 {
        let issuer = if agent < 6 { "R11" } else { "E6" };
        let sighting = at(if agent < 9 { US } else { UK });
        look.see(agent, &Sighting { issuer: issuer.into(), ..sighting });
    }
    assert_eq!(look.place(), (None, Some("aws"), Some("us-east-1")));
    assert_eq!(look.learned.issuer.as_deref(), Some("R11"));
    // Eight of ten: each place has an answer of its own.
    look.see(8, &at(UK));
    assert_eq!(look.place(), (None, Some("aws"), None));
    assert_eq!(look.learned.issuer.as_deref(), Some("R11"), "what a sighting does not show stays");
}

#[test]
fn a_minority_teaches_nothing_and_what_nobody_saw_stays_empty() {
    let mut look = Look::new();
    for agent in 0..3 {
        look.see(agent, &at("192.0.2.1"));
    }
    assert!(!look.see(3, &at(FRONT_DOOR)));
    assert_eq!(look.learned, Learned::default());
}

#[test]
fn a_target_that_moves_is_followed_once_half_of_the_agents_see_it() {
    let mut look = Look::new();
    for agent in 0..10 {
        look.see(agent, &alias("x.azurefd.net", FRONT_DOOR));
    }
    assert_eq!(look.place(), (Some("azure/front-door"), None, None));
    for agent in 0..4 {
        assert!(!look.see(agent, &alias("x.map.fastly.net", "151.101.1.1")));
    }
    assert!(look.see(4, &alias("x.map.fastly.net", "151.101.1.1")));
    assert_eq!(look.place(), (Some("cdn/fastly"), None, None));
    // One agent alone is followed at once.
    let mut alone = Look::new();
    alone.see(0, &at(US));
    assert!(alone.see(0, &at(FRONT_DOOR)) && alone.see(0, &at(US)));
    assert_eq!(alone.place(), (None, Some("aws"), Some("us-east-1")));
}

#[test]
fn a_newcomer_does_not_turn_what_half_of_the_agents_see() {
    let mut look = Look::new();
    look.see(0, &at(FRONT_DOOR));
    assert!(!look.see(1, &at("151.101.1.1")));
    assert_eq!(look.place(), (Some("azure/front-door"), None, None));
}

#[test]
fn an_agent_that_sees_two_cdns_in_turn_has_no_vote_until_it_settles() {
    let mut look = Look::new();
    look.see(0, &at(FRONT_DOOR));
    let news = (0..40).filter(|n| look.see(1, &at(if n % 2 == 0 { "151.101.1.1" } else { FRONT_DOOR }))).count();
    assert!(news <= 3, "{news}");
    assert_eq!(look.place(), (Some("azure/front-door"), None, None));
    look.see(0, &at("151.101.1.1"));
    let settled = (0..40).find(|_| {
        look.see(1, &at("151.101.1.1"));
        look.place().0 == Some("cdn/fastly")
    });
    assert!(settled.is_some());
}

#[test]
fn name_servers_tell_the_operator_and_are_remembered() {
    let mut look = Look::new();
    let servers = ["ns-1.awsdns-01.com", "ns-2.awsdns-02.net"].map(str::to_owned).to_vec();
    look.see(0, &Sighting { name_servers: servers, ..Sighting::default() });
    assert_eq!(look.learned.dns_operator.as_deref(), Some("route53"));
    assert!(look.see(0, &at(US)), "the host is new");
    assert_eq!(look.learned.dns_operator.as_deref(), Some("route53"));
    let facts = Facts { resolver: "authority:dns1.p04.nsone.net".into(), ..Facts::default() };
    assert!(look.see(0, &Sighting::of(&facts)));
    assert_eq!(look.learned.dns_operator.as_deref(), Some("ns1"));
}

#[test]
fn agents_that_are_gone_do_not_outvote_those_that_look() {
    let mut look = Look::new();
    for agent in 0..10 {
        look.see(agent, &at(FRONT_DOOR));
    }
    for agent in 0..8 {
        look.learner.forget_agent(&format!("agent-{agent}").as_str().into());
    }
    assert!(look.see(9, &at(US)));
    assert_eq!(look.place(), (None, Some("aws"), None), "one of two: the region waits for the other");
}

#[test]
fn new_ranges_change_what_is_learned() {
    let mut learner = Learner::default();
    let (agent, target) = ("a".into(), TargetId::from("shop"));
    assert_eq!(learner.learn(&agent, &target, &at(US)), None);
    let changes = learner.set_ranges(ranges());
    let [(about, news)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((about, news.region.as_deref()), (&target, Some("us-east-1")));
    assert_eq!(learner.set_ranges(ranges()), []);
    learner.forget_target(&target);
    assert_eq!(learner.set_ranges(Arc::default()), []);
}

#[test]
fn votes_are_counted_as_they_change() {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    let named = |issuer: &str, address: &str| Sighting { issuer: issuer.into(), ..at(address) };
    let by = |server: &str| Sighting { name_servers: vec![server.into()], ..Sighting::default() };
    let sights = [
        at(US),
        at(UK),
        at(FRONT_DOOR),
        alias("x.azurefd.net", FRONT_DOOR),
        named("one", US),
        named("two", UK),
        by("ns-1.awsdns-01.com"),
        by("ns1-01.azure-dns.com"),
    ];
    let mut random = StdRng::seed_from_u64(7);
    let mut look = Look::new();
    for step in 0..2000 {
        match random.random_range(0..40) {
            0 => look.learner.forget_agent(&format!("agent-{}", random.random_range(0..6)).as_str().into()),
            1 => drop(look.learner.set_ranges(if random.random() { ranges() } else { Arc::default() })),
            _ => {
                look.see(random.random_range(0..6), &sights[random.random_range(0..sights.len())]);
            }
        }
        for known in look.learner.targets.values() {
            let mut anew = Counts::default();
            known.seen.values().for_each(|seen| anew.add(&seen.votes()));
            assert_eq!(known.counts, anew, "step {step}");
        }
    }
}

#[test]
fn a_sight_that_changes_nothing_may_be_left_out() {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    let sights = [at(US), at(UK), alias("x.azurefd.net", FRONT_DOOR), Sighting::default()];
    let (ranges, mut random, mut seen) = (ranges(), StdRng::seed_from_u64(7), Seen::default());
    let mut left_out = 0;
    for step in 0..5000 {
        // Mostly the same for a while, so that fields come to rest.
        let sighting = &sights[step / 100 % sights.len()];
        let sighting = if random.random_range(0..50) == 0 { &sights[random.random_range(0..4)] } else { sighting };
        let reading = Reading::of(sighting);
        let before = seen.clone();
        let may_be_left_out = seen.is_settled_on(&reading, sighting.address);
        let changed = seen.take(&ranges, &reading, sighting.address);
        if may_be_left_out {
            left_out += 1;
            let same = (before.cdn, before.address, &before.vote, before.unsteady);
            assert_eq!((seen.cdn, seen.address, &seen.vote, seen.unsteady), same, "step {step}");
            assert_eq!(changed, None, "step {step}");
        }
    }
    assert!(left_out > 1000, "{left_out}");
}
