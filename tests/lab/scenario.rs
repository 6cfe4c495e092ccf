//! Scenarios: what breaks, when, and the truth that an attribution must find.
//!
//! One TOML file each. Unknown keys, layers, effects and words that select nothing are errors with file, line and
//! value. Seconds are counted from when all agents are up and warm (observations: after [`WARM_UP`] of healthy traffic).
//!
//! Top level: `id`, `title`, `story`, `run_s`, and
//! `family` (a free word for reports; default: the id), `plays` (some of `packets`, `observations`; default both),
//! `noise` (`calm typical bursty hostile foreign`, default `typical`), `agents` (6, 24, 28, 48 or 200; default 48),
//! `targets` (20 to 1000; default 240, with 28 agents the standard world). Noise, agents and targets are of observations.
//!
//! `[[break]]`: `at_s`, `until_s` (default: the end), `on_s` and `off_s` (broken for the one, healthy for the other, again
//! and again), `layer`, `effect`, `share` (default 1) and `share_of`: `runs` (default; each run draws), or that share of
//! the selected `targets`, `agents` or `pairs` of both fails wholly. `targets`, `agents` select (default all);
//! `path = true` loses all that the agents send. `effect` is a word of its layer: dns `nxdomain servfail refused
//! empty_answer timeout wrong_answer slow`, connect `refused timeout reset unreachable loss slow`, tls `timeout reset
//! cert_expired name_mismatch unknown_issuer self_signed slow`, http `timeout reset`, `status` with `status = NNN`, `slow`;
//! `slow` needs `delay_ms`, `loss` (the share times out, the rest is slower) may have it.
//!
//! `[[liars]]`: `share` (of groups, drawn by the seed) or `agents`, `strategy`: `fabricate` (with `targets`, `layer`,
//! `cause`), `mask` (passed, whatever happens), `mirror` (what another agent sees), `delay` (60 to 110 s late); `at_s`,
//! `until_s`.
//!
//! `[[silence]]`: `agents` are not heard of from `at_s` `until_s`; with `backlog = true` (the default) they go on looking
//! and deliver that late when they return.
//!
//! `[[stale]]`: of these `targets` the catalog wrongly says `hosted_on`, `region`, `zone`, `cdn`, `dns_operator`, `service`,
//! `identity`, or does not say what is in `missing`; with `learned = true` healthy probes put it right in the first minute.
//!
//! `[[truth]]`: `verdict`, `kind`, `element`, `cleared`, `accept_kinds`, `accept_elements`, `at_s` and `until_s` (default: where there are
//! as many truths as breaks, those of the break in the same place, else the earliest and the latest of all). No truth:
//! nothing may be accused.
//!
//! Packets refuse what no socket of the lab shows: liars, silence, stale facts, and `unreachable`, `loss`, `slow` at connect
//! and `slow` at dns. Such scenarios say `plays = ["observations"]`.

mod built_in;
mod read;

use std::{path::Path, time::Duration};

pub use built_in::{DEFAULT, built_in, names};
use faultline_attribution::{Cause, Layer};
use serde::Deserialize;

use crate::{
    net::{AgentSelect, Fault, TargetSelect},
    world::World,
};

/// Healthy traffic before the first second of a scenario that is played as observations.
pub const WARM_UP: Duration = Duration::from_mins(2);

/// What breaks in the emulated world, and what is then true.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The name by which it is asked for.
    pub id: String,
    /// One line.
    pub title: String,
    /// The facts it stands for, with their source.
    pub story: String,
    /// Under which it is counted.
    pub family: String,
    /// The ways in which it can be played.
    pub plays: Vec<Way>,
    /// What goes wrong besides, in observations.
    pub noise: Noise,
    /// Size of the fleet in observations.
    pub agents: usize,
    /// Targets in observations, beside those of the standard world.
    pub targets: usize,
    /// How long it runs.
    pub run: Duration,
    /// What breaks, in the order of the file.
    pub breaks: Vec<Break>,
    /// Who lies.
    pub liars: Vec<Liars>,
    /// Who is not heard of.
    pub silences: Vec<Silence>,
    /// Where the catalog is wrong.
    pub stale: Vec<Stale>,
    /// The incidents that must be found; empty for a quiet world.
    pub truth: Vec<Truth>,
}

/// One fault with its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Break {
    /// When it begins.
    pub at: Duration,
    /// When it ends; `None` is with the scenario.
    pub until: Option<Duration>,
    /// Broken for the first span, healthy for the second, again and again.
    pub rhythm: Option<(Duration, Duration)>,
    /// What it is.
    pub fault: Fault,
}

impl Break {
    /// Whether it is broken at that time of the scenario.
    pub fn is_on(&self, at: Duration) -> bool {
        let within = at >= self.at && self.until.is_none_or(|until| at < until);
        within
            && self.rhythm.is_none_or(|(on, off)| {
                let cycle = (on + off).as_micros().max(1);
                at.saturating_sub(self.at).as_micros() % cycle < on.as_micros()
            })
    }

    /// When it breaks and heals, in a scenario of that length; `None` is with its end.
    pub fn spells(&self, run: Duration) -> Vec<(Duration, Option<Duration>)> {
        let Some((on, off)) = self.rhythm else { return vec![(self.at, self.until)] };
        let until = self.until.unwrap_or(run);
        let starts = std::iter::successors(Some(self.at), |at| Some(*at + on + off));
        starts.take_while(|at| *at < until).map(|at| (at, Some((at + on).min(until)))).collect()
    }
}

/// A way to play a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Over sockets, with the real agents.
    Packets,
    /// Straight into an engine.
    Observations,
}

/// How much goes wrong in a healthy world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Noise {
    /// Base rates alone.
    Calm,
    /// What a fleet in the field sees.
    #[default]
    Typical,
    /// Three of ten networks lose packets in bursts.
    Bursty,
    /// Two to three times of everything.
    Hostile,
    /// Of other kinds than all before: nothing is calibrated on it.
    Foreign,
}

/// Agents that do not report what they see.
#[derive(Clone, Debug, PartialEq)]
pub struct Liars {
    /// Which.
    pub who: Who,
    /// What they do.
    pub strategy: Strategy,
    /// From when.
    pub at: Duration,
    /// Until when; `None` is to the end.
    pub until: Option<Duration>,
}

/// A choice of agents.
#[derive(Clone, Debug, PartialEq)]
pub enum Who {
    /// That share of the vantage groups, drawn by the seed.
    Share(f64),
    /// These.
    Agents(Box<AgentSelect>),
}

/// How an agent lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// It claims that these fail so.
    Fabricate(Box<TargetSelect>, Layer, Cause),
    /// It claims that all is well.
    Mask,
    /// It reports what another agent sees.
    Mirror,
    /// It reports late.
    Delay,
}

/// Agents that are not heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Which.
    pub agents: AgentSelect,
    /// From when.
    pub at: Duration,
    /// Until when; `None` is for good.
    pub until: Option<Duration>,
    /// Whether they go on looking, and deliver that when they return.
    pub has_backlog: bool,
}

/// What a catalog says that is not true, or does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// Of which targets.
    pub targets: TargetSelect,
    /// Facts with what the catalog says of them; `None` is nothing.
    pub facts: Vec<(Fact, Option<String>)>,
    /// Whether healthy probes put it right.
    pub is_learned: bool,
}

/// A fact that a catalog tells of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Cloud.
    HostedOn,
    /// Region.
    Region,
    /// Zone.
    Zone,
    /// Service.
    Service,
    /// Plane.
    Plane,
    /// Geography.
    Geography,
    /// CDN in front.
    Cdn,
    /// Operator of the name.
    DnsOperator,
    /// Identity provider.
    Identity,
    /// Issuer of the certificate.
    Issuer,
    /// Owner.
    Owner,
}

/// One incident that must be found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// `aws`, `azure` or `neither`.
    pub verdict: Verdict,
    /// The kind, for neither; empty for a cloud.
    #[serde(default)]
    pub kind: String,
    /// The element; empty where any is right.
    #[serde(default)]
    pub element: String,
    /// The clouds that must be shown to be innocent.
    #[serde(default)]
    pub cleared: Vec<String>,
    /// Further kinds that are right, for neither.
    #[serde(default)]
    pub accept_kinds: Vec<String>,
    /// Further elements that are right.
    #[serde(default)]
    pub accept_elements: Vec<String>,
    /// Second of its onset.
    #[serde(default)]
    pub at_s: Option<u64>,
    /// Second of its end.
    #[serde(default)]
    pub until_s: Option<u64>,
}

impl Truth {
    /// Whether that element is right.
    pub fn accepts_element(&self, element: &str) -> bool {
        self.element.is_empty() || self.element == element || self.accept_elements.iter().any(|other| other == element)
    }

    /// Whether that kind is right; a cloud has none.
    pub fn accepts_kind(&self, kind: &str) -> bool {
        self.kind == kind || self.accept_kinds.iter().any(|other| other == kind)
    }
}

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Somebody else.
    Neither,
}

impl Verdict {
    /// The word of feed and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Neither => "neither",
        }
    }
}

/// Why a scenario cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// No such name; the message lists those that exist.
    #[error("no scenario {name:?}; built in are: {}", names().join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that cannot be played.
    #[error("{file}:{line}: {message}")]
    Invalid {
        /// Which file.
        file: String,
        /// Which line, from 1.
        line: usize,
        /// What is wrong, with the value.
        message: String,
    },
}

impl Scenario {
    /// The scenario of that name, or else in the file of that path.
    pub fn find(name_or_path: &str, world: &World) -> Result<Self, ScenarioError> {
        if let Some(text) = built_in::text(name_or_path) {
            return Self::parse(&format!("{name_or_path}.toml"), text, world);
        }
        let path = Path::new(name_or_path);
        if !path.exists() && path.extension().is_none() {
            return Err(ScenarioError::Unknown { name: name_or_path.into() });
        }
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Unreadable { file: name_or_path.into(), source })?;
        Self::parse(name_or_path, &text, world)
    }

    /// Whether it can be played that way.
    pub fn can_be_played_as(&self, way: Way) -> bool {
        self.plays.contains(&way)
    }

    /// The world in which its observations are made.
    pub fn world(&self, seed: u64) -> World {
        sized(self.agents, self.targets, seed)
    }

    /// When that truth, the `place`-th, begins and ends; `None` is with the scenario.
    pub fn time_of(&self, place: usize) -> (Duration, Option<Duration>) {
        let said = self.truth.get(place);
        let breaks = self.breaks.iter().map(|broken| (broken.at, broken.until));
        let all: Vec<_> = if self.breaks.is_empty() {
            self.silences.iter().map(|silence| (silence.at, silence.until)).collect()
        } else {
            breaks.collect()
        };
        let own = if self.truth.len() == all.len() { all.get(place).copied() } else { None };
        let (at, until) = own.unwrap_or_else(|| {
            let ends: Option<Vec<Duration>> = all.iter().map(|(_, until)| *until).collect();
            let first = all.iter().map(|(at, _)| *at).min().unwrap_or_default();
            (first, ends.and_then(|ends| ends.into_iter().max()))
        });
        let at_s = said.and_then(|truth| truth.at_s).map(Duration::from_secs);
        let until_s = said.and_then(|truth| truth.until_s).map(Duration::from_secs);
        (at_s.unwrap_or(at), until_s.or(until))
    }

    /// The scenario in `text`; `file` is for messages. Its words are checked against `world` where it is played as
    /// packets, and against [`Scenario::world`] where it is played as observations.
    pub fn parse(file: &str, text: &str, world: &World) -> Result<Self, ScenarioError> {
        read::scenario(text, world).map_err(|wrong| ScenarioError::Invalid {
            file: file.into(),
            line: wrong.line,
            message: wrong.message,
        })
    }
}

/// A world of that size; 28 agents without a number of targets are the standard world.
fn sized(agents: usize, targets: usize, seed: u64) -> World {
    if (agents, targets) == (28, 0) { World::standard() } else { World::sized(agents, targets, seed) }
}

#[cfg(test)]
mod tests;
