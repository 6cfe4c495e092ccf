//! Scenarios: what breaks, when, and the truth that an attribution must find.
//!
//! The format is one TOML file; unknown keys, layers, effects and words that select nothing are errors with file, line
//! and value. Seconds are of the emulated clock, counted from when all agents are up and warm. `effect` is a word of
//! its layer: dns `nxdomain servfail refused empty_answer timeout wrong_answer`, connect `refused timeout reset`, tls
//! `timeout reset cert_expired name_mismatch unknown_issuer self_signed`, http `timeout reset`, `status` with
//! `status = NNN`, `slow` with `delay_ms = N`.

mod read;

use std::{path::Path, time::Duration};

use serde::Deserialize;

use crate::{net::Fault, world::World};

/// What breaks in the emulated world, and what is then true.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The name by which it is asked for.
    pub id: String,
    /// One line.
    pub title: String,
    /// The facts it stands for, with their source.
    pub story: String,
    /// How long it runs.
    pub run: Duration,
    /// What breaks, in the order of the file.
    pub breaks: Vec<Break>,
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
    /// What it is.
    pub fault: Fault,
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
}

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
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
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(&format!("{name}.toml"), text, world);
        }
        let path = Path::new(name_or_path);
        if !path.exists() && path.extension().is_none() {
            return Err(ScenarioError::Unknown { name: name_or_path.into() });
        }
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Unreadable { file: name_or_path.into(), source })?;
        Self::parse(name_or_path, &text, world)
    }

    /// The scenario in `text`, checked against the world; `file` is for messages.
    pub fn parse(file: &str, text: &str, world: &World) -> Result<Self, ScenarioError> {
        read::scenario(text, world).map_err(|wrong| ScenarioError::Invalid {
            file: file.into(),
            line: wrong.line,
            message: wrong.message,
        })
    }
}

/// The names of the built-in scenarios.
pub fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|(name, _)| *name).collect()
}

/// Every built-in scenario.
pub fn built_in(world: &World) -> Result<Vec<Scenario>, ScenarioError> {
    BUILT_IN.iter().map(|(name, text)| Scenario::parse(&format!("{name}.toml"), text, world)).collect()
}

/// The scenario that is played where none is named.
pub const DEFAULT: &str = "2025-10-29-azure-front-door";

macro_rules! embedded {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../scenarios/", $name, ".toml")))),*] };
}

const BUILT_IN: &[(&str, &str)] = embedded![
    "2025-10-29-azure-front-door",
    "2025-10-20-aws-use1-dynamodb-dns",
    "2021-06-08-fastly",
    "2022-07-08-rogers",
    "2016-10-21-dyn-ddos",
    "endpoint-503",
    "quiet",
    "aws-and-azure-at-once",
];

#[cfg(test)]
mod tests;
