//! Refusals: what a client error says, of an endpoint that anybody may close and of a service that its provider serves.

use super::{
    super::*,
    sim::{Sim, vantages},
};
use crate::{Cause, Vantage, Verdict, dice};

/// The usual fleet, and eight agents more in a data centre.
fn fleet() -> Vec<(AgentId, Vantage)> {
    let one = |number: u32| {
        let name = format!("host-{number}");
        let vantage = Vantage {
            group: name.clone(),
            asn: Some(64_512 + number),
            isp: Some(format!("{name}-isp")),
            country: Some(["us", "de", "gb", "jp"][number as usize % 4].into()),
            geography: Some(["na", "eu"][number as usize % 2].into()),
            hosted_on: Some("gcp".into()),
            ..Vantage::default()
        };
        (AgentId::from(name.as_str()), vantage)
    };
    vantages().into_iter().chain((0..8).map(one)).collect()
}

/// Verdicts and elements that are told while these look-ups, of agent, vantage, target, second, are refused.
fn said(is_refused: &dyn Fn(&AgentId, &Vantage, &str, u64) -> bool) -> Vec<(Verdict, String)> {
    let mut sim = Sim::manned(fleet(), Vec::new());
    sim.status = Some(403);
    sim.healthy(90).run(180, &|agent, vantage, id, _, at| {
        is_refused(agent, vantage, id.as_str(), at).then_some((Layer::Http, Cause::HttpStatus))
    });
    sim.accusations().into_iter().map(|(verdict, _, element)| (verdict, element)).collect()
}

#[test]
fn a_site_that_refuses_data_centres_has_a_rule_against_robots() {
    let is_hosted = |vantage: &Vantage| matches!(vantage.hosted_on.as_deref(), Some("aws" | "azure" | "gcp"));
    assert_eq!(said(&|_, vantage, id, _| id == "forum" && is_hosted(vantage)), []);
    assert_eq!(said(&|_, _, id, _| id == "forum"), [(Verdict::Neither, "endpoint/forum".to_owned())], "everybody");
}

#[test]
fn a_service_that_refuses_everybodys_calls_in_all_its_regions_is_out_of_order() {
    let is_unlucky = |agent: &AgentId, id: &str, at| dice::hash(3, &[agent.as_str(), id], at) % 10 < 4;
    let said = said(&|agent, _, id, at| id.starts_with("aws/") && id.ends_with("/sqs") && is_unlucky(agent, id, at));
    assert_eq!(said, [(Verdict::Aws, "aws/*/sqs".to_owned())]);
}

#[test]
fn a_single_endpoint_that_refuses_everybody_accuses_no_cloud() {
    assert_eq!(said(&|_, _, id, _| id == "aws/eu-west-1/sqs"), []);
}
