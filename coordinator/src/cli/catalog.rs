//! `faultline catalog`: show and check catalogs.

mod check;
mod picture;

use std::process::ExitCode;

use super::{Format, Usage, say};
use crate::catalog::{self, CatalogSource};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Catalog {
    /// Print the targets
    Show(Show),
    /// Say what is wrong, and which faults this catalog and a fleet could not tell apart
    Check(check::Check),
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
