//! One network's recursive resolver.
//!
//! Rules: it asks over UDP from its own address, so that an authoritative server knows the vantage; it knows who serves
//! which zone, as a resolver with warm delegations does, and caches no answers. An authoritative server that stays
//! silent for 3 s, or that fails or refuses, is SERVFAIL to the client, as with real recursives; NXDOMAIN and empty
//! answers pass. A resolver whose path is lost says nothing.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hickory_server::proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{LowerName, Name, RecordType},
};
use tokio::net::UdpSocket;
use tracing::debug;

use super::{Answer, Reply, end_of_chain, settles};
use crate::{net::Shared, world::Agent};

pub(in crate::net) struct Resolver {
    agent: usize,
    shared: Arc<Shared>,
}

impl Resolver {
    pub(super) fn new(agent: usize, shared: &Arc<Shared>) -> Self {
        Self { agent, shared: Arc::clone(shared) }
    }

    /// The answer to that question, after as many questions of its own as the chain has links.
    pub(super) async fn answer(&self, name: &LowerName, asked: RecordType) -> Reply {
        if self.shared.board.path_is_lost(self.agent()) {
            return None;
        }
        let mut answer = Answer::new(ResponseCode::NoError);
        let mut at = name.clone();
        for _ in 0..LONGEST_CHAIN {
            let Some(reply) = self.ask(&at, asked).await else { return Some(Answer::new(ResponseCode::ServFail)) };
            answer.code = reply.metadata.response_code;
            if !matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain) {
                return Some(Answer::new(ResponseCode::ServFail));
            }
            let next = end_of_chain(&at, &reply.answers);
            let is_settled = reply.answers.iter().any(|record| settles(record, asked));
            answer.records.extend(reply.answers);
            answer.authority = reply.authorities;
            if is_settled || next == at || answer.code == ResponseCode::NXDomain {
                return Some(answer);
            }
            at = next;
        }
        Some(Answer::new(ResponseCode::ServFail))
    }

    fn agent(&self) -> &Agent {
        &self.shared.world.agents[self.agent]
    }

    /// What the name's operator says; `None` is silence.
    async fn ask(&self, name: &LowerName, asked: RecordType) -> Option<Message> {
        let operator = &self.shared.world.operators[self.shared.zones.operator(name)];
        let server = (operator.address, self.shared.port).into();
        let mut question = Message::new(QUESTION_ID, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(Name::from(name), asked));
        match self.shared.clock.timeout(PATIENCE, self.exchange(server, &question)).await {
            Ok(Ok(reply)) => Some(reply),
            Ok(Err(error)) => {
                debug!(%server, %error, "authoritative server not asked");
                None
            }
            Err(_) => None,
        }
    }

    async fn exchange(&self, server: SocketAddr, question: &Message) -> io::Result<Message> {
        // Any free port of the resolver's own address.
        let socket = UdpSocket::bind((self.agent().resolver_address(), 0)).await?;
        socket.connect(server).await?;
        socket.send(&question.to_vec().map_err(io::Error::other)?).await?;
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).await?;
        Message::from_vec(&buffer[..length]).map_err(io::Error::other)
    }
}

/// Each question has a socket of its own, connected to one server: there is nothing to tell apart.
const QUESTION_ID: u16 = 1;
const LONGEST_CHAIN: usize = 8;
/// Source: unbound and BIND give up on a dead zone within a few seconds; the lab takes one figure.
const PATIENCE: Duration = Duration::from_secs(3);
