//! A disk that takes no more, or fails, or whose answer is lost.

use std::time::Duration;

use super::{
    conformance::{InFile, Place, QUOTA},
    *,
};

/// What becomes of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    /// Nothing of it happens.
    Full,
    /// The same, of so many writes.
    FullFor(u32),
    /// It happens, and fails all the same.
    AnswerLost,
    /// The store finds itself damaged.
    Broken,
}

/// A store on such a disk.
struct Faulty {
    store: Box<dyn Store>,
    fault: Arc<Mutex<Fault>>,
}

impl Store for Faulty {
    fn ledger(&mut self) -> Result<Option<Ledger>, StoreError> {
        self.store.ledger()
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<(), StoreError> {
        let mut faults = self.fault.lock().expect("no panic");
        let fault = *faults;
        if let Fault::FullFor(writes) = fault {
            *faults = if writes > 1 { Fault::FullFor(writes - 1) } else { Fault::None };
        }
        match fault {
            Fault::None => self.store.commit(change),
            Fault::Full | Fault::FullFor(_) => Err(StoreError::Disk("no space left on device".to_owned())),
            Fault::AnswerLost => {
                self.store.commit(change)?;
                Err(StoreError::Disk("input/output error".to_owned()))
            }
            Fault::Broken => Err(StoreError::Broken("malformed".to_owned())),
        }
    }

    fn read(&mut self, ids: RangeInclusive<u64>) -> Result<Option<Row>, StoreError> {
        self.store.read(ids)
    }

    fn heads(&mut self, ids: RangeInclusive<u64>, most: usize) -> Result<Vec<Head>, StoreError> {
        self.store.heads(ids, most)
    }

    fn newest_before(&mut self, above: u64, sealed_before: i64) -> Result<Option<u64>, StoreError> {
        self.store.newest_before(above, sealed_before)
    }

    fn room(&mut self) -> Result<Room, StoreError> {
        self.store.room()
    }

    fn cost(&self, row: &Row) -> u64 {
        self.store.cost(row)
    }

    fn keeps_confirmed(&self) -> bool {
        true
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.store.reopen()
    }

    fn renew(&mut self, now: i64) -> Result<(), StoreError> {
        *self.fault.lock().expect("no panic") = Fault::None;
        self.store.renew(now)
    }
}

struct Stage {
    spool: Spool,
    fault: Arc<Mutex<Fault>>,
    place: InFile,
}

type Begin = fn(Box<dyn Store>, Box<dyn Counter>, [u8; 16], usize, i64) -> Result<Spool, StoreError>;

impl Stage {
    fn new(begin: Begin) -> Self {
        let (place, fault) = (InFile::new(), Arc::new(Mutex::new(Fault::None)));
        let store = Box::new(Faulty { store: place.open(QUOTA), fault: Arc::clone(&fault) });
        let spool = begin(store, Box::new(NoCounter), [7; 16], 2_000, 0).expect("a spool");
        Self { spool, fault, place }
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().expect("no panic") = fault;
    }
}

#[tokio::test]
async fn what_the_coordinator_has_is_not_moved_when_that_could_not_be_written() {
    let stage = Stage::new(Spool::driven);
    stage.spool.push(sealed(1, &[]), at(1));
    stage.spool.push(sealed(1, &[]), at(2));
    // A write is tried twice, so that the move after it would succeed.
    stage.set(Fault::FullFor(2));
    assert!(!stage.spool.resume(50, 0, 10).await);
    assert_eq!(
        (numbers(&stage.spool, Lane::Live).await, numbers(&stage.spool, Lane::Backfill).await),
        (vec![1, 2], vec![])
    );
}

#[tokio::test]
async fn a_full_disk_takes_nothing_away_and_its_space_is_used_once_there_is_some() {
    let stage = Stage::new(Spool::driven);
    stage.spool.push(sealed(1, &[1]), at(1));
    stage.set(Fault::Full);
    stage.spool.push(sealed(2, &[1]), at(2));
    stage.spool.push(sealed(3, &[1, 2]), at(3));
    let view = stage.spool.view();
    assert_eq!((view.live.next, view.line, view.is_empty()), (2, 2, false), "no number before it is durable");
    assert!(view.trouble.is_some_and(|trouble| trouble.contains("no space")));
    assert_eq!(numbers(&stage.spool, Lane::Live).await, [1], "what is stored can be sent");
    stage.set(Fault::None);
    stage.spool.push(sealed(4, &[2]), at(4));
    let view = stage.spool.view();
    assert_eq!((view.live.next, view.line, view.trouble), (5, 0, None));
    let results: Vec<_> = waiting(&stage.spool, Lane::Live).await.iter().map(|held| held.row.results).collect();
    assert_eq!(results, [1, 2, 3, 4]);
}

#[tokio::test]
async fn what_the_line_cannot_hold_is_told() {
    let stage = Stage::new(Spool::driven);
    stage.set(Fault::Full);
    let made = 60_u64;
    for now in 1..=60 {
        stage.spool.push(sealed(1, &[]), at(now));
    }
    let dropped = stage.spool.view().dropped_results();
    assert!((1..made).contains(&dropped), "{dropped}");
    stage.set(Fault::None);
    // Anything that is asked of it.
    stage.spool.ack(Lane::Live, 0);
    stage.spool.push(sealed(1, &[]), at(61));
    assert_eq!(counted(&stage.spool).await, (made + 1 - dropped, dropped));
    assert_eq!(stage.spool.view().dropped_results(), dropped);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_made_once() {
    let stage = Stage::new(Spool::driven);
    stage.set(Fault::AnswerLost);
    stage.spool.push(sealed(1, &[1]), at(1));
    stage.spool.push(sealed(2, &[1]), at(2));
    assert!(stage.spool.resume(0, 0, 2).await);
    stage.set(Fault::None);
    stage.spool.push(sealed(3, &[1]), at(3));
    assert_eq!(counted(&stage.spool).await, (6, 0));
    assert_eq!(
        (numbers(&stage.spool, Lane::Backfill).await, numbers(&stage.spool, Lane::Live).await),
        (vec![1], vec![2, 3])
    );
    let facts: Vec<_> = waiting(&stage.spool, Lane::Live).await.iter().map(|held| held.row.facts.len()).collect();
    assert_eq!(facts, [1, 1]);
}

#[tokio::test]
async fn a_store_that_breaks_is_made_anew_and_what_waits_goes_there() {
    let stage = Stage::new(Spool::driven);
    stage.spool.made(3);
    stage.spool.push(sealed(1, &[1]), at(1));
    let before = stage.spool.view();
    stage.set(Fault::Broken);
    stage.spool.push(sealed(2, &[1]), at(2));
    let view = stage.spool.view();
    assert!(view.incarnation != before.incarnation, "what is numbered anew is counted anew");
    assert_eq!((counted(&stage.spool).await, stage.spool.made_results(), view.line), ((2, 0), 2, 0));
    assert_eq!(waiting(&stage.spool, Lane::Live).await[0].row.facts.len(), 1);
    let aside = stage.place.0.path().join("spool.sqlite.damaged-0");
    assert!(aside.exists());
}

#[tokio::test]
async fn the_thread_tries_again_by_itself() {
    let stage = Stage::new(Spool::threaded);
    stage.set(Fault::Full);
    stage.spool.push(sealed(1, &[]), at(1));
    let until = async |is_reached: fn(&View) -> bool| {
        while !is_reached(&stage.spool.view()) {
            stage.spool.changed().await;
        }
    };
    let guard = Duration::from_mins(1);
    tokio::time::timeout(guard, until(|view| view.trouble.is_some())).await.expect("trouble");
    stage.set(Fault::None);
    tokio::time::timeout(guard, until(|view| view.live.next == 2)).await.expect("the batch is stored");
    assert_eq!(stage.spool.view().trouble, None);
    stage.spool.close().await;
}
