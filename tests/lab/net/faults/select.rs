//! Which targets, and seen by which agents, a fault concerns.
//!
//! Rule: a selector is a conjunction of lists, each list a disjunction of words; an empty list says nothing.

use serde::Deserialize;

use crate::world::{Agent, Alias, Target};

/// Which targets a fault concerns; empty is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetSelect {
    /// Target ids.
    pub ids: Vec<String>,
    /// CDN in front.
    pub cdn: Vec<String>,
    /// DNS operators, of any name in the chain.
    pub dns_operator: Vec<String>,
    /// Cloud.
    pub hosted_on: Vec<String>,
    /// Region.
    pub region: Vec<String>,
    /// Service.
    pub service: Vec<String>,
    /// Plane.
    pub plane: Vec<String>,
    /// Identity provider.
    pub identity: Vec<String>,
    /// Owner.
    pub owner: Vec<String>,
    /// Geography.
    pub geography: Vec<String>,
}

impl TargetSelect {
    /// Whether the target is concerned at all.
    pub fn matches(&self, target: &Target) -> bool {
        self.matches_beside_dns(target)
            && (self.dns_operator.is_empty()
                || target.names.iter().any(|alias| self.dns_operator.contains(&alias.operator)))
    }

    /// Whether what answers the client is broken, rather than an origin behind it.
    pub(super) fn breaks_edge(&self, target: &Target) -> bool {
        self.matches(target) && !self.breaks_origin_alone(target)
    }

    /// Whether the target is behind a CDN, and the fault is of the place or service where its origin is.
    pub(super) fn breaks_origin_alone(&self, target: &Target) -> bool {
        let is_of_a_place =
            [&self.hosted_on, &self.region, &self.service, &self.plane].iter().any(|list| !list.is_empty());
        target.cdn.is_some() && is_of_a_place && self.cdn.is_empty() && self.ids.is_empty() && self.matches(target)
    }

    /// Whether a question to `operator` about that name is broken.
    pub(super) fn breaks_name(&self, operator: &str, link: Option<(&Target, &Alias)>) -> bool {
        if !self.dns_operator.is_empty() && !self.dns_operator.iter().any(|word| word == operator) {
            return false;
        }
        let Some((target, alias)) = link else {
            return *self == Self { dns_operator: self.dns_operator.clone(), ..Self::default() };
        };
        let is_its_name = if !self.dns_operator.is_empty() {
            true
        } else if self.cdn.is_empty() {
            target.host() == Some(alias.name.as_str())
        } else {
            target.names.last().is_some_and(|last| last.name == alias.name)
        };
        is_its_name && self.matches_beside_dns(target)
    }

    fn matches_beside_dns(&self, target: &Target) -> bool {
        says(&self.ids, Some(&target.id))
            && says(&self.cdn, target.cdn.as_ref())
            && says(&self.hosted_on, Some(&target.hosted_on))
            && says(&self.region, target.region.as_ref())
            && says(&self.service, target.service.as_ref())
            && says(&self.plane, target.plane.as_ref())
            && says(&self.identity, target.identity.as_ref())
            && says(&self.owner, Some(&target.owner))
            && says(&self.geography, target.geography.as_ref())
    }

    /// Every word with its key, each as a selector of its own.
    pub(crate) fn words(&self) -> impl Iterator<Item = (&'static str, &str, Self)> {
        macro_rules! each {
            ($($key:ident),*) => {
                [$(self.$key.iter().map(|word| (stringify!($key), word.as_str(),
                    Self { $key: vec![word.clone()], ..Self::default() })).collect::<Vec<_>>()),*]
            };
        }
        each!(ids, cdn, dns_operator, hosted_on, region, service, plane, identity, owner, geography)
            .into_iter()
            .flatten()
    }
}

/// Which agents see a fault; empty is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSelect {
    /// Agent ids.
    pub ids: Vec<String>,
    /// Access network.
    pub isp: Vec<String>,
    /// Country.
    pub country: Vec<String>,
    /// Geography.
    pub geography: Vec<String>,
    /// Cloud on which the agent runs.
    pub hosted_on: Vec<String>,
    /// Region in which it runs.
    pub region: Vec<String>,
}

impl AgentSelect {
    /// Whether the agent sees the fault.
    pub fn matches(&self, agent: &Agent) -> bool {
        says(&self.ids, Some(&agent.id))
            && says(&self.isp, Some(&agent.isp))
            && says(&self.country, Some(&agent.country))
            && says(&self.geography, Some(&agent.geography))
            && says(&self.hosted_on, agent.hosted_on.as_ref())
            && says(&self.region, agent.region.as_ref())
    }

    /// Whether every agent sees the fault.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Every word with its key, each as a selector of its own.
    pub(crate) fn words(&self) -> impl Iterator<Item = (&'static str, &str, Self)> {
        macro_rules! each {
            ($($key:ident),*) => {
                [$(self.$key.iter().map(|word| (stringify!($key), word.as_str(),
                    Self { $key: vec![word.clone()], ..Self::default() })).collect::<Vec<_>>()),*]
            };
        }
        each!(ids, isp, country, geography, hosted_on, region).into_iter().flatten()
    }
}

fn says(list: &[String], word: Option<&String>) -> bool {
    list.is_empty() || word.is_some_and(|word| list.contains(word))
}
