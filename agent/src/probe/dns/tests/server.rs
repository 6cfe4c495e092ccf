//! A name server that answers as a test has it, over UDP and TCP.

use std::{net::SocketAddr, sync::Arc};

use faultline_proto::types::v1::{DnsSpec, Protocol, TcpSpec, assignment::Spec};
use hickory_resolver::proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{
        Name, RData, Record,
        rdata::{A, CNAME, opt::EdnsCode},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

use super::super::SYSTEM;
use crate::probe::{Observed, ProbeSettings, Prober, ResolverChoice, testing::*};

/// What the server does with the answer that the test has filled in.
pub(super) enum Act {
    Answer,
    Nothing,
    /// The question's id and then nonsense.
    Garbled,
    Raw(&'static [u8]),
}

/// How a question arrived.
pub(super) struct Seen {
    pub(super) metadata: hickory_resolver::proto::op::Metadata,
    pub(super) transport: Protocol,
    /// Whether it asks for the server's own name.
    pub(super) wants_name: bool,
}

pub(super) struct DnsServer {
    pub(super) address: SocketAddr,
    _tasks: JoinSet<()>,
}

pub(super) type Answerer = dyn Fn(&Query, &mut Message, &Seen) -> Act + Send + Sync;

impl DnsServer {
    pub(super) async fn new(answer: impl Fn(&Query, &mut Message, &Seen) -> Act + Send + Sync + 'static) -> Self {
        let answer: Arc<Answerer> = Arc::new(answer);
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((HOST, 0)).await.expect("a port");
            let address = udp.local_addr().expect("an address");
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        let answerer = Arc::clone(&answer);
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = udp.recv_from(&mut buffer).await {
                if let Some(bytes) = respond(&*answerer, &buffer[..length], Protocol::DnsUdp) {
                    udp.send_to(&bytes, peer).await.ok();
                }
            }
        });
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let length = stream.read_u16().await.expect("a length");
                let mut question = vec![0; usize::from(length)];
                stream.read_exact(&mut question).await.expect("a question");
                if let Some(bytes) = respond(&*answer, &question, Protocol::DnsTcp) {
                    stream.write_u16(u16::try_from(bytes.len()).expect("short")).await.ok();
                    stream.write_all(&bytes).await.ok();
                }
            }
        });
        Self { address, _tasks: tasks }
    }
}

pub(super) fn respond(answerer: &Answerer, question: &[u8], transport: Protocol) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).expect("a question");
    let edns = question.edns.as_ref();
    let wants_name = edns.is_some_and(|edns| edns.option(EdnsCode::NSID).is_some());
    let seen = Seen { metadata: question.metadata, transport, wants_name };
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.add_queries(question.queries.clone());
    match answerer(&question.queries[0], &mut answer, &seen) {
        Act::Answer => Some(answer.to_vec().expect("an answer")),
        Act::Nothing => None,
        Act::Garbled => {
            let mut bytes = question.metadata.id.to_be_bytes().to_vec();
            bytes.extend_from_slice(b"this is not DNS at all");
            Some(bytes)
        }
        Act::Raw(bytes) => Some(bytes.to_vec()),
    }
}

pub(super) fn address(answer: &mut Message, owner: &Name) {
    answer.add_answer(Record::from_rdata(owner.clone(), 60, RData::A(A::new(127, 0, 0, 1))));
}

pub(super) fn alias_to(answer: &mut Message, owner: &Name, target: &str) {
    answer.add_answer(Record::from_rdata(owner.clone(), 60, RData::CNAME(CNAME(name(target)))));
}

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

pub(super) fn dns_spec(name: &str, record_type: &str, server: &str) -> Spec {
    Spec::Dns(DnsSpec {
        name: name.into(),
        record_type: record_type.into(),
        server: server.into(),
        ..DnsSpec::default()
    })
}

pub(super) fn prober_of(servers: Vec<SocketAddr>) -> Prober {
    let resolver = ResolverChoice::Servers(servers);
    Prober::new(ProbeSettings { resolver, ..settings(&Authority::new()) }).expect("a prober")
}

pub(super) fn system_prober(server: &DnsServer) -> Prober {
    prober_of(vec![server.address])
}

pub(super) async fn ask(server: &DnsServer, name: &str) -> Observed {
    run(&system_prober(server), dns_spec(name, "A", SYSTEM)).await
}

pub(super) async fn connect_to(server: &DnsServer, host: &str, port: u16) -> Observed {
    let spec = Spec::Tcp(TcpSpec { host: host.into(), port: port.into() });
    run(&system_prober(server), spec).await
}
