//! One look at one target, step by step, for whoever decides the steps and tells what was seen in full.
//!
//! Rule: the steps are those of every run, with the same policy, deadline, phases and causes; only their order is the caller's.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use faultline_proto::types::v1::Protocol;
use hickory_resolver::proto::rr::RecordType;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{
    Observed, Prober, REFUSED, Shared, connect,
    detail::{BodyLimits, Detail},
    dns::{self, Question},
    outcome::{Budget, Outcome, Phase, Progress, Stop},
    tls,
    visit::Errand,
};

/// Which address of a host is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The family that is looked for first, as the type of its records.
    pub(crate) preferred: RecordType,
    /// Whether an address of the other family will do.
    pub(crate) falls_back: bool,
}

/// A look that goes on.
pub(crate) struct Look {
    shared: Arc<Shared>,
    started: i64,
    pub(crate) progress: Progress,
}

/// What came of a look.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    pub(crate) observed: Observed,
    pub(crate) detail: Detail,
}

impl Look {
    /// A look that may take so long, and so much of a body.
    pub(crate) fn new(prober: &Prober, timeout: Duration, limits: BodyLimits) -> Self {
        let shared = Arc::clone(&prober.shared);
        let mut progress = Progress::new(Budget::new(shared.clock, timeout));
        progress.detail = Some(Box::new(Detail { limits, ..Detail::default() }));
        Self { started: shared.clock.now_micros(), shared, progress }
    }

    /// The host's address, once policy has seen it together with the port.
    pub(crate) async fn choose(&mut self, host: &str, port: u16, choice: Choice) -> Result<SocketAddr, Stop> {
        let is_named = host.parse::<IpAddr>().is_err();
        let found = if is_named { self.lookup(host, choice).await } else { host.parse().map_err(|_| REFUSED) };
        if is_named {
            self.progress.end(Phase::Dns);
        }
        let address = SocketAddr::new(found?, port);
        self.progress.address = Some(address.ip());
        self.shared.policy.allows(address).map_err(|_| REFUSED)?;
        Ok(address)
    }

    async fn lookup(&mut self, host: &str, choice: Choice) -> Result<IpAddr, Stop> {
        let other = if choice.preferred == RecordType::A { RecordType::AAAA } else { RecordType::A };
        let mut last = dns::EMPTY;
        for kind in [choice.preferred, other].into_iter().take(if choice.falls_back { 2 } else { 1 }) {
            match dns::addresses_of(&self.shared.resolver, host, kind, &mut self.progress).await {
                Ok(found) if !found.is_empty() => return Ok(found[0]),
                Ok(_) => {}
                Err(dns::NXDOMAIN) => return Err(dns::NXDOMAIN),
                Err(stop) => last = stop,
            }
        }
        Err(last)
    }

    /// A connection to the address, from `source` in place of the agent's own.
    pub(crate) async fn connect(&mut self, address: SocketAddr, source: Option<IpAddr>) -> Result<TcpStream, Stop> {
        connect::connect(address, source.or(self.shared.source), &mut self.progress).await
    }

    /// TLS over the connection with the named host.
    pub(crate) async fn encrypt(&mut self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, Stop> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| REFUSED)?;
        tls::handshake(&self.shared.handshakes, name, (&[], 0), stream, &mut self.progress).await
    }

    /// The page, and those that its redirects lead to.
    pub(crate) async fn visit(&mut self, errand: &Errand<'_>) -> Result<(), Stop> {
        self.shared.visit(errand, &mut self.progress).await
    }

    /// The name server's answer, whatever it says, over UDP (and TCP where it was cut), TCP or TLS.
    pub(crate) async fn ask(
        &mut self,
        server: SocketAddr,
        (host, transport): (&str, Protocol),
        source: Option<IpAddr>,
        question: &Question,
    ) -> Result<(), Stop> {
        let asked = match transport {
            Protocol::DnsTls => {
                let stream = self.connect(server, source).await?;
                let session = self.encrypt(host, stream).await?;
                dns::ask_over(session, server, transport, question, &self.progress.budget).await
            }
            Protocol::DnsTcp => {
                let stream = self.connect(server, source).await?;
                dns::ask_over(stream, server, transport, question, &self.progress.budget).await
            }
            _ => dns::ask_once(server, source.or(self.shared.source), question, &self.progress.budget).await,
        };
        self.progress.end(Phase::FirstByte);
        let reply = asked?;
        self.progress.protocol = reply.transport;
        self.progress.rcode = Some(u16::from(reply.rcode()));
        if let Some(detail) = &mut self.progress.detail {
            detail.message = Some(reply.message);
        }
        Ok(())
    }

    /// What was seen until the look ended so.
    pub(crate) fn finish(mut self, ended: Result<(), Stop>) -> Looked {
        let outcome = ended.map_or_else(Outcome::from, |()| Outcome::Passed);
        let detail = self.progress.detail.take().map(|detail| *detail).unwrap_or_default();
        Looked { observed: self.progress.finish(self.started, outcome), detail }
    }
}
