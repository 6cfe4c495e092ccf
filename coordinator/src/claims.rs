//! Claims: what others say, status pages and crowds, kept beside the verdict.
//!
//! Rule: a claim is never an input. It goes into the feed and onto the board, never into the log of records, so neither
//! fold nor engine can see one (`no_claim_changes_a_verdict`). Nothing posted is a stance of its own, and never "fine".
//!
//! [`parse`] reads feeds of status pages, [`crowd`] what operators push in of crowds; [`intake`] decides what of it is news
//! and publishes that, [`kept`] is what the board holds, `lead` who was first. [`sources`] says what is fetched and
//! [`fetch`] does it; [`web`] takes crowds in. All but `fetch`, `intake` and `web` are pure.

pub mod crowd;
pub mod fetch;
pub mod intake;
pub mod kept;
pub mod lead;
pub mod parse;
pub mod regions;
pub mod sources;
pub(crate) mod text;
pub mod web;

use faultline_attribution::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    intake::Intake,
    kept::{Claims, Told},
    lead::{Lead, lead, leads},
    sources::Sources,
};

/// Longest name of a source, or of whom it is about, in bytes.
pub const MAX_NAME: usize = 40;

/// What a source says of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    /// It reports a problem.
    ReportsProblem,
    /// It answers, and reports none. That is not "they say all is well".
    NothingPosted,
    /// It does not answer.
    Unreachable,
    /// It answers with what we cannot read for certain.
    Unparseable,
}

impl Stance {
    /// Its word in JSON, and its name on the wire in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReportsProblem => "reports_problem",
            Self::NothingPosted => "nothing_posted",
            Self::Unreachable => "unreachable",
            Self::Unparseable => "unparseable",
        }
    }
}

/// What one source says of one party, since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who says it: `aws-status`, `azure-status`, `crowd`, ...
    pub source: String,
    /// Of whom: `aws`, `azure`, or another name.
    pub about: String,
    /// What it says.
    pub stance: Stance,
    /// Since when it says so: when the first post of a problem that goes on says it was posted, else when we first saw it.
    pub since: Timestamp,
    /// When we saw what this claim holds; for a crowd, the end of its window.
    pub observed_at: Timestamp,
    /// When its newest post says it was posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posted_at: Option<Timestamp>,
    /// What it posted: plain text of at most 700 characters.
    #[serde(default)]
    pub text: String,
    /// Where to read it: http or https, or empty.
    #[serde(default)]
    pub link: String,
    /// Regions that it names, `aws/us-east-1`; empty where it names none that we know.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Why it is unreachable or unparseable; else empty.
    #[serde(default)]
    pub reason: String,
    /// How many say it; only of crowds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crowd: Option<Crowd>,
}

/// How many people reported something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowd {
    /// Reports in the window.
    pub count: u64,
    /// Reports in such a window when nothing is wrong.
    pub baseline: u64,
    /// Length of the window in seconds; `None` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_s: Option<u32>,
}

impl Claim {
    /// Whether it is the word of the provider itself, not of a crowd.
    pub fn is_official(&self) -> bool {
        self.crowd.is_none()
    }

    /// What the source is called on the page: "AWS status", "Crowd".
    pub fn source_title(&self) -> String {
        title(&self.source)
    }
}

/// What a source is called where people read it.
pub fn title(source: &str) -> String {
    match source.split_once('-') {
        None if source == "crowd" => "Crowd".into(),
        Some(("crowd", rest)) => format!("Crowd ({rest})"),
        Some((cloud, "status")) => format!("{} status", faultline_attribution::element::brand(cloud)),
        _ => source.into(),
    }
}

/// Whether it can name a source or a party: lower-case letters, digits, `-` and `.`, at most [`MAX_NAME`].
pub fn is_name(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(is_fine)
}

/// What was seen of a source at one moment, before anybody knows whether it is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What it says.
    pub stance: Stance,
    /// When the first post of a problem that goes on was posted, as it says.
    pub since: Option<Timestamp>,
    /// When the newest one was.
    pub posted_at: Option<Timestamp>,
    /// Plain text.
    pub text: String,
    /// http or https, or empty.
    pub link: String,
    /// Regions that it names.
    pub regions: Vec<String>,
    /// Why nothing can be said of it.
    pub reason: String,
    /// How many say it.
    pub crowd: Option<Crowd>,
}

impl Sighting {
    /// A stance and nothing else.
    pub fn bare(stance: Stance) -> Self {
        let (since, posted_at, crowd) = (None, None, None);
        let (text, link, regions, reason) = (String::new(), String::new(), Vec::new(), String::new());
        Self { stance, since, posted_at, text, link, regions, reason, crowd }
    }

    /// Nothing can be said, and why.
    pub fn failed(stance: Stance, reason: &str) -> Self {
        Self { reason: text::plain(reason, text::MAX_REASON), ..Self::bare(stance) }
    }
}

#[cfg(test)]
mod tests;
