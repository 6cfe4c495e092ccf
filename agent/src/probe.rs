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
mod detail;
mod dns;
mod http;
mod http3;
mod look;
mod machine;
mod ocsp;
mod outcome;
pub mod path;
mod patterns;
mod places;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod visit;

use std::{net::IpAddr, sync::Arc, time::Duration};

use faultline_proto::{
    assignment::MAX_RETRIES,
    clock::Clock,
    convert,
    types::v1::{Assignment, HttpSpec, Reason, assignment::Spec},
};
use futures::future::join_all;

pub use self::{
    certificate::Certificate,
    dns::ResolverChoice,
    outcome::{Facts, Observed, Outcome, Timings},
    tls::{Roots, RootsError, TlsOptions, TlsVersions, Verification, certificates},
};
pub(crate) use self::{
    certificate::fingerprint,
    connect::open as dial,
    detail::{BodyLimits, Detail},
    dns::{AUTHORITATIVE, Checking, Extension, Question, RCODES, Recursion, SYSTEM, rcode_of, split_server},
    http::REDIRECTS,
    look::{Choice, Look, Looked},
    machine::{Family, has_route},
    outcome::{Phase, Progress, Stop},
    tls::Handshakes,
    visit::Errand,
};
use self::{
    dns::{Resolver, ResolverSettings},
    http::Wanted,
    outcome::Budget,
    path::Hints,
    patterns::Patterns,
    places::Place,
    visit::{connect_to, host_and_port},
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
    /// What TLS handshakes do otherwise.
    pub tls: TlsOptions,
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
            tls: TlsOptions::default(),
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
    hints: Option<Hints>,
}

impl Prober {
    /// A prober; fails when a root cannot be used or there is none.
    pub fn new(settings: ProbeSettings) -> Result<Self, RootsError> {
        let ProbeSettings { clock, source_address: source, resolver: choice, authority_port, roots, tls, policy } =
            settings;
        let handshakes = Handshakes::new(&roots, tls)?;
        let resolver = Resolver::new(ResolverSettings { source, choice, authority_port });
        let patterns = Patterns::new();
        let hints = policy.path_hint.then(Hints::new);
        Ok(Self { shared: Arc::new(Shared { clock, source, resolver, handshakes, patterns, policy, hints }) })
    }

    /// Walks the ways to addresses that runs do not reach, for ever and beside the runs: see [`path`].
    pub async fn walk_paths(&self) {
        if let Some(hints) = &self.shared.hints {
            hints.walk_on(self.shared.source).await;
        }
        std::future::pending::<()>().await;
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
        if let Some(hints) = &self.shared.hints {
            for observed in &mut results {
                hints.note(assignment, &mut observed.result);
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
        let progress = Progress::new(Budget::new(self.clock, limit));
        let places = match place {
            Place::First => self.places(assignment, progress).await,
            place => vec![(place, progress)],
        };
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
        join_all(places.into_iter().map(|(place, progress)| run(place, progress))).await
    }

    async fn walk(&self, assignment: &Assignment, place: &Place, progress: &mut Progress) -> Result<(), Stop> {
        if let Place::Nowhere(stop) = place {
            return Err(*stop);
        }
        let literal = place.address();
        // Boxed, or the largest would take its room in every run.
        match assignment.spec.as_ref().ok_or(REFUSED)? {
            Spec::Dns(spec) => {
                let answers = self.patterns.all(&spec.answer_matches).map_err(|_| REFUSED)?;
                let asker = (&self.resolver, &self.handshakes);
                Box::pin(dns::probe(asker, (spec, &answers), (place, &self.policy), progress)).await
            }
            Spec::Tcp(spec) => {
                let address = self.address((&spec.host, port(spec.port)?), literal, progress).await?;
                connect::connect(address, self.source, progress).await.map(drop)
            }
            Spec::Tls(spec) => {
                let address = self.address((&spec.host, port(spec.port)?), literal, progress).await?;
                Box::pin(self.session((&spec.host, address), (&[], spec.min_cert_days), progress)).await.map(drop)
            }
            Spec::Https(spec) => Box::pin(self.page(spec, literal, false, progress)).await,
            Spec::Http3(spec) => Box::pin(self.page(spec, literal, true, progress)).await,
        }
    }
}

impl Shared {
    async fn page(
        &self,
        spec: &HttpSpec,
        place: Option<IpAddr>,
        is_http3: bool,
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        let wanted = Wanted::new(spec, &self.patterns).map_err(|_| REFUSED)?;
        self.visit(&Errand::of(spec, &wanted, place, is_http3)?, progress).await
    }
}

fn port(port: u32) -> Result<u16, Stop> {
    u16::try_from(port).ok().filter(|port| *port != 0).ok_or(REFUSED)
}

/// What policy refuses at assignment never gets here; this is for what only a run can find out.
const REFUSED: Stop = Stop::Unmeasured(Reason::PolicyRefused);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
