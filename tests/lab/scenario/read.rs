//! Reads a scenario's TOML and checks it against the worlds in which it is played.

mod effect;
mod tables;

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use self::tables::{BreakTable, LiarsTable, SilenceTable, StaleTable};
use super::{Noise, Scenario, Truth, Verdict, Way};
use crate::{
    net::{AgentSelect, TargetSelect},
    world::World,
};

/// What is wrong, and on which line.
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) message: String,
}

pub(super) fn scenario(text: &str, world: &World) -> Result<Scenario, Wrong> {
    let file: File = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let value = text[start..].lines().next().unwrap_or_default();
        Wrong { line: line(text, start), message: format!("{} at `{value}`", error.message()) }
    })?;
    let run = file.run_s;
    let (agents, targets) = file.size().map_err(|message| Wrong { line: 1, message })?;
    if file.plays.is_empty() {
        return Err(Wrong { line: 1, message: "plays = [] plays nowhere".into() });
    }
    let mut places = Vec::new();
    if file.plays.contains(&Way::Packets) {
        places.push(("the emulated world", world.clone()));
    }
    if file.plays.contains(&Way::Observations) {
        places.push(("the world of the observations", super::sized(agents, targets, 1)));
    }
    let check = Check { text, places, starts: file.starts(), is_packets: file.plays.contains(&Way::Packets) };
    let breaks = check.all(&file.breaks, |table| table.checked(run))?;
    let liars = check.all(&file.liars, |table| table.checked(run))?;
    let silences = check.all(&file.silences, |table| table.checked(run))?;
    let stale = check.all(&file.stale, StaleTable::checked)?;
    for truth in &file.truth {
        let wrong = |message| Wrong { line: line(text, truth.span().start), message };
        check_truth(truth.get_ref(), run).map_err(wrong)?;
    }
    Ok(Scenario {
        family: file.family.unwrap_or_else(|| file.id.clone()),
        id: file.id,
        title: file.title,
        story: file.story,
        plays: file.plays,
        noise: file.noise,
        agents,
        targets,
        run: Duration::from_secs(run),
        breaks,
        liars,
        silences,
        stale,
        truth: file.truth.into_iter().map(Spanned::into_inner).collect(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    title: String,
    story: String,
    run_s: u64,
    family: Option<String>,
    #[serde(default = "both")]
    plays: Vec<Way>,
    #[serde(default)]
    noise: Noise,
    #[serde(default = "usual_fleet")]
    agents: usize,
    targets: Option<usize>,
    #[serde(default, rename = "break")]
    breaks: Vec<Spanned<BreakTable>>,
    #[serde(default)]
    liars: Vec<Spanned<LiarsTable>>,
    #[serde(default, rename = "silence")]
    silences: Vec<Spanned<SilenceTable>>,
    #[serde(default)]
    stale: Vec<Spanned<StaleTable>>,
    #[serde(default)]
    truth: Vec<Spanned<Truth>>,
}

fn both() -> Vec<Way> {
    vec![Way::Packets, Way::Observations]
}

fn usual_fleet() -> usize {
    48
}

/// Sizes of a fleet.
const FLEETS: [usize; 5] = [6, 24, 28, 48, 200];

impl File {
    fn size(&self) -> Result<(usize, usize), String> {
        if self.run_s == 0 {
            return Err("run_s = 0 is no time".into());
        }
        if !FLEETS.contains(&self.agents) {
            return Err(format!("agents = {} is none of 6, 24, 28, 48, 200", self.agents));
        }
        let targets = self.targets.unwrap_or(if self.agents == 28 { 0 } else { 240 });
        if self.targets.is_some_and(|targets| !(20..=1000).contains(&targets)) {
            return Err(format!("targets = {targets} is not 20 to 1000"));
        }
        Ok((self.agents, targets))
    }

    /// Where tables begin.
    fn starts(&self) -> Vec<usize> {
        let breaks = self.breaks.iter().map(|table| table.span().start);
        let liars = self.liars.iter().map(|table| table.span().start);
        let silences = self.silences.iter().map(|table| table.span().start);
        let stale = self.stale.iter().map(|table| table.span().start);
        let truth = self.truth.iter().map(|table| table.span().start);
        breaks.chain(liars).chain(silences).chain(stale).chain(truth).collect()
    }
}

/// What tables are checked against.
struct Check<'a> {
    text: &'a str,
    places: Vec<(&'static str, World)>,
    starts: Vec<usize>,
    is_packets: bool,
}

/// A table of the file.
trait Table {
    /// The selectors of the table.
    fn selects(&self) -> (Option<&TargetSelect>, Option<&AgentSelect>);

    /// What of it no packet shows.
    fn unshown(&self) -> Option<String>;
}

impl Check<'_> {
    fn all<T: Table, U>(
        &self,
        tables: &[Spanned<T>],
        checked: impl Fn(&T) -> Result<U, String>,
    ) -> Result<Vec<U>, Wrong> {
        tables.iter().map(|table| self.one(table, &checked)).collect()
    }

    fn one<T: Table, U>(&self, spanned: &Spanned<T>, checked: impl Fn(&T) -> Result<U, String>) -> Result<U, Wrong> {
        let (start, table) = (spanned.span().start, spanned.get_ref());
        let wrong = |at, message| Wrong { line: line(self.text, at), message };
        let done = checked(table).map_err(|message| wrong(start, message))?;
        for (place, world) in &self.places {
            if let Some((key, word)) = selects_nothing(table, world) {
                let ends = self.starts.iter().copied().filter(|other| *other > start).min().unwrap_or(self.text.len());
                let body = &self.text[start..ends];
                let quoted = body.find(&format!("\"{word}\"")).or_else(|| body.find(&word)).unwrap_or(0);
                return Err(wrong(start + quoted, format!("{key} = {word:?} is nothing in {place}")));
            }
        }
        match table.unshown().filter(|_| self.is_packets) {
            Some(what) => {
                Err(wrong(start, format!("no packet of the lab shows {what}: say plays = [\"observations\"]")))
            }
            None => Ok(done),
        }
    }
}

fn selects_nothing(table: &impl Table, world: &World) -> Option<(&'static str, String)> {
    let (targets, agents) = table.selects();
    let lost_target = targets.and_then(|select| {
        select.words().find(|(_, _, word)| !world.targets.iter().any(|target| word.matches(target)))
    });
    if let Some((key, word, _)) = lost_target {
        return Some((key, word.to_owned()));
    }
    // Words that select something each may select nothing together.
    if let Some(select) = targets.filter(|select| !world.targets.iter().any(|target| select.matches(target))) {
        return select.words().last().map(|(_, word, _)| ("targets, all together with", word.to_owned()));
    }
    let agents = agents?;
    let lost_agent = agents.words().find(|(_, _, word)| !world.agents.iter().any(|agent| word.matches(agent)));
    if let Some((key, word, _)) = lost_agent {
        return Some((key, word.to_owned()));
    }
    let lost_asn = agents.asn.iter().find(|asn| !world.agents.iter().any(|agent| agent.asn == **asn));
    if let Some(asn) = lost_asn {
        return Some(("asn", asn.to_string()));
    }
    if world.agents.iter().any(|agent| agents.matches(agent)) {
        return None;
    }
    agents.words().last().map(|(_, word, _)| ("agents, all together with", word.to_owned()))
}

fn check_truth(truth: &Truth, run_s: u64) -> Result<(), String> {
    const KINDS: [&str; 8] = [
        "third-party-dns",
        "third-party-cdn",
        "other-cloud",
        "transit",
        "vantage-isp",
        "tls-ecosystem",
        "endpoint-app",
        "client-software",
    ];
    let is_neither = truth.verdict == Verdict::Neither;
    if is_neither != KINDS.contains(&truth.kind.as_str()) || (!is_neither && !truth.kind.is_empty()) {
        return Err(format!("kind = {:?} does not go with verdict = {:?}", truth.kind, truth.verdict.word()));
    }
    if let Some(kind) = truth.accept_kinds.iter().find(|kind| !is_neither || !KINDS.contains(&kind.as_str())) {
        return Err(format!("accept_kinds = [{kind:?}] does not go with verdict = {:?}", truth.verdict.word()));
    }
    if truth.element.is_empty() && !truth.accept_elements.is_empty() {
        return Err("accept_elements needs an element".into());
    }
    if let Some(cloud) = truth.cleared.iter().find(|cloud| !["aws", "azure"].contains(&cloud.as_str())) {
        return Err(format!("cleared = [{cloud:?}] is neither aws nor azure"));
    }
    tables::times(truth.at_s.unwrap_or(0), truth.until_s, run_s).map(drop)
}

fn line(text: &str, start: usize) -> usize {
    text[..start.min(text.len())].matches('\n').count() + 1
}
