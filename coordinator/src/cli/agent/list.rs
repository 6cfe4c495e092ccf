//! `faultline agent list`: every agent, its session, where it looks from, when it was last heard of, and what troubles it, as the
//! data directory says; a coordinator may be running on it.
//!
//! Rule: where no coordinator runs, a session that was up is shown as such only up to the end of the log, which is said.

use std::{collections::BTreeMap, io, path::Path, process::ExitCode, time::Duration};

use anyhow::Context as _;
use faultline_attribution::{AgentId, SessionState, Timestamp, Vantage};
use faultline_proto::clock::Clock;
use serde::Serialize;

use crate::{
    cli::{
        DataDir,
        colour::{Colour, Tone, clean, cut},
        say,
    },
    fold::Snapshots,
    log::sqlite::{Heard, SqliteReader},
    observe::{Observer, lost::Lost},
    pki::Authority,
    registry::{
        Place, Registry,
        standing::{Standing, State},
    },
};

/// A log that ends longer ago than this is one that no coordinator writes: it records a tick a second.
const RUNNING: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline agent list --data-dir ./data\n  faultline agent list -o json | jq -r '.agents[] | select(.session != \"up\") | .agent'",
    after_help = "Exit codes: 0 listed, also none; 1 the data directory cannot be read; 2 wrong usage"
)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    data: DataDir,
    /// How agents are written
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    #[command(flatten)]
    colour: Colour,
}

/// How agents are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
}

/// An agent.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) agent: String,
    /// up, silent, goodbye or never.
    session: &'static str,
    /// Since when.
    since: Option<Timestamp>,
    last_heard_at: Option<Timestamp>,
    /// The witness that it belongs to, once it has connected.
    group: Option<String>,
    hosted_on: Option<String>,
    region: Option<String>,
    country: Option<String>,
    isp: Option<String>,
    asn: Option<u32>,
    /// active, pending, quarantined, revoked or deleted.
    standing: &'static str,
    trouble: Vec<String>,
}

/// All of them.
#[derive(Debug, Serialize)]
pub(super) struct Fleet {
    /// What the data directory tells is of then.
    as_of: Option<Timestamp>,
    /// Whether the log is being written.
    is_running: bool,
    pub(super) agents: Vec<Row>,
}

impl List {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        let now = Timestamp::from_micros(Clock::system().now_micros());
        let fleet = Fleet::of(&self.data.data_dir, now)?;
        match self.print(&fleet, now) {
            // Whoever read this is gone.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            printed => Ok(printed.map(|()| ExitCode::SUCCESS)?),
        }
    }

    fn print(&self, fleet: &Fleet, now: Timestamp) -> io::Result<()> {
        if self.output == Form::Json {
            return say(&serde_json::to_string_pretty(fleet)?);
        }
        lines(fleet, now).iter().try_for_each(|line| self.colour.say(line))
    }
}

impl Fleet {
    /// Every agent of a data directory.
    pub(super) fn of(data: &Path, now: Timestamp) -> anyhow::Result<Self> {
        Authority::open(data)?;
        let (heard, as_of) = heard(data)?;
        let registry = Registry::of(data);
        let mut fleet = fleet(registry.all(), heard, &lost(data), as_of, now);
        for row in &mut fleet.agents {
            row.stand(&registry.standing(&row.agent).with_context(|| format!("agent {}", row.agent))?);
        }
        Ok(fleet)
    }
}

/// What the log tells of agents, and when it ends; nothing where there is none yet.
fn heard(data: &Path) -> anyhow::Result<(BTreeMap<String, Heard>, Option<Timestamp>)> {
    if !data.join("log.sqlite").is_file() {
        return Ok((BTreeMap::new(), None));
    }
    let log = SqliteReader::open(data)?;
    Ok((log.heard()?, log.ends_at()?))
}

/// What agents lost, as of the newest snapshot that can be read.
fn lost(data: &Path) -> BTreeMap<AgentId, Lost> {
    let snapshots = Snapshots::of(data).newest_first();
    let mut observers = snapshots.iter().filter_map(|found| Observer::restore(&found.read().ok()?.observer).ok());
    observers.next().map(|observer| observer.lost().clone()).unwrap_or_default()
}

fn fleet(
    issued: Vec<(String, Place)>,
    mut heard: BTreeMap<String, Heard>,
    lost: &BTreeMap<AgentId, Lost>,
    as_of: Option<Timestamp>,
    now: Timestamp,
) -> Fleet {
    let mut agents: Vec<Row> = issued
        .into_iter()
        .map(|(agent, place)| {
            let heard = heard.remove(&agent).unwrap_or_default();
            row(agent, Some(place), heard, lost, now)
        })
        .collect();
    agents.extend(heard.into_iter().map(|(agent, heard)| row(agent, None, heard, lost, now)));
    agents.sort_by(|a, b| a.agent.cmp(&b.agent));
    Fleet { as_of, is_running: as_of.is_some_and(|as_of| now.since(as_of) < RUNNING), agents }
}

fn row(agent: String, place: Option<Place>, heard: Heard, lost: &BTreeMap<AgentId, Lost>, now: Timestamp) -> Row {
    let is_issued = place.is_some();
    let place = place.unwrap_or_default();
    let vantage = heard.vantage.unwrap_or_else(|| Vantage {
        group: place.group.unwrap_or_default(),
        asn: place.asn,
        isp: place.isp,
        country: place.country,
        hosted_on: place.hosted_on,
        region: place.region,
        ..Vantage::default()
    });
    let id = AgentId::from(agent.as_str());
    let mut trouble = Vec::new();
    match heard.session {
        None if is_issued => {
            trouble.push("it has never connected: `faultline-agent doctor` on its machine says why".into());
        }
        Some((SessionState::Silent, since)) => trouble.push(format!("nothing was heard of it since {since}")),
        _ => {}
    }
    if !is_issued {
        trouble.push("it is not in the registry (any more): it cannot connect".into());
    }
    trouble.extend(lost.get(&id).and_then(|lost| lost.news(&id, now)));
    Row {
        session: match heard.session {
            None => "never",
            Some((SessionState::Up, _)) => "up",
            Some((SessionState::Silent, _)) => "silent",
            Some((SessionState::Goodbye, _)) => "goodbye",
        },
        since: heard.session.map(|(_, since)| since),
        last_heard_at: heard.at,
        group: Some(vantage.group).filter(|group| !group.is_empty()),
        hosted_on: vantage.hosted_on,
        region: vantage.region,
        country: vantage.country,
        isp: vantage.isp,
        asn: vantage.asn,
        standing: if is_issued { State::Active } else { State::Deleted }.word(),
        trouble,
        agent,
    }
}

impl Row {
    /// Tells how the agent stands, where that is a trouble.
    fn stand(&mut self, Standing { state, since, reason, .. }: &Standing) {
        self.standing = state.word();
        match state {
            // The second is told of one that was never issued, too.
            State::Active | State::Deleted => return,
            State::Pending => self.trouble.insert(0, format!("`faultline agent approve {}` lets it count", self.agent)),
            State::Quarantined | State::Revoked => {}
        }
        self.trouble.insert(0, format!("{} since {since}: {reason}", state.word()));
    }
}

/// The table, with styles.
fn lines(fleet: &Fleet, now: Timestamp) -> Vec<String> {
    if fleet.agents.is_empty() {
        return vec!["no agents: `faultline agent issue NAME` makes one".into()];
    }
    let mut lines = vec![Tone::Faint.paint(&columns(["AGENT", "SESSION", "HEARD", "GROUP", "PLACE", "NETWORK"]))];
    for row in &fleet.agents {
        let (tone, session) = match row.session {
            "up" => (Tone::Well, "● up"),
            "silent" => (Tone::Accused, "✕ silent"),
            "goodbye" => (Tone::Blind, "○ goodbye"),
            _ => (Tone::Suspected, "░ never"),
        };
        let dash = |word: &Option<String>| word.as_deref().map_or_else(|| "-".to_owned(), clean);
        let place = match (&row.hosted_on, &row.region) {
            (Some(cloud), Some(region)) => format!("{cloud}/{region}"),
            (Some(cloud), None) if cloud != "other" => cloud.clone(),
            _ => dash(&row.country),
        };
        let network = match (&row.isp, row.asn) {
            (Some(isp), _) => clean(isp),
            (None, Some(asn)) => format!("as{asn}"),
            (None, None) => "-".into(),
        };
        let heard = row.last_heard_at.map_or_else(|| "-".to_owned(), |at| ago(now.since(at)));
        let line = columns([&clean(&row.agent), session, &heard, &dash(&row.group), &clean(&place), &network]);
        lines.push(line.replacen(session, &tone.paint(session), 1));
        lines.extend(row.trouble.iter().map(|trouble| format!("  {} {}", Tone::Suspected.paint("▲"), clean(trouble))));
    }
    match fleet.as_of {
        Some(as_of) if !fleet.is_running => {
            lines.push(format!("as of {as_of}, where the log ends: no coordinator runs on this data directory"));
        }
        Some(_) => {}
        None => lines.push("no coordinator has run on this data directory yet".into()),
    }
    lines
}

fn columns([agent, session, heard, group, place, network]: [&str; 6]) -> String {
    let (agent, group, place) = (cut(agent, 16), cut(group, 17), cut(place, 15));
    format!("{agent:16} {session:9} {heard:>7}  {group:17} {place:15} {}", cut(network, 10)).trim_end().to_owned()
}

/// How long ago in its largest sensible unit.
fn ago(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn sample() -> Fleet {
        let issued = vec![
            (
                "fra-1".to_owned(),
                Place { isp: Some("hetzner-de".into()), country: Some("de".into()), ..Place::default() },
            ),
            ("new-1".to_owned(), Place::default()),
        ];
        let vantage =
            Vantage { group: "hetzner-de-0a1b2c".into(), isp: Some("hetzner-de".into()), ..Vantage::default() };
        let heard = BTreeMap::from([
            (
                "fra-1".to_owned(),
                Heard { session: Some((SessionState::Silent, at(900))), at: Some(at(880)), vantage: Some(vantage) },
            ),
            (
                "gone-1".to_owned(),
                Heard { session: Some((SessionState::Goodbye, at(100))), at: Some(at(100)), vantage: None },
            ),
        ]);
        fleet(issued, heard, &BTreeMap::new(), Some(at(990)), at(1_000))
    }

    #[test]
    fn every_agent_is_listed_with_its_trouble() {
        let mut fleet = sample();
        fleet.agents[0].stand(&Standing::new(State::Quarantined, at(7), "a clone"));
        let rows: Vec<_> =
            fleet.agents.iter().map(|row| (row.agent.as_str(), row.session, row.trouble.len())).collect();
        assert_eq!(rows, [("fra-1", "silent", 2), ("gone-1", "goodbye", 1), ("new-1", "never", 1)]);
        assert!(fleet.is_running && fleet.agents[0].group.as_deref() == Some("hetzner-de-0a1b2c"));
        let lines: Vec<String> =
            lines(&fleet, at(1_000)).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert_eq!(lines[1], "fra-1            ✕ silent    2 min  hetzner-de-0a1b2c -               hetzner-de");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
    }

    #[test]
    fn a_log_that_ended_long_ago_says_so() {
        let fleet = Fleet { is_running: false, ..sample() };
        let lines = lines(&fleet, at(9_000));
        assert!(lines.last().is_some_and(|line| line.contains("no coordinator runs")), "{lines:?}");
    }
}
