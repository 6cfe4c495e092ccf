//! What must hold of generated observations.

mod agree;
mod table;

use std::{collections::BTreeSet, time::Duration};

use faultline_attribution::{
    Cause, Engine, Input, Layer, Maker, Observation, Outcome, SessionState, Settings, WorldChange,
};

use super::*;
use crate::scenario::Noise;

/// A scenario of 300 s in the standard world, without noise but for base rates.
fn scenario(tables: &str) -> Scenario {
    let text = format!(
        "id = \"s\"\ntitle = \"t\"\nstory = \"s\"\nrun_s = 300\nagents = 28\nnoise = \"calm\"\n\
         plays = [\"observations\"]\n{tables}\n"
    );
    Scenario::parse("s.toml", &text, &World::standard()).expect("a scenario")
}

fn play(tables: &str) -> Case {
    let scenario = scenario(tables);
    case(&scenario.world(1), &scenario, 1)
}

fn looks(case: &Case) -> impl Iterator<Item = &Observation> {
    case.inputs.iter().filter_map(|(_, input)| if let Input::Observation(seen) = input { Some(seen) } else { None })
}

/// Looks that began between those seconds of the scenario.
fn between(case: &Case, from: u64, until: u64) -> impl Iterator<Item = &Observation> {
    let zero = case.start.after(WARM_UP);
    let (from, until) = (zero.after(Duration::from_secs(from)), zero.after(Duration::from_secs(until)));
    looks(case).filter(move |seen| (from..until).contains(&seen.at))
}

fn layer(seen: &Observation) -> Option<Layer> {
    if let Outcome::Failed { layer, .. } = seen.outcome { Some(layer) } else { None }
}

fn is_at(seen: &Observation, prefix: &str) -> bool {
    seen.target.as_str().starts_with(prefix)
}

fn share(all: &[&Observation], of: impl Fn(&Observation) -> bool) -> f64 {
    let count = |n: usize| f64::from(u32::try_from(n).expect("few"));
    count(all.iter().filter(|seen| of(seen)).count()) / count(all.len())
}

const HTTP_503: &str = "layer = \"http\"\neffect = \"status\"\nstatus = 503\n";

#[test]
fn a_seed_decides_every_byte() {
    let scenario = Scenario { noise: Noise::Hostile, ..scenario("") };
    let world = scenario.world(1);
    let (one, again, other) = (case(&world, &scenario, 7), case(&world, &scenario, 7), case(&world, &scenario, 8));
    assert!(one.inputs == again.inputs && one.world == again.world && one.start == again.start);
    assert!(one.inputs != other.inputs && one.start != other.start);
    assert!(one.inputs.is_sorted_by_key(|(at, _)| *at));
}

#[test]
fn every_pair_is_looked_at_once_in_thirty_seconds_and_never_all_at_once() {
    let case = play("");
    let pairs = World::standard().agents.len() * World::standard().targets.len();
    let looks: Vec<&Observation> = between(&case, 30, 60).collect();
    // Clocks are off by a little.
    assert!(looks.len().abs_diff(pairs) <= pairs / 50, "{} looks, {pairs} pairs", looks.len());
    let most = (30..60).map(|second| between(&case, second, second + 1).count()).max().expect("seconds");
    assert!(most < pairs / 30 * 3 / 2, "{most} of {pairs} in one second");
}

#[test]
fn a_share_of_runs_is_met_within_binomial_bounds_and_only_in_its_time() {
    let tables =
        format!("[[break]]\nat_s = 60\nuntil_s = 240\nshare = 0.3\ntargets = {{ cdn = [\"cdn/fastly\"] }}\n{HTTP_503}");
    let case = play(&tables);
    let within: Vec<_> = between(&case, 65, 235).filter(|seen| is_at(seen, "fastly/")).collect();
    let found = share(&within, |seen| seen.status == Some(503));
    let sigma = (0.3 * 0.7 / f64::from(u32::try_from(within.len()).expect("few"))).sqrt();
    assert!((found - 0.3).abs() < 4.0 * sigma + 0.002, "{found} of {}", within.len());
    let before: Vec<_> = looks(&case).filter(|seen| seen.at < case.start.after(Duration::from_secs(175))).collect();
    assert!(share(&before, |seen| layer(seen).is_some()) < 0.008);
}

#[test]
fn a_share_of_targets_or_agents_fails_wholly() {
    for (of, whose) in [("targets", 0), ("agents", 1)] {
        let tables = format!(
            "[[break]]\nat_s = 60\nshare = 0.25\nshare_of = \"{of}\"\ntargets = {{ hosted_on = [\"aws\"], cdn = [\"none\"] }}\n\
             layer = \"connect\"\neffect = \"timeout\"\n"
        );
        let case = play(&tables);
        let key = |seen: &Observation| if whose == 0 { seen.target.to_string() } else { seen.agent.to_string() };
        let concerned: Vec<_> = between(&case, 70, 290)
            .filter(|seen| {
                case.world.targets[&seen.target].hosted_on == "aws"
                    && case.world.targets[&seen.target].cdn.is_none()
                    && World::standard().target(seen.target.as_str()).is_some_and(|target| target.cdn.is_none())
                    && case.world.targets[&seen.target].layers().any(|layer| layer == Layer::Connect)
            })
            .collect();
        let keys: BTreeSet<String> = concerned.iter().map(|seen| key(seen)).collect();
        let mut whole = 0;
        for one in &keys {
            let its: Vec<_> = concerned.iter().copied().filter(|seen| key(seen) == *one).collect();
            let failed = share(&its, |seen| layer(seen) == Some(Layer::Connect));
            assert!(!(0.1..0.9).contains(&failed), "{of} {one}: {failed}");
            whole += usize::from(failed > 0.5);
        }
        assert!((keys.len() / 6..=keys.len() / 3).contains(&whole), "{of}: {whole} of {}", keys.len());
    }
}

#[test]
fn the_first_failing_layer_hides_the_later_ones() {
    let tables = format!(
        "[[break]]\nat_s = 60\ntargets = {{ cdn = [\"cdn/fastly\"] }}\n{HTTP_503}\
         [[break]]\nat_s = 150\ntargets = {{ cdn = [\"cdn/fastly\"] }}\nlayer = \"tls\"\neffect = \"cert_expired\"\n\
         [[break]]\nat_s = 200\ntargets = {{ cdn = [\"cdn/fastly\"] }}\nlayer = \"dns\"\neffect = \"nxdomain\"\n"
    );
    let case = play(&tables);
    let saw = |from, until, expected| {
        let looks: Vec<_> = between(&case, from, until).filter(|seen| is_at(seen, "fastly/")).collect();
        assert!(share(&looks, |seen| layer(seen) == Some(expected)) > 0.97, "{expected} from {from}");
    };
    saw(65, 145, Layer::Http);
    saw(155, 195, Layer::Tls);
    // Answers that resolvers still hold are gone after a minute.
    saw(262, 290, Layer::Dns);
    let cached: Vec<_> = between(&case, 202, 215).filter(|seen| is_at(seen, "fastly/")).collect();
    assert!((0.02..0.4).contains(&share(&cached, |seen| layer(seen) == Some(Layer::Tls))));
}

#[test]
fn a_regions_outage_is_504_behind_its_cdn_and_a_timeout_in_front() {
    let case = play(
        "[[break]]\nat_s = 60\nlayer = \"connect\"\neffect = \"timeout\"\n\
         targets = { hosted_on = [\"aws\"], region = [\"eu-west-1\"] }\n",
    );
    let edge: Vec<_> = between(&case, 70, 290).filter(|seen| is_at(seen, "cloudfront/news-harbor")).collect();
    assert!(share(&edge, |seen| seen.status == Some(504) && seen.maker == Some(Maker::Edge)) > 0.97);
    let service: Vec<_> = between(&case, 70, 290).filter(|seen| is_at(seen, "aws/eu-west-1/s3")).collect();
    let timeout = Outcome::Failed { layer: Layer::Connect, cause: Cause::ConnectTimeout };
    assert!(share(&service, |seen| seen.outcome == timeout) > 0.97);
    let waited = |seen: &Observation| seen.took.is_some_and(|took| took >= Duration::from_secs(3));
    assert!(share(&service, |seen| layer(seen).is_none() || waited(seen)) > 0.97, "a timeout is known when it is over");
    assert!(
        looks(&case).all(|seen| seen.took.is_some_and(|took| took > Duration::ZERO && took <= Duration::from_secs(9)))
    );
}

#[test]
fn what_is_too_slow_fails_and_what_is_slow_passes_late() {
    let case = play(
        "[[break]]\nat_s = 60\nlayer = \"http\"\neffect = \"slow\"\ndelay_ms = 2000\ntargets = { cdn = [\"cdn/fastly\"] }\n\
         [[break]]\nat_s = 60\nlayer = \"connect\"\neffect = \"slow\"\ndelay_ms = 4000\ntargets = { cdn = [\"cdn/cloudflare\"] }\n\
         [[break]]\nat_s = 60\nlayer = \"connect\"\neffect = \"loss\"\nshare = 0.4\ntargets = { cdn = [\"azure/front-door\"] }\n",
    );
    let at = |prefix| between(&case, 65, 290).filter(move |seen| is_at(seen, prefix)).collect::<Vec<_>>();
    let slow = |seen: &Observation, ms| seen.took.is_some_and(|took| took >= Duration::from_millis(ms));
    assert!(share(&at("fastly/"), |seen| layer(seen).is_none() && slow(seen, 2000)) > 0.97);
    assert!(share(&at("cloudflare/"), |seen| layer(seen) == Some(Layer::Connect)) > 0.97);
    let lossy = share(&at("front-door/"), |seen| layer(seen) == Some(Layer::Connect));
    assert!((0.33..0.47).contains(&lossy), "{lossy}");
    assert!(at("front-door/").iter().all(|seen| layer(seen).is_some() || slow(seen, 250)));
}

#[test]
fn a_rhythm_breaks_and_heals_in_turn() {
    let tables =
        format!("[[break]]\nat_s = 60\non_s = 20\noff_s = 10\ntargets = {{ cdn = [\"cdn/fastly\"] }}\n{HTTP_503}");
    let case = play(&tables);
    let broken = |from| {
        let looks: Vec<_> = between(&case, from, from + 8).filter(|seen| is_at(seen, "fastly/")).collect();
        share(&looks, |seen| seen.status == Some(503))
    };
    assert!(broken(61) > 0.9 && broken(91) > 0.9 && broken(121) > 0.9);
    assert!(broken(81) < 0.1 && broken(111) < 0.1 && broken(141) < 0.1);
}

#[test]
fn a_silence_is_noticed_after_its_limit_and_its_backlog_arrives_late() {
    let case = play("[[silence]]\nat_s = 60\nuntil_s = 200\nagents = { isp = [\"rogers-ca\"] }\n");
    let zero = case.start.after(WARM_UP);
    let at = |second: f64| zero.after(Duration::from_secs_f64(second));
    let rogers = |agent: &str| agent.starts_with("rogers");
    let sessions = case.inputs.iter().filter_map(|(arrived, input)| match input {
        Input::Session(change) if rogers(change.agent.as_str()) => Some((*arrived, change.state, change.at)),
        _ => None,
    });
    let sessions: Vec<_> = sessions.collect();
    let silent: Vec<_> = sessions.iter().filter(|(_, state, _)| *state == SessionState::Silent).collect();
    assert!(silent.len() >= 3 && silent.iter().all(|(arrived, _, since)| *arrived == at(97.5) && *since == at(60.0)));
    let ups = sessions.iter().filter(|(arrived, state, _)| *state == SessionState::Up && *arrived >= at(200.0)).count();
    assert_eq!(ups, silent.len());
    let of_them: Vec<_> = looks(&case).filter(|seen| rogers(seen.agent.as_str())).collect();
    assert!(!of_them.iter().any(|seen| (at(60.0)..at(200.0)).contains(&seen.received_at)), "heard of while silent");
    let backlog: Vec<_> = of_them.iter().filter(|seen| (at(62.0)..at(195.0)).contains(&seen.at)).collect();
    assert!(backlog.len() > 100 && backlog.iter().all(|seen| seen.is_late && seen.received_at > at(200.0)));
    let mute = play("[[silence]]\nat_s = 60\nuntil_s = 200\nbacklog = false\nagents = { isp = [\"rogers-ca\"] }\n");
    assert!(!between(&mute, 62, 198).any(|seen| rogers(seen.agent.as_str())));
}

#[test]
fn a_lost_path_shows_as_failures_that_arrive_when_it_is_back() {
    let case = play(
        "[[break]]\nat_s = 60\nuntil_s = 200\nlayer = \"connect\"\neffect = \"timeout\"\npath = true\n\
         agents = { isp = [\"rogers-ca\"] }\n",
    );
    let lost: Vec<_> = between(&case, 62, 195).filter(|seen| seen.agent.as_str().starts_with("rogers")).collect();
    assert!(lost.len() > 100 && lost.iter().all(|seen| seen.is_late && layer(seen).is_some()));
    let others: Vec<_> = between(&case, 62, 195).filter(|seen| !seen.agent.as_str().starts_with("rogers")).collect();
    assert!(share(&others, |seen| layer(seen).is_some()) < 0.008);
}

#[test]
fn each_liar_keeps_to_its_strategy() {
    let outage = format!("[[break]]\nat_s = 60\ntargets = {{ cdn = [\"cdn/fastly\"] }}\n{HTTP_503}");
    let liars = |how: &str| format!("{outage}[[liars]]\nshare = 0.2\nat_s = 60\nstrategy = {how}\n");
    let of = |tables: &str| {
        let (scenario, world) = (scenario(tables), World::standard());
        let liars = lies::Lies::new(&world, &scenario, 1).liars();
        let ids: BTreeSet<String> = liars.iter().map(|agent| world.agents[*agent].id.clone()).collect();
        (case(&world, &scenario, 1), ids)
    };
    let fabricate =
        liars("\"fabricate\"\ntargets = { hosted_on = [\"aws\"] }\nlayer = \"connect\"\ncause = \"connect_refused\"");
    let (case, ids) = of(&fabricate);
    let groups = case.world.vantages.values().map(|vantage| &vantage.group).collect::<BTreeSet<_>>().len();
    assert!(!ids.is_empty() && ids.len() * 5 <= groups + 5, "{} of {groups}", ids.len());
    let claim = Outcome::Failed { layer: Layer::Connect, cause: Cause::ConnectRefused };
    let claims: Vec<_> = looks(&case).filter(|seen| seen.outcome == claim).collect();
    assert!(claims.len() > 50 && claims.iter().all(|seen| ids.contains(seen.agent.as_str())));
    assert!(
        claims.iter().all(|seen| World::standard().target(seen.target.as_str()).is_some_and(|t| t.hosted_on == "aws"))
    );

    let (case, ids) = of(&liars("\"mask\""));
    let fastly = |case: &Case, lying: bool| {
        let looks: Vec<_> = between(case, 65, 290)
            .filter(|seen| is_at(seen, "fastly/") && ids.contains(seen.agent.as_str()) == lying)
            .collect();
        share(&looks, |seen| seen.status == Some(503))
    };
    assert!(fastly(&case, true) < 1e-9 && fastly(&case, false) > 0.97);

    let (case, ids) = of(&liars("\"delay\""));
    for seen in between(&case, 65, 290) {
        let late = seen.received_at.since(seen.at) > Duration::from_secs(58);
        assert_eq!(late, ids.contains(seen.agent.as_str()), "{seen:?}");
        assert!(!seen.is_late);
    }

    let isp = "[[break]]\nat_s = 60\nlayer = \"http\"\neffect = \"timeout\"\nagents = { ids = [\"bell-yyz-1\"] }\n";
    let mirror = "[[liars]]\nat_s = 60\nstrategy = \"mirror\"\nagents = { ids = [\"bell-yyz-1\"] }\n";
    let case = play(&format!("{isp}{mirror}"));
    let told: Vec<_> =
        between(&case, 65, 290).filter(|seen| is_at(seen, "fastly/") && seen.agent.as_str() == "bell-yyz-1").collect();
    assert!(share(&told, |seen| layer(seen).is_some()) < 0.1, "another agent sees no fault");
}

#[test]
fn an_untold_cdn_is_learned_in_the_first_minute_and_a_stale_fact_stays() {
    let learned = |case: &Case, target: &str| {
        case.inputs.iter().find_map(|(at, input)| match input {
            Input::World(WorldChange::Learned(of, learned)) if of.as_str() == target => Some((*at, learned.clone())),
            _ => None,
        })
    };
    let case = play("");
    let (at, facts) = learned(&case, "front-door/fabrikam-food").expect("learned");
    assert_eq!(facts.cdn.as_deref(), Some("azure/front-door"));
    assert!(at < case.start.after(Duration::from_mins(1)));
    assert!(learned(&case, "front-door/contoso-air").is_none(), "told");
    let stale =
        "[[stale]]\ntargets = { ids = [\"front-door/contoso-air\"] }\ncdn = \"cdn/fastly\"\nregion = \"nowhere\"\n";
    let wrong =
        play(&format!("{stale}[[stale]]\ntargets = {{ ids = [\"front-door/fabrikam-food\"] }}\nmissing = [\"cdn\"]\n"));
    let told = &wrong.world.targets["front-door/contoso-air"];
    assert_eq!((told.cdn.as_deref(), told.region.as_deref()), (Some("cdn/fastly"), Some("nowhere")));
    assert!(
        learned(&wrong, "front-door/contoso-air").is_none() && learned(&wrong, "front-door/fabrikam-food").is_none()
    );
    let (_, facts) = learned(&play(&format!("{stale}learned = true\n")), "front-door/contoso-air").expect("put right");
    assert_eq!(facts.cdn.as_deref(), Some("azure/front-door"));
}

#[test]
fn noise_is_as_loud_as_its_profile() {
    let failing = |noise| {
        let world = World::sized(24, 120, 3);
        let looks: Vec<Input> =
            Stream::quiet(&world, noise, 3, Duration::from_hours(1)).map(|(_, input)| input).collect();
        let count = |f: &dyn Fn(&Observation) -> bool| {
            looks.iter().filter(|input| matches!(input, Input::Observation(seen) if f(seen))).count()
        };
        let of =
            |n: usize| f64::from(u32::try_from(n).expect("few")) / f64::from(u32::try_from(looks.len()).expect("few"));
        (of(count(&|seen| layer(seen).is_some())), of(count(&|seen| seen.is_late)))
    };
    let (calm, typical, bursty, hostile) =
        (failing(Noise::Calm), failing(Noise::Typical), failing(Noise::Bursty), failing(Noise::Hostile));
    assert!((0.001..0.005).contains(&calm.0) && calm.1 < 1e-9, "{calm:?}");
    assert!((0.003..0.05).contains(&typical.0) && (5e-4..0.01).contains(&typical.1), "{typical:?}");
    assert!((0.02..0.15).contains(&bursty.0), "{bursty:?}");
    assert!((0.01..0.15).contains(&hostile.0) && hostile.0 > typical.0, "{hostile:?}");
    let foreign = failing(Noise::Foreign);
    assert!((0.005..0.1).contains(&foreign.0) && (0.005..0.03).contains(&foreign.1), "{foreign:?}");
}

#[test]
fn a_quiet_stream_keeps_what_is_on_its_way_and_no_more() {
    let world = World::sized(48, 240, 1);
    let mut stream = Stream::quiet(&world, Noise::Typical, 1, Duration::from_mins(30));
    let (mut count, mut most) = (0u32, 0);
    let began = std::time::Instant::now();
    while stream.next().is_some() {
        count += 1;
        if count % 1000 == 0 {
            most = most.max(stream.waiting());
        }
    }
    let each = began.elapsed().as_secs_f64() / f64::from(count);
    let expected = 48 * u32::try_from(world.targets.len()).expect("few") * 2 * 32;
    assert!((expected * 95 / 100..expected * 103 / 100).contains(&count), "{count} of {expected}");
    // Five seconds of timeouts, one second in hand, 1 % of two and a half minutes.
    assert!(most < 6000, "{most} waiting");
    // A debug build beside other tests; an optimised one takes a third of a microsecond.
    assert!(each < 20e-6, "{:.2} us a result", each * 1e6);
}

#[test]
fn the_order_inside_a_second_decides_nothing() {
    let tables = format!("[[break]]\nat_s = 20\ntargets = {{ cdn = [\"cdn/fastly\"] }}\n{HTTP_503}");
    let mut scenario = scenario(&tables);
    scenario.run = Duration::from_mins(1);
    let mut case = case(&scenario.world(1), &scenario, 1);
    let engine = || Engine::new(case.world.clone(), Settings::default());
    let (one, other) = (engine(), engine());
    let said = drive(&case, one);
    assert!(!said.is_empty());
    case.inputs.reverse();
    case.inputs.sort_by_key(|(at, _)| at.micros() / 1_000_000);
    assert!(said == drive(&case, other));
}

#[test]
fn no_name_and_no_truth_of_a_scenario_reaches_the_inputs() {
    for scenario in crate::scenario::built_in(&World::standard()).expect("all read") {
        let short = Scenario { run: scenario.run.min(Duration::from_secs(100)), agents: 6, targets: 0, ..scenario };
        let world = World::sized(6, 0, 1);
        let told = case(&world, &short, 1);
        let nameless = Scenario {
            id: "x".into(),
            title: "x".into(),
            story: "x".into(),
            family: "x".into(),
            truth: Vec::new(),
            ..short.clone()
        };
        let blank = case(&world, &nameless, 1);
        assert!(told.inputs == blank.inputs && told.world == blank.world, "{}", short.id);
        assert!((told.start, told.end) == (blank.start, blank.end), "{}", short.id);
        let text = format!("{:?}{:?}", told.world, told.inputs);
        for word in [&short.id, &short.title, &short.story] {
            assert!(!text.contains(word.as_str()), "{} shows {word:?}", short.id);
        }
    }
}
