//! The report: an incident as one would tell it afterwards, in one file, for somebody who was not there.
//!
//! Pure: [`Material`] goes in (what was published, what stays of the results, what others said, what was being worked on), a [`Document`] comes out, and
//! [`markdown`], [`html`] or [`json`] writes it. Rules: every figure comes from the material, and the material is what was
//! published at that time, never a second judgement; what is not known is said to be unknown; a cloud that nothing clears is
//! not cleared; an incident that goes on is told as such, and a retracted one as our mistake. All text is escaped by the writers.

pub mod html;
pub mod json;
pub mod markdown;
mod sections;
mod story;
mod words;

use std::str::FromStr;

use faultline_attribution::{Change, Timestamp, element};
use serde::{Deserialize, Serialize};

use crate::{
    board::Board,
    claims::{self, Claims, Lead},
    feed::plot::{Figure, Table},
    history::History,
    work::PlannedWork,
};

/// The revision that tells an incident best, of all its revisions, oldest first: that of its height. `None` without one.
pub fn telling<'a>(revisions: impl IntoIterator<Item = &'a Change>) -> Option<&'a Change> {
    story::telling(revisions)
}

pub(crate) use words::span;

/// What a report is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Material {
    /// Every revision that is kept, oldest first.
    pub revisions: Vec<Change>,
    /// What stays of the results; `None` where none is left.
    pub history: Option<History>,
    /// What others said, oldest first; `None` where nobody listened.
    pub said: Option<Vec<Said>>,
    /// Planned work that went on meanwhile and may have to do with it, by when it begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub work: Vec<PlannedWork>,
    /// When the material was gathered, by the coordinator's clock.
    pub made_at: Timestamp,
    /// The feed that it comes from.
    pub feed_id: String,
    /// The release of the coordinator that it comes from.
    pub faultline: String,
}

/// What somebody else said of an incident, or in its time. Never an input to a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// When they said it.
    pub at: Timestamp,
    /// Who: "AWS status page", "crowd reports".
    pub who: String,
    /// Whether they are the accused themselves, so that our lead over them counts.
    pub is_official: bool,
    /// What, in their words.
    pub what: String,
}

impl Said {
    /// What others said of an incident, oldest first; `None` where nobody listened.
    fn of(change: &Change, claims: &Claims) -> Option<Vec<Self>> {
        let one = |lead: Lead| {
            let told = claims.told(&lead.source, &lead.about);
            let claim = told.and_then(|told| told.history().find(|claim| claim.since == lead.says_at));
            let text = claim.map(|claim| claim.text.clone()).filter(|text| !text.is_empty());
            Self {
                at: lead.says_at,
                who: claims::title(&lead.source),
                is_official: lead.is_official && lead.agrees,
                what: text.unwrap_or_else(|| format!("reports a problem with {}", element::brand(&lead.about))),
            }
        };
        (!claims.is_empty()).then(|| claims::leads(change, claims).into_iter().map(one).collect())
    }
}

impl Material {
    /// The material of an incident at `made_at`; `None` without a revision.
    pub fn new(revisions: Vec<Change>, history: Option<History>, made_at: Timestamp, feed_id: String) -> Option<Self> {
        let faultline = env!("CARGO_PKG_VERSION").to_owned();
        let (said, work) = (None, Vec::new());
        (!revisions.is_empty()).then_some(Self { revisions, history, said, work, made_at, feed_id, faultline })
    }

    /// The same, with what a board holds of others and of planned work.
    #[must_use]
    pub fn beside(self, board: &Board) -> Self {
        let Some(newest) = self.revisions.last() else { return self };
        let said = Said::of(newest, &board.claims);
        let work = board.work.beside(newest, self.made_at).into_iter().cloned().collect();
        Self { said, work, ..self }
    }
}

/// A report, as data: every writer tells the same.
#[derive(Clone, Debug)]
pub struct Document {
    /// Who or what failed.
    pub title: String,
    /// The incident's id.
    pub incident: String,
    /// Its state, verdict and date, in a line.
    pub standing: String,
    /// A class of the page's style sheet for the state.
    pub class: &'static str,
    /// Three sentences for somebody who reads no more.
    pub summary: Vec<String>,
    /// The rest, in order.
    pub sections: Vec<Section>,
}

/// A part of a report.
#[derive(Clone, Debug)]
pub struct Section {
    /// What it answers.
    pub title: &'static str,
    /// Its content, in order.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Clone, Debug)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// Points.
    List(Vec<String>),
    /// A table.
    Table(Table),
    /// A picture, and its numbers in as few rows as a reader of text takes in.
    Picture(Box<Figure>, Table),
}

impl Document {
    /// The report of this material; `None` without a revision.
    pub fn of(material: &Material) -> Option<Self> {
        let story = story::Story::of(material)?;
        Some(Self {
            title: story.title(),
            incident: story.last.incident.to_string(),
            standing: story.standing(),
            class: story.class(),
            summary: story.summary(),
            sections: sections::all(&story),
        })
    }
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Markdown, for mail, tickets and wikis
    Md,
    /// One HTML file with everything in it
    Html,
    /// One JSON object, all of the material in it
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "md" | "markdown" => Ok(Self::Md),
            "html" | "htm" => Ok(Self::Html),
            "json" => Ok(Self::Json),
            _ => Err(format!("{word:?} is no format of a report: html, md or json")),
        }
    }
}

impl Format {
    /// What a server calls it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Md => "text/markdown; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
        }
    }

    /// The report in this format; `None` without a revision.
    pub fn write(self, material: &Material) -> Option<String> {
        let document = Document::of(material)?;
        Some(match self {
            Self::Md => markdown::write(&document),
            Self::Html => html::write(&document),
            Self::Json => json::write(&document, material),
        })
    }
}

#[cfg(test)]
mod tests;
