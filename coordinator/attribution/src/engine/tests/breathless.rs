//! Agents that are out of breath: all of them fail a share of whatever they look at, controls included.

use super::{
    super::*,
    sim::{Sim, target},
};
use crate::{Cause, Target, TargetId, Verdict, dice};

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

/// Half of all targets are customers in one region of AWS, and the engine has seen nothing before: luck has it easy.
#[test]
fn a_share_of_everything_from_the_first_second_on_accuses_no_cloud() {
    let customer = |number: u32| {
        let site = format!("shop-{number}");
        (TargetId::from(site.as_str()), target("aws", "us-east-1", "shop", &site))
    };
    let customers: Vec<(TargetId, Target)> = (0..32).map(customer).collect();
    for (of_100, seed) in [3, 10, 20, 40].into_iter().flat_map(|of_100| (0..4).map(move |seed| (of_100, seed))) {
        let mut sim = Sim::with(customers.clone());
        sim.run(120, &|agent, _, id, _, at| {
            HUNG.filter(|_| dice::hash(seed, &[agent.as_str(), id.as_str()], at) % 100 < of_100)
        });
        assert_eq!(accused(&sim), Vec::<String>::new(), "{of_100} % with seed {seed}");
    }
}
