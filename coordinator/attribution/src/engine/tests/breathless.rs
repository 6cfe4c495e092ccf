//! Agents that are out of breath: all of them fail a share of whatever they look at, controls included.

use super::{super::*, sim::Sim};
use crate::{Cause, TargetId, Verdict, dice};

/// Whether this look is one of so many of 100 that fail.
fn is_hit(agent: &AgentId, target: &TargetId, at: u64, of_100: u64) -> bool {
    dice::hash(7, &[agent.as_str(), target.as_str()], at) % 100 < of_100
}

fn accused(sim: &Sim) -> Vec<String> {
    let clouds = sim.accusations().into_iter().filter(|(verdict, ..)| matches!(verdict, Verdict::Aws | Verdict::Azure));
    clouds.map(|(_, _, element)| element).collect()
}

const HUNG: Option<(Layer, Cause)> = Some((Layer::Tls, Cause::TlsTimeout));

#[test]
fn what_everything_fails_alike_accuses_no_cloud() {
    let mut sim = Sim::new();
    sim.healthy(90).run(400, &|agent, _, id, _, at| HUNG.filter(|_| is_hit(agent, id, at, 20)));
    assert_eq!(accused(&sim), Vec::<String>::new(), "a fifth of all looks, whatever they look at");
    assert!(!sim.changes.is_empty(), "it is not overlooked");
}

#[test]
fn what_fails_more_than_the_rest_is_accused_nevertheless() {
    let mut sim = Sim::new();
    sim.healthy(90).run(200, &|agent, _, id, target, at| {
        let of_100 = if target.hosted_on == "azure" { 60 } else { 5 };
        HUNG.filter(|_| is_hit(agent, id, at, of_100))
    });
    let accused = accused(&sim);
    assert!(!accused.is_empty() && accused.iter().all(|element| element.starts_with("azure/")), "{accused:?}");
}
