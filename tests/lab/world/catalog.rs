//! The catalog that describes an emulated world to a coordinator, in the format of DESIGN section 4.

use serde::Serialize;

use super::{Probe, Target, World};

/// The catalog of all targets, where every server of the lab listens on `port`.
pub fn catalog_toml(world: &World, port: u16) -> String {
    let target = world.targets.iter().map(|target| Entry::new(world, target, port)).collect();
    toml::to_string(&Catalog { target }).expect("entries of strings and numbers are always TOML")
}

#[derive(Serialize)]
struct Catalog<'a> {
    target: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    probe: &'static str,
    url: String,
    interval: &'static str,
    timeout: &'static str,
    hosted_on: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plane: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    geography: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cdn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_operator: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    owner: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<Expect<'a>>,
}

#[derive(Serialize)]
struct Expect<'a> {
    status: [u16; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    body_contains: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn new(world: &World, target: &'a Target, port: u16) -> Self {
        let is_http = matches!(target.probe, Probe::Https | Probe::Http3);
        Self {
            id: &target.id,
            probe: match target.probe {
                Probe::Dns { .. } => "dns",
                Probe::Tcp => "tcp",
                Probe::Tls => "tls",
                Probe::Https => "https",
                Probe::Http3 => "http3",
            },
            url: url(world, target, port),
            interval: "30s",
            timeout: "5s",
            hosted_on: &target.hosted_on,
            region: target.region.as_deref(),
            zone: target.zone.as_deref(),
            service: target.service.as_deref(),
            plane: target.plane.as_deref(),
            geography: target.geography.as_deref(),
            cdn: target.cdn.as_deref().filter(|_| target.cdn_is_told),
            dns_operator: target.dns_operator(),
            identity: target.identity.as_deref(),
            issuer: target.issuer.as_deref(),
            owner: &target.owner,
            expect: is_http.then_some(Expect { status: [200], body_contains: target.expects.as_deref() }),
        }
    }
}

fn url(world: &World, target: &Target, port: u16) -> String {
    // A literal address is the same from everywhere, so any agent tells it.
    let literal = || world.agents.first().map_or_else(String::new, |agent| target.address_for(agent).to_string());
    let host = target.host().map_or_else(literal, str::to_owned);
    match &target.probe {
        Probe::Tcp => format!("tcp://{host}:{port}"),
        Probe::Tls => format!("tls://{host}:{port}"),
        Probe::Https | Probe::Http3 => format!("https://{host}:{port}{}", target.path),
        Probe::Dns { record, is_direct: false } => format!("dns://system/{host}?type={record}"),
        Probe::Dns { record, is_direct: true } => {
            let server = target.dns_operator().and_then(|id| world.operator(id)).map(|operator| operator.address);
            let server = server.map_or_else(String::new, |address| format!("{address}:{port}"));
            format!("dns://{server}/{host}?type={record}")
        }
    }
}
