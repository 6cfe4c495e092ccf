//! The judge as a table, and the watch over a runtime that is really held up.

use std::sync::Arc;

use faultline_proto::{
    convert::timestamp,
    types::v1::{Cause, HttpSpec, Layer, Outcome as WireOutcome, Protocol, assignment::Spec},
};

use super::*;
use crate::probe::{Certificate, Facts, Outcome};

const MS: Duration = Duration::from_millis(1);
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

#[test]
fn a_starved_run_says_nothing_of_the_target() {
    let passed = observed(WireOutcome::Passed, Layer::Unspecified, Cause::Unspecified);
    let timeout = observed(WireOutcome::Failed, Layer::Connect, Cause::ConnectTimeout);
    let refused = observed(WireOutcome::Failed, Layer::Connect, Cause::ConnectRefused);
    let overloaded = Some(Reason::Overloaded);
    for (claim, observed, span_ms, starved_ms, expected) in [
        ("an idle agent", &timeout, 5_000, 0, None),
        ("a fifth of a timeout", &timeout, 5_000, 1_000, None),
        ("a quarter of it", &timeout, 5_000, 1_250, overloaded),
        ("a stall longer than the run's end", &timeout, 5_000, 9_000, overloaded),
        ("a quarter of a short one, below the floor", &timeout, 100, 49, None),
        ("a quarter of a short one, above it", &timeout, 100, 50, overloaded),
        ("less than half of a latency", &passed, 200, 99, None),
        ("half of it", &passed, 200, 100, overloaded),
        ("a fast run that waited a little", &passed, 2, 2, None),
        ("a refusal, which came", &refused, 5_000, 4_900, None),
    ] {
        let strain = Strain { span: MS * span_ms, starved: MS * starved_ms };
        assert_eq!(judge::reason(observed, strain, None, false), expected, "{claim}");
    }
}

#[test]
fn every_silence_is_known_as_one() {
    let strain = Strain { span: MS * 1_000, starved: MS * 900 };
    for cause in
        [Cause::DnsTimeout, Cause::ConnectTimeout, Cause::QuicHandshakeTimeout, Cause::TlsTimeout, Cause::HttpTimeout]
    {
        let observed = observed(WireOutcome::Failed, Layer::Connect, cause);
        assert_eq!(judge::reason(&observed, strain, None, false), Some(Reason::Overloaded), "{cause:?}");
    }
}

#[test]
fn a_wrong_clock_accuses_no_certificate() {
    // Valid on days 10 to 100; the run was on day `on` by a clock that is `ahead` days ahead.
    for (claim, cause, on, ahead, expected) in [
        ("expired by the wrong clock alone", Cause::TlsCertExpired, 120, 30, Some(Reason::ClockSuspect)),
        ("expired by the right clock too", Cause::TlsCertExpired, 120, 5, None),
        ("expired, and the clock is right", Cause::TlsCertExpired, 120, 0, None),
        ("not yet valid by the wrong clock alone", Cause::TlsCertNotYetValid, 5, -10, Some(Reason::ClockSuspect)),
        ("not yet valid by the right clock too", Cause::TlsCertNotYetValid, 5, -1, None),
        ("days left, miscounted", Cause::TlsCertExpiresSoon, 95, 30, Some(Reason::ClockSuspect)),
        ("another cause", Cause::TlsNameMismatch, 120, 30, None),
    ] {
        let mut observed = observed(WireOutcome::Failed, Layer::Tls, cause);
        observed.result.started_at = Some(timestamp(on * DAY));
        let certificate =
            Certificate { not_before: 10 * DAY / SECOND, not_after: 100 * DAY / SECOND, ..Certificate::default() };
        observed.facts = Some(Facts { chain: vec![Arc::new(certificate)], ..Facts::default() });
        let error = ClockError { offset_us: ahead * DAY, bound_us: 1 };
        let strain = Strain { span: MS * 40, starved: Duration::ZERO };
        assert_eq!(judge::reason(&observed, strain, Some(error), false), expected, "{claim}");
    }
}

#[test]
fn blocked_udp_is_not_the_targets_silence() {
    let strain = Strain { span: MS * 5_000, starved: Duration::ZERO };
    let quic = observed(WireOutcome::Failed, Layer::Connect, Cause::QuicHandshakeTimeout);
    assert_eq!(judge::reason(&quic, strain, None, true), Some(Reason::UdpBlocked));
    assert_eq!(judge::reason(&quic, strain, None, false), None);
    let tcp = observed(WireOutcome::Failed, Layer::Connect, Cause::ConnectTimeout);
    assert_eq!(judge::reason(&tcp, strain, None, true), None);
}

#[test]
fn what_impairs_the_agent_is_named() {
    let well = Readings {
        cpu_wait: Some(0.01),
        cpu_pressure: Some(0.05),
        timer_lag: MS * 10,
        open_files: Some(80),
        open_files_limit: Some(1024),
        has_ipv4: true,
        has_ipv6: true,
        is_udp_blocked: false,
        cut_off_for: None,
        clock_error: Some(ClockError { offset_us: 40_000, bound_us: 10_000 }),
    };
    let error = |offset_us, bound_us| Some(ClockError { offset_us, bound_us });
    let of = |change: fn(&mut Readings)| {
        let mut readings = well.clone();
        change(&mut readings);
        impairments(&readings)
    };
    assert_eq!(impairments(&well), []);
    assert_eq!(of(|readings| readings.cpu_wait = Some(0.25)), [Reason::Overloaded]);
    assert_eq!(of(|readings| readings.cpu_pressure = Some(0.5)), [Reason::Overloaded]);
    assert_eq!(of(|readings| readings.timer_lag = MS * 1_000), [Reason::Overloaded]);
    assert_eq!(of(|readings| readings.open_files = Some(972)), []);
    assert_eq!(of(|readings| readings.open_files = Some(973)), [Reason::OutOfSockets]);
    assert_eq!(of(|readings| readings.has_ipv6 = false), [Reason::NoIpv6]);
    assert_eq!(of(|readings| readings.has_ipv4 = false), [Reason::NoIpv4]);
    assert_eq!(of(|readings| (readings.has_ipv4, readings.has_ipv6) = (false, false)), [Reason::NoNetwork]);
    assert_eq!(of(|readings| readings.is_udp_blocked = true), [Reason::UdpBlocked]);
    assert_eq!(of(|readings| readings.cut_off_for = Some(MS)), [Reason::NoNetwork]);
    let clock = |clock_error| impairments(&Readings { clock_error, ..well.clone() });
    assert_eq!(clock(error(-3 * SECOND, 500_000)), [Reason::ClockSuspect]);
    assert_eq!(clock(error(3 * SECOND, 2 * SECOND)), [], "not certain");
    let unknown = Readings { has_ipv4: true, has_ipv6: true, ..Readings::default() };
    assert_eq!(impairments(&unknown), [], "what is unknown accuses nobody");
}

#[test]
fn an_overdue_tick_counts_before_it_fires() {
    let begin = Instant::now();
    let mut ticks = Ticks::new(begin);
    let due = ticks.due();
    assert_eq!(ticks.late(due + MS * 3), Duration::ZERO, "every timer is a little late");
    assert_eq!(ticks.late(due + MS * 700), MS * 700);
    ticks.tick(due + MS * 700);
    assert_eq!(ticks.late(due + MS * 710), MS * 700, "and once");
    ticks.tick(ticks.due() + MS * 100);
    assert_eq!(ticks.late(ticks.due()), MS * 800);
    assert_eq!((ticks.take_worst(), ticks.take_worst()), (MS * 700, Duration::ZERO));
}

#[tokio::test]
async fn a_runtime_that_was_held_up_disowns_what_timed_out_meanwhile() {
    let check = SelfCheck::new(Clock::system(), Starvation::Disowns);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(check.clone().watch());
    let in_a_lab = SelfCheck::new(Clock::system(), Starvation::Ignored);
    tasks.spawn(in_a_lab.clone().watch());
    let (began, began_in_a_lab) = (check.stamp(), in_a_lab.stamp());
    let run = tokio::time::timeout(MS * 400, std::future::pending::<()>());
    tasks.spawn(async {
        let spin = std::time::Instant::now();
        while spin.elapsed() < MS * 300 {
            std::hint::spin_loop();
        }
    });
    run.await.expect_err("nobody answers");
    let mut starved = observed(WireOutcome::Failed, Layer::Connect, Cause::ConnectTimeout);
    starved.result.on_demand = true;
    let assignment = Assignment { spec: Some(Spec::Https(HttpSpec::default())), ..Assignment::default() };
    in_a_lab.judge(began_in_a_lab, &assignment, &mut starved);
    let timeout = Outcome::Failed { layer: Layer::Connect, cause: Cause::ConnectTimeout };
    assert_eq!(starved.outcome(), Some(timeout), "a lab watches its own lag");
    check.judge(began, &assignment, &mut starved);
    assert_eq!(starved.outcome(), Some(Outcome::Unmeasured { reason: Reason::Overloaded }));
    let (result, expected) = (&starved.result, (Layer::Unspecified, Cause::Unspecified, Protocol::Unspecified));
    assert_eq!((result.layer(), result.cause(), result.protocol()), expected);
    assert_eq!((result.on_demand, result.attempt, result.timings), (true, 1, None));
}

#[test]
fn a_process_that_waits_for_a_cpu_knows_how_long() {
    // Twice as many busy threads as there are processors: each waits for about half of the time.
    let processors = std::thread::available_parallelism().expect("a number").get();
    let mut run_queue = RunQueue::new();
    let spin = || {
        let began = std::time::Instant::now();
        while began.elapsed() < MS * 400 {
            std::hint::spin_loop();
        }
    };
    let waited = std::thread::scope(|scope| {
        for _ in 0..processors * 2 - 1 {
            scope.spawn(spin);
        }
        run_queue.refresh();
        let before = run_queue.waited();
        spin();
        run_queue.waited().saturating_sub(before)
    });
    assert!(waited >= MS * 100, "{waited:?} of 400 ms");
}

fn observed(outcome: WireOutcome, layer: Layer, cause: Cause) -> Observed {
    let mut observed = Observed::unmeasured(0, Reason::Unspecified);
    observed.result.set_outcome(outcome);
    observed.result.set_layer(layer);
    observed.result.set_cause(cause);
    observed
}
