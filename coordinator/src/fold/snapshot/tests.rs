//! Logs with everything in them, folded with and without restarts.

mod claims;
mod remarks;
mod script;

use std::path::Path;

use faultline_attribution::State;
use faultline_proto::clock::Clock;
use tempfile::TempDir;

use self::script::{Dice, Script, Step};
use super::*;
use crate::{
    feed::{Hub, Published},
    log::{Admission, Appended, Entry, sqlite::SqliteLog},
    record::Record,
};

/// A coordinator's log and fold, without its ports.
struct Run {
    data: TempDir,
    log: Arc<SqliteLog>,
    hub: Arc<Hub>,
    fold: Fold,
    now: Timestamp,
}

impl Run {
    async fn new() -> Self {
        Self::on(tempfile::tempdir().expect("folder")).await
    }

    async fn on(data: TempDir) -> Self {
        let log = Arc::new(SqliteLog::open(data.path()).expect("log"));
        let now = Timestamp::default();
        let (fold, hub) = resume(&log, &Snapshots::of(data.path()), now).await;
        Self { data, log, hub, fold, now }
    }

    fn snapshots(&self) -> Snapshots {
        Snapshots::of(self.data.path())
    }

    /// Drops everything that is not on disk.
    async fn restart(&mut self) {
        (self.fold, self.hub) = resume(&self.log, &self.snapshots(), self.now).await;
    }

    async fn append(&self, admission: Admission, record: Record) -> Cursor {
        match self.log.append(admission, record).await.expect("appended") {
            Appended::At(cursor) => cursor,
            other => panic!("{other:?}"),
        }
    }

    /// A step of the script; the session of a batch is the newest of its agent.
    async fn take(&mut self, step: &Step, epochs: &mut std::collections::BTreeMap<String, u64>) {
        match step {
            Step::Tick(now) => {
                self.now = *now;
                self.fold.tick(*now, &self.hub).await.expect("folds");
            }
            Step::Record(Admission::Session, record) => {
                let epoch = self.append(Admission::Session, record.clone()).await.0.cast_unsigned();
                epochs.insert(record.agent.clone(), epoch);
            }
            Step::Record(admission @ Admission::Batch { .. }, record) => {
                let record = Record { epoch: epochs[&record.agent], ..record.clone() };
                self.append(*admission, record).await;
            }
            Step::Record(Admission::Own, record) => {
                self.append(Admission::Own, record.clone()).await;
            }
        }
    }

    async fn entries(&self) -> Vec<Entry> {
        self.log.published_after(0, usize::MAX).await.expect("reads")
    }

    /// What is compared: changes as they are written, and the state.
    async fn outcome(&self) -> (Vec<String>, Snapshot) {
        let row = |entry: &Entry| {
            let published = serde_json::to_string(&entry.published).expect("json");
            format!("{} {:?} {} {published}", entry.sequence, entry.tick, entry.published_at)
        };
        let state = Snapshot { feed_id: String::new(), ..self.fold.snapshot().expect("a tick was folded") };
        (self.entries().await.iter().map(row).collect(), state)
    }
}

async fn resume(log: &Arc<SqliteLog>, snapshots: &Snapshots, now: Timestamp) -> (Fold, Arc<Hub>) {
    let (records, changes): (Arc<dyn RecordLog>, Arc<dyn ChangeLog>) = (Arc::clone(log) as _, Arc::clone(log) as _);
    let resumed = Fold::resume(records, Arc::clone(&changes), Settings::default(), snapshots, now);
    let (fold, board) = resumed.await.expect("folds");
    (fold, Arc::new(Hub::new(board, changes, Clock::system())))
}

async fn straight(script: &Script) -> Run {
    let mut run = Run::new().await;
    let mut epochs = std::collections::BTreeMap::new();
    for step in &script.steps {
        run.take(step, &mut epochs).await;
    }
    run
}

/// What may end a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is asked to.
    Orderly,
    /// A crash, some time after a snapshot.
    Crash,
    /// A crash when the tick was recorded, and what comes of it was not published.
    BetweenTickAndChanges,
    /// A crash, and the newest snapshot is damaged.
    Damage,
    /// A crash while a snapshot was being written.
    HalfASnapshot,
}

const ENDS: [End; 5] = [End::Orderly, End::Crash, End::BetweenTickAndChanges, End::Damage, End::HalfASnapshot];

/// The same with snapshots and restarts at ticks that the dice choose.
async fn interrupted(script: &Script, dice: &mut Dice) -> (Run, Vec<End>) {
    let mut run = Run::new().await;
    let (mut epochs, mut ends) = (std::collections::BTreeMap::new(), Vec::new());
    for step in &script.steps {
        let ends_here = matches!(step, Step::Tick(_)) && dice.one_in(40);
        let end = ENDS[dice.below(ENDS.len())];
        match step {
            Step::Tick(now) if ends_here && end == End::BetweenTickAndChanges => {
                run.append(Admission::Own, Record::tick(*now)).await;
                run.now = *now;
            }
            step => run.take(step, &mut epochs).await,
        }
        if !ends_here {
            if matches!(step, Step::Tick(_)) && dice.one_in(25) {
                run.snapshots().write(&run.fold.snapshot().expect("a tick was folded")).expect("written");
            }
            continue;
        }
        let snapshots = run.snapshots();
        match end {
            End::Orderly => {
                snapshots.write(&run.fold.snapshot().expect("a tick was folded")).expect("written");
            }
            End::Damage => {
                if let Some(newest) = snapshots.newest_first().first() {
                    flip(&newest.path, dice);
                }
            }
            End::HalfASnapshot => {
                let bytes = run.fold.snapshot().expect("a tick was folded").to_bytes();
                let folder = run.data.path().join("snapshots");
                std::fs::create_dir_all(&folder).expect("folder");
                std::fs::write(folder.join("00000000000000000001.new"), &bytes[..dice.below(bytes.len())])
                    .expect("half");
            }
            End::Crash | End::BetweenTickAndChanges => {}
        }
        run.restart().await;
        ends.push(end);
    }
    (run, ends)
}

fn flip(path: &Path, dice: &mut Dice) {
    let mut bytes = std::fs::read(path).expect("a snapshot");
    let place = dice.below(bytes.len());
    bytes[place] ^= 1 << dice.below(8);
    std::fs::write(path, bytes).expect("written");
}

/// The same records in a log of nothing published.
async fn rebuilt(run: &Run) -> Run {
    let data = tempfile::tempdir().expect("folder");
    let copy = data.path().join("log.sqlite");
    let open = |path: &Path| rusqlite::Connection::open(path).expect("opens");
    open(&run.data.path().join("log.sqlite"))
        .execute("VACUUM INTO ?1", [copy.to_str().expect("a path")])
        .expect("copied");
    open(&copy)
        .execute_batch("DELETE FROM change; DELETE FROM sqlite_sequence WHERE name = 'change';")
        .expect("emptied");
    Run::on(data).await
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the seed of a run that fails")]
async fn a_restart_from_a_snapshot_equals_a_full_rebuild() {
    let mut seen = Vec::new();
    for seed in 1..=4 {
        println!("seed {seed}");
        let script = Script::new(seed);
        let live = straight(&script).await;
        let (changes, state) = live.outcome().await;
        assert_whole(&live.entries().await, seed);
        let (run, ends) = interrupted(&script, &mut Dice::new(seed)).await;
        println!("ends: {ends:?}");
        assert!(ends.len() >= 5, "seed {seed}: too few restarts to say anything: {ends:?}");
        seen.extend(ends);
        let (told, came_to) = run.outcome().await;
        assert_eq!(told, changes, "seed {seed}: published with restarts, and without");
        assert!(came_to == state, "seed {seed}: the state with restarts is another");
        let (told, came_to) = rebuilt(&run).await.outcome().await;
        assert_eq!(told, changes, "seed {seed}: published by a full rebuild, and live");
        assert!(came_to == state, "seed {seed}: the state of a full rebuild is another");
    }
    assert!(ENDS.iter().all(|end| seen.contains(end)), "{seen:?}");
}

/// The script does what it is there for: an incident opens and is resolved, for good, and cells of the matrix change.
fn assert_whole(entries: &[Entry], seed: u64) {
    let has = |state: State| {
        entries.iter().any(|entry| matches!(&entry.published, Published::Incident(change) if change.state == state))
    };
    assert!(has(State::Attributed) && has(State::Resolved), "seed {seed}: {entries:#?}");
    assert!(entries.iter().any(|entry| matches!(entry.published, Published::Cell(_))), "seed {seed}");
}

#[tokio::test]
async fn a_snapshot_of_a_restored_fold_is_the_snapshot() {
    let script = Script::new(9);
    let mut run = Run::new().await;
    let (mut epochs, mut compared) = (std::collections::BTreeMap::new(), 0);
    for (number, step) in script.steps.iter().enumerate() {
        run.take(step, &mut epochs).await;
        if !matches!(step, Step::Tick(_)) || !number.is_multiple_of(7) {
            continue;
        }
        let snapshot = run.fold.snapshot().expect("a tick was folded");
        let read = Snapshot::from_bytes(&snapshot.to_bytes()).expect("reads");
        assert!(read == snapshot, "step {number}: written and read");
        let state = read.state(Settings::default()).expect("restores");
        assert!(state.engine.snapshot() == snapshot.engine, "step {number}: the engine");
        assert!(state.observer.snapshot() == snapshot.observer, "step {number}: the observer");
        compared += 1;
    }
    assert!(compared > 10, "{compared}");
}

/// When this fails, the observer keeps something else than the builds before, or reads a record otherwise: raise
/// [`FORMAT`], so that their snapshots are folded anew and not misread, and put the new figure here.
#[tokio::test]
async fn the_format_stands_for_what_is_kept() {
    let run = straight(&Script::new(1)).await;
    let observer = run.fold.snapshot().expect("a tick was folded").observer;
    assert_eq!((FORMAT, crc32c::crc32c(&observer)), (2, 0x6c71_0cc6), "{} bytes", observer.len());
}

/// A run of half a minute, and a snapshot of its end.
async fn short() -> (Run, Snapshot) {
    let mut script = Script::new(1);
    script.steps.truncate(400);
    let run = straight(&script).await;
    let snapshot = run.fold.snapshot().expect("a tick was folded");
    (run, snapshot)
}

/// Why the only snapshot of a run is not used.
async fn refusal(run: &Run, snapshot: &Snapshot) -> Option<Unusable> {
    let newest = run.hub.board().sequence;
    match snapshot.check(&*run.log, &run.log.feed_id(), newest).await.expect("reads") {
        Ok(()) => snapshot.state(Settings::default()).err(),
        Err(error) => Some(error),
    }
}

#[tokio::test]
async fn a_snapshot_is_used_only_where_it_belongs() {
    let (run, snapshot) = short().await;
    assert!(refusal(&run, &snapshot).await.is_none());

    let (other, _) = short().await;
    let refused = refusal(&other, &snapshot).await;
    assert!(matches!(refused, Some(Unusable::Feed { .. })), "{refused:?}");
    let elsewhere = Snapshot { cursor: Cursor(snapshot.cursor.0 - 1), ..snapshot.clone() };
    assert!(matches!(refusal(&run, &elsewhere).await, Some(Unusable::Tick(_))), "no tick there");
    let beyond = Snapshot { cursor: Cursor(snapshot.cursor.0 + 1), ..snapshot.clone() };
    assert!(matches!(refusal(&run, &beyond).await, Some(Unusable::Tick(_))), "the log ends before it");
    let rewritten = Snapshot { at: Timestamp::from_micros(1), ..snapshot.clone() };
    assert!(matches!(refusal(&run, &rewritten).await, Some(Unusable::Tick(_))), "another tick");
    let ahead = Snapshot { sequence: snapshot.sequence + 1, ..snapshot.clone() };
    assert!(matches!(refusal(&run, &ahead).await, Some(Unusable::Changes { .. })));
    let mut newer = snapshot.clone();
    newer.engine[0] += 1;
    assert!(matches!(refusal(&run, &newer).await, Some(Unusable::Engine(_))));
    let longer = Snapshot { observer: [snapshot.observer.as_slice(), &[0]].concat(), ..snapshot.clone() };
    assert!(matches!(refusal(&run, &longer).await, Some(Unusable::Observer(_))));
}

#[tokio::test]
async fn every_flipped_bit_and_every_cut_is_found() {
    let (_, snapshot) = short().await;
    let bytes = snapshot.to_bytes();
    let read = |bytes: &[u8]| Snapshot::from_bytes(bytes).err();
    let mut newer = bytes.clone();
    newer[7] += 1;
    assert!(matches!(read(&newer), Some(Unusable::Format(found)) if found == FORMAT + 1));
    for place in (0..bytes.len()).filter(|place| place.is_multiple_of(97) || *place < 64) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        assert!(read(&flipped).is_some(), "a bit of byte {place}");
        assert!(read(&bytes[..place]).is_some(), "the first {place} bytes");
    }
}

#[tokio::test]
async fn two_snapshots_are_kept_and_the_older_bounds_the_trim() {
    let (run, snapshot) = short().await;
    let snapshots = run.snapshots();
    let tick = |cursor: i64| Snapshot { cursor: Cursor(cursor), ..snapshot.clone() };
    snapshots.write(&tick(7)).expect("written");
    assert_eq!(snapshots.snapshot_cursor(), Cursor::START, "one may turn out to be damaged");
    for cursor in [8, 8, 9] {
        snapshots.write(&tick(cursor)).expect("written");
    }
    let kept: Vec<i64> = snapshots.newest_first().into_iter().map(|found| found.cursor.0).collect();
    assert_eq!(kept, [9, 8]);
    assert_eq!(snapshots.snapshot_cursor(), Cursor(7), "the tick itself stays, by which the log is known");
    assert_eq!(run.snapshots().snapshot_cursor(), Cursor::START, "another process knows nothing of them yet");
}

#[tokio::test]
async fn a_check_proves_the_newest_snapshot_and_finds_a_wrong_one() {
    use crate::fold::check::{Base, CheckError, check};
    let (run, snapshot) = short().await;
    let checked = || check(run.data.path(), Settings::default());
    assert!(matches!(checked().await, Err(CheckError::None(_))));

    let snapshots = run.snapshots();
    snapshots.write(&snapshot).expect("written");
    let proof = checked().await.expect("checked");
    assert_eq!((proof.base, proof.differs), (Base::Whole, Vec::new()));

    let mut wrong = Engine::restore(&snapshot.engine, Settings::default()).expect("restores");
    wrong.advance(run.now.after(std::time::Duration::from_secs(1)));
    snapshots.write(&Snapshot { engine: wrong.snapshot(), ..snapshot.clone() }).expect("written");
    assert_eq!(checked().await.expect("checked").differs, ["engine"]);

    // Without the first records, an older snapshot is the base.
    snapshots.write(&snapshot).expect("written");
    let records = rusqlite::Connection::open(run.data.path().join("log.sqlite")).expect("opens");
    records.execute("DELETE FROM record WHERE cursor <= 3", []).expect("deleted");
    assert!(matches!(checked().await, Err(CheckError::Gone { missing: 3 })));
    let mut later = run;
    later.now = later.now.after(std::time::Duration::from_secs(1));
    later.fold.tick(later.now, &later.hub).await.expect("folds");
    snapshots.write(&later.fold.snapshot().expect("a tick was folded")).expect("written");
    let proof = check(later.data.path(), Settings::default()).await.expect("checked");
    assert_eq!((proof.base, proof.differs), (Base::Since(snapshot.cursor), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_taken_once_a_minute_and_at_the_end() {
    use std::time::Duration;

    use crate::fold::Keep;
    let (mut run, _) = short().await;
    let snapshots = Arc::new(run.snapshots());
    let mut keep = Keep::new(Arc::clone(&snapshots));
    let newest = || snapshots.newest_first().first().map(|found| found.cursor.0);
    let mut seen = Vec::new();
    for wait in [0, 1, 58, 1] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        run.now = run.now.after(Duration::from_secs(1));
        run.fold.tick(run.now, &run.hub).await.expect("folds");
        keep.after_tick(&run.fold);
        keep.written().await;
        seen.push(newest().expect("at least the first"));
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[2] && seen[2] < seen[3], "{seen:?}");
    run.now = run.now.after(Duration::from_secs(1));
    run.fold.tick(run.now, &run.hub).await.expect("folds");
    keep.end(&run.fold).await;
    assert!(newest() > Some(seen[3]), "at the end");
}
