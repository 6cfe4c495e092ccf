//! Which targets, and seen by which agents, a fault concerns.
//!
//! Rules: a selector is a conjunction of lists, each list a disjunction of words; an empty list says nothing. The word
//! `none` of `cdn` selects targets that are behind none, the word `other` of `hosted_on` agents that are on no cloud.

use serde::Deserialize;

use crate::world::{Agent, Alias, Probe, Target};

/// Which targets a fault concerns; empty is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetSelect {
    /// Target ids.
    pub ids: Vec<String>,
    /// CDN in front; `none` is none.
    pub cdn: Vec<String>,
    /// DNS operators, of any name in the chain.
    pub dns_operator: Vec<String>,
    /// Cloud.
    pub hosted_on: Vec<String>,
    /// Region.
    pub region: Vec<String>,
    /// Zone.
    pub zone: Vec<String>,
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
    /// Issuer of the certificate.
    pub issuer: Vec<String>,
    /// Top-level domain of the asked name.
    pub tld: Vec<String>,
    /// Kind of probe: dns, tcp, tls, https, http3.
    pub probe: Vec<String>,
    /// Whether it is asked for by name, or by a literal address.
    pub named: Option<bool>,
}

impl TargetSelect {
    /// Whether every target is concerned.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the target is concerned at all.
    pub fn matches(&self, target: &Target) -> bool {
        self.matches_beside_dns(target)
            && (self.dns_operator.is_empty()
                || target.names.iter().any(|alias| self.dns_operator.contains(&alias.operator)))
    }

    /// Whether what answers the client is broken, rather than an origin behind it.
    pub(crate) fn breaks_edge(&self, target: &Target) -> bool {
        self.matches(target) && !self.breaks_origin_alone(target)
    }

    /// Whether the target is behind a CDN, and the fault is of the place or service where its origin is.
    pub(crate) fn breaks_origin_alone(&self, target: &Target) -> bool {
        let is_of_a_place =
            [&self.hosted_on, &self.region, &self.zone, &self.service, &self.plane].iter().any(|list| !list.is_empty());
        target.cdn.is_some() && is_of_a_place && self.cdn.is_empty() && self.ids.is_empty() && self.matches(target)
    }

    /// Whether a question to `operator` about that name is broken.
    pub(crate) fn breaks_name(&self, operator: &str, link: Option<(&Target, &Alias)>) -> bool {
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
            && says(&self.cdn, Some(target.cdn.as_deref().unwrap_or("none")))
            && says(&self.hosted_on, Some(&target.hosted_on))
            && says(&self.region, target.region.as_ref())
            && says(&self.zone, target.zone.as_ref())
            && says(&self.service, target.service.as_ref())
            && says(&self.plane, target.plane.as_ref())
            && says(&self.identity, target.identity.as_ref())
            && says(&self.owner, Some(&target.owner))
            && says(&self.geography, target.geography.as_ref())
            && says(&self.issuer, target.issuer.as_ref())
            && says(&self.tld, target.tld())
            && says(&self.probe, Some(kind(&target.probe)))
            && self.named.is_none_or(|named| named != target.names.is_empty())
    }

    /// Every word with its key, each as a selector of its own.
    pub(crate) fn words(&self) -> impl Iterator<Item = (&'static str, &str, Self)> {
        macro_rules! each {
            ($($key:ident),*) => {
                [$(self.$key.iter().map(|word| (stringify!($key), word.as_str(),
                    Self { $key: vec![word.clone()], ..Self::default() })).collect::<Vec<_>>()),*]
            };
        }
        each!(
            ids,
            cdn,
            dns_operator,
            hosted_on,
            region,
            zone,
            service,
            plane,
            identity,
            owner,
            geography,
            issuer,
            tld,
            probe
        )
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
    /// Cloud on which the agent runs; `other` is none.
    pub hosted_on: Vec<String>,
    /// Region in which it runs.
    pub region: Vec<String>,
    /// Public resolver that it uses.
    pub resolver: Vec<String>,
    /// Carriers of its access network.
    pub carriers: Vec<String>,
    /// Vantage group.
    pub group: Vec<String>,
    /// Autonomous system.
    pub asn: Vec<u32>,
}

impl AgentSelect {
    /// Whether the agent sees the fault.
    pub fn matches(&self, agent: &Agent) -> bool {
        says(&self.ids, Some(&agent.id))
            && says(&self.isp, Some(&agent.isp))
            && says(&self.country, Some(&agent.country))
            && says(&self.geography, Some(&agent.geography))
            && says(&self.hosted_on, Some(agent.hosted_on.as_deref().unwrap_or("other")))
            && says(&self.region, agent.region.as_ref())
            && says(&self.resolver, agent.resolver.as_ref())
            && (self.carriers.is_empty() || agent.carriers.iter().any(|carrier| self.carriers.contains(carrier)))
            && says(&self.group, Some(agent.group.as_ref().unwrap_or(&agent.id)))
            && (self.asn.is_empty() || self.asn.contains(&agent.asn))
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
        each!(ids, isp, country, geography, hosted_on, region, resolver, carriers, group).into_iter().flatten()
    }
}

fn says(list: &[String], word: Option<impl AsRef<str>>) -> bool {
    list.is_empty() || word.is_some_and(|word| list.iter().any(|listed| listed == word.as_ref()))
}

/// The catalog's word for that probe.
fn kind(probe: &Probe) -> &'static str {
    match probe {
        Probe::Dns { .. } => "dns",
        Probe::Tcp => "tcp",
        Probe::Tls => "tls",
        Probe::Https => "https",
        Probe::Http3 => "http3",
    }
}
