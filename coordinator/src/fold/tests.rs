//! Records in, ticks folded.

use std::{sync::Mutex, time::Duration};

use async_trait::async_trait;
use faultline_proto::clock::Clock;

use super::*;
use crate::{log::sqlite::SqliteLog, record::SlotTable};

/// A log to which somebody appends whenever it is read.
struct Busy {
    log: Arc<SqliteLog>,
    reads: Mutex<u32>,
}

#[async_trait]
impl RecordLog for Busy {
    async fn append(&self, admission: Admission, record: Record) -> Result<Appended, LogError> {
        self.log.append(admission, record).await
    }

    async fn next(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Record)>, LogError> {
        let records = self.log.next(after, limit).await?;
        let reads = {
            let mut reads = self.reads.lock().expect("nobody panicked");
            *reads += 1;
            *reads
        };
        assert!(reads < 100, "the tick does not end");
        let more = Record::own(RecordKind::Assignment, Timestamp::default(), "fra-1", &SlotTable::default());
        self.log.append(Admission::Own, more).await?;
        Ok(records)
    }

    async fn admitted(&self, agent: &str, incarnation: &[u8], lane: u8) -> Result<u64, LogError> {
        self.log.admitted(agent, incarnation, lane).await
    }
}

#[tokio::test]
async fn a_tick_ends_however_much_keeps_coming() {
    let data = tempfile::tempdir().expect("a folder");
    let log = Arc::new(SqliteLog::open(data.path()).expect("a log"));
    let busy = Arc::new(Busy { log: Arc::clone(&log), reads: Mutex::new(0) });
    let now = Timestamp::from_micros(1_761_750_000_000_000);
    let changes: Arc<dyn ChangeLog> = Arc::clone(&log) as _;
    let rebuilt = Fold::rebuild(Arc::clone(&log) as _, Arc::clone(&changes), Settings::default(), now).await;
    let (mut fold, board) = rebuilt.expect("an empty log");
    fold.log = busy;
    let hub = Hub::new(board, changes, Clock::system());
    for second in 1..=3 {
        let now = now.after(Duration::from_secs(second));
        fold.tick(now, &hub).await.expect("a tick");
        assert_eq!(hub.board().visibility.evaluated_through, now);
    }
}
