//! Whether QUIC leaves this network: pure, `now` is an argument.
//!
//! Rules: blocked is concluded only while no QUIC handshake of this process was ever answered, and only from at least
//! three hosts in three networks whose QUIC handshakes time out again and again while TCP to the same hosts passes
//! meanwhile. So a fault of one provider's QUIC never hides behind it, and a network that lost UDP later is told as
//! failures, for the coordinator to compare with those of other agents. What is kept is bounded.

use std::collections::{BTreeMap, BTreeSet};

use faultline_proto::types::v1::{Assignment, Cause, Layer, assignment::Spec};
use url::Url;

use crate::probe::{Observed, Outcome};

/// What was seen of QUIC so far.
#[derive(Debug, Default)]
pub(super) struct UdpEvidence {
    was_answered: bool,
    hosts: BTreeMap<String, Host>,
}

#[derive(Debug, Default)]
struct Host {
    /// Leading bytes of the address, which stand for its network.
    network: Vec<u8>,
    first_timeout: Option<i64>,
    last_timeout: i64,
    timeouts: u32,
    last_tcp_pass: Option<i64>,
}

impl UdpEvidence {
    /// Takes up how a run ended.
    pub(super) fn note(&mut self, now: i64, assignment: &Assignment, observed: &Observed) {
        if self.was_answered {
            return;
        }
        let (url, is_quic) = match &assignment.spec {
            Some(Spec::Http3(spec)) => (&spec.url, true),
            Some(Spec::Https(spec)) => (&spec.url, false),
            _ => return,
        };
        let Some(host) = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)) else { return };
        if !self.hosts.contains_key(&host) && self.hosts.len() >= MOST_HOSTS {
            return;
        }
        let entry = self.hosts.entry(host).or_default();
        match (is_quic, observed.outcome()) {
            (true, Some(Outcome::Failed { cause: Cause::QuicHandshakeTimeout, .. })) => {
                let address = &observed.result.address;
                entry.network = address[..address.len().min(if address.len() == 4 { 2 } else { 4 })].to_vec();
                entry.first_timeout.get_or_insert(now);
                entry.last_timeout = now;
                entry.timeouts = entry.timeouts.saturating_add(1);
            }
            (true, Some(Outcome::Passed | Outcome::Failed { layer: Layer::Tls | Layer::Http, .. })) => {
                *self = Self { was_answered: true, hosts: BTreeMap::new() };
            }
            (false, Some(Outcome::Passed)) => entry.last_tcp_pass = Some(now),
            // The host itself may be down: what its QUIC did meanwhile tells nothing.
            (false, Some(Outcome::Failed { .. })) => *entry = Host::default(),
            _ => {}
        }
    }

    /// Whether it is certain enough that UDP does not leave.
    pub(super) fn is_blocked(&self) -> bool {
        let networks: BTreeSet<_> =
            self.hosts.values().filter(|host| host.is_evidence()).map(|host| host.network.as_slice()).collect();
        !self.was_answered && networks.len() >= NETWORKS
    }
}

impl Host {
    fn is_evidence(&self) -> bool {
        let Some(first) = self.first_timeout else { return false };
        self.timeouts >= TIMEOUTS
            && self.last_timeout - first >= SPAN_MICROS
            && self.last_tcp_pass.is_some_and(|pass| pass > first)
    }
}

/// Start values: two could be two edges of one provider; two timeouts could be one long loss.
const NETWORKS: usize = 3;
const TIMEOUTS: u32 = 3;
const SPAN_MICROS: i64 = 60_000_000;
/// Hosts beyond are not looked at: three are enough.
const MOST_HOSTS: usize = 256;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use faultline_proto::types::v1::{HttpSpec, Outcome as WireOutcome, Reason};

    use super::*;

    const MINUTE: i64 = 60_000_000;

    #[test]
    fn quic_that_times_out_everywhere_while_tcp_passes_is_blocked() {
        let mut evidence = UdpEvidence::default();
        for minute in 0..3 {
            assert!(!evidence.is_blocked(), "too soon at {minute}");
            for net in 1..=3 {
                evidence.note(minute * MINUTE, &http3(net), &timeout(net));
                evidence.note(minute * MINUTE + 1, &https(net), &passed());
            }
        }
        assert!(evidence.is_blocked());
        evidence.note(4 * MINUTE, &http3(9), &passed());
        assert!(!evidence.is_blocked(), "it was answered");
    }

    #[test]
    fn less_than_that_is_the_targets_business() {
        for (claim, nets, quic_worked, tcp_passes) in [
            ("one network", [1, 1, 1], false, true),
            ("two networks", [1, 2, 2], false, true),
            ("QUIC worked before", [1, 2, 3], true, true),
            ("TCP fails too", [1, 2, 3], false, false),
        ] {
            let mut evidence = UdpEvidence::default();
            if quic_worked {
                evidence.note(0, &http3(9), &passed());
            }
            for minute in 0..9 {
                for (host, net) in (1..).zip(nets) {
                    evidence.note(minute * MINUTE, &http3(host), &timeout(net));
                    let tcp = if tcp_passes { passed() } else { failed(Layer::Connect, Cause::ConnectTimeout) };
                    evidence.note(minute * MINUTE, &https(host), &tcp);
                }
            }
            assert!(!evidence.is_blocked(), "{claim}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut evidence = UdpEvidence::default();
        for host in 0..1_000 {
            evidence.note(0, &page(host, Spec::Http3), &timeout(1));
        }
        assert_eq!(evidence.hosts.len(), MOST_HOSTS);
    }

    fn page(host: u32, spec: fn(HttpSpec) -> Spec) -> Assignment {
        let spec = spec(HttpSpec { url: format!("https://host-{host}.example/"), ..HttpSpec::default() });
        Assignment { spec: Some(spec), ..Assignment::default() }
    }

    fn http3(host: u8) -> Assignment {
        page(host.into(), Spec::Http3)
    }

    fn https(host: u8) -> Assignment {
        page(host.into(), Spec::Https)
    }

    fn timeout(net: u8) -> Observed {
        let mut timeout = failed(Layer::Connect, Cause::QuicHandshakeTimeout);
        timeout.result.address = Ipv4Addr::new(198, net, 0, 1).octets().to_vec();
        timeout
    }

    fn failed(layer: Layer, cause: Cause) -> Observed {
        let mut observed = passed();
        observed.result.set_outcome(WireOutcome::Failed);
        observed.result.set_layer(layer);
        observed.result.set_cause(cause);
        observed
    }

    fn passed() -> Observed {
        let mut observed = Observed::unmeasured(0, Reason::Unspecified);
        observed.result.set_outcome(WireOutcome::Passed);
        observed
    }
}
