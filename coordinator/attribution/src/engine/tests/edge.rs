//! A cloud's edge: the ways of several carriers to it fail, and everybody behind others sees nothing.

use super::{
    super::*,
    sim::{Sim, vantages},
};
use crate::{Cause, Vantage, Verdict, dice};

/// An agent alone in its group, one of a few countries.
fn agent(name: String, asn: u32, (isp, country): (String, u32), carriers: Vec<String>) -> (AgentId, Vantage) {
    let id = AgentId::from(name.as_str());
    let vantage = Vantage {
        group: name,
        asn: Some(asn),
        isp: Some(isp),
        country: Some(["us", "de", "gb", "jp"][country as usize % 4].into()),
        geography: Some(["na", "eu"][country as usize % 2].into()),
        hosted_on: Some("other".into()),
        carriers,
        ..Vantage::default()
    };
    (id, vantage)
}

/// The usual fleet, three more agents behind each of three carriers, and twenty behind a fourth.
fn fleet() -> Vec<(AgentId, Vantage)> {
    let behind = |carrier: &str, number: u32| {
        let name = format!("{carrier}-{number}");
        let isp = (format!("{name}-isp"), number);
        agent(name, 64_512 + number, isp, vec![carrier.into()])
    };
    let lost = ["as1299", "as2914", "as6453"].into_iter().zip([0, 10, 20]);
    let lost = lost.flat_map(|(carrier, first)| (first..first + 3).map(move |number| behind(carrier, number)));
    vantages().into_iter().chain(lost).chain((30..50).map(|number| behind("as3356", number))).collect()
}

/// What is said while two fifths of the connects from behind these carriers to AWS us-east-1 fail.
fn said(carriers: &[&str]) -> Vec<(Verdict, String)> {
    let mut sim = Sim::manned(fleet(), Vec::new());
    sim.healthy(90).run(150, &|agent, vantage, id, target, at| {
        let is_theirs = vantage.carriers.iter().any(|carrier| carriers.contains(&carrier.as_str()));
        let is_there = target.hosted_on == "aws" && target.region.as_deref() == Some("us-east-1");
        let is_lost = dice::hash(3, &[agent.as_str(), id.as_str()], at) % 10 < 4;
        (is_theirs && is_there && is_lost).then_some((Layer::Connect, Cause::ConnectTimeout))
    });
    sim.accusations().into_iter().map(|(verdict, _, element)| (verdict, element)).collect()
}

#[test]
fn ways_of_three_carriers_that_fail_at_once_are_the_edge() {
    let said = said(&["as1299", "as2914", "as6453"]);
    assert!(!said.is_empty() && said.iter().all(|(verdict, _)| *verdict == Verdict::Aws), "{said:?}");
}

#[test]
fn the_way_of_one_carrier_accuses_no_cloud() {
    let said = said(&["as3356"]);
    assert!(!said.is_empty() && said.iter().all(|(verdict, _)| *verdict == Verdict::Neither), "{said:?}");
}

/// Three in ten lie about a region of AWS, wherever they are; carriers are suspected by who lies behind them.
#[test]
fn liars_behind_several_carriers_make_no_edge() {
    let of_network = |number: u32| {
        let network = number / 4;
        agent(format!("one-{number}"), 65_000 + network, (format!("isp-{network}"), network), Vec::new())
    };
    for lying in [[0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14], [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21]] {
        let mut sim = Sim::manned((0..40).map(of_network).collect(), Vec::new());
        sim.healthy(90).run(150, &|agent, _, _, target, _| {
            let number = agent.as_str().strip_prefix("one-").and_then(|number| number.parse::<u32>().ok());
            let lies = number.is_some_and(|number| lying.contains(&number));
            (lies && target.region.as_deref() == Some("us-east-1")).then_some((Layer::Connect, Cause::ConnectTimeout))
        });
        let said = sim.accusations();
        assert!(said.iter().all(|(verdict, ..)| *verdict == Verdict::Neither), "{said:?}");
    }
}
