//! Looking again: which verdicts of the past do not hold without what agents measured that are not trusted any more.
//!
//! Rules: the log is folded again from its beginning, beside the running fold, without what any agent measured since it is not
//! trusted; one fold at a time, which stands for everybody who asked before it began. An incident that comes out accusing another, or none, is taken back in public, with a reason that names no agent. What came of
//! it stands in the audit record. Incidents from before the log begins are not judged, which is said there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use faultline_attribution::{AgentId, IncidentId, Saying, Settings, State, Timestamp};
use tokio::{runtime::Handle, sync::Mutex, task};

use super::{Desk, Refused, Why};
use crate::fold::distrust::{self, Verdict};

/// What is said in public of an incident that does not hold.
const REASON: &str = "Taken back: it rested on results that are not trusted any more";

/// Who asked, and for how many of them it was done.
#[derive(Default)]
pub(super) struct Asked {
    asked: AtomicU64,
    done: Mutex<u64>,
}

impl Desk {
    /// Begins to look again; ends by itself.
    pub(super) fn look_again(self: &Arc<Self>, agent: AgentId, since: Timestamp) {
        let desk = Arc::clone(self);
        let mine = self.again.asked.fetch_add(1, Ordering::Relaxed) + 1;
        task::spawn_blocking(move || {
            let asked = serde_json::json!({ "agent": agent.as_str(), "since": since }).to_string();
            let entry = match desk.audit.begin(desk.now(), None, "look_again", &asked) {
                Ok(entry) => entry,
                Err(error) => {
                    return tracing::error!(%error, "verdicts are not looked at again without an audit record");
                }
            };
            let outcome = match Handle::current().block_on(desk.take_turn_to_look(mine, since)) {
                Ok(outcome) => format!("done: {outcome}"),
                Err(error) => format!("failed: {error}"),
            };
            tracing::info!(%agent, %since, outcome, "verdicts were looked at again");
            if let Err(error) = desk.audit.end(entry, &outcome) {
                tracing::error!(entry, outcome, %error, "audit record not completed");
            }
        });
    }

    async fn take_turn_to_look(&self, mine: u64, since: Timestamp) -> Result<String, String> {
        let mut done = self.again.done.lock().await;
        if *done >= mine {
            return Ok("together with what was asked after it".to_owned());
        }
        let all = self.again.asked.load(Ordering::Relaxed);
        let distrusted: BTreeMap<AgentId, Timestamp> = self.ingest.distrusted();
        let since = distrusted.values().copied().fold(since, Timestamp::min);
        let outcome = self.take_back(&distrusted, since).await;
        if outcome.is_ok() {
            *done = all;
        }
        outcome
    }

    /// Takes back what does not hold; what came of it in words.
    async fn take_back(&self, distrusted: &BTreeMap<AgentId, Timestamp>, since: Timestamp) -> Result<String, String> {
        let without = distrust::fold_without(&*self.records, Settings::default(), distrusted).await;
        let without = without.map_err(|error| error.to_string())?;
        let (mut held, mut taken_back, mut unjudged) = (0, Vec::new(), 0);
        let published: Vec<_> = self.hub.board().incidents().cloned().collect();
        for change in published.iter().filter(|change| distrust::is_touched(change, since)) {
            match without.judge(change) {
                Verdict::Holds => held += 1,
                Verdict::Unjudged => unjudged += 1,
                Verdict::Falls => taken_back.push(change.incident.clone()),
            }
        }
        let mut failed = Vec::new();
        for incident in &taken_back {
            let saying = Saying::Retraction { reason: REASON.to_owned() };
            let _turn = self.turn.lock().await;
            let said = self.say(incident.as_str(), saying, |of| {
                // The running fold may have taken it back by itself, or folded it into another.
                let is_done = of.state == State::Retracted || !of.superseded_by.is_empty();
                if is_done { Err(Refused::new(Why::State, "")) } else { Ok(()) }
            });
            match said.await {
                Ok(_) => {}
                Err(refused) if refused.why == Why::State => {}
                Err(refused) => failed.push(format!("{incident}: {refused}")),
            }
        }
        let names: Vec<&str> = taken_back.iter().map(IncidentId::as_str).collect();
        let mut outcome = format!("{held} incidents hold, {} taken back: {}", names.len(), names.join(", "));
        if unjudged > 0 {
            outcome = format!("{outcome}; {unjudged} are from before the log begins, and were not judged");
        }
        if failed.is_empty() { Ok(outcome) } else { Err(format!("{outcome}; not published: {}", failed.join("; "))) }
    }
}
