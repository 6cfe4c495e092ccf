//! Where a run goes: the one place that its name leads to first, or each of them at the same time.
//!
//! Rules: each place has a result of its own, with the lookup they share in its dns phase; a family whose lookup fails is a
//! result too, and so is a name server whose own name leads nowhere; at most [`MAX_PLACES`] are tried.

use std::net::{IpAddr, SocketAddr};

use faultline_proto::types::v1::{Addresses, Assignment, DnsSpec, assignment::Spec};
use futures::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use url::Url;

use super::{
    Shared, connect_to,
    dns::{self, AUTHORITATIVE, SYSTEM},
    host_and_port,
    outcome::{Phase, Progress, Stop},
};

/// One of the places that a run goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first that is found.
    First,
    /// This address of the host, or of the name server that is asked.
    Address(IpAddr),
    /// This name server of the zone, and where it is.
    Server(String, Result<SocketAddr, Stop>),
    /// None: looking for them ended so.
    Nowhere(Stop),
}

impl Place {
    /// Where another attempt goes.
    pub(super) fn again(self) -> Self {
        match self {
            Self::Nowhere(_) | Self::Server(_, Err(_)) => Self::First,
            place => place,
        }
    }

    /// The address, where it is known before the run.
    pub(super) fn address(&self) -> Option<IpAddr> {
        if let Self::Address(address) = self { Some(*address) } else { None }
    }
}

impl Shared {
    /// Every place that the assignment wants tried, and what was seen on the way there.
    pub(super) async fn places(&self, assignment: &Assignment, progress: Progress) -> Vec<(Place, Progress)> {
        let host = match &assignment.spec {
            _ if assignment.addresses() != Addresses::All => None,
            Some(Spec::Dns(spec)) if spec.server == AUTHORITATIVE => {
                return Box::pin(self.name_servers(spec, progress)).await;
            }
            Some(Spec::Dns(spec)) if spec.server == SYSTEM => None,
            Some(Spec::Dns(spec)) => dns::split_server(&spec.server).map(|(host, _)| host.to_owned()),
            Some(Spec::Tcp(spec)) => Some(spec.host.clone()),
            Some(Spec::Tls(spec)) => Some(spec.host.clone()),
            Some(Spec::Https(spec) | Spec::Http3(spec)) if connect_to(spec) == Ok(None) => {
                let host = Url::parse(&spec.url).ok().and_then(|url| host_and_port(&url).ok());
                host.map(|(host, _)| host)
            }
            _ => None,
        };
        match host {
            Some(host) if host.parse::<IpAddr>().is_err() => {
                let is_question = matches!(assignment.spec, Some(Spec::Dns(_)));
                Box::pin(self.addresses(&host, is_question, progress)).await
            }
            _ => vec![(Place::First, progress)],
        }
    }

    /// The addresses of both families, asked for at the same time: what one's lookup shows is not the other's.
    async fn addresses(&self, host: &str, is_question: bool, progress: Progress) -> Vec<(Place, Progress)> {
        let lookups = [RecordType::A, RecordType::AAAA].map(async |kind| {
            let mut seen = progress.clone();
            let found = dns::addresses_of(&self.resolver, host, kind, &mut seen).await;
            if is_question {
                seen = progress.clone(); // what is seen on the way to a name server says nothing of the question
            } else {
                seen.end(Phase::Dns);
            }
            (found, seen)
        });
        let mut places: Vec<(Place, Progress)> = Vec::new();
        for (found, seen) in join_all(lookups).await {
            match found {
                Ok(found) => places.extend(found.into_iter().map(|address| (Place::Address(address), seen.clone()))),
                // A name that is not there is not there in either family.
                Err(dns::NXDOMAIN) if places.iter().any(|(place, _)| *place == Place::Nowhere(dns::NXDOMAIN)) => {}
                Err(stop) => places.push((Place::Nowhere(stop), seen)),
            }
        }
        if places.is_empty() {
            let mut seen = progress;
            seen.end(Phase::Dns);
            places.push((Place::Nowhere(dns::EMPTY), seen));
        }
        places.truncate(MAX_PLACES);
        places
    }

    async fn name_servers(&self, spec: &DnsSpec, progress: Progress) -> Vec<(Place, Progress)> {
        let servers = match dns::authorities(&self.resolver, &spec.name, &progress.budget).await {
            Ok(servers) => servers.into_iter().map(|(name, at)| Place::Server(name, at)).collect(),
            Err(stop) => vec![Place::Nowhere(stop)],
        };
        servers.into_iter().take(MAX_PLACES).map(|place| (place, progress.clone())).collect()
    }
}

/// Places of one run. Source: the root and the largest zones have 13 name servers, the largest fronts 8 addresses a family.
const MAX_PLACES: usize = 16;
