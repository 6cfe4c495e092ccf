//! Books that add up, and each way in which they do not.

use faultline_agent::spool::{Losses, Moved, Numbers};
use faultline_proto::{
    agent::v1::{Loss, ResultBatch},
    types::v1::{Outcome, ProbeResult},
};

use super::*;
use crate::chaos::books::{SpoolBook, checksum};

const TARGETS: u64 = 1;

fn results(from: i64, count: i64) -> Vec<ProbeResult> {
    let result = |n| {
        let started_at = Some(faultline_proto::convert::timestamp(from + n));
        ProbeResult { slot: 1, started_at, outcome: Outcome::Passed.into(), attempt: 1, ..ProbeResult::default() }
    };
    (0..count).map(result).collect()
}

fn batch(lane: Lane, number: u64, results: Vec<ProbeResult>) -> ResultBatch {
    ResultBatch { lane: lane.into(), number, results, ..ResultBatch::default() }
}

/// Three batches of two results; the second was moved to backfill, and tells of a result that died.
fn sound() -> Books {
    let loss = Loss { reason: LossReason::ProcessDied.into(), results: 1, ..Loss::default() };
    let moved = ResultBatch { losses: vec![loss], ..batch(Lane::Backfill, 1, results(20, 2)) };
    let batches = [batch(Lane::Live, 1, results(10, 2)), moved, batch(Lane::Live, 3, results(30, 2))];
    let ledger = Ledger {
        incarnation: [7; 16],
        live: Numbers { next: 4, acked: 3 },
        backfill: Numbers { next: 2, acked: 1 },
        moved: vec![Moved { first_id: 2, first_number: 1, count: 1 }],
        accounted: 7,
        lost: Losses { process_died: 1, ..Losses::default() },
        ..Ledger::default()
    };
    let held = (2..).zip(batches[1..].iter().map(|batch| checksum(&batch.results))).collect();
    Books {
        agent: "a".into(),
        spool: SpoolBook { ledger, made: 7, held },
        logged: batches.into_iter().map(|batch| Logged::new(&[7; 16], batch)).collect(),
        connecting: [1].into(),
        visits: 6,
        deaths: 1,
    }
}

#[test]
fn books_that_add_up_have_no_faults() {
    let account = Account::of(&sound(), TARGETS);
    assert_eq!(account.faults, [""; 0]);
    assert_eq!((account.made, account.logged, account.live, account.backfill), (7, 6, 2, 1));
    assert_eq!(account.lost, [(LossReason::ProcessDied, 1)].into());
}

#[test]
fn each_thing_that_is_wrong_is_a_fault_of_its_own() {
    type Spoil = fn(&mut Books);
    let rows: [(Spoil, &str); 11] = [
        (|books| books.spool.made = 8, "made 8 results, but logged 6 and lost 1"),
        (|books| books.logged[1].losses.clear(), "the spool counts 1 losses, the log 0"),
        (|books| books.spool.ledger.accounted = 6, "1 of 7 results were never stored or told"),
        (|books| drop(books.logged.remove(0)), "batch 1 of lane live (07070707) is missing from the log"),
        (|books| books.logged.push(books.logged[2].clone()), "batch 3 of lane live (07070707) is in the log twice"),
        (|books| books.logged.push(books.logged[2].clone()), "2 results are in the log twice"),
        (
            |books| books.logged[2].place.2 = 2,
            "batch 2 of lane live (07070707) is in the log, but the spool never had it",
        ),
        (|books| books.logged[1].place.0 = vec![8; 16], "batch 1 of lane backfill (07070707) is missing from the log"),
        (|books| books.logged[2].crc ^= 1, "batch 3 of lane live (07070707) has other results in the log"),
        (|books| books.spool.ledger.live.acked = 2, "1 batches still wait"),
        (|books| books.visits = 5, "6 connections passed, but targets saw 5"),
    ];
    for (spoil, expected) in rows {
        let mut books = sound();
        spoil(&mut books);
        let faults = Account::of(&books, TARGETS).faults;
        assert!(faults.contains(&format!("a: {expected}")), "{expected}: {faults:?}");
    }
    let busy = Books { visits: 12, ..sound() };
    assert_eq!(Account::of(&busy, TARGETS).faults, ["a: targets saw 12 connections, but only 7 results were made"]);
}
