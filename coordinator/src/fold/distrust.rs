//! Distrust: what the log comes to without what agents measured from some instant on.
//!
//! It is folded as the running coordinator does, tick by tick, by an engine that was told from the beginning not to count those
//! results; nothing is published, and nothing of the running fold is touched.

use std::collections::BTreeMap;

use faultline_attribution::{AgentId, Change, Engine, Input, Settings, State, Timestamp, World};
use tokio::task;

use super::{CHUNK, Damage, take_in};
use crate::{
    log::{Cursor, LogError, RecordLog},
    observe::Observer,
    record::RecordKind,
};

/// What a log comes to without somebody.
#[derive(Debug)]
pub struct Without {
    incidents: Vec<Change>,
    /// When its first batch was received.
    begins_at: Option<Timestamp>,
}

/// What becomes of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same comes out.
    Holds,
    /// Nothing comes out, or another verdict.
    Falls,
    /// What it rests on is not in the log any more.
    Unjudged,
}

/// Folds a log without what these agents measured from then on. Takes as long as a start without a snapshot does.
///
/// # Errors
///
/// Where the log cannot be read.
pub async fn fold_without(
    log: &dyn RecordLog,
    settings: Settings,
    distrusted: &BTreeMap<AgentId, Timestamp>,
) -> Result<Without, LogError> {
    let mut engine = Engine::new(World::default(), settings);
    for (agent, since) in distrusted {
        engine.apply(&Input::Distrust { agent: agent.clone(), since: *since });
    }
    let (mut observer, mut damage) = (Observer::default(), Damage::default());
    let (mut read, mut waiting, mut begins_at) = (Cursor::START, Vec::new(), None);
    loop {
        let records = log.next(read, CHUNK).await?;
        let Some((last, _)) = records.last() else { break };
        read = *last;
        for (cursor, record) in records {
            if record.kind == RecordKind::Tick {
                take_in(&mut observer, &mut engine, &mut damage, std::mem::take(&mut waiting), |_| {});
                drop(engine.advance(record.received_at));
                continue;
            }
            if record.kind == RecordKind::Batch {
                begins_at.get_or_insert(record.received_at);
            }
            waiting.push((cursor, record));
        }
        task::yield_now().await;
    }
    Ok(Without { incidents: engine.incidents().cloned().collect(), begins_at })
}

/// Whether an incident may rest on what was measured from then on: one that stands, and was not over by then.
pub fn is_touched(change: &Change, since: Timestamp) -> bool {
    let is_over = change.resolved_at.is_some_and(|resolved_at| resolved_at < since);
    change.state != State::Retracted && change.superseded_by.is_empty() && !is_over
}

impl Without {
    /// What becomes of a published incident.
    pub fn judge(&self, published: &Change) -> Verdict {
        if self.begins_at.is_none_or(|begins_at| published.onset_at < begins_at) {
            return Verdict::Unjudged;
        }
        if self.incidents.iter().any(|ours| is_same(ours, published)) { Verdict::Holds } else { Verdict::Falls }
    }
}

/// Whether both accuse the same at the same time, and one is as sure as the other.
fn is_same(ours: &Change, theirs: &Change) -> bool {
    let ends = |change: &Change| change.resolved_at.map_or(i64::MAX, Timestamp::micros);
    let overlap = ours.onset_at.micros() <= ends(theirs) && theirs.onset_at.micros() <= ends(ours);
    let is_sure = ours.attributed_at.is_some() || theirs.attributed_at.is_none();
    let stands = ours.state != State::Retracted;
    overlap && is_sure && stands && (ours.verdict, &ours.element) == (theirs.verdict, &theirs.element)
}
