//! Turn: takes what waits to the keeper, and its answers and picture back.
//!
//! Rules: a store's work is done here alone, by the thread or by whoever calls where there is none; nobody who calls waits
//! for a store while the keeper works.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use faultline_proto::agent::v1::Lane;

use super::{
    super::keeper::{Keeper, Waiting},
    Job, Line,
};

/// The thread: works until the spool is closed, and at the end tries once more what did not succeed.
pub(super) fn work(mut keeper: Keeper, line: &Line) {
    loop {
        let mut state = line.state();
        let retry_at = Instant::now() + RETRY;
        while !state.is_closing {
            let is_asked = !state.jobs.is_empty() || state.acks.iter().any(Option::is_some);
            if is_asked || (!state.is_stuck && state.has_work()) {
                break;
            }
            if !state.is_stuck {
                state = line.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = retry_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = line.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let is_closing = state.is_closing;
        drop(state);
        let has_more = turn(&mut keeper, line);
        if is_closing && !has_more {
            return last_words(&mut keeper);
        }
    }
}

pub(super) fn last_words(keeper: &mut Keeper) {
    if let Err(error) = keeper.flush() {
        tracing::warn!(%error, "the spool could not be closed in order");
    }
}

/// Does what there is to do, some at a time. Says whether more can be done at once.
pub(super) fn turn(keeper: &mut Keeper, line: &Line) -> bool {
    let (acks, jobs, group, lost) = {
        let mut state = line.state();
        let group_bytes = if state.is_stuck { 0 } else { GROUP_BYTES };
        let mut bytes = 0;
        let group = state.waiting.iter().take_while(|batch| {
            let is_taken = bytes <= group_bytes;
            bytes += batch.bytes().max(1);
            is_taken
        });
        let group: Vec<_> = group.cloned().collect();
        (std::mem::take(&mut state.acks), std::mem::take(&mut state.jobs), group, state.lost.take())
    };
    for (lane, ack) in [Lane::Live, Lane::Backfill].into_iter().zip(acks) {
        if let Some(number) = ack {
            keeper.ack(lane, number);
        }
    }
    let answers: Vec<_> = jobs.into_iter().map(|job| answer(keeper, job)).collect();
    let stored = if group.is_empty() && lost.is_none() { Ok(()) } else { keeper.push(&group, lost) };
    let is_renewed = keeper.is_broken() && renew(keeper, line, group.last());
    // Before the lock: probing must not wait for what the store is asked.
    let view = keeper.view();
    let has_more = {
        let mut state = line.state();
        if stored.is_ok() {
            for batch in state.waiting.drain(..group.len()).collect::<Vec<_>>() {
                state.bytes -= batch.bytes();
            }
        } else if let Some(lost) = lost {
            state.lose(lost);
        }
        state.is_stuck = stored.is_err() && !is_renewed;
        state.view = view;
        state.has_work() && !state.is_stuck
    };
    // Whoever was answered finds the view that goes with it.
    for tell in answers {
        tell();
    }
    line.changed.notify_one();
    has_more
}

/// Begins a new incarnation, whose results are those that are not in the old one: they wait here and in the batcher.
fn renew(keeper: &mut Keeper, line: &Line, last: Option<&Waiting>) -> bool {
    let now = last.map_or(keeper.ledger().last_sealed_at, |batch| batch.sealed_at);
    let accounted = keeper.ledger().accounted;
    if let Err(error) = keeper.renew(rand::random(), now) {
        tracing::warn!(%error, "the spool is damaged and cannot be made anew");
        return false;
    }
    let mut made = line.made();
    made.incarnation = keeper.ledger().incarnation;
    made.results = made.results.saturating_sub(accounted);
    made.save();
    true
}

/// Does the job; what is returned tells whoever asked.
fn answer(keeper: &mut Keeper, job: Job) -> Box<dyn FnOnce()> {
    match job {
        Job::Resume { live, backfill, sealed_before, done } => {
            let resumed = keeper.resume(live, backfill);
            // Of one that could not be resumed it is not known what the coordinator has: what moved could arrive twice.
            if resumed.is_ok() {
                move_old(keeper, sealed_before);
            }
            Box::new(move || {
                done.send(resumed.is_ok()).ok();
            })
        }
        Job::MoveOld { sealed_before, done } => {
            move_old(keeper, sealed_before);
            Box::new(move || done.send(()).unwrap_or_default())
        }
        Job::Fetch { lane, number, answer } => {
            let fetched = keeper.fetch(lane, number).unwrap_or_else(|error| {
                tracing::warn!(%error, "the spool cannot be read");
                None
            });
            Box::new(move || drop(answer.send(fetched)))
        }
    }
}

/// What is not moved is sent where it is.
fn move_old(keeper: &mut Keeper, sealed_before: i64) {
    if let Err(error) = keeper.move_old(sealed_before) {
        tracing::debug!(%error, "what waited long stays in the live lane");
    }
}

/// How long a store that failed is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// Batches that wait are written together up to about this size.
const GROUP_BYTES: usize = 256 * 1024;
