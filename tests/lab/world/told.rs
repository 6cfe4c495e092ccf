//! The world as a coordinator is told of it: what its catalog and its registry of agents would say, in the core's types.
//!
//! Rule: the same as [`super::catalog_toml`] says in TOML: a CDN only where it is told, and no hidden dependency.

use faultline_attribution::{ProbeKind, Target as Told, Vantage, World as ToldWorld};

use super::{Agent, Probe, Target, World};

pub(super) fn world(world: &World) -> ToldWorld {
    ToldWorld {
        targets: world.targets.iter().map(|target| (target.id.as_str().into(), told(target))).collect(),
        vantages: world.agents.iter().map(|agent| (agent.id.as_str().into(), vantage(agent))).collect(),
    }
}

fn told(target: &Target) -> Told {
    Told {
        probe: kind(&target.probe),
        host: target.host().map(str::to_owned),
        hosted_on: target.hosted_on.clone(),
        region: target.region.clone(),
        zone: target.zone.clone(),
        service: target.service.clone(),
        plane: target.plane.clone(),
        geography: target.geography.clone(),
        cdn: target.cdn.clone().filter(|_| target.cdn_is_told),
        dns_operator: target.dns_operator().map(str::to_owned),
        identity: target.identity.clone(),
        issuer: target.issuer.clone(),
        depends_on: Vec::new(),
        owner: Some(target.owner.clone()),
        verified: true,
    }
}

fn vantage(agent: &Agent) -> Vantage {
    Vantage {
        group: agent.group.clone().unwrap_or_else(|| agent.id.clone()),
        asn: Some(agent.asn),
        isp: Some(agent.isp.clone()),
        country: Some(agent.country.clone()),
        geography: Some(agent.geography.clone()),
        hosted_on: agent.hosted_on.clone(),
        region: agent.region.clone(),
        resolver: agent.resolver.clone(),
        carriers: agent.carriers.clone(),
    }
}

fn kind(probe: &Probe) -> ProbeKind {
    match probe {
        Probe::Dns { .. } => ProbeKind::Dns,
        Probe::Tcp => ProbeKind::Tcp,
        Probe::Tls => ProbeKind::Tls,
        Probe::Https => ProbeKind::Https,
        Probe::Http3 => ProbeKind::Http3,
    }
}
