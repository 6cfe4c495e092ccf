//! The emulated world as data: who looks (agents), what is looked at (targets), who runs the names (operators).
//!
//! Rules: each target has names of its own, so that a name and a vantage decide one address; the last name of a chain
//! has the address, the names before it are aliases. What the catalog tells may be less than what is true
//! ([`Target::cdn_is_told`]), since a coordinator has to learn the rest from what healthy probes see.

mod agents;
mod catalog;
mod operators;
mod sized;
mod targets;
mod told;

use std::{collections::HashSet, net::Ipv4Addr};

pub use catalog::catalog_toml;

/// Everything that exists in one emulated internet.
#[derive(Clone, Debug)]
pub struct World {
    /// Who looks; `agents[i].number == i`.
    pub agents: Vec<Agent>,
    /// What is looked at; `targets[i].number == i`.
    pub targets: Vec<Target>,
    /// Who answers for names.
    pub operators: Vec<Operator>,
}

impl World {
    /// The lab's world: 28 agents, 120 targets, twelve DNS operators.
    pub fn standard() -> Self {
        Self { agents: agents::standard(), targets: targets::standard(), operators: operators::standard() }
    }

    /// A world of that many agents and at least that many targets. It holds every target of the standard world, and
    /// with 28 agents or more every agent of it too, so that the words of scenarios mean the same in both; with fewer,
    /// a choice of them over networks, clouds and geographies. `seed` decides who hosts, serves and owns the rest.
    pub fn sized(agents: usize, targets: usize, seed: u64) -> Self {
        sized::world(agents, targets, seed)
    }

    /// The world as catalog and registry tell it to a coordinator: hints, with what is untold left out.
    pub fn told(&self) -> faultline_attribution::World {
        told::world(self)
    }

    /// The agent of that id.
    pub fn agent(&self, id: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.id == id)
    }

    /// The target of that id.
    pub fn target(&self, id: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.id == id)
    }

    /// The operator of that word.
    pub fn operator(&self, id: &str) -> Option<&Operator> {
        self.operators.iter().find(|operator| operator.id == id)
    }

    /// What makes the world impossible to emulate in packets; empty for a sound one.
    pub fn flaws(&self) -> Vec<String> {
        let mut flaws = self.contradictions();
        if self.agents.len() > usize::from(MAX_AGENTS) {
            flaws.push(format!("{} agents, at most {MAX_AGENTS} have addresses", self.agents.len()));
        }
        flaws
    }

    /// Where the world contradicts itself, however it is played.
    pub fn contradictions(&self) -> Vec<String> {
        let mut flaws = Vec::new();
        let (mut ids, mut names) = (HashSet::new(), HashSet::new());
        for (position, agent) in self.agents.iter().enumerate() {
            if usize::from(agent.number) != position || !ids.insert(agent.id.as_str()) {
                flaws.push(format!("agent {}: number or id is taken", agent.id));
            }
        }
        for (position, target) in self.targets.iter().enumerate() {
            if usize::from(target.number) != position || !ids.insert(target.id.as_str()) {
                flaws.push(format!("target {}: number or id is taken", target.id));
            }
            for alias in &target.names {
                if !names.insert(alias.name.as_str()) {
                    flaws.push(format!("target {}: name {} is taken", target.id, alias.name));
                }
                if self.operator(&alias.operator).is_none() {
                    flaws.push(format!("target {}: no operator {:?}", target.id, alias.operator));
                }
            }
        }
        flaws
    }
}

/// Addresses 127.100 to 127.220 stand for agents.
const MAX_AGENTS: u8 = 120;

/// One vantage.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    /// Position in [`World::agents`].
    pub number: u16,
    /// Its name, as in its certificate.
    pub id: String,
    /// Access network, as in the element `isp/rogers-ca`.
    pub isp: String,
    /// Autonomous system of the access network.
    pub asn: u32,
    /// ISO 3166 code, lower case.
    pub country: String,
    /// One of na sa eu af me as oc.
    pub geography: String,
    /// The cloud whose machine it is; `None` for other networks.
    pub hosted_on: Option<String>,
    /// The region of that cloud.
    pub region: Option<String>,
    /// The public resolver that it uses; `None` for its network's own.
    pub resolver: Option<String>,
    /// Carriers of its access network, as far as they are known, as in the element `as3356`.
    pub carriers: Vec<String>,
    /// Agents of one group are one witness; `None` is a group of its own.
    pub group: Option<String>,
    /// Where it is, for people.
    pub label: String,
}

impl Agent {
    /// The address from which it probes.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.octet(), 0, 1)
    }

    /// Where its path to the coordinator begins.
    pub fn uplink_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.octet(), 0, 2)
    }

    /// Its network's recursive resolver.
    pub fn resolver_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.octet(), 0, 53)
    }

    /// The agent's number, of whoever sends from this address (its resolver included).
    pub fn number_at(address: Ipv4Addr) -> Option<u16> {
        let [net, host, ..] = address.octets();
        let is_agents = net == 127 && (AGENTS_FROM..AGENTS_FROM + MAX_AGENTS).contains(&host);
        is_agents.then(|| u16::from(host - AGENTS_FROM))
    }

    /// The octet that stands for it. Worlds of more agents than octets are never emulated ([`World::flaws`]).
    fn octet(&self) -> u8 {
        u8::try_from(self.number).map_or(u8::MAX, |number| AGENTS_FROM.saturating_add(number))
    }
}

const AGENTS_FROM: u8 = 100;

/// One endpoint to probe, with what is true of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Position in [`World::targets`].
    pub number: u16,
    /// Its id in the catalog.
    pub id: String,
    /// How it is probed.
    pub probe: Probe,
    /// CNAME chain, asked name first; empty for a literal address.
    pub names: Vec<Alias>,
    /// Path of its URL.
    pub path: String,
    /// What its body says.
    pub body: String,
    /// What the catalog expects the body to contain.
    pub expects: Option<String>,
    /// Whose software answers HTTP there.
    pub front: Front,
    /// The cloud that runs it or its origin.
    pub hosted_on: String,
    /// Region of that cloud.
    pub region: Option<String>,
    /// Zone of that region; `None` where it is spread or unknown.
    pub zone: Option<String>,
    /// Service of that cloud.
    pub service: Option<String>,
    /// `api` for a control-plane API.
    pub plane: Option<String>,
    /// Where it is: na sa eu af me as oc.
    pub geography: Option<String>,
    /// The CDN in front of it.
    pub cdn: Option<String>,
    /// Whether the catalog tells the CDN.
    pub cdn_is_told: bool,
    /// The identity provider it signs in with.
    pub identity: Option<String>,
    /// Who signed its certificate, in the emulated world's words; the lab's servers all show the lab's own authority.
    pub issuer: Option<String>,
    /// Elements that it needs and that no catalog tells, by canonical name: `aws/us-east-1/dynamodb`.
    pub hidden: Vec<String>,
    /// Whose it is.
    pub owner: String,
}

impl Target {
    /// The operator of the asked name; `None` for a literal address.
    pub fn dns_operator(&self) -> Option<&str> {
        self.names.first().map(|alias| alias.operator.as_str())
    }

    /// The top-level domain of the asked name.
    pub fn tld(&self) -> Option<&str> {
        self.host().and_then(|host| host.rsplit_once('.')).map(|(_, tld)| tld)
    }

    /// The name a client asks for and checks certificates against; `None` for a literal address.
    pub fn host(&self) -> Option<&str> {
        self.names.first().map(|alias| alias.name.as_str())
    }

    /// Where this target answers that agent: each vantage has its own address, as GeoDNS gives; a literal address is
    /// one for all.
    pub fn address_for(&self, agent: &Agent) -> Ipv4Addr {
        let (high, low) = self.address_octets();
        if self.names.is_empty() {
            return Ipv4Addr::new(127, 20, high, low);
        }
        Ipv4Addr::new(127, agent.octet(), high, low)
    }

    fn address_octets(&self) -> (u8, u8) {
        let octet = |value: u16| u8::try_from(value).unwrap_or(u8::MAX);
        (octet(1 + self.number / 200), octet(1 + self.number % 200))
    }
}

/// How a target is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A question through the agent's resolver (`system`) or to the operator's own server.
    Dns {
        /// The record type asked for.
        record: &'static str,
        /// Whether the operator's own server is asked.
        is_direct: bool,
    },
    /// TCP connect.
    Tcp,
    /// TLS handshake.
    Tls,
    /// HTTP/1.1 or HTTP/2 over TLS.
    Https,
    /// HTTP/3; the same endpoint also answers HTTP/1.1 and HTTP/2 over TCP.
    Http3,
}

/// One name of a chain, and who answers for it.
#[derive(Clone, Debug)]
pub struct Alias {
    /// Lower case, no final dot.
    pub name: String,
    /// An [`Operator::id`].
    pub operator: String,
}

/// Whose software answers HTTP, which shows in the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// An AWS service endpoint.
    AwsService,
    /// Azure storage.
    AzureBlob,
    /// Azure's resource manager and other API planes.
    AzureApi,
    /// Azure Front Door.
    FrontDoor,
    /// Amazon CloudFront.
    CloudFront,
    /// Cloudflare.
    Cloudflare,
    /// Fastly.
    Fastly,
    /// Google's front end.
    Google,
    /// Somebody's own web server.
    Nginx,
}

/// Who runs authoritative name servers.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The catalog's word: `route53`, `dyn`.
    pub id: String,
    /// Its server's address.
    pub address: Ipv4Addr,
    /// Host names of its name servers, as delegations show them.
    pub servers: Vec<String>,
}

#[cfg(test)]
mod tests;
