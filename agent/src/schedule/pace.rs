//! How many runs a second this machine makes, and how many a minute at one target: pure, `now` is an argument.
//!
//! Rules: a run beyond the pace is not made and counted, never made later, so that a late run is always the agent's
//! trouble; assignments of one host and port, or of one question to one name server, are one target; local policy alone
//! sets the pace; neither a push of assignments nor a wall clock that is set back wins anything.

use std::{collections::BTreeMap, time::Duration};

use faultline_proto::types::v1::{Assignment, HttpSpec, assignment::Spec};
use url::Url;

use super::micros;

/// What local policy allows of runs, scheduled and asked for together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceLimits {
    /// Most runs a second, at least 1, over all targets; as many at once after a pause.
    pub per_second: u32,
    /// Most runs a minute, at least 1, at one target; a quarter of them at once after a pause.
    pub per_target_minute: u32,
}

impl Default for PaceLimits {
    /// 1,500 targets at the catalog's 30 s, and one host probed in every way that there is at 10 s each; start values.
    fn default() -> Self {
        Self { per_second: 50, per_target_minute: 120 }
    }
}

/// What was run lately.
#[derive(Debug)]
pub(super) struct Pace {
    limits: PaceLimits,
    whole: Meter,
    targets: BTreeMap<String, Meter>,
}

impl Pace {
    pub(super) fn new(limits: PaceLimits) -> Self {
        Self { limits, whole: Meter::default(), targets: BTreeMap::new() }
    }

    /// Whether a run at the target may start.
    pub(super) fn has_room(&self, now: i64, target: Option<&str>) -> bool {
        let of_target = target.and_then(|target| self.targets.get(target)).copied().unwrap_or_default();
        self.whole.has_room(now, self.whole_rate()) && of_target.has_room(now, self.target_rate())
    }

    /// Books a run that starts.
    pub(super) fn made(&mut self, now: i64, target: Option<&str>) {
        self.whole.made(now, self.whole_rate());
        let rate = self.target_rate();
        let Some(target) = target else { return };
        match self.targets.get_mut(target) {
            Some(meter) => meter.made(now, rate),
            None => self.targets.entry(target.to_owned()).or_default().made(now, rate),
        }
    }

    /// Forgets targets that have nothing booked.
    pub(super) fn forget(&mut self, now: i64) {
        self.targets.retain(|_, meter| meter.free_at > now);
    }

    /// Takes up a wall clock that was set back.
    pub(super) fn realign(&mut self, now: i64) {
        let (whole, target) = (self.whole_rate(), self.target_rate());
        self.whole.realign(now, whole);
        self.targets.values_mut().for_each(|meter| meter.realign(now, target));
    }

    fn whole_rate(&self) -> Rate {
        Rate::of(self.limits.per_second, Duration::from_secs(1), Duration::from_secs(1))
    }

    fn target_rate(&self) -> Rate {
        Rate::of(self.limits.per_target_minute, Duration::from_mins(1), Duration::from_secs(15))
    }
}

/// Microseconds that one run takes up, and how many may be taken up ahead.
#[derive(Clone, Copy, Debug)]
struct Rate {
    cost: i64,
    ahead: i64,
}

impl Rate {
    fn of(runs: u32, span: Duration, ahead: Duration) -> Self {
        let cost = (micros(span) / i64::from(runs.max(1))).max(1);
        Self { cost, ahead: micros(ahead).max(cost) }
    }
}

/// A token bucket as one instant: when all that was taken will have been paid back.
///
/// Source: the generic cell rate algorithm, ITU-T I.371, annex A.
#[derive(Clone, Copy, Debug)]
struct Meter {
    free_at: i64,
}

impl Default for Meter {
    fn default() -> Self {
        Self { free_at: i64::MIN }
    }
}

impl Meter {
    fn has_room(self, now: i64, rate: Rate) -> bool {
        self.free_at.max(now).saturating_add(rate.cost) <= now.saturating_add(rate.ahead)
    }

    fn made(&mut self, now: i64, rate: Rate) {
        self.free_at = self.free_at.max(now).saturating_add(rate.cost);
    }

    fn realign(&mut self, now: i64, rate: Rate) {
        self.free_at = self.free_at.min(now.saturating_add(rate.ahead));
    }
}

/// What counts as one target: where it is asked, and for DNS what. `None` where the agent's own resolvers choose whom to ask.
pub(super) fn target(assignment: &Assignment) -> Option<String> {
    match assignment.spec.as_ref()? {
        Spec::Tcp(spec) => Some(place(&spec.host, spec.port)),
        Spec::Tls(spec) => Some(place(&spec.host, spec.port)),
        Spec::Https(spec) | Spec::Http3(spec) => of_page(spec),
        Spec::Dns(spec) => match spec.server.as_str() {
            crate::probe::SYSTEM | crate::probe::AUTHORITATIVE => None,
            server => Some(format!("{}/{}", server, spec.name).to_ascii_lowercase()),
        },
    }
}

fn of_page(spec: &HttpSpec) -> Option<String> {
    let url = Url::parse(&spec.url).ok()?;
    Some(place(url.host_str()?, u32::from(url.port_or_known_default()?)))
}

fn place(host: &str, port: u32) -> String {
    format!("{}:{port}", host.trim_matches(['[', ']']).trim_end_matches('.')).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use faultline_proto::types::v1::{DnsSpec, TcpSpec};

    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn no_second_has_more_than_the_pace_after_the_first() {
        let mut pace = Pace::new(PaceLimits { per_second: 5, per_target_minute: 1_000_000 });
        let mut made = [0; 10];
        for tick in 0..1_000 {
            let now = tick * SECOND / 100;
            if pace.has_room(now, None) {
                pace.made(now, None);
                made[usize::try_from(now / SECOND).expect("small")] += 1;
            }
        }
        assert_eq!(made[0], 9, "five saved, and four earned meanwhile");
        assert_eq!(made[1..], [5; 9]);
    }

    #[test]
    fn assignments_of_one_host_and_port_share_its_pace() {
        let mut pace = Pace::new(PaceLimits { per_second: 1_000, per_target_minute: 4 });
        let web = |url: &str| target(&assignment(Spec::Https(HttpSpec { url: url.into(), ..HttpSpec::default() })));
        let tcp = target(&assignment(Spec::Tcp(TcpSpec { host: "Example.com.".into(), port: 443 })));
        let (one, other) = (web("https://example.com/ping"), web("https://example.com:444/ping"));
        assert_eq!(one, tcp);
        pace.made(0, tcp.as_deref());
        assert!(!pace.has_room(14 * SECOND, one.as_deref()));
        assert!(pace.has_room(14 * SECOND, other.as_deref()));
        assert!(pace.has_room(15 * SECOND, one.as_deref()));
        pace.forget(14 * SECOND);
        assert!(!pace.has_room(14 * SECOND, one.as_deref()), "forgotten too early");
        pace.forget(15 * SECOND);
        assert!(pace.targets.is_empty());
    }

    #[test]
    fn questions_to_the_agents_own_resolvers_are_no_ones_target() {
        let dns = |server: &str, name: &str| {
            let spec = DnsSpec { server: server.into(), name: name.into(), ..DnsSpec::default() };
            target(&assignment(Spec::Dns(spec)))
        };
        assert_eq!(dns("system", "a.example"), None);
        assert_ne!(dns("192.0.2.1", "a.example"), dns("192.0.2.1", "b.example"));
    }

    #[test]
    fn a_clock_set_back_wins_nothing_and_waits_no_longer_than_the_burst() {
        let mut pace = Pace::new(PaceLimits { per_second: 1, per_target_minute: 60 });
        pace.made(1_000 * SECOND, None);
        pace.realign(0);
        assert!(!pace.has_room(0, None));
        assert!(pace.has_room(SECOND, None));
    }

    fn assignment(spec: Spec) -> Assignment {
        Assignment { spec: Some(spec), ..Assignment::default() }
    }
}
