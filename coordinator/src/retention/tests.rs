//! What stays of a log in its limits, and what it reads like.

use std::collections::BTreeMap;

use faultline_attribution::{SessionState, Target, TargetId, Vantage};
use faultline_proto::{
    agent::v1::{Loss, LossReason, ResultBatch},
    convert,
    types::v1::{Facts, Outcome, ProbeResult},
};
use prost::Message as _;

use super::*;
use crate::{
    counts::{By, Ended},
    log::{Admission, Appended, sqlite::check},
    record::{CatalogRecord, Record, RecordKind, SessionRecord, SlotTable},
    results::export::{self, Span},
};

const HOUR: i64 = 3_600_000_000;
const AGENTS: [&str; 2] = ["fra-1", "lon-1"];

struct Kept {
    data: tempfile::TempDir,
    log: Arc<SqliteLog>,
    clock: Clock,
    epochs: Vec<u64>,
    numbers: Vec<u64>,
}

impl Kept {
    /// A log with a catalog and two agents, whose first records came at `at`.
    async fn new(at: i64) -> Self {
        let data = tempfile::tempdir().expect("dir");
        let log = Arc::new(SqliteLog::open(data.path()).expect("log"));
        let mut kept = Self { data, log, clock: Clock::system(), epochs: Vec::new(), numbers: vec![0, 0] };
        let shop = r#"{"probe":"https","host":"shop.example","hosted_on":"aws","region":"eu-west-1","depends_on":[],"verified":true}"#;
        let shop: Target = serde_json::from_str(shop).expect("a target");
        let targets = CatalogRecord { targets: [(TargetId::from("shop"), shop)].into() };
        kept.own(Record::own(RecordKind::Catalog, Timestamp::from_micros(at), "", &targets)).await;
        for agent in AGENTS {
            let now = Timestamp::from_micros(at);
            let up = SessionRecord { state: SessionState::Up, since: now };
            let session = Record::own(RecordKind::Session, now, agent, &up);
            let Ok(Appended::At(epoch)) = kept.log.append(Admission::Session, session).await else {
                panic!("no session")
            };
            kept.epochs.push(epoch.epoch());
            let vantage = Vantage { group: format!("group-{agent}"), ..Vantage::default() };
            kept.own(Record::own(RecordKind::Vantage, now, agent, &vantage)).await;
            let table = SlotTable { version: 1, digest: 0, slots: [(1, "shop".into())].into() };
            kept.own(Record::own(RecordKind::Assignment, now, agent, &table)).await;
        }
        kept
    }

    async fn own(&self, record: Record) {
        assert!(matches!(self.log.append(Admission::Own, record).await, Ok(Appended::At(_))));
    }

    /// A batch of one passing run at `at` that refers to these facts; `new` announces them with it.
    async fn batch(&mut self, agent: usize, at: i64, facts: u32, new: bool) {
        self.numbers[agent] += 1;
        let announced = Facts { number: facts, issuer: format!("issuer {facts}"), ..Facts::default() };
        let result = ProbeResult {
            slot: 1,
            started_at: Some(convert::timestamp(at)),
            outcome: Outcome::Passed as i32,
            facts,
            ..ProbeResult::default()
        };
        let loss = Loss { reason: LossReason::SpoolFull as i32, results: 2, ..Loss::default() };
        let batch = ResultBatch {
            lane: 1,
            number: self.numbers[agent],
            facts: if new { vec![announced] } else { Vec::new() },
            results: vec![result],
            losses: if new { vec![loss] } else { Vec::new() },
            ..ResultBatch::default()
        };
        let record = Record {
            incarnation: vec![7; 16],
            epoch: self.epochs[agent],
            lane: 1,
            number: self.numbers[agent],
            payload: batch.encode_to_vec().into(),
            ..Record::own(RecordKind::Batch, Timestamp::from_micros(at), AGENTS[agent], &())
        };
        let appended = self.log.append(Admission::Batch { first_number: 1 }, record).await;
        assert!(matches!(appended, Ok(Appended::At(_))), "{appended:?}");
        self.own(Record::tick(Timestamp::from_micros(at))).await;
    }

    fn keeper(&self, retention: Retention) -> Keeper {
        let covered: Covered = Arc::new(|| None);
        Keeper::new(Arc::clone(&self.log), self.data.path().to_owned(), retention, self.clock, covered)
    }

    /// The result lines of what is left.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let reader = SqliteReader::open(self.data.path()).expect("log");
        let exported = export::export(&reader, Span::default(), |line| {
            lines.push(serde_json::to_string(line)?);
            Ok(())
        });
        assert_eq!(exported.expect("exports").damaged, []);
        lines
    }

    /// Runs of the one target that passed; those of its region are the same.
    fn counted(&self) -> u64 {
        let shop = self.counts(By::Target);
        assert_eq!(shop.keys().map(String::as_str).collect::<Vec<_>>(), ["shop"]);
        let elements = self.counts(By::Element);
        assert_eq!(elements["aws/eu-west-1"], shop["shop"]);
        assert_eq!(elements["tld/example"], shop["shop"]);
        shop["shop"]
    }

    fn counts(&self, by: By) -> BTreeMap<String, u64> {
        let mut passed = BTreeMap::new();
        let reader = SqliteReader::open(self.data.path()).expect("log");
        let counts = reader.counts::<LogError>(by, (i64::MIN, i64::MAX), |_, name, part| {
            let rows = part.rows();
            let runs: u64 = rows.iter().filter(|row| row.2 == Ended::Passed).map(|row| u64::from(row.3)).sum();
            *passed.entry(name.to_owned()).or_default() += runs;
            Ok(())
        });
        assert_eq!(counts.expect("counts"), 0);
        passed
    }

    fn is_whole(&self) {
        let found = check::check(self.data.path(), check::Depth::Whole, |_, _| {}).expect("checks");
        assert_eq!(found.findings, Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_is_left_after_a_trim_reads_as_it_read_before() {
    let now = Clock::system().now_micros();
    let mut kept = Kept::new(now - 30 * HOUR).await;
    for round in 0..1000 {
        let at = now - 28 * HOUR + i64::from(round) * HOUR / 40; // 25 hours
        // Each agent announces new facts now and then, and refers to its oldest still.
        for agent in 0..AGENTS.len() {
            let facts = if round % 2 == 0 { 1 } else { round / 100 + 1 };
            kept.batch(agent, at, facts, round == 0 || round % 100 == 1).await;
        }
    }
    let before = kept.lines();
    assert_eq!(before.len(), 2000);
    let keeper = kept.keeper(Retention { results_for: Duration::from_hours(12), ..Retention::default() });
    let round = keeper.round().await.expect("keeps");
    assert_eq!(round.counted, 2000);
    let after = kept.lines();
    assert!((600..800).contains(&after.len()), "{} of 2000 lines are left", after.len());
    assert!(before.ends_with(&after), "what is left reads otherwise: {:?}", after.first());
    assert!(after[0].contains("issuer"), "{}", after[0]);
    assert_eq!(kept.counted(), 2000);
    kept.is_whole();
    // Losses that were told in what went are still told, once.
    let reader = SqliteReader::open(kept.data.path()).expect("log");
    let batches = reader.next(Cursor::START, usize::MAX).expect("reads").into_iter().filter_map(|(_, record)| {
        (record.kind == RecordKind::Batch && record.agent == "fra-1")
            .then(|| ResultBatch::decode(record.payload).expect("batch"))
    });
    let lost: u64 = batches.flat_map(|batch| batch.losses).map(|loss| loss.results).sum();
    assert_eq!(lost, 2 * 11);
    // A second round finds nothing to do, and counts nothing twice.
    assert_eq!(keeper.round().await.expect("keeps").counted, 0);
    assert_eq!((kept.lines(), kept.counted()), (after, 2000));
    // Numbers go on where they were.
    kept.batch(0, now, 1, false).await;
    assert!(kept.lines().last().expect("a line").contains("issuer 1"));
}

#[tokio::test]
async fn the_newest_results_stay_whatever_the_limit_and_the_file_shrinks() {
    let now = Clock::system().now_micros();
    let mut kept = Kept::new(now - 3 * HOUR).await;
    kept.batch(0, now - 2 * HOUR, 1, true).await;
    // Ballast: what cannot be read goes too.
    for _ in 0..600 {
        let ballast = Record { payload: vec![9; 64 << 10].into(), ..Record::tick(Timestamp::from_micros(now - HOUR)) };
        kept.own(ballast).await;
    }
    kept.batch(0, now, 1, false).await;
    let size = || std::fs::metadata(kept.data.path().join("log.sqlite")).expect("file").len();
    let keeper = kept.keeper(Retention { results_bytes: 1, ..Retention::default() });
    keeper.round().await.expect("keeps");
    let lines = kept.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    kept.is_whole();
    // The writer moves what it wrote into the file when it is asked.
    let checkpoint = rusqlite::Connection::open(kept.data.path().join("log.sqlite")).expect("file");
    checkpoint.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpoint");
    assert!(size() < 20 << 20, "{} bytes of 37 MiB are left", size());
}

#[tokio::test]
async fn nothing_goes_that_a_restart_would_need() {
    let now = Clock::system().now_micros();
    let mut kept = Kept::new(now - 30 * HOUR).await;
    for round in 0..10 {
        kept.batch(0, now - 20 * HOUR + round, 1, round == 0).await;
    }
    let bound = Cursor::nth(12);
    let retention = Retention { results_for: Duration::from_hours(1), ..Retention::default() };
    let keeper = Keeper { covered: Arc::new(move || Some(bound)), ..kept.keeper(retention) };
    assert_eq!(keeper.round().await.expect("keeps").trimmed, bound);
    let keeper = Keeper { covered: Arc::new(|| None), ..keeper };
    assert!(keeper.round().await.expect("keeps").trimmed > bound);
}

#[tokio::test]
async fn a_clock_that_jumps_takes_nothing_away() {
    let now = Clock::system().now_micros();
    let mut kept = Kept::new(now - 30 * HOUR).await;
    kept.batch(0, now - 20 * HOUR, 1, true).await;
    let retention = Retention { results_for: Duration::from_hours(1), ..Retention::default() };
    let began = (Instant::now(), now - 10 * HOUR);
    let keeper = Keeper { began, ..kept.keeper(retention) };
    assert_eq!(keeper.round().await.expect("keeps").trimmed, Cursor::START);
    assert_eq!(kept.lines().len(), 1);
}
