//! What every store has to do, said once.

use faultline_proto::agent::v1::ResultBatch;
use prost::Message;
use tempfile::TempDir;

use super::*;

/// A store that can be opened anew, as after the death of its process.
pub(super) trait Place {
    fn open(&self, max_bytes: u64) -> Box<dyn Store>;
    fn is_durable(&self) -> bool;
}

pub(super) struct InFile(pub(super) TempDir);

impl InFile {
    pub(super) fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.0.path().join("spool.sqlite")
    }
}

impl Place for InFile {
    fn open(&self, max_bytes: u64) -> Box<dyn Store> {
        Box::new(SqliteStore::open(&self.path(), max_bytes).expect("a store"))
    }

    fn is_durable(&self) -> bool {
        true
    }
}

pub(super) struct InMemory;

impl Place for InMemory {
    fn open(&self, max_bytes: u64) -> Box<dyn Store> {
        Box::new(MemoryStore::new(max_bytes))
    }

    fn is_durable(&self) -> bool {
        false
    }
}

pub(super) fn spool(place: &dyn Place, counter: &SharedCounter) -> Spool {
    spool_of(place, counter, QUOTA)
}

fn spool_of(place: &dyn Place, counter: &SharedCounter, max_bytes: u64) -> Spool {
    let spool = Spool::driven(place.open(max_bytes), Box::new(counter.clone()), rand::random(), LINE, 1_000);
    spool.expect("a spool")
}

pub(super) const QUOTA: u64 = 4 << 20;
const LINE: usize = 1 << 20;

macro_rules! conformance {
    ($($name:ident,)*) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(&super::InFile::new()).await; })*
        }
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(&super::InMemory).await; })*
        }
    };
}

conformance! {
    batches_come_back_as_they_were_given,
    an_ack_frees_what_it_covers,
    what_waited_long_moves_to_the_backfill_lane_with_its_facts,
    a_lane_is_read_around_what_was_moved,
    a_full_spool_gives_up_the_oldest_and_tells_it,
    a_batch_larger_than_the_spool_is_told_as_lost,
    a_loss_is_told_once_and_again_if_its_batch_is_lost,
    what_was_fetched_and_given_up_is_lost_once_nothing_is_on_its_way,
    a_later_process_finds_what_an_earlier_one_left,
    what_died_with_the_process_is_told,
    a_coordinator_that_is_behind_gets_what_is_still_held,
    a_clock_that_jumps_loses_nothing,
}

async fn batches_come_back_as_they_were_given(place: &dyn Place) {
    let spool = spool(place, &SharedCounter::default());
    let clock_error = Some(ClockError { offset_us: -1_500_000, bound_us: 20_000 });
    spool.push(sealed(3, &[1, 2]), Stamp { now: 5_000_000, skipped_runs: 7, clock_error });
    let fetched = spool.fetch(Lane::Live, 1).await.expect("a batch");
    assert_eq!(
        (fetched.lane, fetched.number, fetched.row.results, fetched.row.sealed_at),
        (Lane::Live, 1, 3, 5_000_000)
    );
    assert_eq!(fetched.row.facts, sealed(0, &[1, 2]).facts);
    let batch = ResultBatch::decode(fetched.row.payload).expect("a batch");
    assert_eq!((batch.results, batch.skipped_runs), (sealed(3, &[]).results, 7));
    let offset = batch.clock_offset.expect("an offset");
    assert_eq!((offset.seconds, offset.nanos), (-1, -500_000_000));
    assert_eq!(batch.clock_bound.expect("a bound").nanos, 20_000_000);
    assert_eq!(spool.fetch(Lane::Live, 2).await, None);
    assert_eq!(spool.fetch(Lane::Backfill, 1).await, None);
}

async fn an_ack_frees_what_it_covers(place: &dyn Place) {
    let spool = spool(place, &SharedCounter::default());
    for now in 1..=5 {
        spool.push(sealed(1, &[1]), at(now));
    }
    spool.ack(Lane::Live, 3);
    let view = spool.view();
    assert_eq!((view.live, view.oldest_sealed_at), (LaneView { first: 4, next: 6 }, Some(4)));
    assert_eq!(numbers(&spool, Lane::Live).await, [4, 5]);
    spool.ack(Lane::Live, 99);
    assert!(spool.view().is_empty());
    assert_eq!((spool.view().live, spool.view().oldest_sealed_at), (LaneView { first: 6, next: 6 }, None));
}

async fn what_waited_long_moves_to_the_backfill_lane_with_its_facts(place: &dyn Place) {
    let spool = spool(place, &SharedCounter::default());
    spool.push(sealed(1, &[1]), at(1));
    spool.push(sealed(2, &[1, 2]), at(2));
    spool.push(sealed(3, &[2]), at(3));
    spool.push(sealed(4, &[1]), at(4));
    assert!(spool.resume(1, 0, 4).await);
    let view = spool.view();
    assert_eq!((view.live, view.backfill), (LaneView { first: 4, next: 5 }, LaneView { first: 1, next: 3 }));
    let moved = waiting(&spool, Lane::Backfill).await;
    let told = |fetched: &Fetched| (fetched.number, fetched.row.results, fetched.row.facts.len());
    assert_eq!(moved.iter().map(told).collect::<Vec<_>>(), [(1, 2, 2), (2, 3, 1)]);
    assert_eq!(waiting(&spool, Lane::Live).await.iter().map(told).collect::<Vec<_>>(), [(4, 4, 1)]);
    spool.ack(Lane::Backfill, 1);
    assert_eq!(numbers(&spool, Lane::Backfill).await, [2]);
    spool.ack(Lane::Live, 4);
    assert_eq!((spool.view().live.waiting(), spool.view().backfill.waiting()), (0, 1), "a lane confirms its own");
}

async fn a_lane_is_read_around_what_was_moved(place: &dyn Place) {
    let spool = spool(place, &SharedCounter::default());
    for now in 1..=10 {
        spool.push(sealed(1, &[]), at(now));
    }
    assert!(spool.resume(2, 0, 6).await);
    spool.ack(Lane::Live, 7);
    spool.move_old(10).await;
    assert_eq!(numbers(&spool, Lane::Live).await, [10]);
    assert_eq!(numbers(&spool, Lane::Backfill).await, [1, 2, 3, 4, 5]);
    let ids: Vec<_> = waiting(&spool, Lane::Backfill).await.iter().map(|fetched| fetched.row.id).collect();
    assert_eq!(ids, [3, 4, 5, 8, 9]);
}

async fn a_full_spool_gives_up_the_oldest_and_tells_it(place: &dyn Place) {
    let spool = spool(place, &SharedCounter::default());
    let (mut made, size) = (0, 100_000);
    let mut confirmed = 0;
    while spool.view().dropped_results() < 5 {
        spool.push(sealed_of(size), at(made));
        made += 1;
        if made == 4 {
            spool.ack(Lane::Live, 4);
            confirmed = 4;
        }
        assert!(made < 200, "it never was full");
    }
    let view = spool.view();
    assert!(view.bytes <= QUOTA && view.bytes > QUOTA / 2, "{} bytes", view.bytes);
    let (stored, told) = counted(&spool).await;
    let untold = view.dropped_results() - told;
    assert_eq!(confirmed + stored + told + untold, made.unsigned_abs(), "what was confirmed went first");
    assert!(told > 0);
    let first = waiting(&spool, Lane::Live).await[0].row.id;
    assert_eq!(first, confirmed + view.dropped_results() + 1, "the oldest went");
}

async fn a_batch_larger_than_the_spool_is_told_as_lost(place: &dyn Place) {
    let counter = SharedCounter::default();
    let store = place.open(QUOTA);
    let spool = Spool::driven(store, Box::new(counter), [7; 16], usize::MAX, 0).expect("a spool");
    spool.push(sealed(4, &[]), at(1));
    spool.ack(Lane::Live, 1);
    spool.push(sealed_of(5 << 20), at(2));
    spool.push(sealed(3, &[]), at(3));
    let lost = Lost { reason: Reason::SpoolFull, results: 1, since: 0, until: 2 };
    let held = waiting(&spool, Lane::Live).await;
    assert_eq!(
        held.iter().map(|held| (held.row.results, held.row.losses.clone())).collect::<Vec<_>>(),
        [(3, vec![lost])]
    );
}

async fn a_loss_is_told_once_and_again_if_its_batch_is_lost(place: &dyn Place) {
    let spool = spool(place, &SharedCounter::default());
    spool.push(sealed_of(2 << 20), at(1));
    assert_eq!(spool.view().dropped_results(), 1, "it had no place in the line");
    spool.push(sealed(2, &[]), at(2));
    spool.push(sealed(3, &[]), at(3));
    let told = |held: &[Fetched]| {
        held.iter().map(|held| held.row.losses.iter().map(|lost| lost.results).sum()).collect::<Vec<u64>>()
    };
    assert_eq!(told(&waiting(&spool, Lane::Live).await), [1, 0]);
    let mut made = 6;
    while spool.view().live.first < 4 {
        spool.push(sealed_of(100_000), at(4));
        made += 1;
    }
    // Those that were fetched may have arrived, until the coordinator says that they did not.
    assert!(spool.resume(0, 0, 0).await);
    spool.push(sealed(1, &[]), at(5));
    made += 1;
    let dropped = spool.view().dropped_results();
    assert!(dropped >= 6, "{dropped}");
    assert_eq!(counted(&spool).await, (made - dropped, dropped));
}

async fn what_was_fetched_and_given_up_is_lost_once_nothing_is_on_its_way(place: &dyn Place) {
    let spool = spool(place, &SharedCounter::default());
    spool.push(sealed(2, &[]), at(5));
    assert!(spool.fetch(Lane::Live, 1).await.is_some());
    while spool.view().live.first == 1 {
        spool.push(sealed_of(100_000), at(5));
    }
    let others = spool.view().dropped_results();
    spool.move_old(0).await;
    assert_eq!(spool.view().dropped_results(), others + 2, "nothing was old, and yet it is known not to have arrived");
}

async fn a_later_process_finds_what_an_earlier_one_left(place: &dyn Place) {
    if !place.is_durable() {
        return;
    }
    let counter = SharedCounter::default();
    let first = spool(place, &counter);
    for now in 1..=6 {
        first.made(1);
        first.push(sealed(1, &[3, 9]), at(now));
    }
    assert!(first.resume(1, 0, 4).await);
    first.ack(Lane::Live, 4);
    let before = first.view();
    first.close().await;
    drop(first);
    let second = spool(place, &counter);
    assert_eq!(second.view(), before);
    assert_eq!((second.view().last_facts, second.made_results()), (9, 6));
    assert_eq!((numbers(&second, Lane::Live).await, numbers(&second, Lane::Backfill).await), (vec![5, 6], vec![1, 2]));
    second.push(sealed(1, &[10]), at(7));
    assert_eq!(numbers(&second, Lane::Live).await, [5, 6, 7]);
    let facts = |held: &Fetched| held.row.facts.iter().map(|facts| facts.number).collect::<Vec<_>>();
    assert_eq!(
        waiting(&second, Lane::Live).await.iter().map(facts).collect::<Vec<_>>(),
        [vec![3, 9], vec![3, 9], vec![10]]
    );
}

async fn what_died_with_the_process_is_told(place: &dyn Place) {
    if !place.is_durable() {
        return;
    }
    let counter = SharedCounter::default();
    let first = spool(place, &counter);
    first.made(5);
    first.push(sealed(3, &[]), at(2_000));
    drop(first);
    let second = spool(place, &counter);
    assert_eq!(second.view().lost.process_died, 2);
    second.made(1);
    second.push(sealed(1, &[]), at(5_000));
    assert_eq!(counted(&second).await, (4, 2));
    let told = waiting(&second, Lane::Live).await[1].row.losses.clone();
    assert_eq!((told[0].reason, told[0].results, told.len()), (Reason::ProcessDied, 2, 1));
    drop(second);
    assert_eq!(spool(place, &counter).view().lost.process_died, 2, "once");
}

async fn a_coordinator_that_is_behind_gets_what_is_still_held(place: &dyn Place) {
    let spool = spool(place, &SharedCounter::default());
    for now in 1..=6 {
        spool.push(sealed(1, &[]), at(now));
    }
    spool.ack(Lane::Live, 5);
    assert!(spool.resume(2, 0, 6).await);
    let (live, backfill) = (numbers(&spool, Lane::Live).await, waiting(&spool, Lane::Backfill).await);
    assert_eq!(live, [6]);
    let ids: Vec<_> = backfill.iter().map(|held| held.row.id).collect();
    assert_eq!(ids, if place.is_durable() { vec![3, 4, 5] } else { vec![] }, "memory frees at once");
}

async fn a_clock_that_jumps_loses_nothing(place: &dyn Place) {
    let spool = spool(place, &SharedCounter::default());
    let hour = 3_600_000_000;
    for now in [10 * hour, 2 * hour, 2 * hour + 1, 20 * hour, 3 * hour] {
        spool.push(sealed(1, &[]), at(now));
    }
    assert!(spool.resume(0, 0, 4 * hour).await);
    assert_eq!(numbers(&spool, Lane::Backfill).await, [1, 2, 3, 4, 5], "the newest is old, so all before it are");
    spool.push(sealed(1, &[]), at(i64::MIN));
    spool.push(sealed(1, &[]), at(i64::MAX));
    spool.move_old(4 * hour).await;
    assert_eq!((numbers(&spool, Lane::Live).await, spool.view().backfill.next), (vec![7], 7));
}
