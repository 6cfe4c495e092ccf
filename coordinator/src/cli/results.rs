//! `faultline results`: what the log holds, as lines that `faultline replay` reads.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use faultline_attribution::Timestamp;

use super::{Usage, replay::instant, say, say_error};
use crate::{
    counts::{self, By, Ended},
    log::sqlite::SqliteReader,
    results::{
        export::{self, ExportError, Exported, Span},
        parquet,
    },
    world_file,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Results {
    /// Print the results of a data directory as JSON lines or Parquet; a coordinator may be running on it
    Export(Export),
    /// Print how many runs of each target or element ended how, by minute and vantage group: for 400 days
    Counts(Counts),
    /// Print what stays of incidents that ended: runs that failed, by minute and vantage group, and latencies
    History(History),
}

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline results export --data-dir ./data --write-world world.toml > results.ndjson\n  faultline replay --catalog catalog.toml --world world.toml results.ndjson\n  faultline results export --data-dir ./data --from 2026-10-29T15:00:00Z -o parquet > results.parquet"
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
    /// How results are written
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// One JSON object a line
    #[default]
    Ndjson,
    /// One row a run
    Parquet,
}

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline results counts --data-dir ./data --from 2026-10-29T15:00:00Z --to 2026-10-29T16:00:00Z\n  faultline results counts --data-dir ./data --by element"
)]
pub(super) struct Counts {
    /// Where the log is
    #[arg(long, visible_alias = "data", env = "FAULTLINE_DATA_DIR", default_value = "faultline-data")]
    data_dir: PathBuf,
    /// What is counted
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// Runs that began then or later
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    from: Option<Timestamp>,
    /// Runs that began before then
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    to: Option<Timestamp>,
}

impl Results {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Export(export) => export.run(),
            Self::Counts(counts) => counts.run(),
            Self::History(history) => history.run(),
        }
    }
}

/// The log of a data directory that has one.
pub(super) fn open(data: &Path) -> anyhow::Result<SqliteReader> {
    if !data.join("log.sqlite").is_file() {
        return Err(Usage(format!("--data-dir {}: no log there", data.display())).into());
    }
    Ok(SqliteReader::open(data)?)
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline results history --data-dir ./data inc-20251029T154113Z-1")]
pub(super) struct History {
    /// Where the log is
    #[arg(long, visible_alias = "data", env = "FAULTLINE_DATA_DIR", default_value = "faultline-data")]
    data_dir: PathBuf,
    /// Of this incident alone
    incident: Option<String>,
}

impl History {
    fn run(self) -> anyhow::Result<ExitCode> {
        let histories = open(&self.data_dir)?.histories()?;
        let is_asked = |incident: &str| self.incident.as_deref().is_none_or(|asked| asked == incident);
        let asked: Vec<_> = histories.iter().filter(|history| is_asked(history.incident.as_str())).collect();
        if let (Some(incident), true) = (&self.incident, asked.is_empty()) {
            return Err(
                Usage(format!("{incident}: no incident of this name has ended, or its hour is not over")).into()
            );
        }
        for history in asked {
            say(&serde_json::to_string(history)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A count as it is printed.
#[derive(serde::Serialize)]
struct Count<'a> {
    minute: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    element: Option<&'a str>,
    group: &'a str,
    ended: Ended,
    results: u32,
}

impl Counts {
    fn run(self) -> anyhow::Result<ExitCode> {
        let log = open(&self.data_dir)?;
        let mut out = BufWriter::new(io::stdout().lock());
        let from = self.from.map_or(i64::MIN, counts::hour);
        let to = self.to.map_or(i64::MAX, |to| counts::hour(to) + 1);
        let counted = log.counts::<ExportError>(self.by, (from, to), |hour, name, part| {
            for (minute, group, ended, results) in part.rows() {
                let minute = counts::minute_of(hour, minute);
                let is_asked = self.from.is_none_or(|from| minute >= from) && self.to.is_none_or(|to| minute < to);
                if is_asked {
                    let (target, element) = match self.by {
                        By::Target => (Some(name), None),
                        By::Element => (None, Some(name)),
                    };
                    let count = Count { minute, target, element, group, ended, results };
                    serde_json::to_writer(&mut out, &count).map_err(io::Error::from)?;
                    out.write_all(b"\n")?;
                }
            }
            Ok(())
        });
        match counted.and_then(|damaged| Ok(out.flush().map(|()| damaged)?)) {
            Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Ok(0) => {}
            Ok(damaged) => say_error(&format!("{damaged} parts of the counts are damaged and left out")),
            Err(error) => return Err(error.into()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Export {
    fn run(self) -> anyhow::Result<ExitCode> {
        let log = open(&self.data_dir)?;
        let exported = match self.output {
            Form::Ndjson => self.ndjson(&log),
            Form::Parquet if io::stdout().is_terminal() => {
                return Err(Usage("a Parquet file is nothing to read: add > results.parquet".into()).into());
            }
            Form::Parquet => self.parquet(&log),
        };
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

    fn span(&self) -> Span {
        Span { from: self.from, to: self.to }
    }

    fn ndjson(&self, log: &SqliteReader) -> Result<Exported, ExportError> {
        let mut out = BufWriter::new(io::stdout().lock());
        let exported = export::export(log, self.span(), |line| {
            serde_json::to_writer(&mut out, line)?;
            out.write_all(b"\n")
        })?;
        out.flush()?;
        Ok(exported)
    }

    fn parquet(&self, log: &SqliteReader) -> Result<Exported, ExportError> {
        let mut out = parquet::Writer::new(BufWriter::new(io::stdout()))?;
        let exported = export::export(log, self.span(), |line| out.write(line))?;
        out.finish()?;
        Ok(exported)
    }
}
