//! One question to one name server: UDP first, TCP when the answer was cut or its name came back altered.
//!
//! Rules: the socket is connected, so that an ICMP refusal is heard and strangers are not; a datagram with another id
//! is not an answer, but is remembered, so that a server that speaks something else is told apart from a silent one;
//! letters of the name go out in random case (draft-vixie-dnsext-dns0x20) and must come back so over UDP; in
//! what is read, they are as they were asked for, also where records point at them.
//!
//! Hickory's resolver is not asked: its sockets are not connected, so it cannot tell a refusal from silence, and it
//! folds garbled and missing answers into one error. Its message types, system configuration and hosts file are used.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use faultline_proto::{
    clock::Clock,
    types::v1::{Protocol, Reason},
};
use hickory_resolver::proto::{
    op::{DEFAULT_MAX_PAYLOAD_LEN, Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RecordType,
        rdata::opt::{EdnsCode, EdnsOption, NSIDPayload},
    },
    serialize::binary::BinEncodable,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UdpSocket,
};

use crate::probe::{connect, machine::is_out_of_sockets};

/// What to ask.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) kind: RecordType,
    pub(crate) class: DNSClass,
    pub(crate) recursion: Recursion,
    pub(crate) checking: Checking,
    pub(crate) edns: Extension,
}

/// What the query says beyond plain DNS (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// Nothing.
    Off,
    /// How large an answer may be.
    Size,
    /// That, and that the server is asked for its own name (RFC 5001).
    SizeAndName,
}

/// Whether the server is asked to find out what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recursion {
    Desired,
    Off,
}

/// Whether the server is asked to validate signatures as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checking {
    On,
    Disabled,
}

/// A well-formed answer to the question, whatever its code.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) message: Message,
    pub(crate) transport: Protocol,
    pub(crate) server: SocketAddr,
}

impl Reply {
    pub(crate) fn rcode(&self) -> ResponseCode {
        self.message.metadata.response_code
    }

    /// The name that the server gave itself, as text or in hexadecimal; empty where it gave none.
    pub(crate) fn nsid(&self) -> String {
        let edns = self.message.edns.as_ref();
        let Some(EdnsOption::NSID(name)) = edns.and_then(|edns| edns.option(EdnsCode::NSID)) else {
            return String::new();
        };
        let bytes = name.as_ref();
        if bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            return bytes.iter().take(MAX_NSID).map(|byte| char::from(*byte)).collect();
        }
        let digits = bytes.iter().take((MAX_NSID - 2) / 2).map(|byte| format!("{byte:02x}"));
        std::iter::once("0x".to_owned()).chain(digits).collect()
    }
}

/// Why there was no answer.
#[derive(Debug)]
pub(crate) enum AskError {
    Timeout,
    Unreachable {
        server: IpAddr,
        error: io::Error,
    },
    /// A server that could be reached and would not answer.
    Refused,
    Malformed,
    OutOfSockets,
    Unmeasured(Reason),
    /// A step on the way to the answer ended with this code.
    Code(ResponseCode),
}

/// The answer of `server`, waited for no longer than `patience` of the clock's time.
pub(crate) async fn ask(
    clock: Clock,
    source: Option<IpAddr>,
    server: SocketAddr,
    question: &Question,
    patience: Duration,
) -> Result<Reply, AskError> {
    let mut heard = Heard::Nothing;
    match clock.timeout(patience, exchange(source, server, question, &mut heard)).await {
        Ok(answer) => answer,
        Err(_) if matches!(heard, Heard::Garbage) => Err(AskError::Malformed),
        Err(_) => Err(AskError::Timeout),
    }
}

enum Heard {
    Nothing,
    Garbage,
}

async fn exchange(
    source: Option<IpAddr>,
    server: SocketAddr,
    question: &Question,
    heard: &mut Heard,
) -> Result<Reply, AskError> {
    let refused = |error| unreachable(server, error);
    let socket = UdpSocket::bind(local(source, server)).await.map_err(refused)?;
    connect::hear_refusals(&socket, server.ip());
    socket.connect(server).await.map_err(refused)?;
    let (id, mut asked) = (rand::random(), question.clone());
    asked.name.randomize_label_case();
    socket.send(&encode(id, &asked)?).await.map_err(refused)?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(refused)?;
        let is_case_kept = restore_case(&mut buffer[..length], &asked.name, &question.name);
        match read(&buffer[..length], id, question) {
            Read::Answer(message) if message.metadata.truncation || !(is_case_kept || message.queries.is_empty()) => {
                return over_tcp(source, server, question).await;
            }
            Read::Answer(message) => return Ok(Reply { message, transport: Protocol::DnsUdp, server }),
            Read::Malformed => return Err(AskError::Malformed),
            Read::Stranger => *heard = Heard::Garbage,
        }
    }
}

async fn over_tcp(source: Option<IpAddr>, server: SocketAddr, question: &Question) -> Result<Reply, AskError> {
    let refused = |error| unreachable(server, error);
    let stream = connect::open(server, source).await.map_err(refused)?;
    over(stream, server, Protocol::DnsTcp, question).await
}

/// The server's answer over the connection.
pub(super) async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    server: SocketAddr,
    transport: Protocol,
    question: &Question,
) -> Result<Reply, AskError> {
    let id = rand::random();
    let answer = framed(stream, server, &encode(id, question)?).await?;
    match read(&answer, id, question) {
        Read::Answer(message) => Ok(Reply { message, transport, server }),
        Read::Malformed | Read::Stranger => Err(AskError::Malformed),
    }
}

/// The answer to the query over a stream, each after its length.
pub(super) async fn framed(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    server: SocketAddr,
    query: &[u8],
) -> Result<Vec<u8>, AskError> {
    let length = u16::try_from(query.len()).map_err(|_| AskError::Malformed)?;
    let mut framed = Vec::with_capacity(query.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(query);
    stream.write_all(&framed).await.map_err(|error| unreachable(server, error))?;
    stream.flush().await.map_err(|error| unreachable(server, error))?;
    let length = stream.read_u16().await.map_err(|error| cut(server, error))?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(|error| cut(server, error))?;
    Ok(answer)
}

fn local(source: Option<IpAddr>, server: SocketAddr) -> SocketAddr {
    match source {
        Some(source) if source.is_ipv4() == server.is_ipv4() => (source, 0).into(),
        _ if server.is_ipv4() => ([0, 0, 0, 0], 0).into(),
        _ => ([0u16; 8], 0).into(),
    }
}

pub(super) fn unreachable(server: SocketAddr, error: io::Error) -> AskError {
    if is_out_of_sockets(&error) {
        return AskError::OutOfSockets;
    }
    AskError::Unreachable { server: server.ip(), error }
}

/// An answer that ends early is not DNS; a reset is a server that cannot be reached.
fn cut(server: SocketAddr, error: io::Error) -> AskError {
    if error.kind() == io::ErrorKind::UnexpectedEof { AskError::Malformed } else { unreachable(server, error) }
}

pub(super) fn encode(id: u16, question: &Question) -> Result<Vec<u8>, AskError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = question.recursion == Recursion::Desired;
    message.metadata.checking_disabled = question.checking == Checking::Disabled;
    let mut query = Query::query(question.name.clone(), question.kind);
    query.set_query_class(question.class);
    message.add_query(query);
    if question.edns != Extension::Off {
        let mut edns = Edns::new();
        edns.set_max_payload(DEFAULT_MAX_PAYLOAD_LEN).set_version(0);
        if let (Extension::SizeAndName, Ok(empty)) = (question.edns, NSIDPayload::new([])) {
            edns.options_mut().insert(EdnsOption::NSID(empty));
        }
        message.set_edns(edns);
    }
    message.to_vec().map_err(|_| AskError::Malformed)
}

pub(super) enum Read {
    Answer(Message),
    Malformed,
    Stranger,
}

pub(super) fn read(bytes: &[u8], id: u16, question: &Question) -> Read {
    if bytes.get(..2) != Some(&id.to_be_bytes()) {
        return Read::Stranger;
    }
    // Counted before they are read: a record takes twenty times its bytes in memory.
    let counts = bytes.get(6..12).unwrap_or_default().chunks_exact(2);
    if counts.map(|count| usize::from(count[0]) << 8 | usize::from(count[1])).sum::<usize>() > MAX_RECORDS {
        return Read::Malformed;
    }
    let Ok(message) = Message::from_vec(bytes) else { return Read::Malformed };
    if message.metadata.message_type != MessageType::Response {
        return Read::Malformed;
    }
    match message.queries.as_slice() {
        [query] if query.name == question.name && query.query_type == question.kind => Read::Answer(message),
        // Servers that could not read the question may leave it out of their refusal.
        [] if message.metadata.response_code != ResponseCode::NoError => Read::Answer(message),
        _ => Read::Stranger,
    }
}

/// Puts the name of the question back in place of the one that was sent; false where the answer has neither.
fn restore_case(answer: &mut [u8], sent: &Name, name: &Name) -> bool {
    let (Ok(sent), Ok(name)) = (sent.to_bytes(), name.to_bytes()) else { return false };
    match answer.get_mut(HEADER..HEADER + sent.len()) {
        Some(echoed) if *echoed == *sent => {
            echoed.copy_from_slice(&name);
            true
        }
        _ => false,
    }
}

/// Bytes before the question. Source: RFC 1035, section 4.1.1.
const HEADER: usize = 12;

/// Records of a message, all sections together. Source: 295 bytes each were measured, and a run may take 256 KiB; the
/// root's name servers with their addresses are 40 records.
const MAX_RECORDS: usize = 500;
/// Characters of a server's name that are kept. Source: names in use are host and site, some 20 long; the rest is a bound.
const MAX_NSID: usize = 64;
/// Above what we offer in EDNS: a server that sends more has not read it.
const MAX_DATAGRAM: usize = 4096;
