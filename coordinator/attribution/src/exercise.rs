//! Which elements a probe exercises: for an agent, a target and a layer, everything that must work for the layer to
//! pass. Passing speaks for all of them, failing implicates them.

use std::collections::BTreeSet;

use crate::{
    element::{Element, ElementKind},
    vocabulary::{Layer, ProbeKind},
    world::{AgentId, Learned, Target, TargetId, Vantage},
};

/// Elements on the agent's side, at every layer.
pub(crate) fn vantage_side(agent: &AgentId, vantage: &Vantage) -> BTreeSet<Element> {
    let mut set = BTreeSet::from([Element::new(ElementKind::Agent, format!("agent/{agent}"))]);
    if let Some(isp) = &vantage.isp {
        set.insert(Element::new(ElementKind::Isp, format!("isp/{isp}")));
    }
    if let Some(country) = &vantage.country {
        set.insert(Element::new(ElementKind::Country, format!("country/{country}")));
    }
    for carrier in &vantage.carriers {
        set.insert(Element::new(ElementKind::Carrier, carrier.clone()));
    }
    set
}

/// Elements that an agent's failures implicate while its passes do not clear them: the cloud region that it sits in. A
/// region whose own machines still look outwards may be down for everybody else.
pub(crate) fn access(vantage: &Vantage) -> BTreeSet<Element> {
    match (vantage.hosted_on.as_deref(), &vantage.region) {
        (Some(cloud @ ("aws" | "azure")), Some(region)) => {
            BTreeSet::from([Element::new(ElementKind::Region, format!("{cloud}/{region}"))])
        }
        (Some("other") | None, _) => BTreeSet::new(),
        (Some(cloud), _) => BTreeSet::from([Element::new(ElementKind::OtherCloud, format!("cloud/{cloud}"))]),
    }
}

/// All elements that the layer of this probe exercises.
pub(crate) fn exercised(
    (agent, vantage): (&AgentId, &Vantage),
    (id, target): (&TargetId, &Target),
    learned: Option<&Learned>,
    layer: Layer,
) -> BTreeSet<Element> {
    let mut set = vantage_side(agent, vantage);
    let cdn = learned.and_then(|learned| learned.cdn.as_ref()).or(target.cdn.as_ref());
    if layer == Layer::Dns {
        if let Some(resolver) = &vantage.resolver {
            set.insert(Element::new(ElementKind::Resolver, format!("resolver/{resolver}")));
        }
        let operator = learned.and_then(|learned| learned.dns_operator.as_ref()).or(target.dns_operator.as_ref());
        if let Some(operator) = operator {
            set.insert(Element::dns_operator(operator));
        }
        if let Some(tld) = target.host.as_deref().and_then(|host| host.rsplit_once('.')).map(|(_, tld)| tld) {
            set.insert(Element::new(ElementKind::Tld, format!("tld/{tld}")));
        }
    }
    if let Some(word) = cdn {
        let cdn = Element::cdn(word);
        if layer != Layer::Dns
            && let Some(geography) = &vantage.geography
        {
            set.insert(Element::new(ElementKind::CdnSite, format!("{}/{geography}", cdn.name)));
        }
        // A cloud's CDN has its own names in its own DNS, whoever serves the customer's zone in front of them.
        match cdn.name.as_str() {
            "aws/cloudfront" if layer == Layer::Dns => set.insert(Element::dns_operator("route53")),
            "azure/front-door" if layer == Layer::Dns => set.insert(Element::dns_operator("azure-dns")),
            _ => false,
        };
        set.insert(cdn);
    }
    // Behind a CDN, only HTTP reaches the origin.
    let reaches_origin = layer != Layer::Dns && (cdn.is_none() || layer == Layer::Http);
    if reaches_origin {
        set.extend(hosting(target, layer));
    }
    set.extend(ownership(id, target, layer));
    if layer == Layer::Connect && target.probe == ProbeKind::Http3 {
        set.insert(Element::new(ElementKind::Stack, "stack/http3"));
    }
    if layer == Layer::Tls
        && let Some(issuer) = learned.and_then(|learned| learned.issuer.as_ref()).or(target.issuer.as_ref())
    {
        set.insert(Element::new(ElementKind::Ca, format!("ca/{issuer}")));
    }
    if layer == Layer::Http {
        set.extend(target.identity.as_deref().map(Element::identity));
        set.extend(target.depends_on.iter().filter_map(|name| Element::named(name)));
    }
    set
}

/// What the hosting cloud puts under the target.
fn hosting(target: &Target, layer: Layer) -> BTreeSet<Element> {
    let mut set = BTreeSet::new();
    let cloud = target.hosted_on.as_str();
    if !matches!(cloud, "aws" | "azure") {
        if cloud != "other" && !cloud.is_empty() {
            set.insert(Element::new(ElementKind::OtherCloud, format!("cloud/{cloud}")));
        }
        return set;
    }
    set.insert(Element::new(ElementKind::Network, format!("{cloud}/network")));
    if let Some(geography) = &target.geography {
        set.insert(Element::new(ElementKind::Network, format!("{cloud}/network/{geography}")));
    }
    if let Some(region) = &target.region {
        set.insert(Element::new(ElementKind::Region, format!("{cloud}/{region}")));
        if let Some(zone) = &target.zone {
            set.insert(Element::new(ElementKind::Zone, format!("{cloud}/{region}/{zone}")));
        }
        if layer == Layer::Http && target.plane.as_deref() == Some("api") {
            set.insert(Element::new(ElementKind::Api, format!("{cloud}/{region}/api")));
        }
    }
    set
}

/// Whose the target is: a provider's service, or an owner's endpoint.
fn ownership(id: &TargetId, target: &Target, layer: Layer) -> BTreeSet<Element> {
    let mut set = BTreeSet::new();
    let cloud = target.hosted_on.as_str();
    match (&target.service, &target.region) {
        // The identity provider's own endpoint stands for it at every layer.
        _ if target.is_provider_owned() && target.identity.is_some() => {
            set.extend(target.identity.as_deref().map(Element::identity));
            return set;
        }
        (Some(service), region) if target.is_provider_owned() => {
            if let Some(region) = region {
                set.insert(Element::new(ElementKind::Service, format!("{cloud}/{region}/{service}")));
            }
            if region.is_none() || matches!(layer, Layer::Tls | Layer::Http) {
                set.insert(Element::new(ElementKind::ServiceEverywhere, format!("{cloud}/*/{service}")));
            }
            return set;
        }
        _ => {}
    }
    set.insert(Element::new(ElementKind::Endpoint, format!("endpoint/{id}")));
    if let Some(owner) = &target.owner {
        set.insert(Element::new(ElementKind::Owner, format!("owner/{owner}")));
    }
    set
}

/// The elements that an error which only the endpoint itself can mean (a 4xx answer) speaks of.
pub(crate) fn own_fault(agent: &AgentId, (id, target): (&TargetId, &Target)) -> BTreeSet<Element> {
    let mut set = BTreeSet::from([
        Element::new(ElementKind::Agent, format!("agent/{agent}")),
        Element::new(ElementKind::Endpoint, format!("endpoint/{id}")),
    ]);
    if let Some(owner) = &target.owner {
        set.insert(Element::new(ElementKind::Owner, format!("owner/{owner}")));
    }
    set
}
