//! The stream's rules, with a real log beneath and no socket between.

use faultline_attribution::{CellChange, CellState, Change, Layer, State, Visibility};
use faultline_proto::{
    clock::Clock,
    feed::v1::{ChangeKind, FromNow, FromSnapshot, feed_event::Change as Told, subscribe_response::Message},
    types::v1::Verdict,
};
use tempfile::TempDir;
use tonic_types::StatusExt as _;

use super::*;
use crate::{
    access::{Peer, Policy},
    board::Board,
    feed::{Published, filter::tests::incident},
    log::{ChangeLog, Cursor, sqlite::SqliteLog},
};

struct Desk {
    _data: TempDir,
    hub: Arc<Hub>,
    feed: Feed,
}

impl Desk {
    fn new() -> Self {
        let data = tempfile::tempdir().expect("dir");
        let log = Arc::new(SqliteLog::open(data.path()).expect("log"));
        let hub = Arc::new(Hub::new(Board::new(log.feed_id()), log, Clock::system()));
        let access = Access::new(&Policy::default(), data.path(), Clock::system());
        let feed = Feed::new(Arc::clone(&hub), Arc::new(access), CancellationToken::new());
        Self { _data: data, hub, feed }
    }

    async fn publish(&self, changes: Vec<Published>) {
        let entries = self.hub.changes().publish(Cursor::nth(1), Timestamp::default(), changes).await.expect("stored");
        self.hub.publish(entries);
    }

    async fn subscribe(&self, start: Start, change: impl FnOnce(&mut SubscribeRequest)) -> Reader {
        let mut request = SubscribeRequest { start: Some(start), ..SubscribeRequest::default() };
        change(&mut request);
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), is_private: true };
        let mut request = Request::new(request);
        request.extensions_mut().insert(self.feed.access.admit(peer, None).expect("anonymous"));
        let answer = self.feed.subscribe(request).await.expect("subscribed");
        Reader { stream: answer.into_inner(), held: None }
    }

    fn after(&self, sequence: u64) -> Start {
        Start::ResumeAfter(ResumeAfter { feed_id: self.hub.board().feed_id.clone(), sequence })
    }
}

/// A subscriber who checks the arithmetic of every message.
struct Reader {
    stream: <Feed as FeedService>::SubscribeStream,
    held: Option<u64>,
}

impl Reader {
    async fn next(&mut self) -> Result<Message, Status> {
        let answer = self.stream.next().await.expect("not the end")?;
        if let Some(held) = self.held.filter(|_| !matches!(answer.message, Some(Message::Snapshot(_)))) {
            assert_eq!(answer.prev_sequence, held, "nothing was lost: {answer:?}");
        }
        self.held = Some(answer.sequence);
        Ok(answer.message.expect("content"))
    }

    /// Changes up to the next bookmark.
    async fn changes(&mut self) -> Vec<Told> {
        let mut changes = Vec::new();
        loop {
            match self.next().await.expect("no refusal") {
                Message::Event(event) => changes.extend(event.change),
                Message::Bookmark(_) => return changes,
                Message::Snapshot(_) | Message::Gap(_) => {}
                Message::Closing(closing) => panic!("{closing:?}"),
            }
        }
    }
}

fn cell(region: &str, failing: u32) -> Published {
    Published::Cell(CellChange {
        provider: "aws".into(),
        region: region.into(),
        layer: Layer::Dns,
        state: CellState::Failing,
        failing_groups: failing,
        total_groups: failing,
        changed_at: Timestamp::default(),
    })
}

fn revision(revision: u64, verdict: faultline_attribution::Verdict) -> Published {
    Published::Incident(Box::new(Change { verdict, ..incident(revision, State::Attributed) }))
}

fn only_aws(request: &mut SubscribeRequest) {
    let verdicts = vec![Verdict::Aws as i32];
    request.filter = Some(FeedFilter { verdicts, kinds: vec![ChangeKind::Incident as i32], ..FeedFilter::default() });
}

fn revisions(changes: &[Told]) -> Vec<u64> {
    let of = |change: &Told| if let Told::Incident(incident) = change { Some(incident.revision) } else { None };
    changes.iter().filter_map(of).collect()
}

#[tokio::test]
async fn a_filtered_stream_that_resumes_anywhere_hears_the_same() {
    use faultline_attribution::Verdict::{Aws, Neither, Undetermined};
    let desk = Desk::new();
    let story = [revision(1, Undetermined), cell("a", 1), revision(2, Aws), cell("a", 2), revision(3, Neither)];
    desk.publish(story.into()).await;
    // Revision 3 is told to whoever heard of 2, although it is no longer about AWS.
    for (after, told) in [(0, vec![2, 3]), (1, vec![2, 3]), (2, vec![2, 3]), (3, vec![3]), (4, vec![3]), (5, vec![])] {
        let mut reader = desk.subscribe(desk.after(after), only_aws).await;
        reader.held = Some(after);
        assert_eq!(revisions(&reader.changes().await), told, "after {after}");
        assert_eq!(reader.held, Some(5), "the bookmark goes past what the filter held back");
    }
    let mut reader = desk.subscribe(Start::FromSnapshot(FromSnapshot {}), only_aws).await;
    let Message::Snapshot(snapshot) = reader.next().await.expect("snapshot") else { panic!("a snapshot comes first") };
    assert_eq!((snapshot.incidents.len(), snapshot.cells.len()), (1, 0));
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_cut_off_with_a_place_to_resume_from() {
    let desk = Desk::new();
    let mut reader = desk.subscribe(Start::FromNow(FromNow {}), |_| {}).await;
    assert!(reader.changes().await.is_empty());
    desk.publish((0..6000).map(|n| cell("a", n)).collect()).await;
    let mut told = 0;
    let refusal = loop {
        match reader.next().await {
            Ok(Message::Event(_)) => told += 1,
            Ok(Message::Closing(closing)) => assert_eq!(closing.reason, "SLOW_CONSUMER"),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => break refusal,
        }
    };
    let info = refusal.get_details_error_info().expect("info");
    assert_eq!((refusal.code(), info.reason.as_str()), (Code::ResourceExhausted, "SLOW_CONSUMER"));
    assert!(refusal.get_details_retry_info().expect("a pause").retry_delay.is_some());
    assert_eq!(info.metadata["sequence"], told.to_string());
    let mut resumed = desk.subscribe(desk.after(told), |_| {}).await;
    assert_eq!(resumed.changes().await.len() as u64, 6000 - told);
}

#[tokio::test]
async fn a_slow_reader_that_asked_for_it_gets_the_newest_state_and_hears_of_the_gap() {
    let desk = Desk::new();
    let coalesce = |request: &mut SubscribeRequest| request.slow_policy = SlowPolicy::Coalesce as i32;
    let mut reader = desk.subscribe(Start::FromNow(FromNow {}), coalesce).await;
    assert!(reader.changes().await.is_empty());
    let mut flood: Vec<Published> = (0..6000).map(|n| cell(["a", "b"][n as usize % 2], n)).collect();
    flood.insert(10, revision(1, faultline_attribution::Verdict::Aws));
    flood.push(Published::Visibility(Visibility { live_groups: 7, ..Visibility::default() }));
    desk.publish(flood).await;
    let mut has_gap = false;
    let mut newest = Vec::new();
    while newest.len() < 4 {
        match reader.next().await.expect("it goes on") {
            Message::Gap(gap) => {
                assert_eq!(gap.through, 6002);
                has_gap = true;
            }
            Message::Event(event) if has_gap => newest.extend(event.change),
            Message::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let told = |change: &Told| match change {
        Told::Incident(incident) => format!("incident {}", incident.revision),
        Told::Cell(cell) => format!("{} {}", cell.region, cell.failing_groups),
        Told::Visibility(sight) => format!("{} groups", sight.live_groups),
        Told::Claim(claim) => claim.source.clone(),
        Told::Work(work) => work.id.clone(),
    };
    assert_eq!(newest.iter().map(told).collect::<Vec<_>>(), ["incident 1", "a 5998", "b 5999", "7 groups"]);
    desk.publish(vec![cell("a", 9)]).await;
    assert!(matches!(reader.next().await.expect("live"), Message::Event(_)));
}

#[tokio::test]
async fn a_field_that_is_wrong_is_named() {
    let desk = Desk::new();
    let filter = Some(FeedFilter { verdicts: vec![77], ..FeedFilter::default() });
    let request = GetSnapshotRequest { filter: filter.clone() };
    let refusals = [
        desk.feed.get_snapshot(Request::new(request)).await.expect_err("refused"),
        desk.feed
            .list_incidents(Request::new(ListIncidentsRequest { filter, ..ListIncidentsRequest::default() }))
            .await
            .expect_err("refused"),
    ];
    for refusal in refusals {
        assert_eq!(refusal.code(), Code::InvalidArgument);
        assert_eq!(refusal.get_details_error_info().expect("info").reason, "FILTER_INVALID");
        let wrong = refusal.get_details_bad_request().expect("a field").field_violations;
        assert_eq!(
            (wrong[0].field.as_str(), wrong[0].description.as_str()),
            ("filter.verdicts[0]", "77 is no verdict")
        );
    }
}

#[tokio::test]
async fn a_list_is_whole_over_its_pages_under_a_filter() {
    use faultline_attribution::Verdict::{Aws, Azure};
    let desk = Desk::new();
    let numbered = |n: u32| {
        let verdict = if n.is_multiple_of(2) { Aws } else { Azure };
        let incident = IncidentId::new(Timestamp::default(), n);
        Published::Incident(Box::new(Change {
            incident,
            verdict,
            ..crate::feed::filter::tests::incident(1, State::Attributed)
        }))
    };
    desk.publish((0..21).map(numbered).collect()).await;
    let filter = Some(FeedFilter { verdicts: vec![Verdict::Aws as i32], ..FeedFilter::default() });
    let (mut listed, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = ListIncidentsRequest { page_size: 3, page_token, filter: filter.clone() };
        let answer = desk.feed.list_incidents(Request::new(request)).await.expect("a page").into_inner();
        listed.extend(answer.incidents.into_iter().map(|incident| incident.incident));
        page_token = answer.next_page_token;
        pages += 1;
        if page_token.is_empty() {
            break;
        }
    }
    let distinct: std::collections::BTreeSet<_> = listed.iter().collect();
    assert_eq!((listed.len(), distinct.len(), pages), (11, 11, 4));
}
