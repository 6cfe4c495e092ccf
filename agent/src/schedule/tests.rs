//! The fixed rhythm, and what is run beside it on request: all in virtual time.

use faultline_proto::convert::duration;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;

const SECOND: i64 = 1_000_000;

#[test]
fn runs_fall_on_the_phase_of_the_wall_clock() {
    let mut schedule = schedule();
    schedule.replace(1_000 * SECOND + 1, [assignment(1, 30, 7), assignment(2, 10, 3)]);
    assert_eq!(schedule.next_due(), Some(1_003 * SECOND));
    let mut seen = Vec::new();
    while let Some(now) = schedule.next_due().filter(|now| *now < 1_070 * SECOND) {
        for run in schedule.due(now, 64) {
            seen.push((now / SECOND, run.id.slot));
            schedule.finished(run.id);
        }
    }
    let of = |slot| seen.iter().filter(|(_, of)| *of == slot).map(|(at, _)| *at).collect::<Vec<_>>();
    assert_eq!(of(1), [1_027, 1_057]);
    assert_eq!(of(2), [1_003, 1_013, 1_023, 1_033, 1_043, 1_053, 1_063]);
}

#[test]
fn a_late_run_delays_none_of_the_next() {
    let mut schedule = schedule();
    schedule.replace(0, [assignment(1, 10, 0)]);
    let runs = schedule.due(0, 64);
    assert_eq!(runs.len(), 1);
    schedule.finished(runs[0].id);
    let late = schedule.due(13 * SECOND, 64);
    assert_eq!(late[0].lag, Duration::from_secs(3));
    assert_eq!(schedule.next_due(), Some(20 * SECOND));
    assert_eq!(schedule.take_worst_lag(), Duration::from_secs(3));
    assert_eq!(schedule.take_worst_lag(), Duration::ZERO);
}

#[test]
fn what_was_slept_through_is_counted_and_not_caught_up() {
    let mut schedule = schedule();
    schedule.replace(0, [assignment(1, 10, 0)]);
    assert_eq!(schedule.due(45 * SECOND, 64).len(), 1);
    assert_eq!(schedule.skipped_runs(), 4);
    assert_eq!(schedule.next_due(), Some(50 * SECOND));
}

#[test]
fn runs_beyond_the_pace_are_skipped_and_counted_and_never_late() {
    let pace = PaceLimits { per_second: 2, ..PaceLimits::default() };
    let mut schedule = Schedule::new(LookLimits::default(), pace, 1);
    schedule.replace(0, (1..=5).map(|slot| assignment(slot, 10, 0)));
    let first = schedule.due(0, 64);
    assert_eq!((first.len(), schedule.skipped_runs(), schedule.running()), (2, 3, 2));
    // Two more slots are due while the pace is used up; an unchanged push wins nothing.
    schedule.replace(0, (1..=7).map(|slot| assignment(slot, 10, 0)));
    assert_eq!((schedule.due(0, 64).len(), schedule.skipped_runs()), (0, 5));
    schedule.ask(0, &[6], SECOND / 4);
    assert_eq!(schedule.due(SECOND / 4, 64).len(), 0);
    assert_eq!(schedule.take_refused().of(LookRefusal::Budget), 1);
    for run in &first {
        schedule.finished(run.id);
    }
    let second = schedule.due(10 * SECOND, 64);
    assert_eq!((second.len(), schedule.skipped_runs()), (2, 10));
    assert!(second.iter().all(|run| run.lag.is_zero()));
}

#[test]
fn a_slot_never_overlaps_itself() {
    let mut schedule = schedule();
    schedule.replace(0, [assignment(1, 10, 0)]);
    let first = schedule.due(0, 64).remove(0);
    assert_eq!(schedule.due(10 * SECOND, 64).len(), 0);
    assert_eq!((schedule.skipped_runs(), schedule.running()), (1, 1));
    schedule.finished(first.id);
    assert_eq!(schedule.due(20 * SECOND, 64).len(), 1);
}

#[test]
fn without_a_free_place_a_run_is_skipped_and_counted() {
    let mut schedule = schedule();
    schedule.replace(0, (1..=5).map(|slot| assignment(slot, 10, 0)));
    assert_eq!(schedule.due(0, 2).len(), 2);
    assert_eq!((schedule.skipped_runs(), schedule.running()), (3, 2));
}

#[test]
fn an_unchanged_assignment_keeps_its_rhythm_across_a_push() {
    let mut schedule = schedule();
    schedule.replace(0, [assignment(1, 10, 4), assignment(2, 10, 6)]);
    assert_eq!(schedule.due(4 * SECOND, 64).len(), 1);
    schedule.replace(5 * SECOND, [assignment(1, 10, 4), assignment(2, 20, 9)]);
    assert_eq!(schedule.next_due(), Some(9 * SECOND));
    assert_eq!(schedule.due(9 * SECOND, 64)[0].assignment.slot, 2);
    assert_eq!(schedule.next_due(), Some(14 * SECOND));
}

#[test]
fn a_clock_set_back_stops_nothing() {
    let mut schedule = schedule();
    schedule.replace(3_600 * SECOND, [assignment(1, 10, 0)]);
    let first = schedule.due(3_600 * SECOND, 64).remove(0);
    schedule.finished(first.id);
    assert!(schedule.due(100 * SECOND + 1, 64).is_empty());
    assert_eq!(schedule.next_due(), Some(110 * SECOND));
}

#[test]
fn a_look_starts_at_once_and_moves_nothing() {
    let mut schedule = of([assignment(1, 30, 20)]);
    schedule.ask(5 * SECOND, &[1], 10 * SECOND);
    let looks = starts(&mut schedule, 20 * SECOND - 1);
    assert_eq!(looks.len(), 1);
    assert_eq!(looks[0].1, Origin::Look);
    assert!((5 * SECOND..=5 * SECOND + micros(looks::JITTER)).contains(&looks[0].0), "{looks:?}");
    assert_eq!(schedule.next_due(), Some(20 * SECOND));
}

#[test]
fn agents_that_are_asked_at_once_do_not_strike_at_once() {
    let of_agent = |seed| {
        let mut schedule = Schedule::new(LookLimits::default(), PaceLimits::default(), seed);
        schedule.replace(1, [assignment(1, 3_600, 0)]);
        schedule.ask(SECOND, &[1], 10 * SECOND);
        schedule.next_due().expect("a look") - SECOND
    };
    let waits: BTreeSet<i64> = (0..100).map(of_agent).collect();
    assert!(waits.len() > 90, "{waits:?}");
    assert!(waits.iter().all(|wait| (0..=micros(looks::JITTER)).contains(wait)), "{waits:?}");
    assert_eq!(of_agent(7), of_agent(7));
}

#[test]
fn the_sixteenth_look_within_ten_minutes_is_refused() {
    let mut schedule = of([assignment(1, 36_000, 0), assignment(2, 36_000, 0)]);
    for n in 1..=16 {
        schedule.ask(n * 3 * SECOND, &[1], (n * 3 + 1) * SECOND);
        let made = starts(&mut schedule, (n * 3 + 1) * SECOND).len();
        assert_eq!(made, usize::from(n <= 15), "look {n}");
    }
    assert_eq!(schedule.take_refused(), refused(&[(LookRefusal::Budget, 1)]));
    schedule.ask(60 * SECOND, &[2], 61 * SECOND);
    assert_eq!(starts(&mut schedule, 61 * SECOND).len(), 1, "another target has a budget of its own");
    schedule.replace(62 * SECOND, [assignment(1, 36_000, 7)]);
    schedule.ask(63 * SECOND, &[1], 64 * SECOND);
    assert_eq!(starts(&mut schedule, 64 * SECOND).len(), 0, "a push wins no budget");
    schedule.ask(604 * SECOND, &[1], 605 * SECOND);
    assert_eq!(starts(&mut schedule, 605 * SECOND).len(), 1, "the first look is ten minutes old");
}

#[test]
fn a_look_keeps_its_distance_from_the_run_before() {
    let mut schedule = of([assignment(1, 30, 10)]);
    assert_eq!(starts(&mut schedule, 10 * SECOND).len(), 1);
    for (now, made) in [(11, 0), (12, 1), (13, 0), (15, 1)] {
        schedule.ask(now * SECOND, &[1], (now + 1) * SECOND);
        assert_eq!(starts(&mut schedule, (now + 1) * SECOND - 1).len(), made, "at {now} s");
    }
    schedule.ask(20 * SECOND, &[1, 1], 21 * SECOND);
    assert_eq!(starts(&mut schedule, 21 * SECOND).len(), 1, "asked for twice at once");
    assert_eq!(schedule.take_refused(), refused(&[(LookRefusal::Spacing, 3)]));
}

#[test]
fn local_policy_may_allow_less_and_never_more() {
    let limits = LookLimits { spacing: Duration::from_mins(1), of_target: 0 };
    let mut never = Schedule::new(limits, PaceLimits::default(), 1);
    never.replace(1, [assignment(1, 36_000, 0)]);
    never.ask(SECOND, &[1, 2, 3], 9 * SECOND);
    assert_eq!(starts(&mut never, 9 * SECOND).len(), 0);
    assert_eq!(never.take_refused(), refused(&[(LookRefusal::Policy, 3)]));

    let mut eager =
        Schedule::new(LookLimits { spacing: Duration::ZERO, of_target: usize::MAX }, PaceLimits::default(), 1);
    eager.replace(1, [assignment(1, 36_000, 0)]);
    let mut made = Vec::new();
    for n in 1..1_200 {
        eager.ask(n * SECOND / 2, &[1], n * SECOND / 2 + SECOND);
        made.extend(starts(&mut eager, (n + 1) * SECOND / 2 - 1));
    }
    assert_eq!(made.len(), looks::MOST_LOOKS);
    assert!(made.windows(2).all(|two| two[1].0 - two[0].0 >= micros(looks::SPACING_FLOOR)), "{made:?}");
}

#[test]
fn what_cannot_be_looked_at_is_counted_by_its_reason() {
    let mut schedule = of([assignment(1, 30, 10), assignment(2, 30, 20)]);
    schedule.ask(SECOND, &[9], 9 * SECOND);
    schedule.ask(SECOND, &[2], SECOND - 1);
    assert_eq!(starts(&mut schedule, 9 * SECOND).len(), 0);
    let first = schedule.due(10 * SECOND, 64).remove(0);
    schedule.ask(13 * SECOND, &[1, 2], 19 * SECOND);
    assert_eq!(schedule.due(14 * SECOND, 1).len(), 0);
    schedule.finished(first.id);
    let expected = [LookRefusal::NotInForce, LookRefusal::Expired, LookRefusal::InFlight, LookRefusal::Crowded]
        .map(|reason| (reason, 1));
    assert_eq!(schedule.take_refused(), refused(&expected));
    assert_eq!(schedule.take_refused(), Refused::default());
    assert_eq!(schedule.skipped_runs(), 0);
}

#[test]
fn a_due_time_takes_the_place_of_a_look() {
    let mut schedule = of([assignment(1, 30, 10), assignment(2, 30, 11), assignment(3, 30, 29)]);
    schedule.ask(5 * SECOND, &[1, 3], 9 * SECOND);
    let looks = schedule.due(6 * SECOND, 2);
    assert_eq!(looks.len(), 2);
    let own = schedule.due(10 * SECOND, 2).remove(0);
    let look_at = |slot| looks.iter().find(|look| look.id.slot == slot).map(|look| look.id);
    assert_eq!((own.id.slot, own.origin, own.displaces), (1, Origin::Scheduled, look_at(1)));
    let other = schedule.due(11 * SECOND, 2).remove(0);
    assert_eq!((other.id.slot, other.displaces), (2, look_at(3)));
    assert_eq!((schedule.running(), schedule.skipped_runs()), (2, 0));
    assert_eq!(schedule.take_refused(), refused(&[(LookRefusal::Displaced, 2)]));
    // The look's task may have ended just before it was told to: that must not end the run that took its place.
    schedule.finished(looks[0].id);
    assert_eq!(schedule.running(), 2);
}

#[test]
fn a_hostile_request_is_bounded() {
    let mut schedule = of((1..=10_000).map(|slot| assignment(slot, 36_000, 0)));
    let all: Vec<u32> = (1..=10_000).collect();
    let (mut made, mut asked) = (0, 0);
    for tenth in 1..600 {
        schedule.ask(tenth * SECOND / 10, &all, 600 * SECOND);
        asked += 10_000;
        let runs = schedule.due(tenth * SECOND / 10, 10_000);
        made += runs.len();
        for run in runs {
            schedule.finished(run.id);
        }
    }
    assert_eq!(made, looks::OF_AGENT, "within a minute");
    let counted: u64 = schedule.take_refused().iter().map(|(_, looks)| looks).sum();
    let waiting = asked - made as u64 - counted;
    assert!(waiting <= looks::MOST_WAITING as u64, "{waiting} neither made nor refused");
}

#[test]
fn a_clock_set_back_wins_no_budget_and_stops_no_look() {
    let mut schedule = of([assignment(1, 36_000, 0)]);
    schedule.ask(9_000 * SECOND, &[1], 9_001 * SECOND);
    assert_eq!(starts(&mut schedule, 9_001 * SECOND).len(), 1);
    schedule.ask(9_005 * SECOND, &[1], 9_006 * SECOND);
    assert!(schedule.due(100 * SECOND, 64).is_empty());
    assert!(schedule.next_due().is_some_and(|due| due <= 100 * SECOND + micros(looks::JITTER)));
    assert_eq!(starts(&mut schedule, 101 * SECOND).len(), 0, "too soon after the first, as far as anybody can tell");
    schedule.ask(103 * SECOND, &[1], 104 * SECOND);
    assert_eq!(starts(&mut schedule, 104 * SECOND).len(), 1);
}

/// Rule: looks never change what the schedule runs, nor when.
#[test]
fn the_schedule_does_not_notice_looks() {
    for seed in 0..50 {
        let undisturbed = scheduled(seed, None);
        assert!(undisturbed.0.len() > 200, "seed {seed}");
        assert_eq!(scheduled(seed, Some(seed)), undisturbed, "seed {seed}");
    }
}

/// What was due and run in five minutes with four places, each run taking three seconds, and what was skipped; with
/// looks at random where a seed for them is given.
fn scheduled(seed: u64, looks: Option<u64>) -> (Vec<(i64, u32)>, u64) {
    let mut schedule = Schedule::new(LookLimits::default(), PaceLimits::default(), seed);
    let mut draws = StdRng::seed_from_u64(seed);
    schedule.replace(1, (1..=8).map(|slot| assignment(slot, draws.random_range(5..12), draws.random_range(0..5))));
    let mut asks = looks.map(StdRng::seed_from_u64);
    let mut made = 0;
    let (mut due, mut in_flight) = (Vec::new(), BTreeMap::<(i64, u32), RunId>::new());
    for now in (1..3_000).map(|tenth| tenth * SECOND / 10) {
        if let Some(asks) = &mut asks
            && asks.random_bool(0.3)
        {
            schedule.ask(now, &[asks.random_range(0..10), asks.random_range(0..10)], now + 5 * SECOND);
        }
        while let Some(entry) = in_flight.first_entry().filter(|entry| entry.key().0 <= now) {
            schedule.finished(entry.remove());
        }
        for run in schedule.due(now, 4) {
            in_flight.retain(|_, other| Some(*other) != run.displaces);
            in_flight.insert((now + 3 * SECOND, run.id.slot), run.id);
            if run.origin == Origin::Scheduled {
                due.push((now, run.id.slot));
            } else {
                made += 1;
            }
        }
        assert!(schedule.running() <= 4);
    }
    if looks.is_some() {
        let displaced = schedule.take_refused().of(LookRefusal::Displaced);
        assert!(made > 20 && displaced > 0, "seed {seed}: {made} made, {displaced} displaced");
    }
    (due, schedule.skipped_runs())
}

#[test]
fn each_further_place_and_attempt_counts_against_the_pace() {
    let pace = PaceLimits { per_second: 4, ..PaceLimits::default() };
    let mut schedule = Schedule::new(LookLimits::default(), pace, 1);
    schedule.replace(0, [assignment(1, 10, 0), assignment(2, 10, 1), assignment(3, 10, 2)]);
    let run = schedule.due(0, 64).remove(0);
    schedule.probed_further(0, run.id, 7);
    schedule.finished(run.id);
    assert_eq!(
        (schedule.due(SECOND, 64).len(), schedule.skipped_runs()),
        (0, 1),
        "eight probes are two seconds' worth"
    );
    assert_eq!(schedule.due(2 * SECOND, 64).len(), 1);
}

fn schedule() -> Schedule {
    Schedule::new(LookLimits::default(), PaceLimits::default(), 1)
}

fn of(assignments: impl IntoIterator<Item = Assignment>) -> Schedule {
    let mut schedule = schedule();
    schedule.replace(1, assignments);
    schedule
}

/// Runs whatever starts up to the instant, each for no time.
fn starts(schedule: &mut Schedule, until: i64) -> Vec<(i64, Origin)> {
    let mut starts = Vec::new();
    while let Some(now) = schedule.next_due().filter(|now| *now <= until) {
        for run in schedule.due(now, 64) {
            starts.push((now, run.origin));
            schedule.finished(run.id);
        }
    }
    starts
}

fn refused(counts: &[(LookRefusal, usize)]) -> Refused {
    let mut refused = Refused::default();
    for (reason, looks) in counts {
        refused.add(*reason, *looks);
    }
    refused
}

fn assignment(slot: u32, interval: u64, phase: u64) -> Assignment {
    Assignment {
        slot,
        interval: Some(duration(Duration::from_secs(interval))),
        phase: Some(duration(Duration::from_secs(phase))),
        ..Assignment::default()
    }
}
