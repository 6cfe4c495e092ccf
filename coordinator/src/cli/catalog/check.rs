//! `faultline catalog check`: what is wrong with a catalog, and which elements it and a fleet cannot tell apart.
//!
//! Exit codes: 0 fine, 1 some pair of elements with different verdicts looks alike, 2 the catalog, a fleet or the usage
//! is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use faultline_attribution::{
    AgentId, Target, TargetId, Vantage, Way, World,
    identifiability::{self, Report},
};
use faultline_proto::types::v1::assignment::Spec;
use serde::Serialize;

use super::{Format, Usage, load, picture, say};
use crate::{assignment::Assignments, catalog::Catalog, observe::run, registry::Registry, world_file};

/// The reference fleets that this program carries.
const FLEETS: [(&str, &str); 3] = [
    ("one", include_str!("../../../../deploy/fleets/one.toml")),
    ("six", include_str!("../../../../deploy/fleets/six.toml")),
    ("twentyfour", include_str!("../../../../deploy/fleets/twentyfour.toml")),
];

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline catalog check mine.toml --fleet fleet.toml",
    after_help = "A serious pair is two elements with different verdicts that fail alike: the wrong one may be blamed. A weak \
                  pair is told apart by one target, or by fewer vantage groups than a verdict needs. A fleet is a file of \
                  [[agent]] tables, as for replay; what probes would learn of the targets is not known here.\n\n\
                  Exit codes: 0 no serious pair in any fleet, 1 some, 2 catalog, fleet or usage is wrong."
)]
pub(in crate::cli) struct Check {
    /// Catalog files, or `builtin`, the default
    #[arg(value_name = "CATALOG")]
    files: Vec<String>,
    /// The same as an option; repeats
    #[arg(long)]
    catalog: Vec<String>,
    /// Fleet to check against: a file, or `one`, `six`, `twentyfour`; repeats [default: these three]
    #[arg(long)]
    fleet: Vec<String>,
    /// Check against the agents that were issued in this data directory
    #[arg(long, visible_alias = "data", conflicts_with = "fleet")]
    data_dir: Option<PathBuf>,
    /// text, one JSON object, or one a fleet
    #[arg(short, long, default_value = "text")]
    output: Format,
}

/// A fleet by name.
type Fleet = (String, BTreeMap<AgentId, Vantage>);

/// One fleet's part of the answer.
#[derive(Serialize)]
pub(super) struct Checked {
    pub(super) fleet: String,
    #[serde(flatten)]
    pub(super) report: Report,
}

/// The answer as one object.
#[derive(Serialize)]
struct Answer {
    catalog: Counts,
    fleets: Vec<Checked>,
}

/// What stands in the catalog.
#[derive(Serialize)]
pub(super) struct Counts {
    targets: usize,
    aws: usize,
    azure: usize,
    pub(super) controls: usize,
    regions: usize,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut words: Vec<String> = self.files.iter().chain(&self.catalog).cloned().collect();
        if words.is_empty() {
            words.push("builtin".into());
        }
        let catalog = Arc::new(load(&words)?);
        let fleets = match &self.data_dir {
            Some(data) => vec![registered(data)?],
            None => self.fleets()?,
        };
        let counts = Counts::of(&catalog);
        let checked: Vec<Checked> =
            fleets.into_iter().map(|(fleet, vantages)| Checked { fleet, report: report(&catalog, vantages) }).collect();
        let is_serious = checked.iter().any(|checked| !checked.report.serious.is_empty());
        match self.output {
            Format::Text => {
                say(&counts.line())?;
                if counts.controls == 0 {
                    say(
                        "warning: no control: without targets on neither cloud a broken vantage cannot be told from an \
                         outage",
                    )?;
                }
                for checked in &checked {
                    say(picture::of(checked)?.trim_end())?;
                }
            }
            Format::Json => say(&serde_json::to_string(&Answer { catalog: counts, fleets: checked })?)?,
            Format::Ndjson => {
                for checked in &checked {
                    say(&serde_json::to_string(checked)?)?;
                }
            }
        }
        Ok(ExitCode::from(u8::from(is_serious)))
    }

    fn fleets(&self) -> Result<Vec<Fleet>, Usage> {
        let named = |name: &str| FLEETS.iter().find(|(built_in, _)| *built_in == name);
        let parse = |name: &str, text: &str| {
            let file = format!("fleet {name}");
            world_file::parse(&file, text).map(|vantages| (name.to_owned(), vantages))
        };
        let read = |word: &String| match named(word) {
            Some((name, text)) => parse(name, text),
            None => world_file::load(Path::new(word)).map(|vantages| (word.clone(), vantages)),
        };
        let fleets: Result<Vec<Fleet>, _> = if self.fleet.is_empty() {
            FLEETS.iter().map(|(name, text)| parse(name, text)).collect()
        } else {
            self.fleet.iter().map(read).collect()
        };
        fleets.map_err(|error| Usage(error.to_string()))
    }
}

/// The agents that were issued in a data directory. Where they connect from is not known there, so that an agent whose
/// operator names no group is taken for a witness of its own.
fn registered(data: &Path) -> Result<Fleet, Usage> {
    let vantages: BTreeMap<AgentId, Vantage> = Registry::of(data)
        .all()
        .into_iter()
        .map(|(name, mut place)| {
            place.group.get_or_insert_with(|| name.clone());
            (AgentId::from(name), place.vantage(None, IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
        })
        .collect();
    if vantages.is_empty() {
        let message = format!("--data-dir {}: no agent was issued there; `faultline agent issue` does", data.display());
        return Err(Usage(message));
    }
    Ok((data.display().to_string(), vantages))
}

/// The report of a fleet in which each agent looks at what it would be given.
fn report(catalog: &Arc<Catalog>, vantages: BTreeMap<AgentId, Vantage>) -> Report {
    let assignments = Assignments::new(Arc::clone(catalog), BTreeMap::new());
    let targets = catalog.world();
    let given: BTreeMap<AgentId, BTreeMap<TargetId, Way>> = vantages
        .iter()
        .map(|(agent, vantage)| {
            let given = assignments.push(agent, vantage).0.assignments.into_iter();
            let ways = given.map(|given| {
                let way = way(given.spec.as_ref(), targets.get(given.target.as_str()));
                (given.target.into(), way)
            });
            (agent.clone(), ways.collect())
        })
        .collect();
    let world = World { targets, vantages };
    let looks = |agent: &AgentId, target: &TargetId| given.get(agent).and_then(|given| given.get(target)).cloned();
    identifiability::report_where(&world, &BTreeMap::new(), looks)
}

/// Whom agents ask for the name, as they will say in their results.
fn way(spec: Option<&Spec>, target: Option<&Target>) -> Way {
    match spec {
        Some(Spec::Dns(dns)) if dns.server == "authoritative" => Way::Authority(String::new()),
        Some(Spec::Dns(dns)) => run::way(&dns.server, target),
        _ => Way::System,
    }
}

impl Counts {
    fn of(catalog: &Catalog) -> Self {
        let on = |cloud: &str| catalog.targets.values().filter(|target| target.target.hosted_on == cloud).count();
        let regions: BTreeSet<(&str, &str)> = catalog
            .targets
            .values()
            .filter_map(|target| Some((target.target.hosted_on.as_str(), target.target.region.as_deref()?)))
            .collect();
        let controls = catalog.targets.values().filter(|target| target.target.is_control()).count();
        let (aws, azure) = (on("aws"), on("azure"));
        Self { targets: catalog.targets.len(), aws, azure, controls, regions: regions.len() }
    }

    fn line(&self) -> String {
        let Self { targets, aws, azure, controls, regions } = self;
        format!("{targets} targets: {aws} on aws, {azure} on azure, {controls} controls; {regions} regions")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_fleet_reads_and_has_the_size_that_its_name_says() {
        for ((name, text), size) in FLEETS.iter().zip([1, 6, 24]) {
            let vantages = world_file::parse(name, text).expect(name);
            assert_eq!(vantages.len(), size, "{name}");
        }
    }

    #[test]
    fn in_the_largest_reference_fleet_every_geography_has_two_networks_outside_both_clouds() {
        let vantages = world_file::parse(FLEETS[2].0, FLEETS[2].1).expect("fleet");
        for geography in ["na", "sa", "eu", "af", "me", "as", "oc"] {
            let here = || vantages.values().filter(|vantage| vantage.geography.as_deref() == Some(geography));
            let outside: BTreeSet<String> =
                here().filter(|vantage| vantage.is_outside_clouds()).map(Vantage::network).collect();
            assert!(outside.len() >= 2 && here().count() >= 3, "{geography}: {outside:?}");
        }
    }

    #[test]
    fn an_agent_that_is_not_given_a_target_does_not_witness_it() {
        let text = "[[target]]\nid = \"shop\"\nprobe = \"https\"\nurl = \"https://a.example/\"\nhosted_on = \"aws\"\n\
                    region = \"us-east-1\"\nagents = { country = \"de\" }\n";
        let catalog = Arc::new(Catalog::parse("c.toml", text).expect("catalog"));
        let vantages = world_file::parse(FLEETS[1].0, FLEETS[1].1).expect("fleet");

        let report = report(&catalog, vantages);

        assert_eq!((report.agents, report.elements["agent"]), (6, 1));
    }
}
