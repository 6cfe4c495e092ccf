//! `faultline claim`: what status pages and crowds say, and what crowds say pushed in.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use faultline_attribution::Timestamp;
use faultline_proto::types::v1 as wire;
use serde::Serialize;

use super::{
    FeedAddress, Format, Usage,
    colour::clean,
    say,
    subscriber::{self, Site},
};
use crate::{
    claims::{Claim as Said, crowd},
    feed::convert,
};

/// The coordinator answers a push within this.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of its answer that are read.
const MAX_ANSWER: u64 = 64 << 10;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Claim {
    /// Print what each source says, and when it was last checked
    #[command(
        before_help = "Example:\n  faultline claim list -o ndjson | jq -r 'select(.stance == \"reports_problem\")'"
    )]
    List(List),
    /// Push in what crowds say: a CSV file with a header, or JSON
    #[command(
        before_help = "Example:\n  faultline claim push crowd.csv --token-file ops.token\n\nwhere crowd.csv says:\n  about,count,baseline,window_s\n  aws,6025,8,900"
    )]
    Push(Push),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    feed: FeedAddress,
    /// text, json or ndjson
    #[arg(short, long, default_value = "text")]
    output: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Push {
    /// What crowds say: NAME.csv or NAME.json
    file: PathBuf,
    /// With a token of an operator: faultline subscriber create NAME --role operator
    #[command(flatten)]
    feed: FeedAddress,
}

/// A claim as a line of JSON; `type` comes first, as in every line.
#[derive(Serialize)]
struct Line {
    r#type: &'static str,
    #[serde(flatten)]
    claim: Said,
    checked_at: Option<Timestamp>,
}

impl Claim {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(list) => list.run(),
            Self::Push(push) => push.run(),
        }
    }
}

impl List {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let told = subscriber::snapshot(&self.feed)?.claims;
        let lines: Vec<Line> = told.iter().filter_map(line).collect();
        self.output.print(&lines, "nobody's word is collected", text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(claim: &wire::Claim) -> Option<Line> {
    let checked_at = faultline_proto::convert::micros(claim.checked_at.as_ref()).map(Timestamp::from_micros);
    Some(Line { r#type: "claim", claim: convert::claimed(claim)?, checked_at })
}

fn text(Line { claim, checked_at, .. }: &Line) -> String {
    let mut words = vec![claim.source_title(), format!("about {}", claim.about)];
    words.extend([claim.stance.as_str().replace('_', " "), format!("since {}", claim.since)]);
    if let Some(crowd) = claim.crowd {
        words.push(format!("{} reports, {} are usual", crowd.count, crowd.baseline));
    }
    words.push(checked_at.map_or_else(|| "not checked since the start".into(), |at| format!("checked {at}")));
    let more = [claim.regions.join(" "), claim.text.clone(), claim.reason.clone(), claim.link.clone()];
    let more = more.into_iter().filter(|more| !more.is_empty()).map(|more| format!("\n  {}", clean(&more)));
    clean(&words.join("  ")) + &more.collect::<String>()
}

impl Push {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let content_type = match self.file.extension().and_then(|end| end.to_str()) {
            Some("csv") => "text/csv",
            Some("json") => "application/json",
            _ => return Err(Usage(format!("{}: neither .csv nor .json", self.file.display())).into()),
        };
        let body = read(&self.file)?;
        let asked = Site::of(&self.feed, TIMEOUT)?.post(&["api", "v1", "claims"]);
        let asked = asked.header("content-type", content_type).send(&body[..]);
        let mut answer = asked.with_context(|| format!("no coordinator at {}", self.feed.feed))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(MAX_ANSWER).lossy_utf8(true).read_to_string()?;
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            let count = |field: &str| value[field].as_u64().unwrap_or_default();
            let (published, known, older) = (count("published"), count("known"), count("older"));
            say(&format!("{published} published, {known} known, {older} older than what is held"))?;
            return Ok(ExitCode::SUCCESS);
        }
        if matches!(status.as_u16(), 401 | 403 | 429) {
            anyhow::bail!("{}: {}", self.feed.feed, clean(text.trim()));
        }
        let why = value["error"].as_str().map_or_else(|| format!("answered {status}"), clean);
        Err(Usage(format!("{}: {why}", self.file.display())).into())
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    file.take(crowd::MAX_BYTES as u64 + 1).read_to_end(&mut body).with_context(|| path.display().to_string())?;
    if body.len() > crowd::MAX_BYTES {
        return Err(Usage(format!("{}: {}", path.display(), crowd::CrowdError::Long)).into());
    }
    Ok(body)
}
