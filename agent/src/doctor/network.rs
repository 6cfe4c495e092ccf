//! What this machine's network lets through, each asked as a probe would ask it.

use std::{net::SocketAddr, sync::Arc, time::UNIX_EPOCH};

use faultline_proto::{
    convert::{duration, word},
    types::v1::{Assignment, Cause, DnsSpec, HttpSpec, Layer, assignment::Spec},
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use url::Url;

use super::{Finding, PATIENCE};
use crate::probe::{Handshakes, Observed, Outcome, ProbeSettings, Prober, SYSTEM, dial};

pub(super) async fn dns(prober: &Prober, name: &str) -> Finding {
    let spec =
        DnsSpec { name: name.to_owned(), record_type: "A".to_owned(), server: SYSTEM.to_owned(), ..DnsSpec::default() };
    let observed = run(prober, Spec::Dns(spec)).await;
    let (what, told) = ("dns", told(&observed));
    let fix = match observed.outcome() {
        Some(Outcome::Passed) => return Finding::ok(what, format!("{name}: {told}")),
        Some(Outcome::Failed { cause: Cause::DnsTimeout, .. }) => {
            "Let udp/53 and tcp/53 out to the name servers of /etc/resolv.conf, or name others as [probe] resolvers."
        }
        Some(Outcome::Failed { cause: Cause::DnsNxdomain, .. }) => {
            "Give --name a name that exists; if this one does, the resolver hides it: name others as [probe] resolvers."
        }
        _ => "Make the name servers of /etc/resolv.conf answer, or name others as [probe] resolvers.",
    };
    Finding::fail(what, format!("{name}: {told}"), fix)
}

pub(super) async fn page(prober: &Prober, target: &Url) -> Finding {
    let observed = run(prober, Spec::Https(HttpSpec { url: target.to_string(), ..HttpSpec::default() })).await;
    let (what, value) = ("https", format!("{target}: {}", told(&observed)));
    let port = target.port_or_known_default().unwrap_or(443);
    let shut = format!("Let tcp/{port} out of this machine and its network.");
    let fix = match observed.outcome() {
        // An answer that was not the one asked for came through all the same.
        Some(Outcome::Passed | Outcome::Failed { cause: Cause::HttpStatus, .. }) => return Finding::ok(what, value),
        Some(Outcome::Failed { cause: Cause::TlsCertExpired | Cause::TlsCertNotYetValid, .. }) => {
            "Set this machine's clock (`timedatectl set-ntp true`); if it is right, the target's certificate is not."
        }
        Some(Outcome::Failed { layer: Layer::Tls, .. }) => {
            "Something between here and the target opens TLS, or a root is missing: go around it, or name its PEM file as [probe] roots."
        }
        Some(Outcome::Failed { layer: Layer::Dns, .. }) => "Make names resolve first, see dns above.",
        Some(Outcome::Failed { layer: Layer::Connect, .. }) => &shut,
        _ => "Give --target a page that answers; if this one does elsewhere, look at proxies and firewalls on the way.",
    };
    Finding::fail(what, value, fix)
}

pub(super) async fn quic(prober: &Prober, target: &Url) -> Finding {
    let observed = run(prober, Spec::Http3(HttpSpec { url: target.to_string(), ..HttpSpec::default() })).await;
    let (what, value) = ("udp 443", format!("{target} over QUIC: {}", told(&observed)));
    match observed.outcome() {
        // The handshake is enough to know that datagrams come and go.
        Some(Outcome::Passed | Outcome::Failed { layer: Layer::Tls | Layer::Http, .. }) => Finding::ok(what, value),
        Some(Outcome::Failed { layer: Layer::Dns, .. }) => {
            Finding::fail(what, value, "Make names resolve first, see dns above.")
        }
        _ => Finding::fail(
            what,
            value,
            "Let udp/443 out and its answers in, or give --target a page that has HTTP/3: without it, HTTP/3 and DNS over QUIC cannot be measured.",
        ),
    }
}

/// The clock, by the target's word: whole seconds, from a server that is not known to be right.
pub(super) async fn clock(settings: &ProbeSettings, target: &Url) -> Finding {
    let what = "clock";
    let asked = tokio::time::timeout(PATIENCE, date_error(settings, target)).await;
    let error =
        asked.unwrap_or_else(|_| Err(format!("{target} did not tell the time within {} s", PATIENCE.as_secs())));
    let seconds = match error {
        Ok(seconds) => seconds,
        Err(why) => {
            return Finding::warn(
                what,
                format!("unknown: {why}"),
                "Look at `timedatectl`, or give --target a page that answers with a Date.",
            );
        }
    };
    let side = if seconds < 0 { "behind" } else { "ahead of" };
    let value = format!("{} s {side} {target}, within a second or two", seconds.abs());
    let fix = "Let the system keep the time (`timedatectl set-ntp true`, or chrony), and let udp/123 out.";
    match seconds.abs() {
        ..=CLOCK_OK => Finding::ok(what, value),
        seconds if seconds <= CLOCK_WARN => Finding::warn(what, value, fix),
        _ => Finding::fail(what, value, fix),
    }
}

/// Seconds that this clock is ahead of the target's.
async fn date_error(settings: &ProbeSettings, target: &Url) -> Result<i64, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let host = target.host_str().ok_or("no host")?.trim_matches(['[', ']']);
    let port = target.port_or_known_default().ok_or("no port")?;
    let address = address(host, port).await.map_err(|error| text(&error))?;
    settings.policy.allows(address).map_err(|error| text(&error))?;
    let stream = dial(address, settings.source_address).await.map_err(|error| text(&error))?;
    let handshakes = Handshakes::new(&settings.roots, settings.tls).map_err(|error| text(&error))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| text(&error))?;
    let (config, _) = handshakes.prepare(&[b"http/1.1"]);
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| text(&error))?;
    let asked = settings.clock.now_micros();
    let request = format!("HEAD {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", target.path());
    stream.write_all(request.as_bytes()).await.map_err(|error| text(&error))?;
    let head = read_head(stream).await;
    let answered = settings.clock.now_micros();
    let theirs = date(&String::from_utf8_lossy(&head)).ok_or("its answer has no Date")?;
    Ok(whole_seconds((asked / 2 + answered / 2).saturating_sub(theirs)))
}

/// What comes up to the first empty line; less when the peer ends before.
async fn read_head(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while head.len() < MAX_HEAD && !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => head.extend_from_slice(&buffer[..length]),
        }
    }
    head
}

/// The system's resolver is enough here: what the agent's own resolver does is `dns` to tell.
async fn address(host: &str, port: u16) -> std::io::Result<SocketAddr> {
    let none = || std::io::Error::new(std::io::ErrorKind::NotFound, "no address");
    tokio::net::lookup_host((host, port)).await?.next().ok_or_else(none)
}

/// What the head's Date says, in microseconds since the Unix epoch: the middle of its second.
pub(super) fn date(head: &str) -> Option<i64> {
    let mut lines = head.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let value = lines.find_map(|(name, value)| name.eq_ignore_ascii_case("date").then(|| value.trim()))?;
    let since = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()?.checked_add(500_000)
}

fn whole_seconds(micros: i64) -> i64 {
    (micros.saturating_add(500_000 * micros.signum())) / 1_000_000
}

async fn run(prober: &Prober, spec: Spec) -> Observed {
    let assignment = Assignment {
        slot: 1,
        target: "doctor".to_owned(),
        timeout: Some(duration(PATIENCE)),
        spec: Some(spec),
        ..Assignment::default()
    };
    // One place and one attempt are one result.
    prober.run(&assignment).await.swap_remove(0)
}

fn told(observed: &Observed) -> String {
    let total_ms = observed.result.timings.map_or(0, |timings| timings.total_us) / 1_000;
    match observed.outcome() {
        Some(Outcome::Passed) => format!("passed in {total_ms} ms"),
        Some(Outcome::Failed { layer, cause }) => format!("{} after {total_ms} ms ({})", word(cause), word(layer)),
        Some(Outcome::Unmeasured { reason }) => format!("unmeasured, {}", word(reason)),
        None => "unknown".to_owned(),
    }
}

/// What a Date can tell at all: its second, and the way there and back.
const CLOCK_OK: i64 = 2;
/// Beyond this, results are of no use beside those of others; start value.
const CLOCK_WARN: i64 = 30;
/// Source: the head that probes read, too.
const MAX_HEAD: usize = 64 * 1024;
