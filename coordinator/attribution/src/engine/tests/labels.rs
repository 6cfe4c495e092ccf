//! Labels that point to the wrong cloud: customers moved, and the catalog tells them where they were.

use super::{
    super::*,
    sim::{Fault, Sim, target},
};
use crate::{Cause, Target, TargetId, Verdict, dice};

/// Customers told as AWS us-east-1's with names at Route 53: half of them truly are there, half have moved to Azure.
fn customers() -> Vec<(TargetId, Target)> {
    let of = |site: String| (TargetId::from(site.as_str()), target("aws", "us-east-1", "shop", &site));
    (0..16).flat_map(|number| [of(format!("moved-{number}")), of(format!("stayed-{number}"))]).collect()
}

/// Verdicts while that breaks, beside three failures in a hundred runs of the cloud's own endpoints.
fn verdicts(fault: Fault<'_>) -> Vec<(Verdict, String)> {
    let mut sim = Sim::with(customers());
    sim.healthy(90).run(180, &|agent, vantage, id, target, at| {
        let stumbles = || dice::hash(5, &[agent.as_str(), id.as_str()], at) % 100 < 3;
        let noise = || (target.is_provider_owned() && stumbles()).then_some((Layer::Tls, Cause::TlsTimeout));
        fault(agent, vantage, id, target, at).or_else(noise)
    });
    sim.accusations().into_iter().map(|(verdict, _, element)| (verdict, element)).collect()
}

fn is_moved(id: &TargetId) -> bool {
    id.as_str().starts_with("moved-")
}

#[test]
fn customers_told_as_the_other_clouds_do_not_accuse_it() {
    let said = verdicts(&|agent, _, id, target, at| {
        let is_azure = target.region.as_deref() == Some("eastus") || is_moved(id);
        let is_lost = dice::hash(7, &[agent.as_str(), id.as_str()], at) % 10 < 4;
        (is_azure && is_lost).then_some((Layer::Tls, Cause::TlsTimeout))
    });
    assert!(said.iter().any(|(verdict, _)| *verdict == Verdict::Azure), "{said:?}");
    assert!(said.iter().all(|(verdict, _)| *verdict != Verdict::Aws), "{said:?}");
}

#[test]
fn names_told_as_the_other_clouds_do_not_accuse_it() {
    let said = verdicts(&|agent, vantage, id, target, at| {
        let is_azures = target.dns_operator.as_deref() == Some("azure-dns") || is_moved(id);
        let is_lost = dice::hash(7, &[agent.as_str(), id.as_str()], at) % 10 < 7;
        let is_there = vantage.geography.as_deref() == Some("eu");
        (is_there && is_azures && is_lost).then_some((Layer::Dns, Cause::DnsTimeout))
    });
    assert!(said.iter().any(|(verdict, _)| *verdict == Verdict::Azure), "{said:?}");
    assert!(said.iter().all(|(verdict, _)| *verdict != Verdict::Aws), "{said:?}");
}

/// The rule spares nobody whose own endpoints fail as well.
#[test]
fn both_clouds_are_accused_where_both_clouds_own_fail() {
    let said = verdicts(&|agent, _, id, target, at| {
        let is_there = matches!(target.region.as_deref(), Some("eastus" | "us-east-1"));
        let is_lost = dice::hash(7, &[agent.as_str(), id.as_str()], at) % 10 < 4;
        (is_there && is_lost).then_some((Layer::Tls, Cause::TlsTimeout))
    });
    for cloud in [Verdict::Aws, Verdict::Azure] {
        assert!(said.iter().any(|(verdict, _)| *verdict == cloud), "{said:?}");
    }
}

#[test]
fn a_cloud_that_is_only_slow_is_accused_beside_one_that_fails() {
    let mut sim = Sim::with(customers());
    let broke = 300 + u64::try_from(sim.now.micros() / 1_000_000).expect("positive");
    sim.pace = Some(Box::new(move |_, target, at| {
        let is_slow = target.region.as_deref() == Some("us-east-1") && at >= broke + 30;
        (if is_slow { 4_000 } else { 80 }, None)
    }));
    sim.healthy(300).run(240, &|agent, _, id, target, at| {
        let is_lost = dice::hash(7, &[agent.as_str(), id.as_str()], at) % 10 < 4;
        (target.region.as_deref() == Some("eastus") && is_lost).then_some((Layer::Tls, Cause::TlsTimeout))
    });
    let said = sim.accusations();
    for cloud in [Verdict::Aws, Verdict::Azure] {
        assert!(said.iter().any(|(verdict, ..)| *verdict == cloud), "{said:?}");
    }
}

/// Customers that are slow with the other cloud accuse nobody who is not.
#[test]
fn customers_told_as_the_other_clouds_that_are_slow_do_not_accuse_it() {
    let mut sim = Sim::with(customers());
    let broke = 300 + u64::try_from(sim.now.micros() / 1_000_000).expect("positive");
    sim.pace = Some(Box::new(move |id, target, at| {
        let is_slow = (target.region.as_deref() == Some("eastus") || is_moved(id)) && at >= broke;
        (if is_slow { 4_000 } else { 80 }, None)
    }));
    sim.healthy(540);
    let said = sim.accusations();
    assert!(said.iter().any(|(verdict, ..)| *verdict == Verdict::Azure), "{said:?}");
    assert!(said.iter().all(|(verdict, ..)| *verdict != Verdict::Aws), "{said:?}");
}
