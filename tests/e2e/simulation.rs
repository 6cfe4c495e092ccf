//! The deterministic simulation, on as many seeds as a test run can bear; `tests/ci/simulation` plays hundreds.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
};

use faultline_agent::spool::{Change, Facts, Ledger, Lost, Reason, Row, SqliteStore, Store};
use faultline_coordinator::log::conformance;
use faultline_lab::simulation::{
    Report,
    log::{Disk, ModelLog},
    simulate,
    spool::SpoolDisk,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

fn holds(seed: u64) -> Report {
    simulate(seed, 60, |_| {}).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn whatever_breaks_what_was_made_is_logged_once_or_told_as_lost() {
    (1..=20_u64).into_par_iter().for_each(|seed| {
        holds(seed);
    });
}

/// Once such a batch was told as lost, and was in the log.
#[test]
fn a_batch_that_was_given_up_while_its_answer_was_away_is_counted_once() {
    [24, 79, 127, 184].into_par_iter().for_each(|seed| {
        holds(seed);
    });
}

/// Once the batch that was being filled waited for the hour to come again.
#[test]
fn a_clock_that_is_set_back_keeps_no_batch_waiting() {
    [33, 45, 90, 111].into_par_iter().for_each(|seed| {
        holds(seed);
    });
}

/// A link that lost something on its way down carries what goes up until its silence is noticed: nobody is back before.
#[test]
fn who_is_heard_one_way_is_not_back() {
    [1_000_007, 1_000_421].into_par_iter().for_each(|seed| {
        holds(seed);
    });
}

/// Also with others beside it.
#[test]
fn the_same_seed_is_the_same_run() {
    [1, 3, 6, 8, 11, 14, 25, 29].into_par_iter().for_each(|seed| {
        assert_eq!(holds(seed), holds(seed));
    });
}

#[tokio::test]
async fn the_made_up_log_keeps_what_every_store_must_keep() {
    let disks: Mutex<BTreeMap<String, Arc<Disk>>> = Mutex::default();
    let writers = Mutex::new(tokio::task::JoinSet::new());
    let open = async |name: &str| {
        let mut disks = disks.lock().expect("nobody panicked");
        let nth = disks.len() as u64;
        let disk = disks.entry(name.to_owned()).or_insert_with(|| Arc::new(Disk::new(nth)));
        let (log, writing) = ModelLog::start(disk);
        writers.lock().expect("nobody panicked").spawn(writing);
        log
    };
    for seed in 1..=20 {
        conformance::check(async |name: &str| open(&format!("{name} {seed}")).await, seed).await;
    }
}

#[test]
fn the_made_up_spool_disk_answers_as_sqlite_does() {
    const ROOM: u64 = 16 << 20;
    for seed in 1..=4 {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("spool.sqlite");
        let open = || SqliteStore::open(&file, ROOM).expect("a store");
        let disk = Arc::new(SpoolDisk::new(ROOM, seed));
        let (mut real, mut model) = (open(), disk.open().0);
        let mut draw = StdRng::seed_from_u64(seed);
        let mut ledger = Ledger { incarnation: [7; 16], ..Ledger::default() };
        for step in 0..60 {
            let begin = draw.random_range(1..=ledger.live.next);
            let remove: Vec<RangeInclusive<u64>> = match draw.random_range(0..3) {
                0 => vec![begin..=begin + draw.random_range(0..3)],
                _ => Vec::new(),
            };
            let add: Vec<Row> = (0..draw.random_range(0..4)).map(|_| row(&mut draw, &mut ledger)).collect();
            ledger.commits += 1;
            let change = Change { ledger: &ledger, remove: &remove, add: &add };
            real.commit(&change).expect("written");
            model.commit(&change).expect("written");
            if draw.random_range(0..10) == 0 {
                drop(real);
                (real, model) = (open(), disk.open().0);
            }
            let (of_real, of_model) = (everything(&mut real, &ledger), everything(&mut *model, &ledger));
            assert_eq!(of_real, of_model, "seed {seed}, step {step}");
        }
    }
}

/// The next batch.
fn row(draw: &mut StdRng, ledger: &mut Ledger) -> Row {
    let id = ledger.live.next;
    ledger.live.next += 1;
    let facts = (1..=draw.random_range(0..4)).map(|number| Facts { number, encoded: vec![7; 5].into() }).collect();
    let lost = Lost { reason: Reason::SpoolFull, results: draw.random_range(1..9), since: 1, until: 2 };
    let losses = if draw.random() { vec![lost] } else { Vec::new() };
    let sealed_at = 1000 + i64::try_from(id).expect("small");
    let payload = vec![1; draw.random_range(1..500)].into();
    Row { id, since: sealed_at - 5, sealed_at, results: draw.random_range(1..9), losses, facts, payload }
}

/// All that a store tells.
fn everything(store: &mut dyn Store, ledger: &Ledger) -> Vec<String> {
    let all = 1..=ledger.live.next;
    let mut told = vec![format!("{:?}", store.ledger().expect("a ledger"))];
    for head in store.heads(all.clone(), usize::MAX >> 1).expect("heads") {
        let mut row = store.read(head.id..=head.id + 1).expect("readable").expect("held");
        row.facts.sort_by_key(|facts| facts.number);
        told.push(format!("{} {} {} {:?} {row:?}", head.since, head.sealed_at, head.results, head.losses));
    }
    told.push(format!("{:?}", store.heads(all, 2).expect("heads").iter().map(|head| head.id).collect::<Vec<_>>()));
    let before = 1000 + i64::try_from(ledger.live.next / 2).expect("small");
    told.push(format!("{:?}", store.newest_before(ledger.live.next / 4, before).expect("an answer")));
    told
}
