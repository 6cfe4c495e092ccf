//! `faultline results`: what the log holds, as lines that `faultline replay` reads.

use std::{
    io::{self, BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use faultline_attribution::Timestamp;

use super::{Format, Usage, replay::instant, say_error};
use crate::{
    log::sqlite::SqliteReader,
    results::export::{self, ExportError, Span},
    world_file,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Results {
    /// Print the results of a data directory, one JSON object a line; a coordinator may be running on it
    Export(Export),
}

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline results export --data-dir ./data --write-world world.toml > results.ndjson\n  faultline replay --catalog catalog.toml --world world.toml results.ndjson"
)]
pub(super) struct Export {
    /// Where the log is
    #[arg(long, visible_alias = "data", env = "FAULTLINE_DATA_DIR", default_value = "faultline-data")]
    data_dir: PathBuf,
    /// Results received from then on
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    from: Option<Timestamp>,
    /// Results received before then
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    to: Option<Timestamp>,
    /// Write here where the agents look from, for `faultline replay --world`
    #[arg(long, value_name = "FILE")]
    write_world: Option<PathBuf>,
    /// ndjson is the only one
    #[arg(short, long, default_value = "ndjson")]
    output: Format,
}

impl Results {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Export(export) = self;
        export.run()
    }
}

impl Export {
    fn run(self) -> anyhow::Result<ExitCode> {
        if self.output != Format::Ndjson {
            return Err(Usage("results are written as ndjson alone: -o ndjson".into()).into());
        }
        if !self.data_dir.join("log.sqlite").is_file() {
            let message = format!("--data-dir {}: no log there", self.data_dir.display());
            return Err(Usage(message).into());
        }
        let log = SqliteReader::open(&self.data_dir)?;
        let mut out = BufWriter::new(io::stdout().lock());
        let exported = export::export(&log, Span { from: self.from, to: self.to }, |line| {
            serde_json::to_writer(&mut out, line)?;
            out.write_all(b"\n")
        });
        let exported = exported.and_then(|exported| Ok(out.flush().map(|()| exported)?));
        let exported = match exported {
            Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(ExitCode::SUCCESS);
            }
            exported => exported?,
        };
        for (cursor, why) in &exported.damaged {
            say_error(&format!("log record {cursor} left out: {why}"));
        }
        if let Some(path) = self.write_world {
            std::fs::write(&path, world_file::write(&exported.vantages))
                .map_err(|error| anyhow::anyhow!("--write-world {}: {error}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
