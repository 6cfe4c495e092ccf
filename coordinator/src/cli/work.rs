//! `faultline work`: planned work announced, called off and listed.

use std::{process::ExitCode, time::Duration};

use faultline_attribution::Timestamp;
use faultline_proto::{clock::Clock, types::v1 as wire};
use serde::Serialize;

use super::{DataDir, FeedAddress, Format, admin, colour::clean, replay::instant, say, subscriber};
use crate::{
    admin::{AddWork, Call, CancelWork},
    feed::convert,
    work::{PlannedWork, Stage},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Work {
    /// Announce work: a note on page and feed for that time, from which no verdict is made
    #[command(
        before_help = "Example:\n  faultline work add --for 2h --text \"New uplink for the agents in Frankfurt\"\n  faultline work add --from 2026-12-01T22:00:00Z --to 2026-12-02T01:00:00Z --element aws/eu-central-1 \\\n    --text \"AWS moves our VMs\" --link https://example.org/change/17"
    )]
    Add(Add),
    /// Call work off, or end it early
    #[command(
        before_help = "Example:\n  faultline work cancel work-20261127T064100Z-1 --reason \"Put off to next week.\""
    )]
    Cancel(Cancel),
    /// Print work that goes on, is to come, or was over in the last day
    #[command(before_help = "Example:\n  faultline work list -o ndjson | jq -r 'select(.stage == \"in_progress\")'")]
    List(List),
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// When it begins [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    from: Option<Timestamp>,
    /// When it ends
    #[arg(long, value_name = "RFC3339", value_parser = instant, required_unless_present = "lasts")]
    to: Option<Timestamp>,
    /// For how long, instead of --to
    #[arg(long = "for", id = "lasts", value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "to")]
    lasts: Option<Duration>,
    /// What everybody may read: plain text, at most 500 characters
    #[arg(long)]
    text: String,
    /// Where to read more
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    link: String,
    /// What it touches, as in aws/us-east-1; repeats, or with commas
    #[arg(long = "element", value_name = "ELEMENT", value_delimiter = ',')]
    elements: Vec<String>,
    #[command(flatten)]
    data: DataDir,
}

#[derive(Debug, clap::Args)]
pub(super) struct Cancel {
    /// Which, as `faultline work list` names it
    #[arg(value_name = "ID")]
    id: String,
    /// Why, for everybody to read: plain text, at most 500 characters
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    data: DataDir,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    feed: FeedAddress,
    /// text, json or ndjson
    #[arg(short, long, default_value = "text")]
    output: Format,
}

/// Work as a line of JSON; `type` comes first, as in every line.
#[derive(Serialize)]
struct Line {
    r#type: &'static str,
    #[serde(flatten)]
    work: PlannedWork,
    stage: Stage,
}

impl Work {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(add) => add.run(),
            Self::Cancel(cancel) => cancel.run(),
            Self::List(list) => list.run(),
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(Clock::system().now_micros())
}

impl Add {
    fn run(self) -> anyhow::Result<ExitCode> {
        // Nobody plans to the microsecond.
        let starts_at = self.from.unwrap_or_else(|| Timestamp::from_micros(now().micros() / 1_000_000 * 1_000_000));
        // Clap wants one of the two.
        let ends_at = self.to.unwrap_or_else(|| starts_at.after(self.lasts.unwrap_or_default()));
        let Self { text, link, elements, data, .. } = self;
        let done = admin::ask(&data.data_dir, &Call::AddWork(AddWork { starts_at, ends_at, text, link, elements }))?;
        say(&format!("{done} is announced, from {starts_at} to {ends_at}"))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Cancel {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Self { id, reason, data } = self;
        let done = admin::ask(&data.data_dir, &Call::CancelWork(CancelWork { id, reason }))?;
        say(&format!("{done} is called off"))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let told = subscriber::snapshot(&self.feed)?.planned_work;
        let now = now();
        let lines: Vec<Line> = told.iter().filter_map(|work| line(work, now)).collect();
        self.output.print(&lines, "no work is planned", text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(work: &wire::PlannedWork, now: Timestamp) -> Option<Line> {
    let work = convert::planned(work)?;
    Some(Line { r#type: "work", stage: work.stage(now), work })
}

fn text(Line { work, stage, .. }: &Line) -> String {
    let stage = stage.as_str().replace('_', " ");
    let mut words = vec![clean(&work.id), stage, format!("{} to {}", work.starts_at, work.ends_at)];
    words.extend(work.elements.iter().map(|element| clean(element)));
    words.push(clean(&work.text));
    if !work.cancel_reason.is_empty() {
        words.push(format!("(called off: {})", clean(&work.cancel_reason)));
    }
    if !work.link.is_empty() {
        words.push(clean(&work.link));
    }
    words.join("  ")
}
