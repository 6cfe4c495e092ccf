//! The board: the current picture, as published. A fold over published changes, nothing else.

pub mod spells;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use faultline_attribution::{CellChange, Change, IncidentId, Layer, State, Timestamp, Verdict, Visibility};

use self::spells::Spells;
use crate::{claims::Claims, feed::Published, fold::Damage, log::Entry, work::Plan};

/// Incidents that ended longer ago than this leave the snapshot (they stay in the history).
const RECENT: Duration = Duration::from_hours(24);

/// Revisions kept of one incident: the first, and the newest up to this many.
const REVISIONS: usize = 200;

/// The current picture.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// Identity of the feed.
    pub feed_id: String,
    /// Place of the newest change.
    pub sequence: u64,
    /// How well we see, as of the last tick.
    pub visibility: Visibility,
    /// What the log could not give back; refreshed at each tick.
    pub damage: Damage,
    /// Since when the log cannot be written, if it cannot: then nothing new is evaluated.
    pub full_since: Option<Timestamp>,
    /// What whoever runs this should know, a sentence each; refreshed at each tick.
    pub notices: Vec<String>,
    /// What others say: shown, and no input to anything. When each was last checked is refreshed.
    pub claims: Claims,
    /// What operators plan to work on: shown, and no input to anything.
    pub work: Plan,
    spells: Spells,
    /// What is wrong with webhooks, by name; kept by [`crate::webhook`].
    pub webhooks: BTreeMap<String, String>,
    incidents: BTreeMap<IncidentId, VecDeque<Change>>,
    cells: BTreeMap<(String, String, Layer), CellChange>,
    newest: BTreeMap<Subject, (u64, Timestamp)>,
}

/// What a change is of: a later one of the same replaces it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Incident(IncidentId),
    Cell(String, String, Layer),
    Visibility,
    Claim(String, String),
    Work(String),
}

impl Subject {
    fn of(published: &Published) -> Self {
        match published {
            Published::Incident(change) => Self::Incident(change.incident.clone()),
            Published::Cell(cell) => Self::Cell(cell.provider.clone(), cell.region.clone(), cell.layer),
            Published::Visibility(_) => Self::Visibility,
            Published::Claim(claim) => Self::Claim(claim.source.clone(), claim.about.clone()),
            Published::Work(work) => Self::Work(work.id.clone()),
        }
    }
}

/// What a look at the board comes to: also the exit codes of `faultline status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is attributed.
    Quiet = 0,
    /// Something is suspected.
    Suspected = 1,
    /// Somebody is named.
    Attributed = 2,
    /// We cannot see.
    Blind = 3,
}

impl Standing {
    /// The word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Suspected => "suspected",
            Self::Attributed => "attributed",
            Self::Blind => "blind",
        }
    }
}

impl Board {
    /// An empty board of a feed.
    pub fn new(feed_id: String) -> Self {
        Self {
            feed_id,
            visibility: Visibility { below_quorum: true, reason: "starting".into(), ..Visibility::default() },
            ..Self::default()
        }
    }

    /// Takes published changes in, in order.
    pub fn apply_all(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.apply(entry);
        }
    }

    /// Takes a published change in.
    pub fn apply(&mut self, entry: &Entry) {
        self.sequence = entry.sequence;
        self.newest.insert(Subject::of(&entry.published), (entry.sequence, entry.published_at));
        self.spells.begin(entry.published_at);
        match &entry.published {
            Published::Incident(change) => {
                let revisions = self.incidents.entry(change.incident.clone()).or_default();
                revisions.push_back((**change).clone());
                if revisions.len() > REVISIONS {
                    revisions.remove(1);
                }
            }
            Published::Cell(cell) => {
                self.cells.insert((cell.provider.clone(), cell.region.clone(), cell.layer), cell.clone());
            }
            Published::Visibility(visibility) => {
                self.spells.take(entry.published_at, visibility.below_quorum);
                self.visibility = visibility.clone();
            }
            Published::Claim(claim) => self.claims.apply(claim),
            Published::Work(work) => self.work.apply(work, entry.published_at),
        }
    }

    /// The newest change of everything that changed after this place, in order, each with its place and when it was
    /// published.
    pub fn newest_after(&self, sequence: u64) -> Vec<(u64, Timestamp, Published)> {
        let newer = self.newest.iter().filter(|(_, (newest, _))| *newest > sequence);
        let mut newest: Vec<_> =
            newer.filter_map(|(subject, (place, at))| Some((*place, *at, self.state_of(subject)?))).collect();
        newest.sort_by_key(|(place, ..)| *place);
        newest
    }

    fn state_of(&self, subject: &Subject) -> Option<Published> {
        match subject {
            Subject::Incident(id) => {
                self.incidents.get(id)?.back().map(|change| Published::Incident(Box::new(change.clone())))
            }
            Subject::Cell(provider, region, layer) => {
                self.cells.get(&(provider.clone(), region.clone(), *layer)).map(|cell| Published::Cell(cell.clone()))
            }
            Subject::Visibility => Some(Published::Visibility(self.visibility.clone())),
            Subject::Claim(source, about) => {
                let told = self.claims.told(source, about)?;
                Some(Published::Claim(Box::new(told.newest().clone())))
            }
            Subject::Work(id) => self.work.get(id).map(|work| Published::Work(Box::new(work.clone()))),
        }
    }

    /// How well we see: nothing new, while the log cannot be written.
    pub fn sight(&self) -> Visibility {
        let Some(since) = self.full_since else { return self.visibility.clone() };
        let reason = format!("the coordinator's log cannot be written since {since}: make room on its disk");
        Visibility { below_quorum: true, reason, ..self.visibility.clone() }
    }

    /// What whoever runs this should know: agents that lost results, webhooks that do not arrive, and damage in the log,
    /// without which verdicts stand, but on less.
    pub fn all_notices(&self) -> Vec<String> {
        let Damage { records, last } = &self.damage;
        let damage = last.iter().map(|(cursor, why)| {
            format!("records of the log that are damaged and left out: {records}, the last at {cursor} ({why})")
        });
        damage.chain(self.notices.iter().cloned()).chain(self.webhooks.values().cloned()).collect()
    }

    /// The newest revision of every incident, newest incident first.
    pub fn incidents(&self) -> impl Iterator<Item = &Change> {
        let mut newest: Vec<&Change> = self.incidents.values().filter_map(VecDeque::back).collect();
        newest.sort_by(|a, b| (b.opened_at, &b.incident).cmp(&(a.opened_at, &a.incident)));
        newest.into_iter()
    }

    /// Incidents that go on, accused before suspected.
    pub fn open(&self) -> Vec<&Change> {
        let mut open: Vec<&Change> = self.incidents().filter(|change| change.state.is_open()).collect();
        open.sort_by_key(|change| change.state == State::Suspected);
        open
    }

    /// Incidents that go on or ended lately.
    pub fn recent(&self, now: Timestamp) -> impl Iterator<Item = &Change> {
        self.incidents().filter(move |change| {
            change.state.is_open() || change.resolved_at.is_some_and(|at| now.since(at) <= RECENT)
        })
    }

    /// Every revision of an incident that is kept, oldest first.
    pub fn revisions(&self, incident: &IncidentId) -> Option<&VecDeque<Change>> {
        self.incidents.get(incident)
    }

    /// When nothing could be seen.
    pub fn spells(&self) -> &Spells {
        &self.spells
    }

    /// The matrix, in order.
    pub fn cells(&self) -> impl Iterator<Item = &CellChange> {
        self.cells.values()
    }

    /// What it all comes to.
    pub fn standing(&self) -> Standing {
        let is_blind = self.visibility.below_quorum || self.full_since.is_some();
        let mut open = self.incidents().filter(|change| change.state.is_open()).peekable();
        if open.peek().is_none() {
            return if is_blind { Standing::Blind } else { Standing::Quiet };
        }
        if open.any(|change| change.verdict != Verdict::Undetermined) {
            Standing::Attributed
        } else if is_blind {
            Standing::Blind
        } else {
            Standing::Suspected
        }
    }
}
