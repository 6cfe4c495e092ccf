//! `faultline report`: an incident as one would tell it afterwards.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use faultline_attribution::{IncidentId, Timestamp};
use faultline_proto::clock::Clock;

use super::{FeedAddress, Usage, page::picture, say_error, subscriber::Site};
use crate::{
    feed::archive,
    log::sqlite::SqliteReader,
    report::{Format, Material},
};

/// The coordinator reads its log for the answer.
const ANSWER: Duration = Duration::from_secs(30);

/// More than a report of a year's incident takes.
const MAX_BYTES: u64 = 256 << 20;

/// Incidents that are named when the one that was asked for is unknown.
const NAMED: usize = 5;

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline report inc-20251029T154113Z-1 -o report.html\n  faultline report inc-20251029T154113Z-1 --data-dir ./data > report.md"
)]
pub(super) struct Report {
    /// Which incident; its id stands on its page and in every line of `faultline watch`
    #[arg(value_name = "INCIDENT")]
    incident: String,
    /// Write to this file: .html, .md or .json; without it, Markdown to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How it is written [default: by the suffix of the file, else md]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    feed: FeedAddress,
    /// Read the log of this data directory instead of asking the feed; a coordinator may be running on it
    #[arg(long, visible_alias = "data", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Report {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let format = self.format()?;
        let material = match &self.data_dir {
            Some(data) => of_log(data, &self.incident)?,
            None => of_feed(&self.feed, &self.incident)?,
        };
        let written =
            format.write(&material).ok_or_else(|| anyhow::anyhow!("{}: nothing was published", self.incident))?;
        match &self.output {
            Some(path) => {
                fs::write(path, written).map_err(|error| anyhow::anyhow!("-o {}: {error}", path.display()))?;
            }
            None => print(&written)?,
        }
        if material.revisions.last().is_some_and(|newest| newest.state.is_open()) {
            say_error(&format!("{} goes on: this report is as of {}", self.incident, material.made_at));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn format(&self) -> Result<Format, Usage> {
        let Some(path) = &self.output else { return Ok(self.format.unwrap_or(Format::Md)) };
        let by_suffix = || {
            let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
            suffix.parse().map_err(|_| {
                Usage(format!(
                    "-o {}: the suffix names no format: .html, .md or .json, or say --format",
                    path.display()
                ))
            })
        };
        self.format.map_or_else(by_suffix, Ok)
    }
}

/// A reader that has gone away is no error.
fn print(text: &str) -> io::Result<()> {
    use io::Write as _;
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn of_log(data: &Path, incident: &str) -> anyhow::Result<Material> {
    let log = super::results::open(data)?;
    let revisions = log.revisions(&IncidentId::from(incident.to_owned()))?;
    let now = as_of(&log)?;
    let history = archive::history(&log, &revisions, now)?;
    if let Some(material) = Material::new(revisions, history, now, log.feed_id()?) {
        return Ok(material.beside(&picture::board(&log)?));
    }
    let known: Vec<String> = log.newest_incidents(NAMED)?.iter().map(IncidentId::to_string).collect();
    let known = if known.is_empty() { "it holds none".into() } else { format!("the newest are {}", known.join(", ")) };
    Err(unknown(incident, &format!("in the log of {}; {known}", data.display())))
}

/// The moment that the log tells of: that of its newest record. A log that was copied does not go on with the clock.
fn as_of(log: &SqliteReader) -> anyhow::Result<Timestamp> {
    let upkeep = log.upkeep()?;
    let newest = log.stamps(upkeep.last.before(), 1)?;
    Ok(newest.first().map_or_else(|| Timestamp::from_micros(Clock::system().now_micros()), |(_, at)| *at))
}

fn of_feed(address: &FeedAddress, incident: &str) -> anyhow::Result<Material> {
    let feed = &address.feed;
    let asked = Site::of(address, ANSWER)?.get(&["incidents", incident, "report.json"]);
    let mut answer = asked.call().map_err(|error| anyhow::anyhow!("no coordinator at {feed}: {error}"))?;
    match answer.status().as_u16() {
        200 => {}
        404 => return Err(unknown(incident, &format!("at {feed}"))),
        status => {
            let said = answer.body_mut().with_config().limit(1 << 10).read_to_string().unwrap_or_default();
            anyhow::bail!("{feed} answers {status}: {}", said.trim());
        }
    }
    let body = answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec();
    let body = body.map_err(|error| anyhow::anyhow!("the answer of {feed} breaks off: {error}"))?;
    serde_json::from_slice(&body).map_err(|error| anyhow::anyhow!("the answer of {feed} is no report: {error}"))
}

fn unknown(incident: &str, place: &str) -> anyhow::Error {
    Usage(format!("{incident}: no such incident {place}. Ids look like inc-20251029T154113Z-1")).into()
}
