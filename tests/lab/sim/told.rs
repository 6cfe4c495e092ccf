//! What a coordinator is told of the world, and what it then learns from healthy probes.
//!
//! Rules: the catalog tells what [`World::told`] tells, but for the facts that a scenario makes wrong or takes away; what is
//! untold or wrong is learned with the first healthy look, unless the scenario says that it never is. Only a CDN, an
//! issuer, a DNS operator and, without a CDN, cloud and region of the address can be seen from outside.

use faultline_attribution::{Learned, Target as Told, World as ToldWorld};

use crate::{
    scenario::{Fact, Scenario},
    world::{Target, World},
};

/// The world as it is told, and by target what is to be learned of it.
pub(super) fn told(world: &World, scenario: &Scenario) -> (ToldWorld, Vec<Option<Learned>>) {
    let mut told = world.told();
    let mut learned = Vec::new();
    for target in &world.targets {
        let Some(entry) = told.targets.get_mut(target.id.as_str()) else {
            learned.push(None);
            continue;
        };
        let mut hidden = Vec::new();
        for stale in scenario.stale.iter().filter(|stale| stale.targets.matches(target)) {
            for (fact, word) in &stale.facts {
                say(entry, *fact, word.clone());
                if !stale.is_learned {
                    hidden.push(*fact);
                }
            }
        }
        learned.push(to_learn(target, entry, &hidden));
    }
    (told, learned)
}

fn say(entry: &mut Told, fact: Fact, word: Option<String>) {
    match fact {
        Fact::HostedOn => entry.hosted_on = word.unwrap_or_else(|| "other".into()),
        Fact::Region => entry.region = word,
        Fact::Zone => entry.zone = word,
        Fact::Service => entry.service = word,
        Fact::Plane => entry.plane = word,
        Fact::Geography => entry.geography = word,
        Fact::Cdn => entry.cdn = word,
        Fact::DnsOperator => entry.dns_operator = word,
        Fact::Identity => entry.identity = word,
        Fact::Issuer => entry.issuer = word,
        Fact::Owner => entry.owner = word,
    }
}

fn to_learn(target: &Target, entry: &Told, hidden: &[Fact]) -> Option<Learned> {
    let seen = |fact: Fact, truth: Option<&str>, told: Option<&str>| {
        truth.filter(|truth| Some(*truth) != told && !hidden.contains(&fact)).map(str::to_owned)
    };
    let has_range = target.cdn.is_none() && matches!(target.hosted_on.as_str(), "aws" | "azure" | "gcp");
    let of_range = |truth: Option<&'_ str>| truth.filter(|_| has_range).map(str::to_owned);
    let (cloud, region) = (of_range(Some(&target.hosted_on)), of_range(target.region.as_deref()));
    let learned = Learned {
        cdn: seen(Fact::Cdn, target.cdn.as_deref(), entry.cdn.as_deref()),
        dns_operator: seen(Fact::DnsOperator, target.dns_operator(), entry.dns_operator.as_deref()),
        issuer: seen(Fact::Issuer, target.issuer.as_deref(), entry.issuer.as_deref()),
        hosted_on: seen(Fact::HostedOn, cloud.as_deref(), Some(&entry.hosted_on)),
        region: seen(Fact::Region, region.as_deref(), entry.region.as_deref()),
    };
    (learned != Learned::default()).then_some(learned)
}
