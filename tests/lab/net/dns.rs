//! Names: one authoritative server for each operator, one recursive resolver for each agent.
//!
//! Rules: both speak UDP and TCP. Authoritative servers tell vantages apart by the source address and give each its
//! own address for a target. Resolvers keep no cache and really ask the operators' servers, one for each link of a
//! CNAME chain.

mod authority;
mod resolver;
mod zones;

use std::{sync::Arc, time::Duration};

use hickory_server::{
    Server,
    net::runtime::Time,
    proto::{
        op::{Header, HeaderCounts, Metadata, ResponseCode},
        rr::{LowerName, Record, RecordType},
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use tokio::net::{TcpListener, UdpSocket};
use tracing::debug;

pub(super) use self::zones::Zones;
use self::{authority::Authority, resolver::Resolver};
use super::{Shared, faults::Asker, tcp};

/// A running name server.
pub(super) type NameServer = Server<Handler>;

/// Whose server an address is: the index of an operator, or of the agent whose network resolves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Authority(usize),
    Resolver(usize),
}

/// Serves in that role until it is shut down.
pub(super) fn serve(role: Role, udp: UdpSocket, tcp: TcpListener, shared: &Arc<Shared>) -> NameServer {
    let mut server = Server::new(match role {
        Role::Authority(operator) => Handler::Authority(Authority::new(operator, shared)),
        Role::Resolver(agent) => Handler::Resolver(Resolver::new(agent, shared)),
    });
    server.register_socket(udp);
    server.register_listener(tcp, TCP_IDLE, TCP_ANSWERS);
    server
}

const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers that wait for a slow TCP client; one that reads none of them blocks its own connection alone.
const TCP_ANSWERS: usize = 32;

/// What a server says to a question; `None` is silence.
pub(super) type Reply = Option<Answer>;

/// The parts of a response that differ.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    code: ResponseCode,
    records: Vec<Record>,
    authority: Vec<Record>,
}

impl Answer {
    fn new(code: ResponseCode) -> Self {
        Self { code, records: Vec::new(), authority: Vec::new() }
    }
}

pub(super) enum Handler {
    Authority(Authority),
    Resolver(Resolver),
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut handle: R) -> ResponseInfo {
        let (reply, is_authority) = match (self, request.request_info()) {
            (_, Err(_)) => (Some(Answer::new(ResponseCode::FormErr)), false),
            (Self::Authority(authority), Ok(question)) => {
                let agent = tcp::visitor(request.src(), &authority.shared);
                let own = agent.map(|agent| authority.shared.world.agents[agent].address());
                let is_agent = own.is_some_and(|own| request.src().ip() == own);
                let agent = agent.map(|agent| (agent, if is_agent { Asker::Agent } else { Asker::Resolver }));
                (authority.answer(agent, question.query.name(), question.query.query_type()), true)
            }
            (Self::Resolver(resolver), Ok(question)) => {
                (resolver.answer(question.query.name(), question.query.query_type()).await, false)
            }
        };
        let Some(answer) = reply else { return silence(request) };
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = answer.code;
        metadata.authoritative = is_authority;
        metadata.recursion_available = !is_authority;
        let response = MessageResponseBuilder::from_message_request(request);
        let response = response.build(metadata, &answer.records, &answer.authority, None, None);
        handle.send_response(response).await.unwrap_or_else(|error| {
            debug!(%error, "answer not sent");
            silence(request)
        })
    }
}

/// What the server's own accounts are told of a question without an answer.
fn silence(request: &Request) -> ResponseInfo {
    let metadata = Metadata::response_from_request(&request.metadata);
    Header { metadata, counts: HeaderCounts::default() }.into()
}

/// Whether a record of that type ends a chain for this question.
fn settles(record: &Record, asked: RecordType) -> bool {
    record.record_type() == asked || asked == RecordType::ANY
}

/// The name at the end of the chain that starts at `name`, as far as the records go.
fn end_of_chain(name: &LowerName, records: &[Record]) -> LowerName {
    let mut end = name.clone();
    for record in records {
        if let hickory_server::proto::rr::RData::CNAME(next) = &record.data
            && LowerName::new(&record.name) == end
        {
            end = LowerName::new(&next.0);
        }
    }
    end
}
