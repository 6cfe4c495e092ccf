//! Part of an element fails: some of the endpoints that share it fail fully, the others not at all.

use super::{
    super::*,
    sim::{Sim, target},
};
use crate::{Cause, Target, TargetId, Verdict};

/// So many customers of each of several CDNs, each an owner of its own.
fn customers(count: usize) -> Vec<(TargetId, Target)> {
    let of = |cdn: &str, number: usize| {
        let site = format!("{cdn}-{number}").replace('/', "-");
        let mut customer = target("other", "", &site, &site);
        customer.cdn = Some(cdn.into());
        (TargetId::from(site), customer)
    };
    let cdns = ["azure/front-door", "fastly", "cloudflare", "akamai", "bunny"];
    cdns.into_iter().flat_map(|cdn| (0..count).map(move |number| of(cdn, number))).collect()
}

/// Whether it is one of the first so many customers of that CDN.
fn is_among(id: &TargetId, cdn: &str, first: usize) -> bool {
    (0..first).any(|number| id.as_str() == format!("{cdn}-{number}"))
}

const REFUSED: Option<(Layer, Cause)> = Some((Layer::Tls, Cause::TlsUnknownIssuer));

fn verdicts(sim: &Sim) -> Vec<(Verdict, String)> {
    sim.accusations().into_iter().map(|(verdict, _, element)| (verdict, element)).collect()
}

#[test]
fn customers_of_a_cdn_that_fail_at_once_while_others_pass_accuse_it() {
    let mut sim = Sim::with(customers(24));
    let fault = |id: &TargetId| is_among(id, "azure-front-door", 4);
    sim.healthy(90).run(60, &|_, _, id, _, _| REFUSED.filter(|_| fault(id)));
    assert_eq!(verdicts(&sim), [(Verdict::Azure, "azure/front-door".to_owned())], "{:#?}", sim.changes);
    let change = sim.changes.iter().find(|change| change.verdict == Verdict::Azure).expect("told");
    assert!(change.caveats.iter().any(|caveat| caveat.starts_with("4 of its endpoints")), "{:?}", change.caveats);
    assert!(change.alibis.iter().any(|alibi| alibi.party == "aws"), "{:?}", change.alibis);
    sim.healthy(200);
    let verdicts = verdicts(&sim);
    assert_eq!(verdicts.len(), 1, "no endpoint is told when it is over: {verdicts:?}");
    assert!(sim.changes.last().is_some_and(|change| change.state == State::Resolved));
}

/// Customers on the balancers of one region of AWS.
fn on_balancers(count: usize) -> Vec<(TargetId, Target)> {
    let of = |number: usize| {
        let site = format!("balanced-{number}");
        let mut customer = target("aws", "us-east-1", "nlb", &site);
        customer.host = Some(format!("{site}.example"));
        customer.service = Some("nlb".into());
        (TargetId::from(site), customer)
    };
    (0..count).map(of).collect()
}

#[test]
fn two_of_a_region_that_was_in_fault_are_its_relapse() {
    let balancer = |id: &TargetId| (0..2).any(|number| id.as_str() == format!("balanced-{number}"));
    let second_wave = |sim: &mut Sim| {
        sim.run(90, &|_, _, id, _, _| REFUSED.filter(|_| balancer(id)));
    };
    let mut calm = Sim::with(on_balancers(4));
    second_wave(calm.healthy(200));
    assert!(verdicts(&calm).iter().all(|(verdict, _)| *verdict == Verdict::Neither), "{:?}", verdicts(&calm));

    let mut shaken = Sim::with(on_balancers(4));
    let empty = Some((Layer::Dns, Cause::DnsEmptyAnswer));
    shaken.healthy(90).run(60, &|_, _, id, _, _| empty.filter(|_| id.as_str() == "aws/us-east-1/s3"));
    shaken.healthy(400);
    assert_eq!(verdicts(&shaken).len(), 1, "{:?}", verdicts(&shaken));
    second_wave(&mut shaken);
    let last = verdicts(&shaken).pop();
    assert!(last.as_ref().is_some_and(|(verdict, _)| *verdict == Verdict::Aws), "{:?}", verdicts(&shaken));
}

#[test]
fn customers_that_fail_one_after_the_other_are_each_their_own() {
    let mut sim = Sim::with(customers(24));
    let second = |sim: &Sim| u64::try_from(sim.now.micros() / 1_000_000).expect("positive");
    sim.healthy(90);
    let start = second(&sim);
    // One every 40 s.
    let fails = move |id: &TargetId, at: u64| {
        let begun = usize::try_from((at - start) / 40 + 1).expect("small");
        is_among(id, "azure-front-door", begun.min(4))
    };
    sim.run(180, &|_, _, id, _, at| REFUSED.filter(|_| at >= start && fails(id, at)));
    assert!(verdicts(&sim).iter().all(|(verdict, _)| *verdict == Verdict::Neither), "{:?}", verdicts(&sim));
    assert!(verdicts(&sim).len() >= 3, "{:?}", verdicts(&sim));
}

#[test]
fn customers_that_have_always_failed_say_nothing_of_what_they_share() {
    let mut sim = Sim::with(customers(24));
    sim.run(150, &|_, _, id, _, _| REFUSED.filter(|_| is_among(id, "azure-front-door", 4)));
    assert!(verdicts(&sim).iter().all(|(verdict, _)| *verdict == Verdict::Neither), "{:?}", verdicts(&sim));
}

#[test]
fn customers_of_several_cdns_that_fail_at_once_accuse_no_cloud() {
    let mut sim = Sim::with(customers(24));
    let fault = |id: &TargetId| is_among(id, "azure-front-door", 4) || is_among(id, "fastly", 3);
    sim.healthy(90).run(60, &|_, _, id, _, _| REFUSED.filter(|_| fault(id)));
    assert!(verdicts(&sim).iter().all(|(verdict, _)| *verdict == Verdict::Neither), "{:?}", verdicts(&sim));
}

#[test]
fn customers_that_fail_with_another_party_do_not_accuse_what_they_share() {
    let mut sim = Sim::with(customers(24));
    let fault =
        |id: &TargetId, known: &Target| known.cdn.as_deref() == Some("fastly") || is_among(id, "azure-front-door", 4);
    sim.healthy(90).run(60, &|_, _, id, known, _| REFUSED.filter(|_| fault(id, known)));
    assert!(verdicts(&sim).iter().all(|(verdict, _)| *verdict == Verdict::Neither), "{:?}", verdicts(&sim));
    assert!(verdicts(&sim).iter().any(|(_, element)| element == "cdn/fastly"), "{:?}", verdicts(&sim));
}
