//! `faultline audit`: what operators asked of the coordinator, and who tried to become an agent.

use std::process::ExitCode;

use super::{DataDir, Format, colour::clean};
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
        tail.output.print(&entries, "nobody has asked anything yet", line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(AuditEntry { id, at, uid, call, asked, outcome }: &AuditEntry) -> String {
    let outcome = outcome.as_deref().unwrap_or("no outcome: it goes on, or the coordinator ended meanwhile");
    let who = uid.map_or("a newcomer".to_owned(), |uid| format!("uid {uid}"));
    format!("{id:>6}  {at}  {who}  {}  {}\n        {}", clean(call), clean(outcome), clean(asked))
}
