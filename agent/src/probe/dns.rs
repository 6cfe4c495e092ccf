//! The dns layer: names to addresses for the layers above, and the `dns` kind of probe.
//!
//! Rules: nothing is cached between runs; an alias chain is followed in order, at most eight long, and a loop is
//! `dns_malformed`; A is asked first and AAAA only when there is no A; the hosts file counts only for the system's
//! resolver and only on behalf of the layers above. "The server could not be reached" and "no answer" stay apart.

mod ask;
mod chain;
mod encrypted;
mod resolver;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use faultline_proto::{
    question,
    types::v1::{Cause, DnsSpec, Layer, Protocol, Reason},
};
use futures::future::join_all;
use hickory_resolver::proto::{
    op::ResponseCode,
    rr::{Name, Record, RecordType},
};
use regex::bytes::Regex;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::ask::{Checking, Extension, Question, Recursion, Reply};
pub use self::resolver::ResolverChoice;
pub(crate) use self::resolver::{Resolver, ResolverSettings};
use self::{ask::AskError, chain::Chain, encrypted::Upstream, resolver::question};
use super::{
    machine::missing_network,
    outcome::{Budget, Facts, Phase, Progress, Stop},
    places::Place,
    tls::Handshakes,
};
use crate::policy::Policy;

/// The address of a host: itself when it is literal, without a dns layer.
pub(crate) async fn resolve(resolver: &Resolver, host: &str, progress: &mut Progress) -> Result<IpAddr, Stop> {
    if let Ok(literal) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(literal);
    }
    let found = addresses(resolver, host, progress).await;
    progress.end(Phase::Dns);
    found?.first().copied().ok_or(EMPTY)
}

async fn addresses(resolver: &Resolver, host: &str, progress: &mut Progress) -> Result<Vec<IpAddr>, Stop> {
    for kind in [RecordType::A, RecordType::AAAA] {
        let found = addresses_of(resolver, host, kind, progress).await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// The host's addresses of one family.
pub(crate) async fn addresses_of(
    resolver: &Resolver,
    host: &str,
    kind: RecordType,
    progress: &mut Progress,
) -> Result<Vec<IpAddr>, Stop> {
    let name = absolute(host)?;
    let other = if kind == RecordType::A { RecordType::AAAA } else { RecordType::A };
    let (here, there) = (resolver.in_hosts_file(&name, kind), resolver.in_hosts_file(&name, other));
    if here.is_some() || there.is_some() {
        // A name of the file has the addresses of the file.
        SYSTEM.clone_into(&mut progress.facts.resolver);
        return Ok(here.into_iter().collect());
    }
    // It ends before the layers that need the room.
    Box::pin(follow(resolver, &name, kind, progress)).await
}

/// The server's answer over the connection, whatever it says.
pub(crate) async fn ask_over(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    server: SocketAddr,
    transport: Protocol,
    question: &Question,
    budget: &Budget,
) -> Result<Reply, Stop> {
    let answered = budget.within(ask::over(stream, server, transport, question)).await;
    answered.unwrap_or(Err(AskError::Timeout)).map_err(|error| stop(&error))
}

/// The server's answer to one datagram, whatever it says.
pub(crate) async fn ask_once(
    server: SocketAddr,
    source: Option<IpAddr>,
    question: &Question,
    budget: &Budget,
) -> Result<Reply, Stop> {
    let asked = ask::ask(budget.clock, source, server, question, budget.remaining());
    asked.await.map_err(|error| stop(&error))
}

/// The name servers of the zone that holds the name, and where each is, if that can be found out.
pub(crate) async fn authorities(
    resolver: &Resolver,
    name: &str,
    budget: &Budget,
) -> Result<Vec<(String, Result<SocketAddr, Stop>)>, Stop> {
    let servers = resolver.authorities(&absolute(name)?, budget).await.map_err(|error| stop(&error))?;
    let located = servers.into_iter().map(async |server| {
        let address = resolver.address_of(&server, budget).await.map_err(|error| stop(&error));
        (host_name(&server), address)
    });
    Ok(join_all(located).await)
}

/// Addresses at the end of the alias chain, asking again where an answer ends in an alias that it does not resolve.
async fn follow(
    resolver: &Resolver,
    name: &Name,
    kind: RecordType,
    progress: &mut Progress,
) -> Result<Vec<IpAddr>, Stop> {
    let mut chain = Chain::from(name);
    let servers = resolver.servers();
    loop {
        let asked = chain.end().clone();
        let reply = resolver.query(&servers, question(&asked, kind), &progress.budget).await;
        let reply = reply.map_err(|error| stop(&error))?;
        note(resolver, &reply, progress);
        let followed = chain.extend(&reply.message.answers);
        progress.facts.cnames = chain.names();
        followed?;
        if reply.rcode() != ResponseCode::NoError {
            let plain = Asker::Plain(resolver, Vec::new());
            return Err(failed(rcode_cause(&plain, &reply, &asked, kind, progress).await));
        }
        let found: Vec<_> = addresses_at(chain.end(), &reply.message.answers).collect();
        if !found.is_empty() || *chain.end() == asked {
            return Ok(found);
        }
    }
}

fn addresses_at<'a>(owner: &'a Name, answers: &'a [Record]) -> impl Iterator<Item = IpAddr> + 'a {
    answers.iter().filter(|record| record.name == *owner).filter_map(|record| record.data.ip_addr()).take(MAX_ANSWERS)
}

/// The `dns` kind: asks whom the spec names and judges the answer.
pub(crate) async fn probe(
    (resolver, handshakes): (&Resolver, &Handshakes),
    wanted: Wanted<'_>,
    (place, policy): (&Place, &Policy),
    progress: &mut Progress,
) -> Result<(), Stop> {
    let judged = ask_and_judge((resolver, handshakes), wanted, (place, policy), progress).await;
    progress.end(Phase::Dns);
    judged
}

/// The spec, and its patterns for answers.
type Wanted<'a> = (&'a DnsSpec, &'a [Arc<Regex>]);

async fn ask_and_judge(
    (resolver, handshakes): (&Resolver, &Handshakes),
    wanted: Wanted<'_>,
    (place, policy): (&Place, &Policy),
    progress: &mut Progress,
) -> Result<(), Stop> {
    let (spec, _) = wanted;
    let name = absolute(&spec.name)?;
    let kind = spec.record_type.parse::<RecordType>().map_err(|_| Stop::Unmeasured(Reason::PolicyRefused))?;
    let mut question = Question { edns: Extension::SizeAndName, ..question(&name, kind) };
    let mut host = String::new();
    let servers = match spec.server.as_str() {
        SYSTEM => resolver.servers(),
        AUTHORITATIVE => {
            question.recursion = Recursion::Off;
            let (server, address) = match place {
                Place::Server(server, address) => (server.clone(), *address),
                _ => authority(resolver, &name, &progress.budget).await?,
            };
            progress.facts.resolver = format!("authority:{server}");
            vec![allowed(policy, address?)?]
        }
        server => {
            let (named, port) = split_server(server).ok_or(Stop::Unmeasured(Reason::PolicyRefused))?;
            let port = port.unwrap_or(question::port(spec.transport()));
            let address = if let Some(literal) = place.address().or_else(|| named.parse().ok()) {
                literal
            } else {
                // The chain and code of this step describe the server's name, not the question.
                let mut aside = Progress::new(progress.budget);
                let found = addresses(resolver, named, &mut aside).await?;
                *found.first().ok_or(EMPTY)?
            };
            named.clone_into(&mut host);
            server.clone_into(&mut progress.facts.resolver);
            vec![allowed(policy, SocketAddr::new(address, port))?]
        }
    };
    let budget = progress.budget;
    let asker = match (spec.transport(), servers.as_slice()) {
        (Protocol::Unspecified, _) => Asker::Plain(resolver, servers),
        (transport, [address]) => {
            let (address, source, path) = (*address, resolver.source(), spec.path.as_str());
            progress.address = Some(address.ip());
            Asker::Upstream(Upstream { handshakes, source, address, host: &host, transport, path })
        }
        _ => return Err(Stop::Unmeasured(Reason::PolicyRefused)),
    };
    let reply = asker.ask(&question, budget, &mut progress.facts).await.map_err(|error| stop(&error))?;
    progress.address = Some(reply.server.ip());
    note(resolver, &reply, progress);
    judge(&asker, wanted, &question, &reply, progress).await
}

/// Whom a probe asks.
enum Asker<'a> {
    /// These servers, by datagram.
    Plain(&'a Resolver, Vec<SocketAddr>),
    Upstream(Upstream<'a>),
}

impl Asker<'_> {
    async fn ask(&self, question: &Question, budget: Budget, facts: &mut Facts) -> Result<Reply, AskError> {
        match self {
            Self::Plain(resolver, servers) => resolver.query(servers, question.clone(), &budget).await,
            Self::Upstream(upstream) => upstream.ask(question, budget, facts).await,
        }
    }

    /// Whether a server that said SERVFAIL answers once it need not check signatures, and still fails when it must.
    async fn is_bogus(&self, server: SocketAddr, question: Question, budget: Budget) -> bool {
        let alone = match self {
            Self::Plain(resolver, _) => Self::Plain(resolver, vec![server]),
            Self::Upstream(upstream) => Self::Upstream(upstream.clone()),
        };
        let unchecked = Question { checking: Checking::Disabled, ..question.clone() };
        let code = async |question: &Question| {
            let reply = alone.ask(question, budget, &mut Facts::default()).await;
            reply.ok().map(|reply| reply.rcode())
        };
        code(&unchecked).await == Some(ResponseCode::NoError) && code(&question).await == Some(ResponseCode::ServFail)
    }
}

async fn judge(
    asker: &Asker<'_>,
    (spec, patterns): Wanted<'_>,
    question: &Question,
    reply: &Reply,
    progress: &mut Progress,
) -> Result<(), Stop> {
    let answers = &reply.message.answers;
    let mut chain = Chain::from(&question.name);
    let followed = chain.extend(answers);
    progress.facts.cnames = chain.names();
    followed?;
    if !spec.rcodes.is_empty() {
        let code = u16::from(reply.rcode());
        if spec.rcodes.iter().any(|word| rcode_of(word) == Some(code)) {
            return judge_data((spec, patterns), question.kind, answers);
        }
        if reply.rcode() == ResponseCode::NoError {
            return Err(failed(Cause::DnsWrongAnswer));
        }
    }
    if reply.rcode() != ResponseCode::NoError {
        return Err(failed(rcode_cause(asker, reply, &question.name, question.kind, progress).await));
    }
    // An authority that answers with an alias out of its zone has answered.
    let is_alias = question.recursion == Recursion::Off && !chain.aliases.is_empty();
    let is_answered = answers.iter().any(|record| record.record_type() == question.kind);
    if !is_answered && !is_alias {
        return Err(failed(Cause::DnsEmptyAnswer));
    }
    judge_data((spec, patterns), question.kind, answers)
}

/// Whether there are as many answers as the spec wants, and such as it wants.
fn judge_data((spec, patterns): Wanted<'_>, kind: RecordType, answers: &[Record]) -> Result<(), Stop> {
    let of_kind = answers.iter().filter(|record| record.record_type() == kind);
    let found: Vec<String> = of_kind.map(|record| record.data.to_string()).take(MAX_JUDGED).collect();
    let is_there = |pattern: &Arc<Regex>| found.iter().any(|data| pattern.is_match(data.as_bytes()));
    let is_good = found.len() >= spec.min_answers as usize && patterns.iter().all(is_there);
    if is_good { Ok(()) } else { Err(failed(Cause::DnsWrongAnswer)) }
}

/// The cause of a code other than NOERROR; for SERVFAIL of a recursive server this asks whether signatures are why.
async fn rcode_cause(asker: &Asker<'_>, reply: &Reply, name: &Name, kind: RecordType, progress: &Progress) -> Cause {
    match reply.rcode() {
        ResponseCode::NXDomain => Cause::DnsNxdomain,
        ResponseCode::Refused => Cause::DnsRefused,
        ResponseCode::ServFail => {
            let is_bogus = reply.message.metadata.recursion_available
                && asker.is_bogus(reply.server, question(name, kind), progress.budget).await;
            if is_bogus { Cause::DnsDnssecBogus } else { Cause::DnsServfail }
        }
        _ => Cause::DnsWrongAnswer,
    }
}

fn note(resolver: &Resolver, reply: &Reply, progress: &mut Progress) {
    progress.protocol = reply.transport;
    progress.rcode = Some(u16::from(reply.rcode()));
    progress.facts.nsid = reply.nsid();
    if progress.facts.resolver.is_empty() {
        progress.facts.resolver = resolver.name_of(reply.server);
    }
}

/// What the lack of an answer means.
fn stop(error: &AskError) -> Stop {
    match error {
        AskError::Timeout => failed(Cause::DnsTimeout),
        AskError::Malformed => failed(Cause::DnsMalformed),
        AskError::Code(ResponseCode::ServFail) => failed(Cause::DnsServfail),
        AskError::Code(ResponseCode::Refused) => failed(Cause::DnsRefused),
        AskError::Code(_) => failed(Cause::DnsEmptyAnswer),
        AskError::OutOfSockets => Stop::Unmeasured(Reason::OutOfSockets),
        AskError::Unmeasured(reason) => Stop::Unmeasured(*reason),
        AskError::Unreachable { server, error } if error.kind() == std::io::ErrorKind::NetworkUnreachable => {
            missing_network(*server).map_or(failed(Cause::DnsUnreachable), Stop::Unmeasured)
        }
        AskError::Unreachable { .. } | AskError::Refused => failed(Cause::DnsUnreachable),
    }
}

/// One of the zone's name servers, another at each call, and where it is.
async fn authority(
    resolver: &Resolver,
    name: &Name,
    budget: &Budget,
) -> Result<(String, Result<SocketAddr, Stop>), Stop> {
    let servers = resolver.authorities(name, budget).await.map_err(|error| stop(&error))?;
    let server = resolver.in_turn(&servers).ok_or(EMPTY)?;
    let address = resolver.address_of(server, budget).await.map_err(|error| stop(&error));
    Ok((host_name(server), address))
}

/// A name as people write it.
fn host_name(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}

fn failed(cause: Cause) -> Stop {
    Stop::Failed(Layer::Dns, cause)
}

fn allowed(policy: &Policy, server: SocketAddr) -> Result<SocketAddr, Stop> {
    policy.allows(server).map(|()| server).map_err(|_| Stop::Unmeasured(Reason::PolicyRefused))
}

fn absolute(host: &str) -> Result<Name, Stop> {
    let mut name = Name::from_ascii(host).map_err(|_| Stop::Unmeasured(Reason::PolicyRefused))?;
    name.set_fqdn(true);
    Ok(name)
}

/// Host and port, if any, of "host[:port]"; `None` when it cannot be read.
pub(crate) fn split_server(server: &str) -> Option<(&str, Option<u16>)> {
    let bare = server.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(server);
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some((bare, None));
    }
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
        None => (server, None),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some((host, port))
}

/// The number of a response code's mnemonic.
pub(crate) fn rcode_of(word: &str) -> Option<u16> {
    RCODES.iter().position(|known| known.eq_ignore_ascii_case(word)).and_then(|code| u16::try_from(code).ok())
}

/// Source: RFC 1035, 2136; in the order of their numbers.
pub(crate) const RCODES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE",
];

pub(crate) const NXDOMAIN: Stop = Stop::Failed(Layer::Dns, Cause::DnsNxdomain);
pub(crate) const EMPTY: Stop = Stop::Failed(Layer::Dns, Cause::DnsEmptyAnswer);
/// "The agent's own resolver", in specs and facts.
pub(crate) const SYSTEM: &str = "system";
/// "A name server of the zone", in specs.
pub(crate) const AUTHORITATIVE: &str = "authoritative";
const MAX_ANSWERS: usize = 16;
/// Answers that are looked at. Source: an answer of 64 KiB holds 4,000 addresses, and no zone that is well a hundred.
const MAX_JUDGED: usize = 100;
