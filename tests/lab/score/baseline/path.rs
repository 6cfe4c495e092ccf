//! What a run goes through: for an agent, a target, a layer and a way of asking for the name, every component that must
//! work for the layer to pass. One mapping for all peers, from the facts that the coordinator is told.
//!
//! Rules: names are the elements' canonical names, so that an accused component is an answer. What a healthy probe saw
//! wins over the catalog, the hosting cloud included. The cloud region that an agent sits in is kept apart
//! ([`Path::access`]): an agent that loses everything may have lost its own region, one that sees anything has not
//! cleared it for others.

use std::collections::BTreeSet;

use faultline_attribution::{AgentId, Element, ElementKind, Layer, Learned, ProbeKind, Target, TargetId, Vantage, Way};

/// One look, with what is known of both ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path<'a> {
    pub(super) agent: &'a AgentId,
    pub(super) vantage: &'a Vantage,
    pub(super) id: &'a TargetId,
    pub(super) target: &'a Target,
    pub(super) learned: Option<&'a Learned>,
    pub(super) way: &'a Way,
}

impl Path<'_> {
    /// Everything that the layer needs.
    pub(super) fn components(&self, layer: Layer) -> BTreeSet<Element> {
        let mut set = self.agent_side();
        let cdn = self.cdn();
        if layer == Layer::Dns {
            self.add_names(&mut set);
        }
        if let Some(cdn) = &cdn {
            self.add_cdn(&mut set, cdn, layer);
        }
        // Behind a CDN only HTTP reaches the origin.
        if layer == Layer::Http || (layer != Layer::Dns && cdn.is_none()) {
            self.add_hosting(&mut set, layer);
        }
        self.add_owner(&mut set, layer);
        if layer == Layer::Connect && self.target.probe == ProbeKind::Http3 {
            set.insert(Element::new(ElementKind::Stack, "stack/http3"));
        }
        if layer == Layer::Tls
            && let Some(issuer) = self.fact(|learned| learned.issuer.as_deref(), self.target.issuer.as_deref())
        {
            set.insert(Element::new(ElementKind::Ca, format!("ca/{issuer}")));
        }
        if layer == Layer::Http {
            set.extend(self.target.identity.as_deref().map(Element::identity));
            set.extend(self.target.depends_on.iter().filter_map(|name| Element::named(name)));
        }
        set
    }

    /// The region or cloud that the agent sits in.
    pub(super) fn access(&self) -> Option<Element> {
        match (self.vantage.hosted_on.as_deref()?, &self.vantage.region) {
            (cloud @ ("aws" | "azure"), region) => {
                Some(Element::new(ElementKind::Region, format!("{cloud}/{}", region.as_ref()?)))
            }
            ("other" | "", _) => None,
            (cloud, _) => Some(Element::new(ElementKind::OtherCloud, format!("cloud/{cloud}"))),
        }
    }

    /// The CDN in front.
    pub(super) fn cdn(&self) -> Option<Element> {
        self.fact(|learned| learned.cdn.as_deref(), self.target.cdn.as_deref()).map(Element::cdn)
    }

    /// The cloud that hosts it and the region there; where it moved, the catalog's region is nobody's.
    pub(super) fn host(&self) -> (&str, Option<&str>) {
        let told = (self.target.hosted_on.as_str(), self.target.region.as_deref());
        match self.learned.and_then(|learned| Some((learned.hosted_on.as_deref()?, learned.region.as_deref()))) {
            Some((cloud, region)) if !self.target.is_provider_owned() && (cloud != told.0 || region.is_some()) => {
                (cloud, region)
            }
            _ => told,
        }
    }

    fn fact<'a>(&'a self, seen: impl Fn(&'a Learned) -> Option<&'a str>, told: Option<&'a str>) -> Option<&'a str> {
        self.learned.and_then(seen).or(told)
    }

    fn agent_side(&self) -> BTreeSet<Element> {
        let mut set = BTreeSet::from([Element::new(ElementKind::Agent, format!("agent/{}", self.agent))]);
        let isp = self.vantage.isp.clone().or_else(|| self.vantage.asn.map(|asn| format!("as{asn}")));
        set.extend(isp.map(|isp| Element::new(ElementKind::Isp, format!("isp/{isp}"))));
        let country = self.vantage.country.as_ref();
        set.extend(country.map(|country| Element::new(ElementKind::Country, format!("country/{country}"))));
        set.extend(self.vantage.carriers.iter().map(|carrier| Element::new(ElementKind::Carrier, carrier.clone())));
        set
    }

    fn add_names(&self, set: &mut BTreeSet<Element>) {
        let resolver = match self.way {
            Way::System => self.vantage.resolver.as_deref(),
            Way::Resolver(name) => Some(name.as_str()),
            Way::Authority(_) => None,
        };
        set.extend(resolver.map(|name| Element::new(ElementKind::Resolver, format!("resolver/{name}"))));
        let operator = self.fact(|learned| learned.dns_operator.as_deref(), self.target.dns_operator.as_deref());
        set.extend(operator.map(Element::dns_operator));
        let tld = self.target.host.as_deref().and_then(|host| host.rsplit_once('.'));
        set.extend(tld.map(|(_, tld)| Element::new(ElementKind::Tld, format!("tld/{tld}"))));
    }

    fn add_cdn(&self, set: &mut BTreeSet<Element>, cdn: &Element, layer: Layer) {
        if layer == Layer::Dns {
            // A cloud's CDN has its own names in its own DNS, whoever serves the customer's zone.
            match cdn.name.as_str() {
                "aws/cloudfront" => set.insert(Element::dns_operator("route53")),
                "azure/front-door" => set.insert(Element::dns_operator("azure-dns")),
                _ => false,
            };
        } else if let Some(geography) = &self.vantage.geography {
            set.insert(Element::new(ElementKind::CdnSite, format!("{}/{geography}", cdn.name)));
        }
        set.insert(cdn.clone());
    }

    fn add_hosting(&self, set: &mut BTreeSet<Element>, layer: Layer) {
        let (cloud, region) = self.host();
        let is_as_told = cloud == self.target.hosted_on && region == self.target.region.as_deref();
        match cloud {
            "aws" | "azure" => {}
            "" | "other" => return,
            _ => {
                set.insert(Element::new(ElementKind::OtherCloud, format!("cloud/{cloud}")));
                return;
            }
        }
        set.insert(Element::new(ElementKind::Network, format!("{cloud}/network")));
        if let Some(geography) = self.target.geography.as_ref().filter(|_| is_as_told) {
            set.insert(Element::new(ElementKind::Network, format!("{cloud}/network/{geography}")));
        }
        let Some(region) = region else { return };
        set.insert(Element::new(ElementKind::Region, format!("{cloud}/{region}")));
        if let Some(zone) = self.target.zone.as_ref().filter(|_| is_as_told) {
            set.insert(Element::new(ElementKind::Zone, format!("{cloud}/{region}/{zone}")));
        }
        if layer == Layer::Http && self.target.plane.as_deref() == Some("api") {
            set.insert(Element::new(ElementKind::Api, format!("{cloud}/{region}/api")));
        }
    }

    fn add_owner(&self, set: &mut BTreeSet<Element>, layer: Layer) {
        let target = self.target;
        let cloud = target.hosted_on.as_str();
        if target.is_provider_owned()
            && let Some(identity) = &target.identity
        {
            set.insert(Element::identity(identity));
            return;
        }
        if target.is_provider_owned()
            && let Some(service) = &target.service
        {
            if let Some(region) = &target.region {
                set.insert(Element::new(ElementKind::Service, format!("{cloud}/{region}/{service}")));
            }
            if target.region.is_none() || matches!(layer, Layer::Tls | Layer::Http) {
                set.insert(Element::new(ElementKind::ServiceEverywhere, format!("{cloud}/*/{service}")));
            }
            return;
        }
        set.insert(Element::new(ElementKind::Endpoint, format!("endpoint/{}", self.id)));
        set.extend(target.owner.as_ref().map(|owner| Element::new(ElementKind::Owner, format!("owner/{owner}"))));
    }
}
