//! The engine asked about a small world in which something breaks.

mod backlog;
mod breathless;
mod edge;
mod explanation;
mod labels;
mod liars;
mod parts;
mod path;
mod properties;
mod refusal;
mod remarks;
mod script;
mod shared;
mod sim;
mod symmetry;
mod witness;

use std::{collections::BTreeSet, time::Duration};

use self::sim::{Fault, Sim, cdn_of, target, targets, vantages};
use super::*;
use crate::{
    vocabulary::{Kind, Verdict},
    world::{TargetId, WorldChange},
};

#[test]
fn front_door_is_named_from_connect_timeouts_and_aws_is_cleared() {
    let mut sim = Sim::new();
    sim.healthy(90).run(40, &|_, _, id, target, at| {
        (cdn_of(id, target).as_deref() == Some("azure/front-door") && at % 20 != 0)
            .then_some((Layer::Connect, Cause::ConnectTimeout))
    });
    assert_eq!(sim.accusations(), [(Verdict::Azure, None, "azure/front-door".into())], "{:#?}", sim.changes);
    let last = sim.changes.last().expect("a change");
    assert!(last.confidence > 0.95);
    assert!(last.alibis.iter().any(|alibi| alibi.party == "aws" && alibi.passed == alibi.runs), "{:?}", last.alibis);
    let broke = Timestamp::from_micros(1_761_752_090_000_000);
    let error = last.onset_at.since(broke).max(broke.since(last.onset_at));
    assert!(error < Duration::from_secs(10), "onset {} is off by {error:?}", last.onset_at);
    let noticed = sim.changes.iter().find(|change| change.state == State::Attributed).expect("attributed").at;
    assert!(noticed.since(broke) < Duration::from_secs(20), "attributed after {:?}", noticed.since(broke));
}

#[test]
fn an_empty_answer_for_one_service_names_that_service_and_not_the_region() {
    let mut sim = Sim::new();
    sim.healthy(90).run(60, &|_, _, id, _, _| {
        (id.as_str() == "aws/us-east-1/dynamodb").then_some((Layer::Dns, Cause::DnsEmptyAnswer))
    });
    assert_eq!(sim.accusations(), [(Verdict::Aws, None, "aws/us-east-1/dynamodb".into())], "{:#?}", sim.changes);
    assert_eq!(sim.changes.last().expect("a change").regions, ["aws/us-east-1"]);
}

#[test]
fn a_third_party_cdn_accuses_no_cloud_although_amazon_retail_fails_with_it() {
    let mut sim = Sim::new();
    sim.healthy(90).run(60, &|_, _, _, target, at| {
        (target.cdn.as_deref() == Some("fastly") && at % 7 != 0).then_some((Layer::Http, Cause::HttpStatus))
    });
    assert_eq!(
        sim.accusations(),
        [(Verdict::Neither, Some(Kind::ThirdPartyCdn), "cdn/fastly".into())],
        "{:#?}",
        sim.changes
    );
}

#[test]
fn agents_that_lose_everything_accuse_their_own_network() {
    let mut sim = Sim::new();
    sim.healthy(90).run(90, &|_, vantage, _, _, _| {
        (vantage.isp.as_deref() == Some("rogers-ca")).then_some((Layer::Dns, Cause::DnsTimeout))
    });
    assert_eq!(
        sim.accusations(),
        [(Verdict::Neither, Some(Kind::VantageIsp), "isp/rogers-ca".into())],
        "{:#?}",
        sim.changes
    );
}

#[test]
fn agents_of_one_network_that_fall_silent_together_accuse_it() {
    let mut sim = Sim::new();
    for (agent, _) in vantages() {
        sim.engine.apply(&Input::Session(SessionChange { agent, at: sim.now, state: SessionState::Up }));
    }
    sim.healthy(90);
    for agent in ["rogers-1", "rogers-2", "rogers-3"] {
        let change = SessionChange { agent: agent.into(), at: sim.now, state: SessionState::Silent };
        sim.engine.apply(&Input::Session(change));
        sim.muted.push(agent.into());
    }
    sim.healthy(60);
    let accused = sim.accusations();
    assert_eq!(accused, [(Verdict::Neither, Some(Kind::VantageIsp), "isp/rogers-ca".into())], "{:#?}", sim.changes);
}

#[test]
fn a_silent_fleet_accuses_nobody_and_says_that_we_cannot_see() {
    let mut sim = Sim::new();
    sim.healthy(60);
    for (agent, _) in vantages() {
        sim.engine.apply(&Input::Session(SessionChange { agent, at: sim.now, state: SessionState::Silent }));
    }
    for _ in 0..180 {
        sim.now = sim.now.after(Duration::from_secs(1));
        for output in sim.engine.advance(sim.now) {
            match output {
                Output::Change(change) => sim.changes.push(*change),
                Output::Visibility(visibility) => sim.visibility.push(visibility),
                Output::Cell(cell) => sim.cells.push(cell),
                Output::LookAgain(_) => {}
            }
        }
    }
    assert!(sim.changes.is_empty(), "{:#?}", sim.changes);
    let last = sim.visibility.last().expect("visibility");
    assert!(last.below_quorum && last.live_groups == 0, "{last:?}");
    assert_eq!(sim.cells.last().map(|cell| cell.state), Some(crate::CellState::NoData));
}

#[test]
fn zones_at_one_dns_operator_accuse_it_and_not_the_cloud_that_hosts_a_site() {
    let mut sim = Sim::new();
    sim.healthy(90).run(60, &|_, _, _, target, at| {
        (target.dns_operator.as_deref() == Some("dyn") && at % 9 != 0).then_some((Layer::Dns, Cause::DnsTimeout))
    });
    assert_eq!(
        sim.accusations(),
        [(Verdict::Neither, Some(Kind::ThirdPartyDns), "dns/dyn".into())],
        "{:#?}",
        sim.changes
    );
}

#[test]
fn one_endpoint_with_errors_of_its_own_accuses_only_itself() {
    let mut sim = Sim::new();
    sim.healthy(90)
        .run(60, &|_, _, id, _, _| (id.as_str() == "app-us-east-1").then_some((Layer::Http, Cause::HttpStatus)));
    let accused = sim.accusations();
    assert_eq!(accused, [(Verdict::Neither, Some(Kind::EndpointApp), "endpoint/app-us-east-1".into())]);
}

#[test]
fn a_declared_dependency_explains_the_app_that_fails_with_it() {
    let mut sim = Sim::new();
    for app in ["app-us-east-1", "app-eu-west-1"] {
        let mut known = target("aws", app.trim_start_matches("app-"), "shop", app);
        known.depends_on = vec!["azure/*/sign-in".into()];
        sim.engine.apply(&Input::World(WorldChange::Target(app.into(), Box::new(known))));
    }
    let mut own = target("azure", "", "sign-in", "microsoft");
    own.depends_on = Vec::new();
    sim.engine.apply(&Input::World(WorldChange::Target("google".into(), Box::new(own))));
    sim.healthy(90).run(60, &|_, _, id, _, _| {
        ["app-us-east-1", "app-eu-west-1", "google"].contains(&id.as_str()).then_some((Layer::Http, Cause::HttpStatus))
    });
    assert_eq!(sim.accusations(), [(Verdict::Azure, None, "azure/*/sign-in".into())], "{:#?}", sim.changes);
    let rows = &sim.changes.last().expect("a change").evidence;
    assert!(rows.iter().any(|row| row.target.starts_with("app-")), "the apps are evidence too: {rows:?}");
}

#[test]
fn both_clouds_at_once_are_two_incidents() {
    let mut sim = Sim::new();
    sim.healthy(90).run(90, &|_, _, id, target, _| {
        let in_region = target.hosted_on == "aws" && target.region.as_deref() == Some("eu-west-1");
        if in_region {
            return Some((Layer::Connect, Cause::ConnectTimeout));
        }
        (cdn_of(id, target).as_deref() == Some("azure/front-door")).then_some((Layer::Http, Cause::HttpStatus))
    });
    let mut accused = sim.accusations();
    accused.sort();
    assert_eq!(
        accused,
        [(Verdict::Aws, None, "aws/eu-west-1".into()), (Verdict::Azure, None, "azure/front-door".into())],
        "{:#?}",
        sim.changes
    );
}

#[test]
fn an_incident_recovers_and_is_resolved_and_then_all_is_quiet() {
    let mut sim = Sim::new();
    sim.healthy(90).run(90, &|_, _, _, target, _| {
        (target.region.as_deref() == Some("eastus")).then_some((Layer::Connect, Cause::ConnectTimeout))
    });
    sim.healthy(300);
    let states = sim.states();
    assert_eq!(states.last(), Some(&State::Resolved), "{states:?}");
    assert!(states.contains(&State::Recovering), "{states:?}");
    let incidents: BTreeSet<_> = sim.changes.iter().map(|change| &change.incident).collect();
    assert_eq!(incidents.len(), 1, "{:#?}", sim.changes);
    let revisions: Vec<u64> = sim.changes.iter().map(|change| change.revision).collect();
    assert_eq!(revisions, (1..=revisions.len() as u64).collect::<Vec<_>>());
}

#[test]
fn scattered_noise_is_no_incident() {
    let mut sim = Sim::new();
    sim.run(1200, &|agent, _, id, _, at| {
        // A fixed scatter of about 0.4 % of runs.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in agent.as_str().bytes().chain(id.as_str().bytes()).chain(at.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash.is_multiple_of(251).then_some((Layer::Connect, Cause::ConnectTimeout))
    });
    assert!(sim.accusations().is_empty(), "{:#?}", sim.changes);
}

#[test]
fn two_lying_groups_of_fourteen_cannot_make_a_cloud_fail() {
    let mut sim = Sim::new();
    sim.healthy(90).run(180, &|agent, _, _, target, _| {
        let lies = ["hetzner-1", "ovh-1"].contains(&agent.as_str());
        (lies && target.hosted_on == "aws").then_some((Layer::Connect, Cause::ConnectTimeout))
    });
    let clouds: Vec<_> = sim
        .accusations()
        .into_iter()
        .filter(|(verdict, ..)| matches!(verdict, Verdict::Aws | Verdict::Azure))
        .collect();
    assert!(clouds.is_empty(), "{clouds:?}");
}

#[test]
fn an_agent_that_loses_everything_is_a_vantage_state_and_not_an_incident() {
    let mut sim = Sim::new();
    sim.healthy(90).run(120, &|agent, _, _, _, _| {
        (agent.as_str() == "ovh-1").then_some((Layer::Connect, Cause::ConnectUnreachable))
    });
    assert!(sim.changes.is_empty(), "{:#?}", sim.changes);
    assert_eq!(sim.visibility.last().map(|visibility| visibility.live_groups), Some(13));
}

#[test]
fn a_target_that_never_passed_cannot_accuse_its_cloud() {
    let mut sim = Sim::new();
    let id = TargetId::from("aws/us-east-1/dynamodb");
    let mut unverified = target("aws", "us-east-1", "dynamodb", "amazon");
    unverified.verified = false;
    sim.engine.apply(&Input::World(WorldChange::Target(id.clone(), Box::new(unverified))));
    sim.run(180, &|_, _, on, _, _| (*on == id).then_some((Layer::Dns, Cause::DnsNxdomain)));
    assert!(sim.changes.is_empty(), "{:#?}", sim.changes);
}

#[test]
fn one_vantage_that_loses_everything_cannot_see() {
    let world = World {
        targets: targets().into_iter().collect(),
        vantages: vantages().into_iter().filter(|(id, _)| id.as_str() == "ovh-1").collect(),
    };
    let mut sim = Sim::new();
    sim.engine = Engine::new(world, Settings::default());
    sim.run(120, &|_, _, _, _, _| Some((Layer::Dns, Cause::DnsTimeout)));
    assert!(sim.changes.iter().all(|change| change.verdict == Verdict::Undetermined), "{:#?}", sim.changes);
    let last = sim.visibility.last().expect("visibility");
    assert!(last.below_quorum && last.reason.contains("only vantage"), "{last:?}");
}

#[test]
fn a_vantage_without_a_network_says_why_it_cannot_look() {
    let mut sim = Sim::new();
    let only = AgentId::from("ovh-1");
    let world = World {
        targets: targets().into_iter().collect(),
        vantages: vantages().into_iter().filter(|(id, _)| *id == only).collect(),
    };
    sim.engine = Engine::new(world, Settings::default());
    let blocked = Outcome::Unmeasured { reason: crate::Reason::NoNetwork };
    sim.engine.apply(&Input::Observation(Observation::new(only, "google".into(), sim.now, blocked)));
    let Some(Output::Visibility(visibility)) = sim.engine.advance(sim.now.after(Duration::from_secs(1))).pop() else {
        panic!("no visibility")
    };
    assert!(visibility.below_quorum && visibility.reason.contains("no_network"), "{visibility:?}");
}

#[test]
fn a_restored_engine_goes_on_as_if_nothing_had_happened() {
    let fault: Fault<'_> = &|_, _, _, target, _| {
        (target.region.as_deref() == Some("eastus")).then_some((Layer::Connect, Cause::ConnectTimeout))
    };
    let (mut straight, mut restored) = (Sim::new(), Sim::new());
    straight.healthy(90).run(60, fault);
    restored.healthy(90).run(5, fault);
    let snapshot = restored.engine.snapshot();
    restored.engine = Engine::restore(&snapshot, Settings::default()).expect("restores");
    restored.run(55, fault);
    assert_eq!(straight.changes, restored.changes);
    assert_eq!(straight.engine.snapshot(), restored.engine.snapshot());
}

#[test]
fn the_published_line_is_as_promised_and_reads_back() {
    let mut sim = Sim::new();
    sim.healthy(90).run(30, &|_, _, id, target, _| {
        (cdn_of(id, target).as_deref() == Some("azure/front-door")).then_some((Layer::Connect, Cause::ConnectTimeout))
    });
    let change = sim.changes.last().expect("a change");
    let line = serde_json::to_string(change).expect("json");
    assert!(line.starts_with(r#"{"type":"incident","at":"2025-"#), "{line}");
    for field in [r#""verdict":"azure""#, r#""kind":"""#, r#""element_kind":"cdn""#, r#""regions":[]"#] {
        assert!(line.contains(field), "{field} in {line}");
    }
    assert_eq!(serde_json::from_str::<Change>(&line).expect("reads back"), *change);
}

#[test]
fn an_incident_of_targets_that_leave_the_catalog_is_over() {
    let mut sim = Sim::new();
    let fails = |id: &TargetId| id.as_str() == "aws/us-east-1/dynamodb";
    sim.healthy(90).run(60, &|_, _, id, _, _| fails(id).then_some((Layer::Dns, Cause::DnsEmptyAnswer)));
    assert_eq!(sim.changes.last().map(|change| change.state), Some(State::Attributed));
    sim.engine.apply(&Input::World(WorldChange::TargetRemoved("aws/us-east-1/dynamodb".into())));
    sim.healthy(2);
    let last = sim.changes.last().expect("a change");
    assert_eq!((last.state, last.resolved_at), (State::Resolved, Some(last.at)), "{last:#?}");
    assert!(last.headline.starts_with("Nobody looks any more"), "{}", last.headline);
    sim.healthy(120);
    assert_eq!(sim.changes.last().map(|change| change.state), Some(State::Resolved), "{:#?}", sim.changes);
}

#[test]
fn agents_that_fail_a_share_of_all_they_look_at_accuse_nobody() {
    let mut sim = Sim::new();
    let fails = |agent: &AgentId, id: &TargetId, at: u64| {
        crate::dice::hash(7, &[agent.as_str(), id.as_str()], at).is_multiple_of(5)
    };
    sim.healthy(90).run(240, &|agent, _, id, _, at| fails(agent, id, at).then_some((Layer::Tls, Cause::TlsTimeout)));
    assert_eq!(sim.accusations(), [], "{:#?}", sim.changes);
}
