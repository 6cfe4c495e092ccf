//! Explanations: the numbers behind a verdict, as they are told to whoever asks how we know.

use super::{
    super::*,
    sim::{Sim, cdn_of},
};
use crate::{AgentId, Cause, Element, ElementKind, Residual, Target, TargetId, Verdict, dice::hash};

/// Front Door fails hard; what these agents see at these targets in these seconds does not.
fn front_door(spared: &'static [(&str, &str)]) -> impl Fn(&AgentId, &TargetId, &Target) -> Option<(Layer, Cause)> {
    move |agent, id, target| {
        let is_spared = spared.contains(&(agent.as_str(), id.as_str()));
        let is_behind = cdn_of(id, target).as_deref() == Some("azure/front-door");
        (is_behind && !is_spared).then_some((Layer::Connect, Cause::ConnectTimeout))
    }
}

/// The explanation of the first incident that accuses this element.
fn explained(sim: &Sim, element: &str) -> Explanation {
    let change = sim.changes.iter().find(|change| change.element == element);
    let change = change.unwrap_or_else(|| panic!("nobody accuses {element}: {:#?}", sim.changes));
    sim.engine.explain(&change.incident).expect("an incident is explained")
}

#[test]
fn an_alibi_refutes_within_what_its_groups_may_say() {
    let mut sim = Sim::new();
    let fault = front_door(&[]);
    sim.healthy(90).run(60, &|agent, _, id, target, _| fault(agent, id, target));
    let nats: Vec<f64> = sim.changes.iter().flat_map(|change| &change.alibis).map(|alibi| alibi.nats).collect();
    assert!(nats.len() > 1 && nats.windows(2).all(|pair| pair[0] <= pair[1]), "more passes, more nats: {nats:?}");
    let last = sim.changes.iter().rev().find_map(|change| change.alibis.first()).expect("AWS is cleared");
    let most = f64::from(last.groups) * ((1.0 - 1e-3) / 1e-3_f64).ln();
    assert!(last.party == "aws" && last.nats > most / 2.0 && last.nats < most + 1e-3, "{last:?}, at most {most}");
}

#[test]
fn the_members_of_an_explanation_say_how_far_they_reach() {
    let mut sim = Sim::new();
    let fault = front_door(&[]);
    sim.healthy(90).run(60, &|agent, _, id, target, _| fault(agent, id, target));
    let explanation = explained(&sim, "azure/front-door");
    let [member] = explanation.members.as_slice() else { panic!("one member: {explanation:#?}") };
    assert_eq!((member.element.as_str(), member.element_kind), ("azure/front-door", ElementKind::Cdn));
    assert_eq!(member.severities.keys().collect::<Vec<_>>(), [&Layer::Connect], "{member:?}");
    assert_eq!((member.failing_groups, member.total_groups, member.targets), (14, 14, 3), "{member:?}");
    assert!((member.gain - explanation.gain).abs() < 1e-3 && !member.is_consequence, "{explanation:#?}");
    assert_eq!(explanation.assumed_liars, 2, "a fifth of the others");
    for margin in [explanation.robust_margin, explanation.domain_margin] {
        assert!(margin > 20.0 && margin < explanation.gain, "{explanation:#?}");
    }
    let Explanation { robust_margin, domain_margin, .. } = explanation;
    assert!(domain_margin < robust_margin, "one network has three groups: {domain_margin} and {robust_margin}");
}

#[test]
fn a_verdict_that_explains_everything_leaves_nothing_over() {
    let mut sim = Sim::new();
    let fault = front_door(&[]);
    sim.healthy(90).run(60, &|agent, _, id, target, _| fault(agent, id, target));
    let residuals = explained(&sim, "azure/front-door").residuals;
    assert!(residuals.failed > 40 && residuals.from < sim.now, "{residuals:?}");
    assert_eq!((residuals.unexplained, residuals.failures.len(), residuals.passes.len()), (0, 0, 0), "{residuals:?}");
}

#[test]
fn residuals_are_what_fails_for_nobody_and_what_passes_in_spite_of_somebody() {
    let mut sim = Sim::new();
    let fault = front_door(&[("bell-1", "grocer")]);
    sim.healthy(90).run(60, &|agent, _, id, target, second| {
        let is_lone = agent.as_str() == "bt-1" && id.as_str() == "google" && second % 60 >= 30;
        fault(agent, id, target).or_else(|| is_lone.then_some((Layer::Http, Cause::HttpTimeout)))
    });
    let residuals = explained(&sim, "azure/front-door").residuals;
    assert_eq!(residuals.unexplained, 1, "{residuals:#?}");
    let [failure] = residuals.failures.as_slice() else { panic!("one failure: {residuals:#?}") };
    let named = |residual: &Residual| (residual.group.clone(), residual.target.clone(), residual.layer);
    assert_eq!(named(failure), ("bt-1".into(), "google".into(), Layer::Http));
    assert!(failure.failed == 1 && failure.expected < 0.01 && failure.nats > 3.0, "{failure:?}");
    let [pass] = residuals.passes.as_slice() else { panic!("one pass: {residuals:#?}") };
    assert_eq!(named(pass), ("bell-1".into(), "grocer".into(), Layer::Connect));
    assert!(pass.failed == 0 && pass.runs > 0 && pass.expected > 0.9 && pass.nats > 3.0, "{pass:?}");
}

#[test]
fn an_explanation_survives_json_and_a_restart() {
    let mut sim = Sim::new();
    let fault = front_door(&[("bell-1", "grocer")]);
    sim.healthy(90).run(60, &|agent, _, id, target, _| fault(agent, id, target));
    let explanation = explained(&sim, "azure/front-door");
    let json = serde_json::to_string(&explanation).expect("JSON");
    assert!(json.contains(r#""severities":{"connect":0.9"#), "{json}");
    assert_eq!(serde_json::from_str::<Explanation>(&json).expect("an explanation"), explanation);
    sim.engine = Engine::restore(&sim.engine.snapshot(), Settings::default()).expect("restores");
    assert_eq!(explained(&sim, "azure/front-door"), explanation);
}

#[test]
fn a_common_path_shows_what_fails_on_it_and_others_clear_the_clouds() {
    let mut sim = Sim::new();
    let on_path = ["bell-1", "comcast-1", "hetzner-1", "ovh-1", "bt-1"];
    sim.healthy(90).run(60, &|agent, _, id, _, _| {
        let is_routed_there = hash(3, &[agent.as_str(), id.as_str()], 0) % 5 < 2;
        (on_path.contains(&agent.as_str()) && is_routed_there).then_some((Layer::Connect, Cause::ConnectTimeout))
    });
    let path = Element::new(ElementKind::Path, "path/unknown");
    let explanation = explained(&sim, &path.name);
    let change = sim.changes.iter().rfind(|change| change.element == path.name).expect("told");
    assert_eq!(change.verdict, Verdict::Neither);
    assert!(!change.evidence.is_empty() && !explanation.evidence.is_empty(), "{change:#?}");
    assert!(change.evidence.iter().all(|row| on_path.contains(&row.group.as_str())), "{change:#?}");
    let cleared: Vec<&str> = change.alibis.iter().map(|alibi| alibi.party.as_str()).collect();
    assert_eq!(cleared, ["aws", "azure"], "{change:#?}");
    assert!(change.alibis.iter().all(|alibi| alibi.groups == 9 && alibi.nats > 20.0), "the other groups: {change:#?}");
    assert!(explanation.robust_margin < explanation.gain, "{explanation:#?}");
    let member = explanation.members.iter().find(|member| member.element == path.name).expect("the culprit is told");
    assert!(member.failing_groups == change.failing_groups && member.targets > 3, "{member:?}");
}
