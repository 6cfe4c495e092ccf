//! News, history, and who was first.

use std::{sync::Arc, time::Duration};

use faultline_attribution::{Change, Timestamp};
use faultline_proto::clock::Clock;
use tempfile::TempDir;

use super::{
    intake::{AN_HOUR, Seen, Taken},
    kept::{CLAIMS, HISTORY, SOURCES},
    *,
};
use crate::{
    board::Board,
    feed::{Hub, Published},
    log::{ChangeLog, Cursor, sqlite::SqliteLog},
};

const NOON: Timestamp = Timestamp::from_micros(1_761_739_200_000_000); // 2025-10-29T12:00:00Z

fn minute(minute: i64) -> Timestamp {
    Timestamp::from_micros(NOON.micros() + minute * 60_000_000)
}

/// A hub on a log.
struct Door {
    log: Arc<SqliteLog>,
    hub: Arc<Hub>,
    intake: Intake,
    data: TempDir,
}

impl Door {
    fn new() -> Self {
        Self::on(tempfile::tempdir().expect("dir"), &[])
    }

    fn on(data: TempDir, entries: &[crate::log::Entry]) -> Self {
        let log = Arc::new(SqliteLog::open(data.path()).expect("log"));
        let mut board = Board::new(log.feed_id());
        board.apply_all(entries);
        let hub = Arc::new(Hub::new(board, Arc::clone(&log) as _, Clock::system()));
        let intake = Intake::new(Arc::clone(&hub));
        Self { log, hub, intake, data }
    }

    async fn entries(&self) -> Vec<crate::log::Entry> {
        self.log.published_after(0, 10_000).await.expect("reads")
    }

    async fn take(&self, at: i64, sighting: Sighting) -> Taken {
        let (source, about) = ("aws-status".to_owned(), "aws".to_owned());
        self.intake.take(vec![Seen { source, about, at: minute(at), sighting }]).await.expect("taken")
    }

    fn newest(&self) -> Claim {
        self.hub.board().claims.told("aws-status", "aws").expect("told").newest().clone()
    }
}

fn problem(text: &str, since: i64) -> Sighting {
    let (since, text) = (Some(minute(since)), text.to_owned());
    Sighting { since, posted_at: since, text, ..Sighting::bare(Stance::ReportsProblem) }
}

fn crowd(count: u64) -> Sighting {
    let crowd = Some(Crowd { count, baseline: 8, window_s: None });
    Sighting { crowd, ..Sighting::bare(if count >= 24 { Stance::ReportsProblem } else { Stance::NothingPosted }) }
}

#[tokio::test]
async fn a_changed_stance_is_published_and_a_fresh_look_is_not() {
    let door = Door::new();
    let is_news = |taken: Taken| (taken.published, taken.known) == (1, 0);
    let quiet = || Sighting::bare(Stance::NothingPosted);
    assert!(is_news(door.take(0, quiet()).await));
    assert!(!is_news(door.take(1, quiet()).await));
    assert_eq!(door.hub.board().claims.told("aws-status", "aws").expect("told").checked_at, Some(minute(1)));
    assert!(is_news(door.take(2, problem("errors", 1)).await));
    assert!(!is_news(door.take(3, problem("errors", 1)).await));
    assert!(is_news(door.take(4, problem("more errors", 3)).await), "another post");
    assert_eq!(
        (door.newest().since, door.newest().text.as_str()),
        (minute(1), "more errors"),
        "it goes on since the first"
    );
    assert!(is_news(door.take(5, Sighting::failed(Stance::Unreachable, "timed out")).await));
    assert!(!is_news(door.take(6, Sighting::failed(Stance::Unreachable, "answered 500")).await));
    assert_eq!((door.newest().since, door.newest().reason.as_str()), (minute(5), "timed out"));
    let published: Vec<_> = door.entries().await.iter().map(|entry| (entry.sequence, entry.tick)).collect();
    assert_eq!(published, [(1, Cursor::START), (2, Cursor::START), (3, Cursor::START), (4, Cursor::START)]);
}

#[tokio::test]
async fn a_restart_goes_on_from_what_was_published() {
    let door = Door::new();
    door.take(0, problem("errors", -5)).await;
    let (before, entries) = (door.newest(), door.entries().await);
    let Door { log, hub, intake, data } = door;
    drop((log, hub, intake));
    let again = Door::on(data, &entries);
    assert_eq!(again.newest(), before);
    assert_eq!(again.hub.board().claims.told("aws-status", "aws").expect("told").checked_at, None);
    assert_eq!(again.take(1, problem("errors", -5)).await, Taken { known: 1, ..Taken::default() });
    assert_eq!(again.entries().await.len(), 1);
}

#[tokio::test]
async fn a_crowd_is_news_when_it_doubles_or_halves_and_the_past_is_not_taken() {
    let door = Door::new();
    let rows = [(0, 8), (1, 10), (2, 40), (3, 60), (4, 80), (5, 6025), (6, 9)];
    let seen =
        |(at, count)| Seen { source: "crowd".into(), about: "aws".into(), at: minute(at), sighting: crowd(count) };
    let taken = door.intake.take(rows.map(seen).into()).await.expect("taken");
    assert_eq!(taken, Taken { published: 5, known: 2, older: 0 });
    let counts: Vec<_> = door
        .entries()
        .await
        .iter()
        .filter_map(|entry| if let Published::Claim(claim) = &entry.published { claim.crowd } else { None })
        .map(|crowd| crowd.count)
        .collect();
    assert_eq!(counts, [8, 40, 80, 6025, 9]);
    let taken = door.intake.take(rows.map(seen).into()).await.expect("taken");
    assert_eq!(taken, Taken { published: 0, known: 1, older: 6 });
}

#[tokio::test]
async fn a_source_that_changes_its_mind_all_the_time_is_held_back() {
    let door = Door::new();
    for n in 0..200 {
        let at = Timestamp::from_micros(NOON.micros() + n * 10_000_000);
        let sighting = if n % 2 == 0 { problem("errors", 0) } else { Sighting::bare(Stance::NothingPosted) };
        let seen = Seen { source: "aws-status".into(), about: "aws".into(), at, sighting };
        door.intake.take(vec![seen]).await.expect("taken");
    }
    assert_eq!(door.entries().await.len(), AN_HOUR);
    assert_eq!(door.take(120, Sighting::failed(Stance::Unreachable, "")).await.published, 1, "and heard again later");
}

#[test]
fn the_board_keeps_ninety_days_and_bounds_everything() {
    let mut claims = Claims::default();
    let claim = |source: &str, at| Claim { source: source.into(), ..bare(at) };
    for day in 0..200 {
        claims.apply(&claim("aws-status", NOON.after(Duration::from_hours(24 * day))));
    }
    let told = claims.told("aws-status", "aws").expect("told");
    let oldest = told.history().next().expect("one").observed_at;
    assert!(told.newest().observed_at.since(oldest) <= HISTORY && told.history().count() > 80);
    for second in 0..1000 {
        claims.apply(&claim("aws-status", NOON.after(Duration::from_hours(24 * 200) + Duration::from_secs(second))));
    }
    assert_eq!(claims.told("aws-status", "aws").expect("told").history().count(), CLAIMS);
    for n in 0..200 {
        claims.apply(&claim(&format!("crowd-{n}"), NOON.after(Duration::from_hours(24 * 300 + n))));
    }
    assert_eq!(claims.all().count(), SOURCES);
    assert!(claims.told("crowd-199", "aws").is_some() && claims.told("aws-status", "aws").is_none());
}

fn bare(at: Timestamp) -> Claim {
    Claim {
        source: "aws-status".into(),
        about: "aws".into(),
        stance: Stance::ReportsProblem,
        since: at,
        observed_at: at,
        posted_at: None,
        text: String::new(),
        link: String::new(),
        regions: Vec::new(),
        reason: String::new(),
        crowd: None,
    }
}

/// AWS in us-east-1, onset at noon, named six minutes later, over after an hour.
fn incident() -> Change {
    let line = r#"{"type":"incident","at":"2025-10-29T13:00:00Z","incident":"inc-1","revision":3,"state":"resolved",
        "verdict":"aws","kind":"","element":"aws/us-east-1","element_kind":"region","confidence":0.98,
        "probabilities":{"aws":0.98,"azure":0.01,"neither":0.01,"none":0.0},"onset_at":"2025-10-29T12:00:00Z",
        "onset_uncertainty_s":20.0,"regions":["aws/us-east-1"],"layer":"dns","failing_groups":4,"total_groups":4,
        "control_failing_groups":0,"headline":"","suspects":[],"evidence":[],"alibis":[],"undetermined_reason":"",
        "superseded_by":"","caveats":[],"opened_at":"2025-10-29T12:02:00Z","attributed_at":"2025-10-29T12:06:00Z",
        "resolved_at":"2025-10-29T13:00:00Z","engine":1}"#;
    serde_json::from_str(line).expect("a change")
}

#[test]
fn the_lead_is_counted_from_onset_and_verdict() {
    let mut claims = Claims::default();
    claims.apply(&Claim { stance: Stance::NothingPosted, ..bare(minute(-600)) });
    assert_eq!(lead(&incident(), &claims), None, "nothing posted");
    claims.apply(&bare(minute(11)));
    let crowd = Some(Crowd { count: 99, baseline: 1, window_s: None });
    claims.apply(&Claim { source: "crowd".into(), about: "azure".into(), crowd, ..bare(minute(-3)) });
    let lead = lead(&incident(), &claims).expect("posted");
    assert_eq!((lead.after_onset_s, lead.after_verdict_s, lead.agrees), (660, Some(300), true));
    let all: Vec<_> = leads(&incident(), &claims).into_iter().map(|lead| (lead.source, lead.after_onset_s)).collect();
    assert_eq!(all, [("crowd".to_owned(), -180), ("aws-status".to_owned(), 660)]);
}

#[test]
fn only_what_may_be_about_the_same_has_a_lead() {
    // Name, minutes of its beginning and of its post, its regions, and the lead.
    type Row<'a> = (&'a str, i64, i64, &'a [&'a str], Option<i64>);
    let rows: [Row<'_>; 7] = [
        ("just before", -110, -110, &[], Some(-6600)),
        ("long before", -130, -130, &[], None),
        ("after the end", 170, 170, &[], Some(10_200)),
        ("long after the end", 190, 190, &[], None),
        ("the same region", 5, 5, &["aws/us-east-1"], Some(300)),
        ("another region", 5, 5, &["aws/eu-west-1"], None),
        ("another problem before, and now this region", -500, 7, &["aws/us-east-1"], Some(420)),
    ];
    for (name, since, posted_at, regions, expected) in rows {
        let mut claims = Claims::default();
        let regions = regions.iter().map(|region| (*region).to_owned()).collect();
        claims.apply(&Claim { posted_at: Some(minute(posted_at)), regions, ..bare(minute(since)) });
        assert_eq!(lead(&incident(), &claims).map(|lead| lead.after_onset_s), expected, "{name}");
    }
}

#[test]
fn sources_have_names_that_people_read() {
    let rows = [("aws-status", "AWS status"), ("crowd", "Crowd"), ("crowd-de", "Crowd (de)"), ("radar", "radar")];
    for (id, expected) in rows {
        assert_eq!(title(id), expected);
    }
}

#[test]
fn a_claim_of_an_earlier_release_is_read() {
    let least = r#"{"claim":{"source":"x","about":"aws","stance":"unreachable","since":"2025-10-29T12:00:00Z","observed_at":"2025-10-29T12:00:00Z"}}"#;
    let read: Published = serde_json::from_str(least).expect("read");
    let expected = Claim { source: "x".into(), stance: Stance::Unreachable, ..bare(NOON) };
    assert_eq!(read, Published::Claim(Box::new(expected)));
}
