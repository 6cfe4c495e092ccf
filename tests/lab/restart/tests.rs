//! A small log, and restarts of the fold on it.

use faultline_attribution::State;

use super::*;

/// A fleet's three minutes and a half: a region goes dark in them.
#[tokio::test]
async fn a_filled_log_holds_all_results_and_an_incident() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path();
    let fleet = Fleet { agents: 20, targets: 60 };
    let now = Timestamp::from_micros(1_790_000_000_000_000);
    let mut filled = Filled::open(data, fleet, 240, now).await.expect("opens");
    filled.go_on(data, 210).await.expect("filled");
    filled.go_on(data, 30).await.expect("filled");
    assert_eq!(filled.results, 240 / 30 * 20 * 60);
    assert_eq!(fleet.seconds(filled.results), 240);

    let restarts = Restarts::new(PathBuf::new(), data.to_owned());
    let taking = restarts.take().await.expect("taken");
    assert!(taking.bytes > 10_000, "{taking:?}");
    let log = SqliteLog::open(data).expect("opens");
    let entries = log.published_after(0, usize::MAX).await.expect("reads");
    let blames_aws = |published: &Published| {
        matches!(published, Published::Incident(change)
            if change.state == State::Attributed && change.element.starts_with("aws/us-east-1"))
    };
    assert!(entries.iter().any(|entry| blames_aws(&entry.published)), "{entries:#?}");
}
