//! The agent's own prober, on one thread as the daemon has it.

use std::{cell::Cell, time::Duration};

use faultline_agent::{
    policy::{Policy, Ports},
    probe::{Observed, Outcome, ProbeSettings, Prober, ResolverChoice, Roots, certificates},
};
use faultline_proto::{
    clock::Clock,
    convert,
    types::v1::{Assignment, DnsSpec, HttpSpec, TcpSpec, TlsSpec, assignment::Spec},
};

use super::{Counted, Slice};
use crate::load::{Kind, Places, ZONE, part};

/// Answers each [`Slice`] with what was [`Counted`], until standard input ends.
pub async fn main() -> anyhow::Result<()> {
    part::answer(async |slice: Slice| Ok(serde_json::to_value(run(&slice).await?)?)).await
}

/// The slice.
pub async fn run(slice: &Slice) -> anyhow::Result<Counted> {
    let prober = Prober::new(ProbeSettings {
        roots: Roots::Only(certificates(slice.places.ca_pem.as_bytes())?),
        resolver: ResolverChoice::Servers(vec![slice.places.dns]),
        policy: Policy { allow_loopback: true, ports: Ports::Any, ..Policy::default() },
        ..ProbeSettings::new(Clock::system())
    })?;
    let assignments: Vec<Assignment> = specs(slice.kind, &slice.places).into_iter().map(assignment).collect();
    let next = Cell::new(0);
    Ok(slice
        .run(async |_| {
            let assignment = &assignments[next.get() % assignments.len()];
            next.set(next.get() + 1);
            probe(&prober, assignment).await
        })
        .await)
}

/// One run, or why it did not pass.
async fn probe(prober: &Prober, assignment: &Assignment) -> Result<(), String> {
    let results = prober.run(assignment).await;
    let missed = results.iter().map(Observed::outcome).find(|outcome| *outcome != Some(Outcome::Passed));
    match missed {
        None if !results.is_empty() => Ok(()),
        missed => Err(format!("{missed:?}")),
    }
}

fn assignment(spec: Spec) -> Assignment {
    let timeout = Some(convert::duration(Duration::from_secs(5)));
    Assignment { slot: 1, target: "bench".into(), timeout, spec: Some(spec), ..Assignment::default() }
}

/// Addresses are literal, so that only the `dns` kind asks for a name, as with the peers.
fn specs(kind: Kind, places: &Places) -> Vec<Spec> {
    let page = |at| HttpSpec { url: format!("https://{at}/"), ..HttpSpec::default() };
    vec![match kind {
        Kind::Https1 => Spec::Https(page(places.https1)),
        Kind::Https2 => Spec::Https(page(places.https2)),
        Kind::Http3 => Spec::Http3(page(places.http3)),
        Kind::Tls => {
            let (host, port) = (places.https1.ip().to_string(), places.https1.port().into());
            Spec::Tls(TlsSpec { host, port, ..TlsSpec::default() })
        }
        Kind::Dns => Spec::Dns(DnsSpec {
            name: format!("www.{ZONE}"),
            record_type: "A".into(),
            server: places.dns.to_string(),
            ..DnsSpec::default()
        }),
        Kind::Tcp => {
            let spec = |at: &std::net::SocketAddr| TcpSpec { host: at.ip().to_string(), port: at.port().into() };
            return places.tcp.iter().map(|at| Spec::Tcp(spec(at))).collect();
        }
    }]
}
