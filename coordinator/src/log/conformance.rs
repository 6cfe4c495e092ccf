//! What every store must keep, as assertions: whatever implements [`RecordLog`] and [`ChangeLog`] passes [`check`].
//!
//! A store under test is opened by name. The first time of a name makes an empty one; opening it again after it was dropped
//! gives what was durable. Each property has stores of its own.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use faultline_attribution::{Timestamp, Visibility};
use futures::future;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Admission, Appended, ChangeLog, Cursor, INCARNATIONS, RecordLog};
use crate::{
    feed::Published,
    record::{Record, RecordKind},
};

/// Checks everything. `open` opens the store of a name; `seed` decides what is random.
///
/// # Panics
/// With what the store does not keep, and the seed.
pub async fn check<L: RecordLog + ChangeLog>(open: impl AsyncFn(&str) -> L, seed: u64) {
    once_in_order_in_the_newest_session(&open("once").await).await;
    a_replay_changes_nothing(&open("replay").await).await;
    what_was_acknowledged_is_there_after_reopening(&open).await;
    records_come_in_order_and_in_pieces(&open("order").await).await;
    many_at_once_lose_nothing(&open("many").await).await;
    old_incarnations_are_forgotten_and_the_newest_are_not(&open("incarnations").await).await;
    changes_are_numbered_from_one_without_holes(&open).await;
    any_order_admits_what_a_simple_model_admits(&open("model").await, seed).await;
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

/// A batch of an agent's spool.
fn batch(agent: &str, spool: u8, epoch: u64, lane: u8, number: u64) -> Record {
    let payload = Bytes::from(format!("{agent}/{spool}/{lane}/{number}"));
    let own = Record::own(RecordKind::Batch, at(1), agent, &());
    Record { incarnation: vec![spool; 16], epoch, lane, number, payload, ..own }
}

async fn session<L: RecordLog>(log: &L, agent: &str) -> u64 {
    let record = Record::own(RecordKind::Session, at(1), agent, &"up");
    match log.append(Admission::Session, record).await.expect("append") {
        Appended::At(cursor) => cursor.epoch(),
        other => panic!("a session's record is always stored: {other:?}"),
    }
}

async fn admit<L: RecordLog>(log: &L, record: Record, first_number: u64) -> Appended {
    log.append(Admission::Batch { first_number }, record).await.expect("append")
}

async fn durable<L: RecordLog>(log: &L, agent: &str, spool: u8, lane: u8) -> u64 {
    log.admitted(agent, &[spool; 16], lane).await.expect("admitted")
}

async fn everything<L: RecordLog>(log: &L) -> Vec<(Cursor, Record)> {
    log.next(Cursor::START, usize::MAX).await.expect("next")
}

async fn once_in_order_in_the_newest_session<L: RecordLog>(log: &L) {
    assert_eq!(admit(log, batch("a", 7, 1, 1, 1), 1).await, Appended::Fenced, "no session was opened");
    let old = session(log, "a").await;
    assert!(matches!(admit(log, batch("a", 7, old, 1, 1), 1).await, Appended::At(_)));
    assert_eq!(admit(log, batch("a", 7, old, 1, 1), 1).await, Appended::Duplicate { durable: 1 });
    assert_eq!(admit(log, batch("a", 7, old, 1, 4), 1).await, Appended::Gap { expected: 2 });
    assert_eq!(admit(log, batch("a", 7, old, 1, 5), 4).await, Appended::Gap { expected: 4 }, "4 is still to come");
    assert!(matches!(admit(log, batch("a", 7, old, 1, 4), 4).await, Appended::At(_)), "2 and 3 will never come");
    assert_eq!(admit(log, batch("a", 7, old, 1, 3), 2).await, Appended::Duplicate { durable: 4 }, "3 was given up");
    assert!(matches!(admit(log, batch("a", 7, old, 2, 1), 1).await, Appended::At(_)), "lanes count for themselves");
    let other = session(log, "b").await;
    assert!(matches!(admit(log, batch("b", 7, other, 1, 1), 1).await, Appended::At(_)), "and so do agents");
    assert_eq!(admit(log, batch("a", 7, other, 1, 5), 1).await, Appended::Fenced, "an epoch is one agent's");
    let new = session(log, "a").await;
    assert!(new > old, "epochs grow");
    assert_eq!(admit(log, batch("a", 7, old, 1, 5), 1).await, Appended::Fenced);
    assert_eq!(admit(log, batch("a", 7, old, 1, 1), 1).await, Appended::Fenced, "nor is it told what is durable");
    assert!(matches!(admit(log, batch("a", 7, new, 1, 5), 1).await, Appended::At(_)));
    assert!(matches!(admit(log, batch("a", 8, new, 1, 1), 1).await, Appended::At(_)), "and so do spools");
    let lanes = [durable(log, "a", 7, 1).await, durable(log, "a", 7, 2).await, durable(log, "a", 9, 1).await];
    assert_eq!(lanes, [5, 1, 0]);
}

async fn a_replay_changes_nothing<L: RecordLog>(log: &L) {
    let old = session(log, "a").await;
    for (lane, number) in [(1, 1), (1, 2), (2, 1)] {
        admit(log, batch("a", 7, old, lane, number), 1).await;
    }
    let new = session(log, "a").await;
    let before = everything(log).await;
    for (lane, number, durable) in [(1, 1, 2), (1, 2, 2), (2, 1, 1)] {
        for payload in ["the same place, other content", ""] {
            let forged = Record { payload: payload.into(), ..batch("a", 7, new, lane, number) };
            assert_eq!(admit(log, forged, number).await, Appended::Duplicate { durable });
        }
    }
    assert_eq!(everything(log).await, before);
}

async fn what_was_acknowledged_is_there_after_reopening<L: RecordLog + ChangeLog>(open: &impl AsyncFn(&str) -> L) {
    let log = open("reopened").await;
    let old = session(&log, "a").await;
    let epoch = session(&log, "a").await;
    for number in 1..=100 {
        admit(&log, batch("a", 7, epoch, 1, number), 1).await;
    }
    let before = everything(&log).await;
    drop(log);
    let log = open("reopened").await;
    assert_eq!(everything(&log).await, before);
    assert_eq!(durable(&log, "a", 7, 1).await, 100);
    assert_eq!(admit(&log, batch("a", 7, old, 1, 101), 1).await, Appended::Fenced);
    assert_eq!(admit(&log, batch("a", 7, epoch, 1, 100), 1).await, Appended::Duplicate { durable: 100 });
    assert!(session(&log, "a").await > epoch, "epochs go on");
}

async fn records_come_in_order_and_in_pieces<L: RecordLog>(log: &L) {
    for second in 1..=10 {
        log.append(Admission::Own, Record::tick(at(second))).await.expect("append");
    }
    let all = everything(log).await;
    let seconds: Vec<Timestamp> = all.iter().map(|(_, record)| record.received_at).collect();
    assert_eq!(seconds, (1..=10).map(at).collect::<Vec<_>>());
    assert!(all.is_sorted_by(|(a, _), (b, _)| a < b), "places grow");
    let (mut after, mut pieces) = (Cursor::START, Vec::new());
    loop {
        let piece = log.next(after, 3).await.expect("next");
        assert!(piece.len() <= 3);
        let Some((last, _)) = piece.last() else { break };
        after = *last;
        pieces.extend(piece);
    }
    assert_eq!(pieces, all);
}

async fn many_at_once_lose_nothing<L: RecordLog>(log: &L) {
    const BATCHES: u64 = 40;
    let agents: Vec<String> = (0..20).map(|n| format!("agent-{n}")).collect();
    future::join_all(agents.iter().map(async |agent| {
        let epoch = session(log, agent).await;
        for number in 1..=BATCHES {
            // Sent twice without waiting, as after a link that broke at the wrong moment.
            let twice = [batch(agent, 7, epoch, 1, number), batch(agent, 7, epoch, 1, number)];
            let admitted = future::join_all(twice.map(|record| admit(log, record, 1))).await;
            let stored = admitted.iter().filter(|appended| matches!(appended, Appended::At(_))).count();
            assert_eq!(stored, 1, "{agent} {number}: {admitted:?}");
        }
    }))
    .await;
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (_, record) in everything(log).await.into_iter().filter(|(_, record)| record.kind == RecordKind::Batch) {
        numbers.entry(record.agent).or_default().push(record.number);
    }
    assert_eq!(numbers.len(), agents.len());
    assert!(numbers.values().all(|numbers| numbers.iter().copied().eq(1..=BATCHES)), "each once, in order");
}

async fn old_incarnations_are_forgotten_and_the_newest_are_not<L: RecordLog>(log: &L) {
    let all = u8::try_from(INCARNATIONS).expect("a few") + 3;
    let epoch = session(log, "a").await;
    for spool in 1..=all {
        admit(log, batch("a", spool, epoch, 1, 1), 1).await;
        // One that is in use is never an old one.
        admit(log, batch("a", 1, epoch, 2, u64::from(spool)), 1).await;
    }
    let known: BTreeSet<u8> =
        future::join_all((1..=all).map(async |spool| (durable(log, "a", spool, 1).await > 0).then_some(spool)))
            .await
            .into_iter()
            .flatten()
            .collect();
    let newest = all + 2 - u8::try_from(INCARNATIONS).expect("a few");
    assert_eq!(known, (newest..=all).chain([1]).collect());
    assert_eq!(durable(log, "a", 1, 2).await, u64::from(all));
}

async fn changes_are_numbered_from_one_without_holes<L: RecordLog + ChangeLog>(open: &impl AsyncFn(&str) -> L) {
    let change = |reason: &str| Published::Visibility(Visibility { reason: reason.into(), ..Visibility::default() });
    let log = open("changes").await;
    let feed_id = log.feed_id();
    assert!(log.published_after(0, 10).await.expect("read").is_empty());
    let first = log.publish(Cursor::nth(3), at(3), vec![change("a"), change("b")]).await.expect("publish");
    assert!(log.publish(Cursor::nth(4), at(4), Vec::new()).await.expect("publish").is_empty());
    drop(log);
    let log = open("changes").await;
    assert_eq!(log.feed_id(), feed_id);
    let second = log.publish(Cursor::nth(5), at(5), vec![change("c")]).await.expect("publish");
    let all: Vec<_> = first.into_iter().chain(second).collect();
    assert_eq!(all.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(all.iter().map(|entry| entry.published.clone()).collect::<Vec<_>>(), ["a", "b", "c"].map(change));
    assert_eq!(log.published_after(0, usize::MAX).await.expect("read"), all);
    assert_eq!(log.published_after(1, 1).await.expect("read"), all[1..2]);
    assert_ne!(open("another feed").await.feed_id(), feed_id);
}

/// Random requests of two agents with two spools each, against the plainest thing that could be right.
async fn any_order_admits_what_a_simple_model_admits<L: RecordLog>(log: &L, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut lanes: BTreeMap<(usize, u8, u8), u64> = BTreeMap::new();
    let mut epochs: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
    let mut stored = Vec::new();
    for step in 0..500 {
        let (agent, spool, lane) = (random.random_range(0..2), random.random_range(7..=8), random.random_range(1..=2));
        let name = ["a", "b"][agent];
        if epochs[agent].is_empty() || random.random_ratio(1, 20) {
            epochs[agent].push(session(log, name).await);
            continue;
        }
        let last = lanes.entry((agent, spool, lane)).or_default();
        let is_old = random.random_ratio(1, 8);
        let epoch = *if is_old { epochs[agent].first() } else { epochs[agent].last() }.expect("a session");
        let number = (*last + random.random_range(0..4)).max(1);
        let first_number = if random.random_bool(0.5) { number } else { 1 };
        let expected = (*last + 1).max(first_number);
        let appended = admit(log, batch(name, spool, epoch, lane, number), first_number).await;
        let is_right = match appended {
            Appended::Fenced => Some(&epoch) != epochs[agent].last(),
            Appended::Duplicate { durable } => durable == *last && number <= *last,
            Appended::Gap { expected: told } => told == expected && number > expected,
            Appended::At(_) => {
                let is_next = Some(&epoch) == epochs[agent].last() && number > *last && number <= expected;
                *last = number;
                stored.push((name.to_owned(), spool, lane, number));
                is_next
            }
        };
        assert!(is_right, "seed {seed}, step {step}: {appended:?} for {number} from {first_number}, lane {lanes:?}");
    }
    let read = everything(log).await.into_iter().filter(|(_, record)| record.kind == RecordKind::Batch);
    let read: Vec<_> =
        read.map(|(_, record)| (record.agent, record.incarnation[0], record.lane, record.number)).collect();
    assert_eq!(read, stored, "seed {seed}");
    for ((agent, spool, lane), last) in lanes {
        assert_eq!(durable(log, ["a", "b"][agent], spool, lane).await, last, "seed {seed}");
    }
}
