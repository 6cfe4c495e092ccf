//! The picture that a copy of the page is made of: of a feed, or of a data directory.

use std::path::Path;

use faultline_attribution::{SessionState, Timestamp, Vantage};
use faultline_proto::{
    clock::Clock,
    convert::micros,
    feed::v1::{
        FeedEvent, GetSnapshotRequest, ResumeAfter, SubscribeRequest, feed_event, subscribe_request::Start,
        subscribe_response::Message,
    },
};

use super::super::{FeedAddress, Usage, subscriber};
use crate::{
    board::Board,
    feed::{Published, convert},
    ingest::{AgentView, Told},
    log::{Cursor, Entry, sqlite::SqliteReader},
    observe::{Observer, lost::Lost},
    registry::standing::Standing,
};

/// Changes read from a log at once.
const CHUNK: usize = 1000;

/// What a copy is made of.
pub(super) struct Picture {
    pub(super) board: Board,
    /// `None` where they are not told.
    pub(super) agents: Option<Vec<AgentView>>,
    /// When it was taken.
    pub(super) at: Timestamp,
}

/// The board that a log holds, as it was published.
pub(in crate::cli) fn board(log: &SqliteReader) -> anyhow::Result<Board> {
    let mut board = Board::new(log.feed_id()?);
    loop {
        let entries = log.changes(board.sequence, CHUNK)?;
        if entries.is_empty() {
            return Ok(board);
        }
        board.apply_all(&entries);
    }
}

/// The picture that a data directory holds, as of its last tick.
pub(super) fn of_log(data: &Path) -> anyhow::Result<Picture> {
    if !data.join("log.sqlite").is_file() {
        return Err(Usage(format!("--data-dir {}: no log there", data.display())).into());
    }
    let log = SqliteReader::open(data)?;
    let mut board = board(&log)?;
    let mut observer = Observer::default();
    for (_, record) in log.own(log.upkeep()?.last)? {
        // One that cannot be read says nothing of an agent: `faultline log check` names it.
        drop(observer.observe(&record));
    }
    let through = log.newest()?.unwrap_or(board.visibility.evaluated_through);
    board.visibility.evaluated_through = through;
    let agents = observer.vantages().iter().map(|(agent, vantage)| {
        let state = observer.sessions().get(agent).copied().unwrap_or(SessionState::Goodbye);
        let standing = observer.standings().get(agent).cloned().unwrap_or_else(|| Standing::active(through));
        AgentView { standing, ..seen(agent.as_str(), vantage, state, through) }
    });
    let agents = Some(agents.collect());
    Ok(Picture { board, agents, at: Timestamp::from_micros(Clock::system().now_micros()) })
}

/// An agent, as far as a log tells.
fn seen(agent: &str, vantage: &Vantage, state: SessionState, heard_at: Timestamp) -> AgentView {
    AgentView {
        agent: agent.into(),
        vantage: Some(vantage.clone()),
        state,
        heard_at,
        told: Told::default(),
        lost: Lost::default(),
        standing: Standing::active(heard_at),
    }
}

/// The picture that a feed shows, by its coordinator's clock: every change that it ever published, then how it sees now.
pub(super) async fn of_feed(feed: &FeedAddress) -> anyhow::Result<Picture> {
    let mut client = subscriber::connect(feed).await?;
    let answer = client.get_snapshot(GetSnapshotRequest::default()).await?.into_inner();
    let snapshot =
        answer.snapshot.ok_or_else(|| anyhow::anyhow!("the coordinator at {} sent no snapshot", feed.feed))?;
    let mut board = Board::new(snapshot.feed_id.clone());
    board.notices = snapshot.notices;
    let request = SubscribeRequest {
        start: Some(Start::ResumeAfter(ResumeAfter { feed_id: snapshot.feed_id, sequence: 0 })),
        client_name: "faultline page export".into(),
        ..SubscribeRequest::default()
    };
    let mut stream = client.subscribe(request).await?.into_inner();
    while let Some(response) = stream.message().await? {
        match response.message {
            Some(Message::Event(event)) => {
                if let Some(entry) = entry(response.sequence, &event) {
                    board.apply(&entry);
                }
            }
            Some(Message::Bookmark(bookmark)) => {
                let sight = bookmark.visibility.as_ref().and_then(convert::sight);
                let (Some(at), Some(sight)) = (micros(bookmark.server_time.as_ref()), sight) else { break };
                board.visibility = sight;
                return Ok(Picture { board, agents: None, at: Timestamp::from_micros(at) });
            }
            Some(Message::Closing(closing)) => {
                anyhow::bail!("the coordinator at {} closes: {}", feed.feed, closing.reason)
            }
            _ => {}
        }
    }
    anyhow::bail!("the coordinator at {} ended the stream before all of it was there", feed.feed)
}

/// A published change; `None` for one of a later build.
fn entry(sequence: u64, event: &FeedEvent) -> Option<Entry> {
    let published = match event.change.as_ref()? {
        feed_event::Change::Incident(incident) => Published::Incident(Box::new(convert::change(incident)?)),
        feed_event::Change::Cell(cell) => Published::Cell(convert::cell_change(cell)?),
        feed_event::Change::Visibility(visibility) => Published::Visibility(convert::sight(visibility)?),
        feed_event::Change::Claim(claim) => Published::Claim(Box::new(convert::claimed(claim)?)),
        feed_event::Change::Work(work) => Published::Work(Box::new(convert::planned(work)?)),
    };
    let published_at = Timestamp::from_micros(micros(event.published_at.as_ref())?);
    Some(Entry { sequence, tick: Cursor::START, published_at, published })
}
