//! `faultline audit`: what operators asked of the coordinator.

use std::process::ExitCode;

use super::{DataDir, Format, colour::clean, say};
use crate::admin::audit::{Audit as Record, AuditEntry};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Audit {
    /// Print the newest calls, the newest last; no coordinator needs to run
    #[command(before_help = "Example:\n  faultline audit tail -n 50\n  faultline audit tail -o ndjson")]
    Tail(Tail),
}

#[derive(Debug, clap::Args)]
pub(super) struct Tail {
    #[command(flatten)]
    data: DataDir,
    /// How many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    lines: u32,
    /// text, json or ndjson
    #[arg(short, long, default_value = "text")]
    output: Format,
}

impl Audit {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Tail(tail) = self;
        let entries = Record::tail(&tail.data.data_dir, tail.lines)?;
        match tail.output {
            Format::Text if entries.is_empty() => say("nobody has asked anything yet")?,
            Format::Text => entries.iter().try_for_each(|entry| say(&line(entry)))?,
            Format::Json => say(&serde_json::to_string(&entries)?)?,
            Format::Ndjson => entries.iter().try_for_each(|entry| anyhow::Ok(say(&serde_json::to_string(entry)?)?))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn line(AuditEntry { id, at, uid, call, asked, outcome }: &AuditEntry) -> String {
    let outcome = outcome.as_deref().unwrap_or("no outcome: it goes on, or the coordinator ended meanwhile");
    format!("{id:>6}  {at}  uid {uid}  {}  {}\n        {}", clean(call), clean(outcome), clean(asked))
}
