//! The agent's stub resolver: whom to ask, how long to wait for each, and where a zone's own servers are.
//!
//! Rules: a silent server is asked again and its peers in turn, a server that said no is not; SERVFAIL and REFUSED pass
//! the question on while another server is left; a lost datagram costs one try of 1.5 s (clock time), not the probe.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_resolver::{
    Hosts,
    proto::{
        op::{Query, ResponseCode},
        rr::{DNSClass, Name, RData, RecordType},
    },
    system_conf::read_system_conf,
};
use tokio::time::Instant;

use super::{
    SYSTEM,
    ask::{AskError, Checking, Extension, Question, Recursion, Reply, ask},
};
use crate::probe::outcome::Budget;

/// Who resolves names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResolverChoice {
    /// What the system is configured to use, and its hosts file.
    #[default]
    System,
    /// These servers, and nothing local.
    Servers(Vec<SocketAddr>),
}

pub(crate) struct ResolverSettings {
    pub(crate) source: Option<IpAddr>,
    pub(crate) choice: ResolverChoice,
    pub(crate) authority_port: u16,
}

pub(crate) struct Resolver {
    settings: ResolverSettings,
    system: Mutex<Option<(Instant, Arc<System>)>>,
    rotation: AtomicUsize,
}

struct System {
    servers: Vec<SocketAddr>,
    hosts: Hosts,
}

/// A question to a recursive server.
pub(crate) fn question(name: &Name, kind: RecordType) -> Question {
    Question {
        name: name.clone(),
        kind,
        class: DNSClass::IN,
        recursion: Recursion::Desired,
        checking: Checking::On,
        edns: Extension::Size,
    }
}

impl Resolver {
    pub(crate) fn new(settings: ResolverSettings) -> Self {
        Self { settings, system: Mutex::new(None), rotation: AtomicUsize::new(0) }
    }

    /// The agent's resolvers, in order of preference.
    pub(crate) fn servers(&self) -> Vec<SocketAddr> {
        match &self.settings.choice {
            ResolverChoice::Servers(servers) => servers.clone(),
            ResolverChoice::System => self.system().servers.clone(),
        }
    }

    /// What facts call the server of an answer.
    pub(crate) fn name_of(&self, server: SocketAddr) -> String {
        match &self.settings.choice {
            ResolverChoice::System => SYSTEM.to_owned(),
            ResolverChoice::Servers(_) if server.port() == 53 => server.ip().to_string(),
            ResolverChoice::Servers(_) => server.to_string(),
        }
    }

    /// The address of the family that the system's hosts file gives the name.
    pub(crate) fn in_hosts_file(&self, name: &Name, kind: RecordType) -> Option<IpAddr> {
        if self.settings.choice != ResolverChoice::System {
            return None;
        }
        let found = self.system().hosts.lookup_static_host(&Query::query(name.clone(), kind))?;
        found.answers().iter().find_map(|record| record.data.ip_addr())
    }

    /// The system's configuration, read again when half a minute old: networks change under an agent.
    fn system(&self) -> Arc<System> {
        let mut held = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some((read, system)) if read.elapsed() < SYSTEM_AGE => Arc::clone(system),
            _ => {
                let system = Arc::new(System::read());
                *held = Some((Instant::now(), Arc::clone(&system)));
                system
            }
        }
    }

    /// The first useful answer of the servers, within the budget.
    pub(crate) async fn query(
        &self,
        servers: &[SocketAddr],
        question: Question,
        budget: &Budget,
    ) -> Result<Reply, AskError> {
        let mut asked: Vec<SocketAddr> = servers.to_vec();
        let mut best = Err(AskError::Timeout);
        for round in 0..MAX_ROUNDS {
            let patience = FIRST_TRY * 2_u32.pow(round);
            let mut silent = Vec::new();
            let count = asked.len();
            for (index, server) in asked.into_iter().enumerate() {
                let remaining = budget.remaining();
                if remaining.is_zero() {
                    return best;
                }
                let wait = patience.min(remaining);
                match ask(budget.clock, self.settings.source, server, &question, wait).await {
                    Ok(reply) if is_useful(&reply) => return Ok(reply),
                    Ok(reply) => best = Ok(reply),
                    Err(AskError::Timeout) => silent.push(server),
                    Err(error) if best.is_err() => best = Err(error),
                    Err(_) => {}
                }
                if index + 1 == count && silent.is_empty() {
                    return best;
                }
            }
            asked = silent;
        }
        best
    }

    /// The address that questions are sent from, if it is set.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.settings.source
    }

    /// The name servers of the zone that holds the name, at least one, in the order of their names.
    pub(crate) async fn authorities(&self, name: &Name, budget: &Budget) -> Result<Vec<Name>, AskError> {
        let own = self.servers();
        let mut zone = name.clone();
        while !zone.is_root() {
            let reply = self.query(&own, question(&zone, RecordType::NS), budget).await?;
            if !is_useful(&reply) {
                return Err(AskError::Code(reply.rcode()));
            }
            let mut names: Vec<Name> = (reply.message.answers.iter())
                .filter(|record| record.name == zone)
                .filter_map(|record| if let RData::NS(server) = &record.data { Some(server.0.clone()) } else { None })
                .collect();
            if !names.is_empty() {
                names.sort();
                names.dedup();
                return Ok(names);
            }
            // The SOA of an empty answer names the zone, which saves asking at each label between.
            let apex = reply.message.authorities.iter().find(|record| record.record_type() == RecordType::SOA);
            zone = match apex {
                Some(apex) if apex.name.zone_of(&zone) && apex.name.num_labels() < zone.num_labels() => {
                    apex.name.clone()
                }
                _ => zone.base_name(),
            };
        }
        Err(AskError::Code(ResponseCode::NoError))
    }

    /// One of them, another at each call.
    pub(crate) fn in_turn<'a>(&self, servers: &'a [Name]) -> Option<&'a Name> {
        let turn = self.rotation.fetch_add(1, Ordering::Relaxed).checked_rem(servers.len())?;
        servers.get(turn)
    }

    /// Where a name server is.
    pub(crate) async fn address_of(&self, server: &Name, budget: &Budget) -> Result<SocketAddr, AskError> {
        let own = self.servers();
        for kind in [RecordType::A, RecordType::AAAA] {
            let reply = self.query(&own, question(server, kind), budget).await?;
            if let Some(address) = reply.message.answers.iter().find_map(|record| record.data.ip_addr()) {
                return Ok(SocketAddr::new(address, self.settings.authority_port));
            }
        }
        Err(AskError::Code(ResponseCode::NoError))
    }
}

fn is_useful(reply: &Reply) -> bool {
    !matches!(reply.rcode(), ResponseCode::ServFail | ResponseCode::Refused)
}

impl System {
    fn read() -> Self {
        let servers = match read_system_conf() {
            Ok((config, _)) => config.name_servers.iter().map(|server| SocketAddr::new(server.ip, 53)).collect(),
            Err(_) => Vec::new(),
        };
        let mut servers: Vec<SocketAddr> = servers;
        servers.dedup();
        if servers.is_empty() {
            servers.push(DEFAULT_SERVER.into());
        }
        Self { servers, hosts: Hosts::from_system().unwrap_or_default() }
    }
}

/// Source: resolv.conf(5), "the default is to use the name server on the local machine".
const DEFAULT_SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 53);
const SYSTEM_AGE: Duration = Duration::from_secs(30);
const FIRST_TRY: Duration = Duration::from_millis(1_500);
const MAX_ROUNDS: u32 = 4;
