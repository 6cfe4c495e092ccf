//! Probes on request: a module and a target, and what came of looking at it.
//!
//! Rules: each look goes through the same rooms as a run of the schedule, under the same policy; the module decides alone what a
//! success is; nothing is kept between looks but what a module needs for TLS.

mod chain;
mod dns;
mod http;
mod record;
mod talk;
mod tcp;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use hickory_resolver::proto::rr::RecordType;
use rustls_pki_types::CertificateDer;

use self::chain::RootExpiries;
use super::{
    certificate::ChainInfo,
    metrics::{Failure, Lookup, Measured, Of, Presented, Session},
    modules::{self, Family, IpProtocol, Module, Modules, Tls, TlsVersion},
};
use crate::probe::{
    BodyLimits, Choice, Detail, Look, Looked, ProbeSettings, Prober, Roots, RootsError, Stop, TlsOptions, TlsVersions,
    Verification,
};

/// A module that is ready to look at targets.
pub struct Runner {
    module: Module,
    prober: Prober,
    /// When the roots expire; `None` where certificates are not verified.
    roots: Option<Arc<RootExpiries>>,
}

/// What modules that ask the same of TLS share.
struct Kit {
    given: Option<Vec<CertificateDer<'static>>>,
    options: TlsOptions,
    prober: Prober,
    roots: Option<Arc<RootExpiries>>,
}

/// Each module that is supported, ready to look from a machine with these settings. Fails when a root cannot be used, or there
/// is none.
pub fn runners(modules: &Modules, settings: &ProbeSettings) -> Result<BTreeMap<String, Runner>, RootsError> {
    let mut kits = Vec::new();
    let ready =
        |module: &Module| Runner::with(&mut kits, module.clone(), settings).map(|run| (module.name.clone(), run));
    modules.supported().map(ready).collect()
}

impl Runner {
    /// The module, on a machine with these settings. Fails when a root cannot be used, or there is none.
    pub fn new(module: Module, settings: &ProbeSettings) -> Result<Self, RootsError> {
        Self::with(&mut Vec::new(), module, settings)
    }

    fn with(kits: &mut Vec<Kit>, module: Module, settings: &ProbeSettings) -> Result<Self, RootsError> {
        let tls = match &module.prober {
            modules::Prober::Http(http) => &http.tls,
            modules::Prober::Tcp(tcp) => &tcp.tls,
            modules::Prober::Dns(dns) => &dns.tls,
        };
        let options = options(tls);
        let is_same = |kit: &&Kit| kit.given == tls.roots && kit.options == options;
        if let Some(Kit { prober, roots, .. }) = kits.iter().find(is_same) {
            return Ok(Self { prober: prober.clone(), roots: roots.clone(), module });
        }
        let roots = tls.roots.clone().map_or_else(|| settings.roots.clone(), Roots::Only);
        let expiries = (!tls.skip_verify).then(|| Arc::new(RootExpiries::of(&roots)));
        let prober = Prober::new(ProbeSettings { roots, tls: options, ..settings.clone() })?;
        kits.push(Kit { given: tls.roots.clone(), options, prober: prober.clone(), roots: expiries.clone() });
        Ok(Self { module, prober, roots: expiries })
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// One look at the target, taken for the host `hostname` where one is given; ends by `timeout`.
    pub async fn probe(&self, target: &str, hostname: Option<&str>, timeout: Duration) -> Measured {
        match &self.module.prober {
            modules::Prober::Http(http) => Box::pin(http::probe(self, http, target, hostname, timeout)).await,
            modules::Prober::Tcp(tcp) => Box::pin(tcp::probe(self, tcp, target, hostname, timeout)).await,
            modules::Prober::Dns(dns) => Box::pin(dns::probe(self, dns, target, timeout)).await,
        }
    }

    fn look(&self, timeout: Duration, limits: BodyLimits) -> Look {
        Look::new(&self.prober, timeout, limits)
    }

    /// What the last peer presented.
    fn presented(detail: &Detail) -> Option<Presented> {
        let leaf = ChainInfo::read(detail.chain.first()?);
        Some(Presented { earliest_expiry: chain::earliest(&detail.chain), leaf })
    }

    /// The last TLS session.
    fn session(&self, detail: &Detail) -> Option<Session> {
        Some(Session {
            version: Session::version_name(detail.tls_version?),
            cipher: detail.cipher.map(Session::cipher_name),
            chain_expiry: self.roots.as_ref().and_then(|roots| roots.chain_expiry(&detail.chain)),
        })
    }
}

/// A look that has begun: where it goes, and how that was found.
struct Begun {
    look: Look,
    lookup: Option<Lookup>,
}

impl Begun {
    fn at(look: Look) -> Self {
        Self { look, lookup: None }
    }

    /// Looks for the host's address.
    async fn choose(&mut self, host: &str, port: u16, family: Family) -> Result<std::net::SocketAddr, Stop> {
        let chosen = self.look.choose(host, port, choice(family)).await;
        let address = chosen.as_ref().ok().map(std::net::SocketAddr::ip);
        self.lookup = Some(Lookup { duration: self.look.progress.budget.spent(), address });
        chosen
    }

    /// What came of it.
    fn end(
        self,
        runner: &Runner,
        timeout: Duration,
        failure: Option<Failure>,
        of: impl FnOnce(&Looked) -> Of,
    ) -> Measured {
        let duration = self.look.progress.budget.spent();
        let looked = self.look.finish(Ok(()));
        Measured {
            failure,
            duration,
            timeout,
            lookup: self.lookup,
            presented: Runner::presented(&looked.detail),
            session: runner.session(&looked.detail),
            of: of(&looked),
        }
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Failed(layer, cause) => Self::Layer(layer, cause),
            Stop::Unmeasured(reason) => Self::Unmeasured(reason),
        }
    }
}

fn choice(family: Family) -> Choice {
    let preferred = match family.preferred {
        IpProtocol::V4 => RecordType::A,
        IpProtocol::V6 => RecordType::AAAA,
    };
    Choice { preferred, falls_back: family.falls_back }
}

fn options(tls: &Tls) -> TlsOptions {
    let verification = if tls.skip_verify { Verification::Off } else { Verification::Full };
    let versions = match (tls.min_version, tls.max_version) {
        (Some(TlsVersion::V1_3), _) => TlsVersions::Only13,
        (_, Some(TlsVersion::V1_2)) => TlsVersions::Only12,
        _ => TlsVersions::Both,
    };
    TlsOptions { verification, versions, keeps_encodings: true }
}

/// The host and the port of `host:port`, brackets of an IPv6 address taken off.
fn host_and_port(target: &str) -> Option<(&str, u16)> {
    let (host, port) = target.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_v6 = |host: &str| host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6());
    let host = match bare {
        Some(bare) => is_v6(bare).then_some(bare)?,
        None => (!host.is_empty() && !host.contains(':')).then_some(host)?,
    };
    Some((host, port.parse().ok().filter(|port| *port != 0)?))
}
