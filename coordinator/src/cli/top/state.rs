//! What `faultline top` holds: the picture as the feed tells it, and where the user looks. Time and keys are arguments.
//!
//! Rules: after three bookmarks without a word the picture is stale, and nothing in it counts as well; what is held is bounded:
//! incidents that ended a day ago leave, and beyond what a screen can show the oldest incidents and new cells are left out.

mod keys;

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use faultline_proto::{
    convert,
    feed::v1::{Snapshot, feed_event::Change},
    types::v1::{Cell, CellState, Incident, Layer, Verdict, Visibility},
};

pub(super) use self::keys::{Flow, Key};
use crate::cli::{follow::News, subscriber};

/// Incidents that ended longer ago than this leave the screen, as they leave the snapshot.
const RECENT_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// Incidents, and rows of the matrix, that are held at most.
pub(super) const MOST: usize = 2_000;

/// What is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Open {
    /// Incidents and matrix.
    #[default]
    Board,
    /// One incident.
    Detail(String),
    /// The keys.
    Help,
}

/// The pane that arrows move in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    /// The incidents.
    #[default]
    Incidents,
    /// The matrix.
    Matrix,
}

/// How it stands with the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing has come yet.
    Connecting,
    /// The picture is of now.
    Live,
    /// No word for so long; the picture is of the past.
    Stale(Duration),
}

/// A row of the matrix.
pub(super) struct Row<'a> {
    /// `aws/us-east-1`.
    pub(super) name: &'a str,
    /// By layer: dns, connect, tls, http; `None` where nothing is probed.
    pub(super) states: [Option<CellState>; 4],
    /// Most vantage groups that see a layer of it fail, and of how many.
    pub(super) failing: (u32, u32),
}

/// The picture and where the user looks.
pub(super) struct State {
    /// Where the feed is.
    pub(super) feed: String,
    /// What happened to the stream last, while it is broken.
    pub(super) trouble: Option<String>,
    /// How well we see.
    pub(super) visibility: Visibility,
    /// What whoever runs the coordinator should know.
    pub(super) notices: Vec<String>,
    /// The coordinator's clock, as of the last word.
    pub(super) server_micros: i64,
    /// What is open.
    pub(super) open: Open,
    /// The pane that arrows move in.
    pub(super) pane: Pane,
    /// What rows must hold.
    pub(super) filter: String,
    /// Whether keys go to the filter.
    pub(super) is_typing: bool,
    /// Rows that the open detail is scrolled by.
    pub(super) scroll: usize,
    /// Selected incident, and first row of the matrix.
    pub(super) selected: usize,
    /// The first row of the matrix that is shown.
    pub(super) first_row: usize,
    stale_after: Duration,
    heard_at: Option<Duration>,
    incidents: BTreeMap<String, Incident>,
    cells: BTreeMap<String, [Option<Cell>; 4]>,
}

impl State {
    /// Nothing known of this feed, which gives a bookmark so often.
    pub(super) fn new(feed: &str, bookmarks: Duration) -> Self {
        Self {
            feed: feed.to_owned(),
            trouble: None,
            visibility: Visibility { below_quorum: true, reason: "connecting".into(), ..Visibility::default() },
            notices: Vec::new(),
            server_micros: 0,
            open: Open::Board,
            pane: Pane::default(),
            filter: String::new(),
            is_typing: false,
            scroll: 0,
            selected: 0,
            first_row: 0,
            stale_after: 3 * bookmarks,
            heard_at: None,
            incidents: BTreeMap::new(),
            cells: BTreeMap::new(),
        }
    }

    /// Takes in what the feed says, at that time since the beginning.
    pub(super) fn take(&mut self, news: News, now: Duration) {
        match news {
            News::Trouble { why, .. } => {
                self.trouble = Some(why);
                return;
            }
            News::Snapshot(snapshot) => self.replace(snapshot),
            News::Event(event, _) => {
                self.hear(event.published_at.as_ref());
                match event.change {
                    Some(Change::Incident(incident)) => self.incident(incident),
                    Some(Change::Cell(cell)) => self.cell(cell),
                    Some(Change::Visibility(visibility)) => self.visibility = visibility,
                    Some(Change::Claim(_) | Change::Work(_)) | None => {}
                }
            }
            News::Bookmark(bookmark) => {
                self.hear(bookmark.server_time.as_ref());
                if let Some(visibility) = bookmark.visibility {
                    self.visibility = visibility;
                }
            }
        }
        self.trouble = None;
        self.heard_at = Some(now);
        self.forget();
    }

    fn replace(&mut self, snapshot: Snapshot) {
        self.incidents.clear();
        self.cells.clear();
        self.notices = snapshot.notices;
        self.visibility = snapshot.visibility.unwrap_or_default();
        let through = self.visibility.evaluated_through;
        self.hear(through.as_ref());
        for incident in snapshot.incidents {
            self.incident(incident);
        }
        for cell in snapshot.cells {
            self.cell(cell);
        }
    }

    fn hear(&mut self, at: Option<&prost_types::Timestamp>) {
        self.server_micros = self.server_micros.max(convert::micros(at).unwrap_or_default());
    }

    fn incident(&mut self, incident: Incident) {
        let held = self.incidents.get(&incident.incident).map_or(0, |held| held.revision);
        if incident.revision >= held {
            self.incidents.insert(incident.incident.clone(), incident);
        }
        if self.incidents.len() > MOST {
            // Ids begin with the time of their first publication.
            self.incidents.pop_first();
        }
    }

    fn cell(&mut self, cell: Cell) {
        let column = match cell.layer() {
            Layer::Dns => 0,
            Layer::Connect => 1,
            Layer::Tls => 2,
            Layer::Http => 3,
            Layer::Unspecified => return,
        };
        let name = format!("{}/{}", cell.provider, cell.region);
        if self.cells.len() < MOST || self.cells.contains_key(&name) {
            self.cells.entry(name).or_default()[column] = Some(cell);
        }
    }

    fn forget(&mut self) {
        let now = self.server_micros;
        self.incidents.retain(|_, incident| {
            let ended = convert::micros(incident.resolved_at.as_ref());
            subscriber::is_open(incident) || ended.is_none_or(|ended| now.saturating_sub(ended) <= RECENT_MICROS)
        });
    }

    /// How it stands with the stream at that time.
    pub(super) fn link(&self, now: Duration) -> Link {
        match self.heard_at.map(|heard| now.saturating_sub(heard)) {
            None => Link::Connecting,
            Some(silence) if silence > self.stale_after => Link::Stale(silence),
            Some(_) => Link::Live,
        }
    }

    /// Incidents that the filter lets through: those that go on first, accused before suspected, then the newest.
    pub(super) fn incidents(&self) -> Vec<&Incident> {
        let has = |incident: &&Incident| {
            self.lets(&[&incident.incident, &incident.element, &incident.headline, subscriber::verdict(incident)])
        };
        let mut incidents: Vec<&Incident> = self.incidents.values().filter(has).collect();
        incidents.sort_by(|a, b| urgency(a).cmp(&urgency(b)).then_with(|| a.incident.cmp(&b.incident)));
        incidents
    }

    /// Incidents that go on, filter or not, accused before suspected.
    pub(super) fn incidents_that_go_on(&self) -> Vec<&Incident> {
        let mut open: Vec<&Incident> =
            self.incidents.values().filter(|incident| subscriber::is_open(incident)).collect();
        open.sort_by_key(|incident| urgency(incident));
        open
    }

    /// Rows of the matrix that the filter lets through, the worst first. Nothing is ok while we cannot see.
    pub(super) fn rows(&self, now: Duration) -> Vec<Row<'_>> {
        let is_blind = self.visibility.below_quorum || self.link(now) != Link::Live;
        let rows = self.cells.iter().filter(|(name, _)| self.lets(&[name])).map(|(name, cells)| {
            let shown = |cell: &Cell| match cell.state() {
                CellState::Ok if is_blind => CellState::NoData,
                CellState::Unspecified => CellState::NoData,
                state => state,
            };
            let failing = cells.iter().flatten().map(|cell| (cell.failing_groups, cell.total_groups)).max();
            Row {
                name,
                states: cells.each_ref().map(|cell| cell.as_ref().map(shown)),
                failing: failing.unwrap_or_default(),
            }
        });
        let mut rows: Vec<Row<'_>> = rows.collect();
        rows.sort_by_key(|row| {
            let worst = row.states.iter().flatten().map(|state| severity(*state)).max().unwrap_or_default();
            let so_many = row.states.iter().flatten().filter(|state| severity(**state) == worst).count();
            (Reverse(worst), Reverse(so_many), Reverse(row.failing.0), row.name)
        });
        rows
    }

    /// The incident that is open in detail.
    pub(super) fn detail(&self) -> Option<&Incident> {
        match &self.open {
            Open::Detail(incident) => self.incidents.get(incident),
            Open::Board | Open::Help => None,
        }
    }

    fn lets(&self, words: &[&str]) -> bool {
        let filter = self.filter.to_lowercase();
        filter.is_empty() || words.iter().any(|word| word.to_lowercase().contains(&filter))
    }
}

/// What goes on comes before what ended, who is accused before what is suspected, the newest first.
fn urgency(incident: &Incident) -> (bool, bool, Reverse<Option<i64>>) {
    let opened = convert::micros(incident.opened_at.as_ref());
    (!subscriber::is_open(incident), !is_accused(incident), Reverse(opened))
}

/// Whether somebody is named.
pub(super) fn is_accused(incident: &Incident) -> bool {
    !matches!(incident.verdict(), Verdict::Undetermined | Verdict::Unspecified)
}

/// How much a state deserves a look.
pub(super) const fn severity(state: CellState) -> u8 {
    match state {
        CellState::Ok => 0,
        CellState::NoData | CellState::Unspecified => 1,
        CellState::Degraded => 2,
        CellState::Failing => 3,
    }
}
