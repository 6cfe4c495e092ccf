//! What is known of targets and agents: the catalog, the fleet, and what healthy probes saw of how targets are put
//! together.
//!
//! Rule: hints of the catalog are hints. What a healthy probe saw ([`Learned`]) wins, and absent ones are normal.

use std::{borrow::Borrow, collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::vocabulary::{Layer, ProbeKind};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<Arc<str>>> From<T> for $name {
            fn from(id: T) -> Self {
                Self(id.into())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self("".into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

id! {
    /// Names an agent.
    AgentId
}
id! {
    /// Names a target.
    TargetId
}

/// One endpoint that is probed, with what is said of its dependencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What the probe does.
    pub probe: ProbeKind,
    /// Host name; `None` for a literal address, which has no dns layer.
    pub host: Option<String>,
    /// Cloud that hosts it: aws, azure, gcp, ..., other.
    pub hosted_on: String,
    /// Region of that cloud.
    pub region: Option<String>,
    /// Zone of that region.
    pub zone: Option<String>,
    /// Service, for a provider's own endpoint.
    pub service: Option<String>,
    /// `api` where it is a control plane.
    pub plane: Option<String>,
    /// na sa eu af me as oc.
    pub geography: Option<String>,
    /// CDN in front.
    pub cdn: Option<String>,
    /// Operator of the zone's name servers.
    pub dns_operator: Option<String>,
    /// Identity provider that it needs.
    pub identity: Option<String>,
    /// Issuer of the certificate.
    pub issuer: Option<String>,
    /// Further elements that it needs, by canonical name.
    pub depends_on: Vec<String>,
    /// Who runs it.
    pub owner: Option<String>,
    /// Whether somebody saw it pass. What was never seen to pass cannot accuse.
    pub verified: bool,
}

impl Target {
    /// The layers that a run walks, in order.
    pub fn layers(&self) -> impl Iterator<Item = Layer> + use<> {
        let named = self.host.is_some();
        let probe = self.probe;
        Layer::ALL.iter().copied().filter(move |layer| match layer {
            Layer::Dns => named || probe == ProbeKind::Dns,
            Layer::Connect => probe != ProbeKind::Dns,
            // A QUIC handshake is both; its certificate is judged at `tls`, which a passing run has passed.
            Layer::Tls => matches!(probe, ProbeKind::Tls | ProbeKind::Https | ProbeKind::Http3),
            Layer::Http => matches!(probe, ProbeKind::Https | ProbeKind::Http3),
        })
    }

    /// Whether a cloud runs the endpoint itself: then it stands for that service, not for an application.
    pub fn is_provider_owned(&self) -> bool {
        self.service.is_some()
            && matches!(
                (self.hosted_on.as_str(), self.owner.as_deref()),
                ("aws", Some("amazon")) | ("azure", Some("microsoft")) | ("gcp", Some("google"))
            )
    }

    /// Whether it is a control: hosted on neither cloud.
    pub fn is_control(&self) -> bool {
        !matches!(self.hosted_on.as_str(), "aws" | "azure")
            && !self.cdn.as_deref().is_some_and(|cdn| cdn.contains("front-door") || cdn.contains("cloudfront"))
    }
}

/// What healthy probes saw of a target. Absent fields say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// CDN, from the CNAME chain or edge headers.
    pub cdn: Option<String>,
    /// Operator of the name servers.
    pub dns_operator: Option<String>,
    /// Issuer of the certificate.
    pub issuer: Option<String>,
    /// Cloud whose published range the answering address lies in, where no CDN stands in front.
    pub hosted_on: Option<String>,
    /// Region of that range.
    pub region: Option<String>,
}

/// Where an agent looks from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vantage {
    /// Agents of one group are one witness.
    pub group: String,
    /// Autonomous system of the public address.
    pub asn: Option<u32>,
    /// Access network.
    pub isp: Option<String>,
    /// ISO 3166-1 alpha-2, lower case.
    pub country: Option<String>,
    /// na sa eu af me as oc.
    pub geography: Option<String>,
    /// Cloud that hosts the agent.
    pub hosted_on: Option<String>,
    /// Region of that cloud.
    pub region: Option<String>,
    /// Public resolver that it uses; absent for its network's own.
    pub resolver: Option<String>,
    /// Carriers of its access network.
    pub carriers: Vec<String>,
}

impl Vantage {
    /// Whether the agent runs in a cloud, of whatever provider.
    pub(crate) fn is_in_a_cloud(&self) -> bool {
        self.hosted_on.as_deref().is_some_and(|cloud| !matches!(cloud, "" | "other"))
    }

    /// The network that the agent sits in: its autonomous system, else its access network, else its cloud's region.
    pub fn network(&self) -> String {
        if let Some(asn) = self.asn {
            return format!("as{asn}");
        }
        if let Some(isp) = &self.isp {
            return isp.clone();
        }
        match (&self.hosted_on, &self.region) {
            (Some(cloud), Some(region)) => format!("{cloud}/{region}"),
            (Some(cloud), None) => cloud.clone(),
            _ => self.group.clone(),
        }
    }

    /// Whether the agent sits in this cloud.
    pub fn is_in(&self, cloud: &str) -> bool {
        self.hosted_on.as_deref() == Some(cloud)
    }

    /// Whether the agent sits in neither cloud.
    pub fn is_outside_clouds(&self) -> bool {
        !self.is_in("aws") && !self.is_in("azure")
    }
}

/// Everything that is known of targets and agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    /// Targets.
    pub targets: BTreeMap<TargetId, Target>,
    /// Agents.
    pub vantages: BTreeMap<AgentId, Vantage>,
}

/// A change of the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorldChange {
    /// A target is new or different. Windows of unchanged targets go on.
    Target(TargetId, Box<Target>),
    /// A target is gone.
    TargetRemoved(TargetId),
    /// An agent is new or looks from elsewhere.
    Vantage(AgentId, Box<Vantage>),
    /// An agent is gone.
    VantageRemoved(AgentId),
    /// Healthy probes saw how a target is put together.
    Learned(TargetId, Learned),
}
