//! What the readings mean: pure, and the one place where the limits stand.
//!
//! Rules: a run that failed by silence is only the target's failure when the agent was there to listen; a run that passed
//! is only its latency when the agent did not take most of it; a verdict on a certificate's dates needs a clock that is
//! right. What a target said, a refusal or a wrong answer, stands however starved the agent was.

use std::time::Duration;

use faultline_proto::{
    convert,
    types::v1::{Cause, Reason},
};

use super::clock::ClockError;
use crate::probe::{Observed, Outcome};

/// What the agent reads of itself; `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Readings {
    /// Share of the last period that the process waited for a CPU, 0 to 1.
    pub(crate) cpu_wait: Option<f64>,
    /// Share of the last ten seconds in which the cgroup's tasks waited for a CPU, 0 to 1.
    pub(crate) cpu_pressure: Option<f64>,
    /// Worst lateness of a timer in the last period.
    pub(crate) timer_lag: Duration,
    /// Open files and sockets.
    pub(crate) open_files: Option<u64>,
    /// How many may be open.
    pub(crate) open_files_limit: Option<u64>,
    /// Whether the machine has a route for public IPv4 addresses.
    pub(crate) has_ipv4: bool,
    /// The same for IPv6.
    pub(crate) has_ipv6: bool,
    /// Whether QUIC is known not to leave this network.
    pub(crate) is_udp_blocked: bool,
    /// How long no target has said a word, where several were asked for a minute or more.
    pub(crate) cut_off_for: Option<Duration>,
    /// How wrong the clock is; unknown until there was a session.
    pub(crate) clock_error: Option<ClockError>,
}

/// What of a run the agent was not there for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strain {
    /// The run, in real time.
    pub(super) span: Duration,
    /// What of it was spent waiting for a CPU, or was the lateness of timers.
    pub(super) starved: Duration,
}

impl Strain {
    fn takes(&self, share: f64) -> bool {
        self.starved >= STARVED_FLOOR && self.starved >= self.span.mul_f64(share)
    }
}

/// Why the result tells nothing of the target; `None` when it does.
pub(super) fn reason(
    observed: &Observed,
    strain: Strain,
    clock_error: Option<ClockError>,
    is_udp_blocked: bool,
) -> Option<Reason> {
    match observed.outcome()? {
        Outcome::Passed => strain.takes(STARVED_PASS).then_some(Reason::Overloaded),
        Outcome::Failed { cause, .. } if is_silence(cause) && is_deaf(strain) => Some(Reason::Overloaded),
        Outcome::Failed { cause: Cause::QuicHandshakeTimeout, .. } if is_udp_blocked => Some(Reason::UdpBlocked),
        Outcome::Failed { cause, .. } => is_clocks_fault(observed, cause, clock_error?).then_some(Reason::ClockSuspect),
        Outcome::Unmeasured { .. } => None,
    }
}

/// Whether the agent was not there to listen for too much of the run.
pub(super) fn is_deaf(strain: Strain) -> bool {
    strain.takes(STARVED_SILENCE)
}

/// Whether the cause is that nothing came in time.
pub(crate) fn is_silence(cause: Cause) -> bool {
    cause.as_str_name().ends_with("_TIMEOUT")
}

/// Whether the certificate would have been accepted, as far as its dates go, by a clock without what is certain of the error.
fn is_clocks_fault(observed: &Observed, cause: Cause, clock_error: ClockError) -> bool {
    let certain = clock_error.certain_us();
    let Some(started) = convert::micros(observed.result.started_at.as_ref()).filter(|_| certain != 0) else {
        return false;
    };
    let right = started.saturating_sub(certain) / 1_000_000;
    let leaf = observed.facts.as_ref().and_then(|facts| facts.chain.first());
    match cause {
        Cause::TlsCertExpired => leaf.is_some_and(|leaf| right <= leaf.not_after),
        Cause::TlsCertNotYetValid => leaf.is_some_and(|leaf| right >= leaf.not_before),
        // It is counted in days.
        Cause::TlsCertExpiresSoon => certain >= DAY_MICROS / 2,
        _ => false,
    }
}

/// What is wrong with the agent itself, each once, in the order of the contract.
pub(super) fn impairments(readings: &Readings) -> Vec<Reason> {
    let is_over = |share: Option<f64>, limit| share.is_some_and(|share| share >= limit);
    let is_overloaded = is_over(readings.cpu_wait, BUSY_WAIT)
        || is_over(readings.cpu_pressure, BUSY_PRESSURE)
        || readings.timer_lag >= BUSY_LAG;
    let is_out_of_sockets = match (readings.open_files, readings.open_files_limit) {
        (Some(open), Some(limit)) => open.saturating_add(limit / SPARE_FILES) >= limit,
        _ => false,
    };
    let is_clock_suspect = readings.clock_error.is_some_and(|error| error.certain_us().abs() >= CLOCK_LIMIT_MICROS);
    [
        (Reason::NoIpv4, !readings.has_ipv4 && readings.has_ipv6),
        (Reason::NoIpv6, !readings.has_ipv6 && readings.has_ipv4),
        (Reason::UdpBlocked, readings.is_udp_blocked),
        (Reason::Overloaded, is_overloaded),
        (Reason::OutOfSockets, is_out_of_sockets),
        (Reason::ClockSuspect, is_clock_suspect),
        (Reason::NoNetwork, (!readings.has_ipv4 && !readings.has_ipv6) || readings.cut_off_for.is_some()),
    ]
    .into_iter()
    .filter_map(|(reason, holds)| holds.then_some(reason))
    .collect()
}

/// The part, which is 0 when there is no whole.
#[expect(clippy::cast_precision_loss, reason = "a share is read by people and compared with round limits")]
pub(super) fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { (part.as_micros() as f64 / whole.as_micros().max(1) as f64).min(1.0) }
}

/// A timeout counts when the agent was there for three quarters of it: targets answer in a tenth of their timeout or not at
/// all, so that less would blame the agent for dead targets and more would blame targets for the agent. Start value.
const STARVED_SILENCE: f64 = 0.25;
/// A latency counts when at least half of it may have been the target's. Start value.
const STARVED_PASS: f64 = 0.5;
/// Waits that are less never count. Source: measured on two cores: 4.8 ms of waiting at worst in 50 ms with
/// two busy threads on each core; this is ten times that.
const STARVED_FLOOR: Duration = Duration::from_millis(50);
/// Start values: from here on, runs are lost to starvation now and then.
const BUSY_WAIT: f64 = 0.25;
const BUSY_PRESSURE: f64 = 0.5;
const BUSY_LAG: Duration = Duration::from_secs(1);
/// A twentieth of the limit is left: fewer than the sockets of the runs that may be in flight. Start value.
const SPARE_FILES: u64 = 20;
/// The coordinator orders results of several agents by their clocks; start value.
const CLOCK_LIMIT_MICROS: i64 = 2_000_000;
const DAY_MICROS: i64 = 86_400_000_000;
