//! `faultline catalog`: show and check catalogs.

use std::{collections::BTreeSet, process::ExitCode};

use super::{Format, say};
use crate::catalog::{self, CatalogSource};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Catalog {
    /// Print the targets
    Show(Show),
    /// Say what is wrong, with file, line and value; exit 0 when nothing is, 2 when something is
    Check(Check),
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline catalog show --catalog builtin --catalog mine.toml")]
pub(super) struct Show {
    /// Catalog file, or `builtin`; repeats
    #[arg(long, default_value = "builtin")]
    catalog: Vec<String>,
    /// Print the built-in catalog's file, as a start for your own
    #[arg(long)]
    source: bool,
    /// text, or ndjson
    #[arg(short, long, default_value = "text")]
    output: Format,
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline catalog check mine.toml")]
pub(super) struct Check {
    /// Catalog files, or `builtin`
    #[arg(default_value = "builtin")]
    catalog: Vec<String>,
}

impl Catalog {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Show(show) => show.run(),
            Self::Check(check) => check.run(),
        }
    }
}

fn load(words: &[String]) -> Result<catalog::Catalog, catalog::CatalogError> {
    let sources: Vec<CatalogSource> = words.iter().map(|word| CatalogSource::from(word.as_str())).collect();
    catalog::Catalog::load(&sources)
}

impl Show {
    fn run(self) -> anyhow::Result<ExitCode> {
        if self.source {
            say(catalog::builtin_toml().trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        for (id, target) in load(&self.catalog)?.targets {
            if self.output == Format::Text {
                let verified = if target.target.verified { "" } else { "  (unverified)" };
                say(&format!("{:40} {:6} {}{verified}", id.as_str(), target.target.probe, target.url))?;
            } else {
                let mut object = serde_json::to_value(&target.target)?;
                object["id"] = id.as_str().into();
                object["url"] = target.url.into();
                object["interval_s"] = target.interval.as_secs_f64().into();
                object["timeout_s"] = target.timeout.as_secs_f64().into();
                say(&object.to_string())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Check {
    fn run(self) -> anyhow::Result<ExitCode> {
        let catalog = load(&self.catalog)?;
        let count = |cloud: &str| catalog.targets.values().filter(|target| target.target.hosted_on == cloud).count();
        let regions: BTreeSet<(&str, &str)> = catalog
            .targets
            .values()
            .filter_map(|target| Some((target.target.hosted_on.as_str(), target.target.region.as_deref()?)))
            .collect();
        let controls = catalog.targets.values().filter(|target| target.target.is_control()).count();
        let total = catalog.targets.len();
        say(&format!(
            "{total} targets: {} on aws, {} on azure, {controls} controls; {} regions",
            count("aws"),
            count("azure"),
            regions.len()
        ))?;
        if controls == 0 {
            say(
                "warning: no control: without targets on neither cloud a broken vantage cannot be told from an outage",
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
