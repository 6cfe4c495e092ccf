//! Keep: the coordinator's ranges in force, and the task that keeps them fresh.
//!
//! Ranges in force are a record of the log, since they decide what the fold learns. Rules: a new record is written only
//! when it would say something else of some address; every document is asked for once in 24 hours, after a failure again
//! in an hour; nothing waits for a publisher, not even the start or the end of the coordinator.

use std::{sync::Arc, thread, time::Duration};

use faultline_attribution::Timestamp;
use faultline_proto::clock::Clock;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    Document, Ranges,
    refresh::{self, Publishers, RefreshError, Refreshed},
    store::Store,
};
use crate::{
    log::{Admission, LogError, RecordLog},
    record::Record,
};

/// Time between two questions to a publisher.
const EVERY: Duration = Duration::from_hours(24);

/// Time until the next question after one that failed.
const AGAIN: Duration = Duration::from_hours(1);

/// Puts what is on disk in force, if it says something else than what is. Without anything on disk, what is in force stays.
pub async fn put_in_force(
    log: &dyn RecordLog,
    in_force: &Arc<Ranges>,
    store: &Store,
    now: Timestamp,
) -> Result<Arc<Ranges>, LogError> {
    let store = store.clone();
    let known = Arc::clone(in_force);
    let Some((new, errors)) = aside(move || {
        let (ranges, errors) = store.load();
        let bytes = (!ranges.is_empty() && !ranges.says_the_same(&known)).then(|| ranges.to_bytes());
        (bytes.and_then(|bytes| Some((Arc::new(Ranges::from_bytes(&bytes).ok()?), bytes))), errors)
    })
    .await
    else {
        return Ok(Arc::clone(in_force));
    };
    for error in errors {
        tracing::warn!(%error, "published ranges left out");
    }
    let Some((ranges, bytes)) = new else { return Ok(Arc::clone(in_force)) };
    tracing::info!(prefixes = ranges.len(), bytes = bytes.len(), "published ranges in force");
    log.append(Admission::Own, Record::ranges(now, bytes)).await?;
    Ok(ranges)
}

/// Asks the publishers, for ever.
pub async fn keep_fresh(
    log: Arc<dyn RecordLog>,
    mut in_force: Arc<Ranges>,
    store: Store,
    publishers: Publishers,
    clock: Clock,
    stopped: CancellationToken,
) -> Result<(), LogError> {
    let mut failed = Vec::new();
    loop {
        let now = Timestamp::from_micros(clock.now_micros());
        let wait = publishers.documents().map(|document| due_in(&store, &failed, document, now)).min();
        tokio::select! {
            () = stopped.cancelled() => return Ok(()),
            () = tokio::time::sleep(clock.real(wait.unwrap_or(EVERY))) => {}
        }
        let now = Timestamp::from_micros(clock.now_micros());
        let mut is_changed = false;
        for document in publishers.documents().collect::<Vec<_>>() {
            if !due_in(&store, &failed, document, now).is_zero() {
                continue;
            }
            failed.retain(|(known, _)| *known != document);
            let (to, from) = (store.clone(), publishers.clone());
            let asked = aside(move || refresh::refresh(&to, &from, document, now));
            let answer = tokio::select! {
                () = stopped.cancelled() => return Ok(()),
                answer = asked => answer,
            };
            match answer {
                Some(Ok(refreshed)) => is_changed |= refreshed == Refreshed::Changed,
                Some(Err(error)) => {
                    tell(&store, document, &error, now);
                    failed.push((document, now));
                }
                None => failed.push((document, now)),
            }
        }
        if is_changed {
            in_force = put_in_force(&*log, &in_force, &store, now).await?;
        }
    }
}

/// Time until the document is asked for.
fn due_in(store: &Store, failed: &[(Document, Timestamp)], document: Document, now: Timestamp) -> Duration {
    if let Some((_, at)) = failed.iter().find(|(known, _)| *known == document) {
        return AGAIN.saturating_sub(now.since(*at));
    }
    store.note(document).map_or(Duration::ZERO, |note| EVERY.saturating_sub(note.age(now)))
}

fn tell(store: &Store, document: Document, error: &RefreshError, now: Timestamp) {
    let age = store.note(document).map(|note| Duration::from_secs(note.age(now).as_secs()));
    let age = age.map_or_else(|| "none".to_owned(), |age| humantime::format_duration(age).to_string());
    tracing::warn!(%document, %error, held = %age, "published ranges not refreshed");
}

/// Runs blocking work on a thread that the end of the runtime does not wait for; `None` if it panicked.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, answer) = oneshot::channel();
    // Nobody waits for the answer any more once the coordinator ends.
    thread::spawn(move || drop(sender.send(work())));
    answer.await.ok()
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        log::{Appended, Cursor, sqlite::SqliteLog},
        ranges::{
            refresh::tests::{GOOD, answer, publisher, publishers},
            store::Note,
        },
        record::RecordKind,
    };

    const ONE: &str = r#"{"addresses": ["192.0.2.0/24"]}"#;
    const OTHER: &str = r#"{"addresses": ["198.51.100.0/24"]}"#;

    #[tokio::test]
    async fn only_ranges_that_say_something_else_become_a_record() {
        let folder = tempfile::tempdir().expect("dir");
        let (log, store) = (SqliteLog::open(folder.path()).expect("log"), Store::of(folder.path()));
        let now = Timestamp::from_micros(1_000_000);
        let mut in_force = Arc::default();
        let mut records = Vec::new();
        for text in
            [None, Some(ONE), Some(ONE), Some("{\"addresses\": [\"192.0.2.0/25\", \"192.0.2.128/25\"]}"), Some(OTHER)]
        {
            if let Some(text) = text {
                store.keep(Document::Fastly, text, &Note::default()).expect("kept");
            }
            in_force = put_in_force(&log, &in_force, &store, now).await.expect("logged");
            records.push(log.next(Cursor::START, 10).await.expect("read").len());
        }
        assert_eq!(records, [0, 1, 1, 1, 2]);
        // A document that somebody broke leaves the others, and what is in force, alone.
        std::fs::write(store.folder().join("fastly.json"), "{").expect("write");
        let after = put_in_force(&log, &in_force, &store, now).await.expect("logged");
        assert!(Arc::ptr_eq(&after, &in_force));
        let records = log.next(Cursor::START, 10).await.expect("read");
        let read = Ranges::from_bytes(&records[1].1.payload).expect("ranges");
        assert!(records[1].1.kind == RecordKind::Ranges && read.says_the_same(&in_force));
    }

    /// A log that hands on what is appended.
    struct Told(mpsc::Sender<Record>);

    #[async_trait]
    impl RecordLog for Told {
        async fn append(&self, _: Admission, record: Record) -> Result<Appended, LogError> {
            self.0.send(record).await.expect("somebody listens");
            Ok(Appended::At(Cursor::START))
        }

        async fn next(&self, _: Cursor, _: usize) -> Result<Vec<(Cursor, Record)>, LogError> {
            Ok(Vec::new())
        }

        async fn admitted(&self, _: &str, _: &[u8], _: u8) -> Result<u64, LogError> {
            Ok(0)
        }
    }

    #[tokio::test]
    async fn what_a_publisher_has_comes_into_force_and_the_end_waits_for_nobody() {
        let folder = tempfile::tempdir().expect("dir");
        let store = Store::of(folder.path());
        let (address, served) = publisher(vec![answer("200 OK", "etag: \"one\"\r\n", GOOD)]);
        let publishers = publishers(Document::Aws, &format!("http://{address}/"));
        let (told, mut appended) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let fresh =
            keep_fresh(Arc::new(Told(told)), Arc::default(), store.clone(), publishers, Clock::system(), stop.clone());
        let fresh = async { fresh.await.expect("ends well") };
        let look = async {
            let record = appended.recv().await.expect("a record");
            let ranges = Ranges::from_bytes(&record.payload).expect("ranges");
            assert_eq!(ranges.len(), 1);
            stop.cancel();
        };
        tokio::join!(fresh, look);
        assert!(store.note(Document::Aws).is_some_and(|note| note.etag.as_deref() == Some("\"one\"")));
        served.join().expect("served");
    }
}
