//! Which elements a probe exercises: for an agent, a target and a layer, everything that must work for the layer to
//! pass. Passing speaks for all of them, failing implicates them.
//!
//! The set falls into what the agent brings ([`near`]), what the target brings ([`far`]) and what lies between the two
//! ([`between`]): each is worked out once for an agent, a target, or a pair of classes of them.

use std::collections::BTreeSet;

use crate::{
    element::{Element, ElementKind as Kind},
    engine::Way,
    vocabulary::{Layer, ProbeKind},
    world::{AgentId, Learned, Target, TargetId, Vantage},
};

/// Elements on the agent's side, at every layer.
pub(crate) fn near(agent: &AgentId, vantage: &Vantage) -> BTreeSet<Element> {
    let mut set = BTreeSet::from([Element::new(Kind::Agent, format!("agent/{agent}"))]);
    set.extend(vantage.isp.as_ref().map(|isp| Element::new(Kind::Isp, format!("isp/{isp}"))));
    set.extend(vantage.country.as_ref().map(|country| Element::new(Kind::Country, format!("country/{country}"))));
    set.extend(vantage.carriers.iter().map(|carrier| Element::new(Kind::Carrier, carrier.clone())));
    set
}

/// Elements that an agent's failures implicate while its passes do not clear them: the cloud region that it sits in. A
/// region whose own machines still look outwards may be down for everybody else.
pub(crate) fn access(vantage: &Vantage) -> BTreeSet<Element> {
    match (vantage.hosted_on.as_deref(), &vantage.region) {
        (Some(cloud @ ("aws" | "azure")), Some(region)) => {
            BTreeSet::from([Element::new(Kind::Region, format!("{cloud}/{region}"))])
        }
        (Some("other" | "aws" | "azure") | None, _) => BTreeSet::new(),
        (Some(cloud), _) => BTreeSet::from([Element::new(Kind::OtherCloud, format!("cloud/{cloud}"))]),
    }
}

/// The resolver that stands between agent and name servers, where it is a known one.
pub(crate) fn resolver(vantage: &Vantage, way: &Way) -> Option<Element> {
    let resolver = match way {
        Way::System => vantage.resolver.as_ref()?,
        Way::Resolver(resolver) => resolver,
        Way::Authority(_) => return None,
    };
    Some(Element::new(Kind::Resolver, format!("resolver/{resolver}")))
}

/// All elements that the layer of this probe exercises, asked through the agent's own resolver.
pub(crate) fn exercised(
    (agent, vantage): (&AgentId, &Vantage),
    (id, target): (&TargetId, &Target),
    learned: Option<&Learned>,
    layer: Layer,
) -> BTreeSet<Element> {
    let mut set = near(agent, vantage);
    if layer == Layer::Dns {
        set.extend(resolver(vantage, &Way::System));
    }
    let seen = Seen::new(target, learned);
    set.extend(far((id, &seen), layer, &Way::System));
    set.extend(between(vantage, &seen, layer));
    set
}

/// A target as it is known: what was learned wins over what the catalog says.
#[derive(Clone, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) target: &'a Target,
    pub(crate) cdn: Option<Element>,
    pub(crate) operator: Option<Element>,
    pub(crate) cloud: &'a str,
    pub(crate) region: Option<&'a str>,
    issuer: Option<&'a str>,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(target: &'a Target, learned: Option<&'a Learned>) -> Self {
        let cdn = learned.and_then(|learned| learned.cdn.as_ref()).or(target.cdn.as_ref());
        let operator = learned.and_then(|learned| learned.dns_operator.as_ref()).or(target.dns_operator.as_ref());
        let told = target.hosted_on.as_str();
        // A provider's own service is that provider's, wherever an address of it lies.
        let moved = learned.filter(|_| cdn.is_none() && !target.is_provider_owned());
        let cloud = moved.and_then(|learned| learned.hosted_on.as_deref()).unwrap_or(told);
        let told_region = target.region.as_deref().filter(|_| cloud == told);
        let region = moved.and_then(|learned| learned.region.as_deref()).or(told_region);
        Self {
            target,
            cdn: cdn.map(|word| Element::cdn(word)),
            operator: operator.map(|word| Element::dns_operator(word)),
            cloud,
            region,
            issuer: learned.and_then(|learned| learned.issuer.as_deref()).or(target.issuer.as_deref()),
        }
    }

    fn is_of_a_cloud(&self) -> bool {
        matches!(self.cloud, "aws" | "azure")
    }

    /// Behind a CDN, only HTTP reaches the origin.
    fn reaches_origin(&self, layer: Layer) -> bool {
        layer != Layer::Dns && (self.cdn.is_none() || layer == Layer::Http)
    }

    /// Where a carrier must get to at this layer: the name servers, the CDN, or the region.
    fn destination(&self, layer: Layer) -> Option<String> {
        match (layer, &self.cdn) {
            (Layer::Dns, _) => self.operator.as_ref().map(|operator| operator.name.clone()),
            (_, Some(cdn)) => Some(cdn.name.clone()),
            (_, None) if self.is_of_a_cloud() => Some(format!("{}/{}", self.cloud, self.region.unwrap_or("network"))),
            (_, None) => None,
        }
    }
}

/// What a catalog says that runs of a target exercise, at any of its layers, whoever looks: its region, zone and service, its
/// CDN, DNS operator, identity provider, owner, and itself.
pub fn elements_of(id: &TargetId, target: &Target) -> BTreeSet<Element> {
    let seen = Seen::new(target, None);
    target.layers().flat_map(|layer| far((id, &seen), layer, &Way::System)).collect()
}

/// Elements that the target brings.
pub(crate) fn far((id, seen): (&TargetId, &Seen<'_>), layer: Layer, way: &Way) -> BTreeSet<Element> {
    let target = seen.target;
    let mut set = BTreeSet::new();
    if layer == Layer::Dns {
        set.extend(seen.operator.clone());
        if let Some((_, tld)) = target.host.as_deref().and_then(|host| host.rsplit_once('.'))
            && !matches!(way, Way::Authority(_))
        {
            set.insert(Element::new(Kind::Tld, format!("tld/{tld}")));
        }
    }
    if let Some(cdn) = &seen.cdn {
        // A cloud's CDN has its own names in its own DNS, whoever serves the customer's zone in front of them.
        match cdn.name.as_str() {
            "aws/cloudfront" if layer == Layer::Dns => set.insert(Element::dns_operator("route53")),
            "azure/front-door" if layer == Layer::Dns => set.insert(Element::dns_operator("azure-dns")),
            _ => false,
        };
        set.insert(cdn.clone());
        // The CDN's own way to the origin.
        if let (Layer::Http, Some(asn), true, Some(region)) =
            (layer, autonomous_system(&cdn.name), seen.is_of_a_cloud(), seen.region)
        {
            set.insert(Element::link(Kind::Interconnect, asn, &format!("{}/{region}", seen.cloud)));
        }
    }
    if seen.reaches_origin(layer) {
        set.extend(hosting(seen, layer));
    }
    set.extend(ownership(id, target, layer));
    if layer == Layer::Connect && target.probe == ProbeKind::Http3 {
        set.insert(Element::new(Kind::Stack, "stack/http3"));
    }
    if layer == Layer::Tls
        && let Some(issuer) = seen.issuer
    {
        set.insert(Element::new(Kind::Ca, format!("ca/{issuer}")));
    }
    if layer == Layer::Http {
        set.extend(target.identity.as_deref().map(Element::identity));
        set.extend(target.depends_on.iter().filter_map(|name| Element::named(name)));
    }
    set
}

/// Elements between the two: the CDN's site that serves the agent's geography, and the ways of its carriers, access
/// network and country to where the target answers.
pub(crate) fn between(vantage: &Vantage, seen: &Seen<'_>, layer: Layer) -> BTreeSet<Element> {
    let mut set = BTreeSet::new();
    if let (Some(cdn), Some(geography), true) = (&seen.cdn, &vantage.geography, layer != Layer::Dns) {
        set.insert(Element::new(Kind::CdnSite, format!("{}/{geography}", cdn.name)));
    }
    let Some(destination) = seen.destination(layer) else { return set };
    for carrier in &vantage.carriers {
        set.insert(Element::link(Kind::Interconnect, carrier, &destination));
    }
    // An access network's own way to a CDN is named after the access network, below.
    let is_to_cdn = seen.cdn.is_some() && layer != Layer::Dns;
    if let (true, false, Some(asn)) = (vantage.carriers.is_empty(), is_to_cdn, vantage.asn) {
        set.insert(Element::link(Kind::Interconnect, &format!("as{asn}"), &destination));
    }
    if is_to_cdn {
        // Networks and countries block addresses that many sites share.
        let isp = vantage.isp.as_ref().map(|isp| Element::link(Kind::Isp, &format!("isp/{isp}"), &destination));
        let country = vantage.country.as_ref();
        let country = country.map(|code| Element::link(Kind::Country, &format!("country/{code}"), &destination));
        set.extend(isp.into_iter().chain(country));
    }
    set
}

/// The autonomous system of a third-party CDN.
///
/// Source: the operators' entries in the `PeeringDB` and ARIN registries.
fn autonomous_system(cdn: &str) -> Option<&'static str> {
    match cdn {
        "cdn/cloudflare" => Some("as13335"),
        "cdn/fastly" => Some("as54113"),
        "cdn/akamai" => Some("as20940"),
        _ => None,
    }
}

/// What the hosting cloud puts under the target.
fn hosting(seen: &Seen<'_>, layer: Layer) -> BTreeSet<Element> {
    let mut set = BTreeSet::new();
    let (cloud, target) = (seen.cloud, seen.target);
    if !seen.is_of_a_cloud() {
        if cloud != "other" && !cloud.is_empty() {
            set.insert(Element::new(Kind::OtherCloud, format!("cloud/{cloud}")));
        }
        return set;
    }
    set.insert(Element::new(Kind::Network, format!("{cloud}/network")));
    if let Some(geography) = &target.geography {
        set.insert(Element::new(Kind::Network, format!("{cloud}/network/{geography}")));
    }
    if let Some(region) = seen.region {
        set.insert(Element::new(Kind::Region, format!("{cloud}/{region}")));
        if let Some(zone) = target.zone.as_ref().filter(|_| target.region.as_deref() == Some(region)) {
            set.insert(Element::new(Kind::Zone, format!("{cloud}/{region}/{zone}")));
        }
        set.extend(api_plane(cloud, region, target).filter(|_| layer == Layer::Http));
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
                set.insert(Element::new(Kind::Service, format!("{cloud}/{region}/{service}")));
            }
            if region.is_none() || matches!(layer, Layer::Tls | Layer::Http) {
                set.insert(Element::new(Kind::ServiceEverywhere, format!("{cloud}/*/{service}")));
            }
            return set;
        }
        _ => {}
    }
    set.insert(Element::new(Kind::Endpoint, format!("endpoint/{id}")));
    if let Some(owner) = &target.owner {
        set.insert(Element::new(Kind::Owner, format!("owner/{owner}")));
    }
    set
}

/// The elements on the target's side that an error which only the endpoint itself can mean (a 4xx answer) speaks of. Where the
/// provider serves the endpoint, the service's own word is the provider's: who checks its callers' keys is a part of it.
pub(crate) fn own_fault((id, target): (&TargetId, &Target)) -> BTreeSet<Element> {
    let mut set = ownership(id, target, Layer::Http);
    if let Some(region) = target.region.as_ref().filter(|_| target.is_provider_owned()) {
        set.extend(api_plane(&target.hosted_on, region, target));
    }
    set
}

/// The plane of the region through which machines are made and changed, if the target is of it.
fn api_plane(cloud: &str, region: &str, target: &Target) -> Option<Element> {
    let is_of_it = target.plane.as_deref() == Some("api");
    is_of_it.then(|| Element::new(Kind::Api, format!("{cloud}/{region}/api")))
}
