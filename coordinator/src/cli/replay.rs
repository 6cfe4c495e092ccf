//! `faultline replay`: what the coordinator would have published, from recorded results.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use faultline_attribution::{Change, Explanation, IncidentId, Timestamp};
use serde::Serialize;

use super::{Format, say_error, subscriber};
use crate::{
    catalog::{Catalog, CatalogSource},
    feed::convert,
    ranges::Ranges,
    replay::{Replay, ReplayError, Replayal},
    world_file,
};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline replay --catalog catalog.toml --world world.toml results.ndjson -o ndjson\n  zcat results.ndjson.gz | faultline replay --catalog builtin --world world.toml -\n\nExit codes: 0 done (no output: nothing was wrong), 1 it did not work, 2 wrong usage, or a file that cannot be read"
)]
pub(super) struct ReplayCommand {
    /// Catalog file, or `builtin`; repeats
    #[arg(long, default_value = "builtin")]
    catalog: Vec<String>,
    /// Agents: a file of [[agent]]
    #[arg(long)]
    world: PathBuf,
    /// Result lines in the order in which they were received, or `-` for standard input
    results: PathBuf,
    /// Folder of published address ranges, which say where an address is hosted
    #[arg(long, value_name = "DIR")]
    ranges: Option<PathBuf>,
    /// text, or ndjson
    #[arg(short, long, default_value = "text")]
    output: Format,
    /// End here [default: 180 s after the last line]
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    until: Option<Timestamp>,
    /// End at the first change that is attributed
    #[arg(long)]
    until_verdict: bool,
    /// Print the evidence of this incident at the end
    #[arg(long, value_name = "INCIDENT_ID")]
    explain: Option<String>,
}

/// An instant on the command line.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    let at: jiff::Timestamp = text.parse().map_err(|_| "no RFC 3339 instant, as in 2025-10-29T15:41:00Z".to_owned())?;
    Ok(Timestamp::from_micros(at.as_microsecond()))
}

impl ReplayCommand {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let sources: Vec<CatalogSource> = self.catalog.iter().map(|word| CatalogSource::from(word.as_str())).collect();
        let replay = Replay {
            targets: Catalog::load(&sources)?.world(),
            vantages: world_file::load(&self.world)?,
            ranges: Arc::new(self.ranges.as_deref().map(Ranges::load_dir).transpose()?.unwrap_or_default()),
            until: self.until,
            until_verdict: self.until_verdict,
        };
        let mut out = BufWriter::new(io::stdout().lock());
        let publish = |change: &Change| write_change(&mut out, self.output, change);
        let replayed = if self.results.as_os_str() == "-" {
            replay.run("standard input", BufReader::with_capacity(READ_BYTES, io::stdin().lock()), publish)
        } else {
            let file = self.results.display().to_string();
            let opened =
                File::open(&self.results).map_err(|source| ReplayError::Read { file: file.clone(), source })?;
            replay.run(&file, BufReader::with_capacity(READ_BYTES, opened), publish)
        };
        let replayed = match replayed {
            // A reader that has gone away has what it wants.
            Err(ReplayError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(ExitCode::SUCCESS);
            }
            replayed => replayed,
        };
        let replayed = match replayed {
            Ok(replayed) => replayed,
            Err(error) => {
                out.flush()?;
                return Err(error.into());
            }
        };
        if replayed.unknown.count > 0 {
            say_error(&replayed.unknown.to_string());
        }
        let explained = self.explain.as_deref().map_or(Ok(true), |incident| {
            explain(&mut out, self.output, &replayed, &IncidentId::from(incident.to_owned()))
        })?;
        out.flush()?;
        Ok(if explained { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn write_change(out: &mut impl Write, output: Format, change: &Change) -> io::Result<()> {
    if output == Format::Text {
        writeln!(out, "{}", change.at)?;
        for line in subscriber::lines(&convert::incident(change)) {
            writeln!(out, "{line}")?;
        }
    } else {
        serde_json::to_writer(&mut *out, change)?;
        writeln!(out)?;
    }
    // Whoever follows a long replay sees each change when it is made.
    out.flush()
}

/// Prints why an incident says what it says; `false` if there is none of that name.
fn explain(out: &mut impl Write, output: Format, replayed: &Replayal, incident: &IncidentId) -> io::Result<bool> {
    let Some(explanation) = replayed.engine.explain(incident) else {
        let known: Vec<&str> = replayed.engine.incidents().map(|change| change.incident.as_str()).collect();
        let known =
            if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
        say_error(&format!("--explain {incident}: no such incident; {known}"));
        return Ok(false);
    };
    if output == Format::Text {
        write_explanation(out, incident, &explanation)?;
    } else {
        let object = Explained { r#type: "explanation", incident, explanation };
        serde_json::to_writer(&mut *out, &object)?;
        writeln!(out)?;
    }
    Ok(true)
}

/// An explanation as a line of its own type.
#[derive(Serialize)]
struct Explained<'i> {
    r#type: &'static str,
    incident: &'i IncidentId,
    #[serde(flatten)]
    explanation: Explanation,
}

fn write_explanation(out: &mut impl Write, incident: &IncidentId, explanation: &Explanation) -> io::Result<()> {
    writeln!(out, "{incident}: how do we know?")?;
    writeln!(out, "  gain           {:.1} nats over no fault", explanation.gain)?;
    writeln!(out, "  severity       {:.2} of runs fail", explanation.severity)?;
    writeln!(out, "  margin         {:.1} nats without its loudest witnesses", explanation.robust_margin)?;
    for suspect in &explanation.suspects {
        writeln!(out, "  suspect        {:.3} {}", suspect.probability, suspect.element)?;
    }
    for row in &explanation.evidence {
        writeln!(
            out,
            "  evidence       {} from {}: {} at {}, {} of {} runs, {:.1} nats",
            row.target,
            row.group,
            row.cause_word(),
            row.layer,
            row.failed,
            row.runs,
            row.weight
        )?;
    }
    for alibi in &explanation.alibis {
        writeln!(
            out,
            "  cleared        {} at {}: {} of {} runs passed from {} vantage groups, {:.1} nats",
            alibi.party, alibi.layer, alibi.passed, alibi.runs, alibi.groups, alibi.nats
        )?;
    }
    for caveat in &explanation.caveats {
        writeln!(out, "  caveat         {caveat}")?;
    }
    Ok(())
}
