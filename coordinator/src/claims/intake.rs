//! Intake: the one door for claims. What is news is published in the feed's sequence; the rest refreshes the board.
//!
//! Rules. News is another stance, another post of a problem that goes on (its text, link, regions or time), or a crowd that
//! has doubled or halved. A source publishes at most [`AN_HOUR`] claims about one party within an hour: what comes beyond
//! waits, and the newest is published when there is room. What was seen before what is held is not taken. A claim goes to
//! the log of changes and the board; no record of the log is written.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use faultline_attribution::Timestamp;

use super::{Claim, Crowd, Sighting, Stance, Told};
use crate::{
    feed::{Hub, Published},
    log::LogError,
};

/// Claims that a source may publish about one party within an hour.
pub const AN_HOUR: usize = 60;

/// What was seen of a source about a party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who says it.
    pub source: String,
    /// Of whom.
    pub about: String,
    /// When it was seen; for a crowd, the end of its window.
    pub at: Timestamp,
    /// What.
    pub sighting: Sighting,
}

/// What became of what was handed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Taken {
    /// How many were news, and published.
    pub published: usize,
    /// How many said what is known.
    pub known: usize,
    /// How many were seen before what is held, and were not taken.
    pub older: usize,
}

/// The door.
pub struct Intake {
    hub: Arc<Hub>,
}

/// What a sighting is, beside what is held.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Is {
    News(Box<Claim>),
    Known,
    Older,
}

impl Intake {
    /// The door of a hub.
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// The coordinator's time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.hub.clock().now_micros())
    }

    /// Takes in what was seen, in order. Returns once what is news is durable and on the board.
    pub async fn take(&self, seen: Vec<Seen>) -> Result<Taken, LogError> {
        let turn = self.hub.turn().await;
        let mut taken = Taken::default();
        let mut news: Vec<Claim> = Vec::new();
        {
            let board = self.hub.board();
            // The place of each party's last news among them, and how many it had.
            let mut fresh: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
            for seen in &seen {
                let key = (seen.source.as_str(), seen.about.as_str());
                let told = board.claims.told(key.0, key.1);
                let (last, had) = fresh.get(&key).map_or((None, 0), |(place, had)| (news.get(*place), *had));
                match is(last.or(told.map(Told::newest)), told, had, seen) {
                    Is::News(claim) => {
                        fresh.insert(key, (news.len(), had + 1));
                        news.push(*claim);
                        taken.published += 1;
                    }
                    Is::Known => taken.known += 1,
                    Is::Older => taken.older += 1,
                }
            }
        }
        if !news.is_empty() {
            let changes = news.into_iter().map(|claim| Published::Claim(Box::new(claim))).collect();
            self.hub.publish_in_turn(&turn, changes, self.now()).await?;
        }
        let mut board = self.hub.board();
        for Seen { source, about, at, sighting } in &seen {
            board.claims.checked(source, about, *at, sighting.crowd);
        }
        Ok(taken)
    }
}

/// What a sighting is; `held` is the newest claim about its party, and `had` how many were taken just before.
fn is(held: Option<&Claim>, told: Option<&Told>, had: usize, seen: &Seen) -> Is {
    let Some(held) = held else { return Is::News(Box::new(claim(None, seen))) };
    let newest = told.and_then(|told| told.checked_at).max(Some(held.observed_at));
    if newest.is_some_and(|newest| seen.at < newest) {
        return Is::Older;
    }
    let published = told.map_or(0, |told| told.published_after(seen.at.before(Duration::from_hours(1)))) + had;
    if !is_news(held, &seen.sighting) || published >= AN_HOUR {
        return Is::Known;
    }
    Is::News(Box::new(claim(Some(held), seen)))
}

fn is_news(held: &Claim, seen: &Sighting) -> bool {
    if held.stance != seen.stance {
        return true;
    }
    if seen.stance != Stance::ReportsProblem {
        return false;
    }
    match (held.crowd, seen.crowd) {
        (Some(held), Some(seen)) => has_moved(held, seen),
        _ => {
            (&held.text, &held.link, &held.regions, held.posted_at)
                != (&seen.text, &seen.link, &seen.regions, seen.posted_at)
        }
    }
}

/// Whether a crowd has doubled or halved.
fn has_moved(held: Crowd, seen: Crowd) -> bool {
    let (low, high) = (held.count.min(seen.count), held.count.max(seen.count));
    high > 0 && high / 2 >= low
}

/// The claim that a sighting makes. A stance that goes on keeps its beginning.
fn claim(held: Option<&Claim>, Seen { source, about, at, sighting }: &Seen) -> Claim {
    let began = sighting.since.filter(|since| since <= at).unwrap_or(*at);
    let since = held.filter(|held| held.stance == sighting.stance).map_or(began, |held| held.since.min(began));
    Claim {
        source: source.clone(),
        about: about.clone(),
        stance: sighting.stance,
        since,
        observed_at: *at,
        posted_at: sighting.posted_at,
        text: sighting.text.clone(),
        link: sighting.link.clone(),
        regions: sighting.regions.clone(),
        reason: sighting.reason.clone(),
        crowd: sighting.crowd,
    }
}
