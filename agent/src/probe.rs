//! One run of one probe: walks the layers in order, under one deadline, and stops at the first that fails.
//!
//! Rules: passed means that every layer of the kind passed; a literal address has no dns layer; nothing is kept from
//! one run to the next, neither names nor connections nor tickets; the local policy is asked again once a name has
//! become an address, so that no name can lead into the agent's own network.
//!
//! | kind  | layers                                         |
//! |-------|------------------------------------------------|
//! | dns   | dns                                            |
//! | tcp   | dns, connect                                   |
//! | tls   | dns, connect, tls                              |
//! | https | dns, connect, tls, http                        |
//! | http3 | dns, connect (with the certificate's tls), http |

mod certificate;
mod connect;
mod dns;
mod http;
mod http3;
mod ocsp;
mod outcome;
mod patterns;
mod places;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ::http::HeaderMap;
use faultline_proto::{
    assignment::MAX_RETRIES,
    clock::Clock,
    convert, page,
    types::v1::{Assignment, Cause, HttpSpec, Reason, assignment::Spec},
};
use futures::future::join_all;
use rustls_pki_types::ServerName;
use tokio_rustls::client::TlsStream;
use url::Url;

pub use self::{
    certificate::Certificate,
    dns::ResolverChoice,
    outcome::{Facts, Observed, Outcome, Timings},
    tls::{Roots, RootsError, certificates},
};
pub(crate) use self::{
    connect::open as dial,
    dns::{AUTHORITATIVE, RCODES, SYSTEM, rcode_of, split_server},
};
use self::{
    dns::{Resolver, ResolverSettings},
    http::{Answered, Ask, Wanted},
    outcome::{Budget, Progress, Stop},
    patterns::Patterns,
    places::Place,
    tls::Handshakes,
};
use crate::policy::Policy;

/// How probes are run on this machine.
#[derive(Clone, Debug)]
pub struct ProbeSettings {
    /// Scales timeouts and measures time.
    pub clock: Clock,
    /// Address that probes of its family are sent from.
    pub source_address: Option<IpAddr>,
    /// Who resolves names.
    pub resolver: ResolverChoice,
    /// Port of the name servers that `authoritative` probes find; 53 outside of a lab.
    pub authority_port: u16,
    /// Which roots certificates may end at.
    pub roots: Roots,
    /// What this machine refuses to probe.
    pub policy: Policy,
}

impl ProbeSettings {
    /// The system's resolver and roots, and the default policy.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            source_address: None,
            resolver: ResolverChoice::System,
            authority_port: 53,
            roots: Roots::System,
            policy: Policy::default(),
        }
    }
}

/// Runs probes. Clones share everything.
#[derive(Clone)]
pub struct Prober {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    source: Option<IpAddr>,
    resolver: Resolver,
    handshakes: Handshakes,
    patterns: Patterns,
    policy: Policy,
}

impl Prober {
    /// A prober; fails when a root cannot be used or there is none.
    pub fn new(settings: ProbeSettings) -> Result<Self, RootsError> {
        let ProbeSettings { clock, source_address: source, resolver: choice, authority_port, roots, policy } = settings;
        let handshakes = Handshakes::new(&roots)?;
        let resolver = Resolver::new(ResolverSettings { source, choice, authority_port });
        let patterns = Patterns::new();
        Ok(Self { shared: Arc::new(Shared { clock, source, resolver, handshakes, patterns, policy }) })
    }

    /// What one run of the assignment measured: a result for each place that it goes to, and for each attempt where the
    /// assignment wants more than one of what fails. Each attempt ends by the assignment's timeout.
    pub async fn run(&self, assignment: &Assignment) -> Vec<Observed> {
        let mut results = Vec::new();
        let mut places = vec![Place::First];
        for attempt in 1..=assignment.retries.min(MAX_RETRIES) + 1 {
            let attempts = places.drain(..).map(|place| Box::pin(self.shared.attempt(assignment, place)));
            for (place, mut observed) in join_all(attempts).await.into_iter().flatten() {
                observed.result.attempt = attempt;
                if let Some(Outcome::Failed { .. }) = observed.outcome() {
                    places.push(place.again());
                }
                results.push(observed);
            }
            places.dedup();
            if places.is_empty() {
                break;
            }
        }
        results
    }
}

impl Shared {
    /// One attempt at the place, or at each of those that are wanted.
    async fn attempt(&self, assignment: &Assignment, place: Place) -> Vec<(Place, Observed)> {
        let started = self.clock.now_micros();
        let limit = convert::std_duration(assignment.timeout.as_ref()).unwrap_or(DEFAULT_TIMEOUT);
        let mut progress = Progress::new(Budget::new(self.clock, limit));
        let places = if place == Place::First { self.places(assignment, &mut progress).await } else { vec![place] };
        let run = async |place: Place, mut progress: Progress| {
            let outcome = match self.walk(assignment, &place, &mut progress).await {
                Ok(()) => Outcome::Passed,
                Err(stop) => stop.into(),
            };
            tracing::trace!(target_id = %assignment.target, slot = assignment.slot, ?outcome, "probe");
            if let Outcome::Failed { layer, cause } = outcome {
                let (layer, cause) = (convert::word(layer), convert::word(cause));
                tracing::debug!(target_id = %assignment.target, slot = assignment.slot, layer, cause, "probe failed");
            }
            (place, progress.finish(started, outcome))
        };
        join_all(places.into_iter().map(|place| run(place, progress.clone()))).await
    }

    async fn walk(&self, assignment: &Assignment, place: &Place, progress: &mut Progress) -> Result<(), Stop> {
        if let Place::Nowhere(stop) = place {
            return Err(*stop);
        }
        let literal = place.address();
        match assignment.spec.as_ref().ok_or(REFUSED)? {
            Spec::Dns(spec) => {
                let answers = self.patterns.all(&spec.answer_matches).map_err(|_| REFUSED)?;
                let asker = (&self.resolver, &self.handshakes);
                dns::probe(asker, (spec, &answers), (place, &self.policy), progress).await
            }
            Spec::Tcp(spec) => {
                let address = self.address((&spec.host, port(spec.port)?), literal, progress).await?;
                connect::connect(address, self.source, progress).await.map(drop)
            }
            Spec::Tls(spec) => {
                let address = self.address((&spec.host, port(spec.port)?), literal, progress).await?;
                self.session((&spec.host, address), (&[], spec.min_cert_days), progress).await.map(drop)
            }
            Spec::Https(spec) => self.page(spec, literal, false, progress).await,
            Spec::Http3(spec) => self.page(spec, literal, true, progress).await,
        }
    }

    /// The request, and those that its redirects ask for.
    async fn page(
        &self,
        spec: &HttpSpec,
        place: Option<IpAddr>,
        is_http3: bool,
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        let wanted = Wanted::new(spec, &self.patterns).map_err(|_| REFUSED)?;
        let method = page::method(spec).ok_or(REFUSED)?;
        let own = page::own_headers(spec).map_err(|_| REFUSED)?;
        let (first, none) = (Url::parse(&spec.url).map_err(|_| REFUSED)?, HeaderMap::new());
        let mut url = first.clone();
        let mut hops = 0;
        loop {
            let is_same_host = url.origin() == first.origin();
            let headers = if is_same_host { &own } else { &none };
            let hops_left = (spec.redirects > 0).then(|| spec.redirects - hops);
            let ask = Ask { url: &url, wanted: &wanted, method: &method, headers, hops_left };
            let literal = if is_same_host { connect_to(spec)?.or(place) } else { None };
            let answered = self.hop(ask, literal, is_http3, progress).await;
            // Where a target sends its clients is the target's business, and where they may go is ours.
            let is_refused = hops > 0 && answered == Err(REFUSED);
            let Some(place) = (if is_refused { Err(http::failed(Cause::HttpRedirect)) } else { answered })? else {
                return Ok(());
            };
            let is_anonymous = |next: &Url| next.username().is_empty() && next.password().is_none();
            let next = url.join(&place).ok().filter(|next| next.scheme() == "https" && is_anonymous(next));
            url = next.ok_or(http::failed(Cause::HttpRedirect))?;
            hops += 1;
            progress.next_hop();
        }
    }

    async fn hop(&self, ask: Ask<'_>, literal: Option<IpAddr>, is_http3: bool, progress: &mut Progress) -> Answered {
        let (host, port) = host_and_port(ask.url)?;
        let address = self.address((&host, port), literal, progress).await?;
        let spec = ask.wanted.spec;
        if is_http3 {
            let name = (host.as_str(), spec.min_cert_days);
            let connection = http3::connect(&self.handshakes, self.source, address, name, progress).await?;
            return http3::fetch(connection, ask, progress).await;
        }
        let wanted = (http::alpn(spec.version()), spec.min_cert_days);
        let stream = self.session((&host, address), wanted, progress).await?;
        http::fetch(stream, ask, progress).await
    }

    /// The address to connect to, once policy has seen it: the literal one, else the first of the host.
    async fn address(
        &self,
        (host, port): (&str, u16),
        literal: Option<IpAddr>,
        progress: &mut Progress,
    ) -> Result<SocketAddr, Stop> {
        let address = match literal {
            Some(literal) => literal,
            None => dns::resolve(&self.resolver, host, progress).await?,
        };
        let address = SocketAddr::new(address, port);
        progress.address = Some(address.ip());
        self.policy.allows(address).map_err(|_| REFUSED)?;
        Ok(address)
    }

    async fn session(
        &self,
        (host, address): (&str, SocketAddr),
        wanted: (&[&[u8]], u32),
        progress: &mut Progress,
    ) -> Result<TlsStream<tokio::net::TcpStream>, Stop> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| REFUSED)?;
        let stream = connect::connect(address, self.source, progress).await?;
        tls::handshake(&self.handshakes, name, wanted, stream, progress).await
    }
}

fn port(port: u32) -> Result<u16, Stop> {
    u16::try_from(port).ok().filter(|port| *port != 0).ok_or(REFUSED)
}

/// The URL's host, without an IPv6 literal's brackets, and its port.
fn host_and_port(url: &Url) -> Result<(String, u16), Stop> {
    let host = url.host_str().ok_or(REFUSED)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((host, url.port_or_known_default().ok_or(REFUSED)?))
}

/// The address that takes the place of the host's, if the spec has one.
fn connect_to(spec: &HttpSpec) -> Result<Option<IpAddr>, Stop> {
    convert::address(&spec.connect_to).map_err(|_| REFUSED)
}

/// What policy refuses at assignment never gets here; this is for what only a run can find out.
const REFUSED: Stop = Stop::Unmeasured(Reason::PolicyRefused);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
