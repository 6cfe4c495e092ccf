//! One operator's authoritative server.

use std::{net::Ipv4Addr, sync::Arc};

use hickory_server::proto::{
    op::ResponseCode,
    rr::{
        LowerName, Name, RData, Record, RecordType,
        rdata::{A, CNAME, NS, SOA},
    },
};

use super::{Answer, Reply, settles, zones::Link};
use crate::{
    net::{
        Shared,
        faults::{Asker, DnsEffect},
    },
    world::{Agent, Alias, Target},
};

pub(in crate::net) struct Authority {
    operator: usize,
    pub(super) shared: Arc<Shared>,
}

impl Authority {
    pub(super) fn new(operator: usize, shared: &Arc<Shared>) -> Self {
        Self { operator, shared: Arc::clone(shared) }
    }

    /// What the operator says to that agent, or to its resolver; strangers are refused.
    pub(super) fn answer(&self, agent: Option<(usize, Asker)>, name: &LowerName, asked: RecordType) -> Reply {
        let Some((agent, by)) = agent.map(|(agent, by)| (&self.shared.world.agents[agent], by)) else {
            return Some(Answer::new(ResponseCode::Refused));
        };
        if self.shared.board.path_is_lost(agent) {
            return None;
        }
        let link = self.shared.zones.link(name).filter(|link| link.operator == self.operator);
        let operator = &self.shared.world.operators[self.operator].id;
        match self.shared.board.dns((agent, by), operator, link.map(|link| self.facts(link))) {
            None | Some(DnsEffect::Slow(_)) => Some(self.healthy(agent, name, asked, link)),
            Some(DnsEffect::Timeout) => None,
            Some(DnsEffect::Servfail) => Some(Answer::new(ResponseCode::ServFail)),
            Some(DnsEffect::Refused) => Some(Answer::new(ResponseCode::Refused)),
            Some(DnsEffect::Nxdomain) => Some(self.negative(name, ResponseCode::NXDomain)),
            Some(DnsEffect::EmptyAnswer) => Some(self.negative(name, ResponseCode::NoError)),
            Some(DnsEffect::WrongAnswer) => Some(match asked {
                RecordType::A => positive(vec![record(name, RData::A(A(NOBODY)))]),
                _ => self.negative(name, ResponseCode::NoError),
            }),
        }
    }

    fn facts(&self, link: Link) -> (&Target, &Alias) {
        let target = &self.shared.world.targets[link.target];
        (target, &target.names[link.position])
    }

    fn healthy(&self, agent: &Agent, name: &LowerName, asked: RecordType, link: Option<Link>) -> Answer {
        let mut records = Vec::new();
        if let Some(link) = link {
            let (target, _) = self.facts(link);
            records.push(match target.names.get(link.position + 1) {
                Some(next) => record(name, RData::CNAME(CNAME(host(&next.name)))),
                None => record(name, RData::A(A(target.address_for(agent)))),
            });
        }
        let operator = &self.shared.world.operators[self.operator];
        if self.shared.zones.apex(name) == *name && self.shared.zones.operator(name) == self.operator {
            records.extend(operator.servers.iter().map(|server| record(name, RData::NS(NS(host(server))))));
            records.push(self.start_of_authority(name));
        }
        // An alias answers whatever is asked.
        records.retain(|record| settles(record, asked) || record.record_type() == RecordType::CNAME);
        if !records.is_empty() {
            return positive(records);
        }
        let exists = self.shared.zones.exists(name) && self.shared.zones.operator(name) == self.operator;
        self.negative(name, if exists { ResponseCode::NoError } else { ResponseCode::NXDomain })
    }

    fn negative(&self, name: &LowerName, code: ResponseCode) -> Answer {
        let apex = self.shared.zones.apex(name);
        Answer { authority: vec![self.start_of_authority(&apex)], ..Answer::new(code) }
    }

    fn start_of_authority(&self, apex: &LowerName) -> Record {
        let server = &self.shared.world.operators[self.operator].servers[0];
        let mail = format!("hostmaster.{server}");
        record(apex, RData::SOA(SOA::new(host(server), host(&mail), 1, 7200, 900, 86_400, TTL_SECONDS)))
    }
}

/// Nobody's address: where a wrong answer leads, every port is closed.
const NOBODY: Ipv4Addr = Ipv4Addr::new(127, 66, 6, 6);

const TTL_SECONDS: u32 = 1;

fn positive(records: Vec<Record>) -> Answer {
    Answer { records, ..Answer::new(ResponseCode::NoError) }
}

fn record(name: &LowerName, data: RData) -> Record {
    Record::from_rdata(Name::from(name), TTL_SECONDS, data)
}

fn host(name: &str) -> Name {
    let mut name = Name::from_ascii(name).expect("names of a sound world are host names");
    name.set_fqdn(true);
    name
}
