//! What is usual for an agent: how often its runs fail for no visible reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Sample, TYPICAL_RATE, keep};
use crate::{time::Timestamp, vocabulary::Layer};

/// Chance of a failure at each layer that is usual for an agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct UsualRates([f32; 4]);

impl UsualRates {
    pub(super) fn of(&self, layer: Layer) -> f32 {
        self.0[layer as usize]
    }
}

/// How often an agent's runs fail for no visible reason, at any target: on a bad line every cell is bad.
///
/// Rule: it learns from what leaves the windows, and nothing from cells that an open incident touches.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Past {
    runs: f32,
    failures: [f32; 4],
    faded_at: Timestamp,
}

/// Half life of an agent's past. Source: bursts of loss are minutes, their frequency changes with the hour of the day.
const PAST_HALF_LIFE: Duration = Duration::from_hours(1);

/// Runs of an agent that the typical rate is worth: ten times those of a cell, since it sees many. Source:
/// design notes 4.3 for the cell.
const PAST_RUNS: f32 = 2000.0;

/// The usual rate of an agent is at most this: who loses more is in trouble. Source: ten times the highest usual rate of the
/// recorded checks behind this project (0.5 %).
const PAST_MOST: f32 = 0.05;

impl Past {
    /// Takes in a run that left the windows.
    pub(crate) fn learn(&mut self, sample: &Sample) {
        if let Some(keep) = keep(self.faded_at, sample.at, PAST_HALF_LIFE) {
            self.runs *= keep;
            for failures in &mut self.failures {
                *failures *= keep;
            }
            self.faded_at = sample.at;
        }
        self.runs += 1.0;
        if let Some((layer, _)) = sample.failed
            && !sample.own_fault
        {
            self.failures[layer as usize] += 1.0;
        }
    }

    /// What is usual for the agent.
    pub(crate) fn usual(&self) -> UsualRates {
        let rate = |failures: f32| (failures + PAST_RUNS * TYPICAL_RATE) / (self.runs + PAST_RUNS);
        UsualRates(self.failures.map(|failures| rate(failures).clamp(TYPICAL_RATE, PAST_MOST)))
    }
}
