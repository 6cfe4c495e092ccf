//! Paths that nobody has named: several networks lose the same kind of thing at once, and their neighbours do not.

use super::{
    super::*,
    sim::{Sim, vantages},
};
use crate::{Cause, Vantage, Verdict, dice};

const PARTS: [&str; 4] = ["na", "eu", "as", "sa"];

/// The usual fleet, and eight more networks in each of four parts of the world.
fn fleet() -> Vec<(AgentId, Vantage)> {
    let one = |number: u32| {
        let part = PARTS[number as usize % PARTS.len()];
        let name = format!("{part}-{number}");
        let vantage = Vantage {
            group: name.clone(),
            asn: Some(64_512 + number),
            isp: Some(format!("{name}-isp")),
            country: Some(format!("{part}{}", number % 8)),
            geography: Some(part.into()),
            hosted_on: Some("other".into()),
            ..Vantage::default()
        };
        (AgentId::from(name.as_str()), vantage)
    };
    vantages().into_iter().chain((0..32).map(one)).collect()
}

/// What is said while those agents fail two thirds of their questions for names of Route 53, always the same ones.
fn said_of_names(is_hit: &dyn Fn(&AgentId, &Vantage) -> bool) -> Vec<(Verdict, String)> {
    let mut sim = Sim::manned(fleet(), Vec::new());
    sim.healthy(90).run(150, &|agent, vantage, id, target, _| {
        let is_theirs = target.dns_operator.as_deref() == Some("route53") && is_hit(agent, vantage);
        let is_lost = dice::hash(3, &[agent.as_str(), id.as_str()], 0) % 3 < 2;
        (is_theirs && is_lost).then_some((Layer::Dns, Cause::DnsTimeout))
    });
    sim.accusations().into_iter().map(|(verdict, _, element)| (verdict, element)).collect()
}

#[test]
fn four_networks_far_apart_that_lose_an_operators_names_share_no_site_of_it() {
    let hit = ["na-4", "eu-5", "as-6", "sa-7"];
    let said = said_of_names(&|agent, _| hit.contains(&agent.as_str()));
    assert_eq!(said, [(Verdict::Neither, "path/unknown".to_owned())]);
}

#[test]
fn whoever_is_near_loses_what_a_site_of_the_operator_loses() {
    let said = said_of_names(&|_, vantage| matches!(vantage.geography.as_deref(), Some("eu" | "as" | "sa")));
    assert!(said.iter().all(|(_, element)| element != "path/unknown"), "{said:?}");
}

#[test]
fn lines_that_stumble_at_once_are_no_path() {
    let lines = ["na-4", "eu-5", "as-6"];
    let said = |is_selective: bool| {
        let mut sim = Sim::manned(fleet(), Vec::new());
        sim.healthy(90).run(150, &|agent, _, id, _, at| {
            let draw = dice::hash(3, &[agent.as_str(), id.as_str()], if is_selective { 0 } else { at });
            (lines.contains(&agent.as_str()) && draw.is_multiple_of(2))
                .then_some((Layer::Connect, Cause::ConnectTimeout))
        });
        sim.accusations()
    };
    let is_path =
        |said: &[(Verdict, Option<crate::Kind>, String)]| said.iter().any(|(.., name)| name == "path/unknown");
    assert!(!is_path(&said(false)), "half of the runs at anything");
    assert!(is_path(&said(true)), "half of the destinations, always");
}

#[test]
fn troubles_that_outlast_the_records_did_not_begin_together() {
    let lines = [("na-4", 0), ("eu-5", 40), ("as-6", 80)];
    let mut sim = Sim::manned(fleet(), Vec::new());
    let broke = sim.healthy(90).now.micros() / 1_000_000;
    let horizon = Settings::default().horizon.as_secs();
    sim.run(horizon + 240, &|agent, _, id, _, at| {
        // Something to look for, long after.
        if id.as_str() == "chat" && i64::try_from(at).is_ok_and(|at| at >= broke + 420) {
            return Some((Layer::Http, Cause::HttpStatus));
        }
        let since = lines.iter().find(|(line, _)| *line == agent.as_str()).map(|(_, since)| broke + since)?;
        let is_lost = dice::hash(3, &[agent.as_str(), id.as_str()], 0).is_multiple_of(2);
        (is_lost && i64::try_from(at).is_ok_and(|at| at >= since)).then_some((Layer::Connect, Cause::ConnectTimeout))
    });
    assert!(sim.accusations().iter().all(|(.., name)| name != "path/unknown"), "{:?}", sim.accusations());
}

#[test]
fn lines_that_lose_one_clouds_region_and_stumble_besides_share_no_path() {
    let lines = ["na-4", "eu-5", "as-6", "sa-7"];
    let mut sim = Sim::manned(fleet(), Vec::new());
    sim.healthy(90).run(150, &|agent, _, id, target, at| {
        let is_lost = target.region.as_deref() == Some("westeurope");
        let stumbles = dice::hash(3, &[agent.as_str(), id.as_str()], at) % 100 < 4;
        let is_one = lines.contains(&agent.as_str());
        (is_one && (is_lost || stumbles)).then_some((Layer::Connect, Cause::ConnectTimeout))
    });
    assert!(sim.accusations().iter().all(|(.., name)| name != "path/unknown"), "{:?}", sim.accusations());
}

#[test]
fn no_path_makes_a_certificate_expire() {
    let lines = ["na-4", "eu-5", "as-6", "sa-7"];
    let said = |cause: Cause| {
        let mut sim = Sim::manned(fleet(), Vec::new());
        sim.healthy(90).run(150, &|agent, _, id, _, _| {
            let is_lost = dice::hash(3, &[agent.as_str(), id.as_str()], 0).is_multiple_of(2);
            (lines.contains(&agent.as_str()) && is_lost).then_some((Layer::Tls, cause))
        });
        sim.accusations().iter().any(|(.., name)| name == "path/unknown")
    };
    assert!(said(Cause::TlsReset), "a party between them can cut handshakes off");
    assert!(!said(Cause::TlsCertExpired), "and has no part in when certificates end");
}
