//! Looking again: which few looks would best tell the remaining explanations of different parties apart.
//!
//! While something is suspected and nobody can be named, a cell that exercises one suspect and not its rival decides
//! between them: if it fails, the one is implicated, if it passes, it is cleared. Rules: proposals are bounded in number,
//! spacing and time; agents and their own policy decide whether they follow. Source: adaptive probing on suspicion as in
//! Trinocular (SIGCOMM 2013), with its limit of 15 probes a round.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    assessment::Assessment,
    engine::{LookAgain, Output},
    time::Timestamp,
    world::{AgentId, TargetId},
};

/// Looks proposed in a second, at most. Source: a fiftieth of what 48 agents look at in a second.
const A_SECOND: usize = 8;

/// Looks proposed within this count as of one second. Source: regular ticks are a second apart, less what timers are early by.
const TICK: Duration = Duration::from_millis(900);

/// The same agent is asked to look at the same target this often at most. Source: more than the 2 s that agents keep by
/// themselves (DESIGN section 5).
const SPACING: Duration = Duration::from_secs(5);

/// Looks at one target within [`SPAN`], at most. Source: the bound that agents keep by themselves.
const A_TARGET: usize = 15;

/// Source: the same.
const SPAN: Duration = Duration::from_mins(10);

/// What was asked for lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Looks {
    asked: BTreeMap<TargetId, Vec<(AgentId, Timestamp)>>,
}

impl Looks {
    /// The looks to ask for now.
    pub(crate) fn propose(&mut self, assessments: &[Assessment], now: Timestamp) -> Vec<Output> {
        for asked in self.asked.values_mut() {
            asked.retain(|(_, at)| now.since(*at) < SPAN);
        }
        self.asked.retain(|_, asked| !asked.is_empty());
        let lately = self.asked.values().flatten().filter(|(_, at)| now.since(*at) < TICK).count();
        let mut outputs = Vec::new();
        let wanted = assessments.iter().flat_map(|assessment| &assessment.decisive);
        for look in wanted {
            if outputs.len() + lately >= A_SECOND {
                break;
            }
            let asked = self.asked.entry(look.target.clone()).or_default();
            let recent = asked.iter().any(|(agent, at)| *agent == look.agent && now.since(*at) < SPACING);
            if recent || asked.len() >= A_TARGET {
                continue;
            }
            asked.push((look.agent.clone(), now));
            outputs.push(Output::LookAgain(LookAgain { agent: look.agent.clone(), target: look.target.clone() }));
        }
        outputs
    }
}
