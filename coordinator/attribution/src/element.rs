//! Elements: anything that can be at fault, by its canonical name, with the verdict it leads to and its prior.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer as _, value},
};

use crate::vocabulary::{Kind, Verdict};

/// What sort of thing an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ElementKind {
    /// A service in a region, `aws/us-east-1/dynamodb`.
    Service,
    /// A region, `azure/centralus`.
    Region,
    /// A zone, `aws/ap-northeast-1/apne1-az4`.
    Zone,
    /// A regional API plane, `aws/us-east-1/api`.
    Api,
    /// A service in all regions, `azure/*/blob`.
    ServiceEverywhere,
    /// A CDN, `azure/front-door`, `cdn/fastly`.
    Cdn,
    /// A CDN in one geography, `azure/front-door/eu`.
    CdnSite,
    /// A DNS operator, `aws/route53`, `dns/dyn`.
    Dns,
    /// An identity provider, `azure/entra-id`.
    Identity,
    /// A provider's network edge, `azure/network`, `azure/network/eu`.
    Network,
    /// Another cloud, `cloud/gcp`.
    OtherCloud,
    /// A top-level domain, `tld/club`.
    Tld,
    /// A public resolver, `resolver/1.1.1.1`.
    Resolver,
    /// A carrier, `as3356`.
    Carrier,
    /// A carrier's way to one destination, `as13335~aws/us-east-1`.
    Interconnect,
    /// Ways of several networks that fail together towards several owners, `path/unknown`.
    Path,
    /// An access network, `isp/rogers-ca`.
    Isp,
    /// A country as agents see it, `country/es`.
    Country,
    /// One agent, `agent/fra-1`.
    Agent,
    /// A certificate authority, `ca/...`.
    Ca,
    /// A client stack, `stack/http3`.
    Stack,
    /// An owner of several endpoints, `owner/slack`.
    Owner,
    /// One endpoint, `endpoint/<target>`.
    Endpoint,
}

impl ElementKind {
    /// The word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Region => "region",
            Self::Zone => "zone",
            Self::Api => "api",
            Self::ServiceEverywhere => "service-everywhere",
            Self::Cdn => "cdn",
            Self::CdnSite => "cdn-site",
            Self::Dns => "dns",
            Self::Identity => "identity",
            Self::Network => "network",
            Self::OtherCloud => "other-cloud",
            Self::Tld => "tld",
            Self::Resolver => "resolver",
            Self::Carrier => "carrier",
            Self::Interconnect => "interconnect",
            Self::Path => "path",
            Self::Isp => "isp",
            Self::Country => "country",
            Self::Agent => "agent",
            Self::Ca => "ca",
            Self::Stack => "stack",
            Self::Owner => "owner",
            Self::Endpoint => "endpoint",
        }
    }

    /// Chance that one element of the kind is in fault at a random moment: hazard times repair time.
    ///
    /// Source: `design/attribution.md` 4.1 of the project's design notes; kinds absent there are set between their
    /// neighbours.
    pub const fn prior(self) -> f64 {
        match self {
            Self::Agent | Self::Endpoint => 1e-3,
            Self::Isp | Self::Resolver => 3e-4,
            Self::Carrier | Self::Path => 2e-4,
            Self::Service | Self::Zone | Self::Api | Self::CdnSite | Self::Owner => 1e-4,
            Self::Region | Self::Cdn | Self::Identity | Self::OtherCloud => 5e-5,
            Self::Dns | Self::Country | Self::Interconnect => 3e-5,
            Self::ServiceEverywhere => 2e-5,
            Self::Network | Self::Tld | Self::Ca | Self::Stack => 1e-5,
        }
    }

    /// Whether the element is on the agents' side of the path, so that its failing groups are all it has.
    pub const fn is_vantage_side(self) -> bool {
        matches!(
            self,
            Self::Agent | Self::Isp | Self::Country | Self::Resolver | Self::Carrier | Self::Interconnect | Self::Path
        )
    }

    /// Whether the element is one party's own: an endpoint, an agent or its way to one place. No cloud waits for it.
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Endpoint | Self::Owner | Self::Agent | Self::Interconnect)
    }

    /// What the verdict "neither" is about, for elements that no cloud owns.
    pub const fn neither_kind(self) -> Kind {
        match self {
            Self::Dns | Self::Tld | Self::Resolver => Kind::ThirdPartyDns,
            Self::Cdn | Self::CdnSite => Kind::ThirdPartyCdn,
            Self::OtherCloud | Self::Region | Self::Zone | Self::Api | Self::Network => Kind::OtherCloud,
            Self::Carrier | Self::Interconnect | Self::Path => Kind::Transit,
            Self::Isp | Self::Country | Self::Agent => Kind::VantageIsp,
            Self::Ca => Kind::TlsEcosystem,
            Self::Stack => Kind::ClientSoftware,
            Self::Owner | Self::Endpoint | Self::Service | Self::ServiceEverywhere | Self::Identity => {
                Kind::EndpointApp
            }
        }
    }
}

impl fmt::Display for ElementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ElementKind {
    type Err = value::Error;

    fn from_str(word: &str) -> Result<Self, value::Error> {
        Self::deserialize(word.into_deserializer())
    }
}

/// Something that can be at fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Element {
    /// Canonical name; unique over all kinds.
    pub name: String,
    /// What it is.
    pub kind: ElementKind,
}

impl Element {
    /// An element by its name.
    pub fn new(kind: ElementKind, name: impl Into<String>) -> Self {
        Self { name: name.into(), kind }
    }

    /// The CDN that a catalog or a CNAME names: `front-door`, `azure/front-door`, `fastly`, `cdn/fastly`.
    pub fn cdn(word: &str) -> Self {
        let name = match word {
            "front-door" | "azure/front-door" => "azure/front-door".to_owned(),
            "cloudfront" | "aws/cloudfront" => "aws/cloudfront".to_owned(),
            other if other.contains('/') => other.to_owned(),
            other => format!("cdn/{other}"),
        };
        Self::new(ElementKind::Cdn, name)
    }

    /// The DNS operator that a catalog names: `route53`, `azure-dns`, `dyn`, or a canonical name.
    pub fn dns_operator(word: &str) -> Self {
        let name = match word {
            "route53" | "aws/route53" => "aws/route53".to_owned(),
            "azure-dns" | "azure/dns" => "azure/dns".to_owned(),
            other if other.contains('/') => other.to_owned(),
            other => format!("dns/{other}"),
        };
        Self::new(ElementKind::Dns, name)
    }

    /// The identity provider that a catalog names: `entra-id`, `cognito`, or a canonical name.
    pub fn identity(word: &str) -> Self {
        let name = match word {
            "entra-id" | "azure/entra-id" => "azure/entra-id".to_owned(),
            "cognito" | "aws/cognito" => "aws/cognito".to_owned(),
            other if other.contains('/') => other.to_owned(),
            other => format!("identity/{other}"),
        };
        Self::new(ElementKind::Identity, name)
    }

    /// The element of a canonical name, as `depends_on` has it; `None` for a name of no known form.
    pub fn named(name: &str) -> Option<Self> {
        use ElementKind as Kind;
        let kind = match name.split('/').collect::<Vec<_>>().as_slice() {
            parts if parts.iter().any(|part| part.is_empty()) => return None,
            ["aws", "cloudfront"] | ["azure", "front-door"] | ["cdn", _] => Kind::Cdn,
            ["aws", "route53"] | ["azure", "dns"] | ["dns", _] => Kind::Dns,
            ["aws", "cognito"] | ["azure", "entra-id"] | ["identity", _] => Kind::Identity,
            ["aws" | "azure", "network"] => Kind::Network,
            ["aws" | "azure", "*", _] => Kind::ServiceEverywhere,
            ["aws" | "azure", _] => Kind::Region,
            ["aws" | "azure", _, "api"] => Kind::Api,
            ["aws" | "azure", _, _] => Kind::Service,
            ["cloud", _] => Kind::OtherCloud,
            ["owner", _] => Kind::Owner,
            _ => return None,
        };
        Some(Self::new(kind, name))
    }

    /// The way from an access network, country or carrier to one destination: `isp/a~cdn/b` is of the kind of `isp/a`.
    pub fn link(kind: ElementKind, near: &str, far: &str) -> Self {
        Self::new(kind, format!("{near}~{far}"))
    }

    /// Both ends of a [`Element::link`].
    pub fn ends(&self) -> Option<(&str, &str)> {
        self.name.split_once('~')
    }

    /// The name that is published: a way that an access network or a country closes is that network's or country's doing.
    pub fn public_name(&self) -> &str {
        match (self.kind, self.ends()) {
            (ElementKind::Isp | ElementKind::Country, Some((near, _))) => near,
            _ => &self.name,
        }
    }

    /// Chance that this element is in fault at a random moment; a way to one destination fails as seldom as an
    /// interconnect.
    pub fn prior(&self) -> f64 {
        if self.ends().is_some() { ElementKind::Interconnect.prior() } else { self.kind.prior() }
    }

    /// The verdict if this is the culprit.
    pub fn verdict(&self) -> Verdict {
        if self.name.starts_with("aws/") {
            Verdict::Aws
        } else if self.name.starts_with("azure/") {
            Verdict::Azure
        } else {
            Verdict::Neither
        }
    }

    /// The kind of "neither" if this is the culprit; `None` when a cloud owns it.
    pub fn neither_kind(&self) -> Option<Kind> {
        (self.verdict() == Verdict::Neither).then(|| self.kind.neither_kind())
    }

    /// Regions touched, as `aws/us-east-1`; none for an element that is everywhere.
    pub fn regions(&self) -> Vec<String> {
        match self.kind {
            ElementKind::Region => vec![self.name.clone()],
            ElementKind::Service | ElementKind::Zone | ElementKind::Api => {
                self.name.rsplit_once('/').map(|(region, _)| region.to_owned()).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The name that people use: "Azure Front Door", "AWS us-east-1", "DynamoDB in AWS us-east-1".
    pub fn title(&self) -> String {
        if let Some((near, far)) = self.ends() {
            let end = |name: &str| Self::named(name).map_or_else(|| name.to_owned(), |element| element.title());
            return format!("the way from {} to {}", near.rsplit('/').next().unwrap_or(near), end(far));
        }
        let parts: Vec<&str> = self.name.split('/').collect();
        match (self.kind, parts.as_slice()) {
            (ElementKind::Cdn, ["azure", "front-door"]) => "Azure Front Door".into(),
            (ElementKind::Cdn, ["aws", "cloudfront"]) => "Amazon CloudFront (AWS)".into(),
            (ElementKind::CdnSite, [.., geography]) => {
                let cdn = self.name.rsplit_once('/').map_or("", |(cdn, _)| cdn);
                format!("{} in {geography}", Self::new(ElementKind::Cdn, cdn).title())
            }
            (ElementKind::Cdn, [_, name]) => format!("the CDN {name}"),
            (ElementKind::Dns, ["aws", "route53"]) => "Amazon Route 53 (AWS)".into(),
            (ElementKind::Dns, ["azure", "dns"]) => "Azure DNS".into(),
            (ElementKind::Dns, [_, name]) => format!("the DNS operator {name}"),
            (ElementKind::Identity, ["azure", "entra-id"]) => "Microsoft Entra ID (Azure)".into(),
            (ElementKind::Service, [cloud, region, service]) => format!("{service} in {} {region}", brand(cloud)),
            (ElementKind::ServiceEverywhere, [cloud, _, service]) => format!("{} {service}", brand(cloud)),
            (ElementKind::Region, [cloud, region]) => format!("{} {region}", brand(cloud)),
            (ElementKind::Zone, [cloud, region, zone]) => format!("zone {zone} of {} {region}", brand(cloud)),
            (ElementKind::Api, [cloud, region, _]) => format!("the control plane of {} {region}", brand(cloud)),
            (ElementKind::Network, [cloud, _]) => format!("the network of {}", brand(cloud)),
            (ElementKind::Network, [cloud, _, geography]) => format!("the network of {} in {geography}", brand(cloud)),
            (ElementKind::Path, _) => "a carrier between several networks and what they look at".into(),
            (ElementKind::Carrier, _) => format!("the carrier {}", self.name.to_uppercase()),
            (ElementKind::OtherCloud, [_, cloud]) => format!("the cloud {}", brand(cloud)),
            (ElementKind::Isp, [_, isp]) => format!("the access network {isp}"),
            (ElementKind::Country, [_, country]) => format!("the internet in {}", country.to_uppercase()),
            (ElementKind::Endpoint, [_, ..]) => {
                format!("the endpoint {}", self.name.strip_prefix("endpoint/").unwrap_or(&self.name))
            }
            (ElementKind::Owner, [_, owner]) => format!("the sites of {owner}"),
            _ => self.name.clone(),
        }
    }
}

/// A provider's name as people write it.
pub fn brand(cloud: &str) -> String {
    match cloud {
        "aws" => "AWS".into(),
        "azure" => "Azure".into(),
        "gcp" => "Google Cloud".into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_element_decides_who_owns_it() {
        assert_eq!(Element::cdn("front-door").verdict(), Verdict::Azure);
        assert_eq!(Element::cdn("fastly").neither_kind(), Some(Kind::ThirdPartyCdn));
        assert_eq!(Element::dns_operator("dyn").name, "dns/dyn");
        assert_eq!(Element::dns_operator("route53").verdict(), Verdict::Aws);
    }

    #[test]
    fn a_canonical_name_says_what_it_is() {
        let rows = [
            ("azure/front-door", Some(ElementKind::Cdn)),
            ("azure/dns", Some(ElementKind::Dns)),
            ("dns/dyn", Some(ElementKind::Dns)),
            ("azure/entra-id", Some(ElementKind::Identity)),
            ("aws/us-east-1", Some(ElementKind::Region)),
            ("aws/us-east-1/api", Some(ElementKind::Api)),
            ("aws/us-east-1/dynamodb", Some(ElementKind::Service)),
            ("azure/*/blob", Some(ElementKind::ServiceEverywhere)),
            ("dynamodb", None),
            ("aws/", None),
        ];
        for (name, kind) in rows {
            assert_eq!(Element::named(name).map(|element| element.kind), kind, "{name}");
        }
    }

    #[test]
    fn only_regional_elements_name_a_region() {
        let service = Element::new(ElementKind::Service, "aws/us-east-1/dynamodb");
        assert_eq!(service.regions(), ["aws/us-east-1"]);
        assert_eq!(service.title(), "dynamodb in AWS us-east-1");
        assert!(Element::cdn("cloudfront").regions().is_empty());
    }
}
