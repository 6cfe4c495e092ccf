//! `faultline replay`: what the coordinator would have published, from recorded results.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use faultline_attribution::{Change, Explanation, IncidentId, Residual, Residuals, Timestamp, explanation::Member};
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
    let headline =
        replayed.engine.incidents().find(|change| change.incident == *incident).map(|change| &change.headline);
    let headline = headline.map(String::as_str).unwrap_or_default();
    if output == Format::Text {
        write_explanation(out, incident, headline, &explanation)?;
    } else {
        let object = Explained { r#type: "explanation", incident, headline, explanation };
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
    headline: &'i str,
    #[serde(flatten)]
    explanation: Explanation,
}

fn write_explanation(
    out: &mut impl Write,
    incident: &IncidentId,
    headline: &str,
    explanation: &Explanation,
) -> io::Result<()> {
    writeln!(out, "{incident}: how do we know?")?;
    writeln!(out, "  {headline}")?;
    writeln!(out, "  gain           {:.1} nats over no fault", explanation.gain)?;
    writeln!(out, "  severity       {:.2} of runs fail", explanation.severity)?;
    let (liars, robust) = (explanation.assumed_liars, explanation.robust_margin);
    let loudest = counted(liars, "vantage group");
    writeln!(out, "  margin         {robust:.1} nats without the loudest {loudest}")?;
    writeln!(out, "  margin         {:.1} nats without any one network", explanation.domain_margin)?;
    for suspect in &explanation.suspects {
        writeln!(out, "  suspect        {:.3} {}", suspect.probability, suspect.element)?;
    }
    for member in &explanation.members {
        writeln!(out, "  member         {}", member_words(member))?;
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
            "  cleared        {} at {}: {} of {} runs passed from {}, {:.1} nats",
            alibi.party,
            alibi.layer,
            alibi.passed,
            alibi.runs,
            counted(alibi.groups, "vantage group"),
            alibi.nats
        )?;
    }
    let Residuals { from, failed, unexplained, failures, passes } = &explanation.residuals;
    writeln!(out, "  residual       {unexplained} of {failed} failing runs since {from} are explained by no member")?;
    for residual in failures {
        writeln!(out, "  unexplained    {}", residual_words(residual))?;
    }
    for residual in passes {
        writeln!(out, "  passes         {}", residual_words(residual))?;
    }
    for caveat in &explanation.caveats {
        writeln!(out, "  caveat         {caveat}")?;
    }
    Ok(())
}

/// "azure/front-door (cdn): connect 0.95, seen by 16 of 16 vantage groups at 4 targets, 512.3 nats".
fn member_words(member: &Member) -> String {
    let shown: Vec<String> =
        member.severities.iter().map(|(layer, severity)| format!("{layer} {severity:.2}")).collect();
    format!(
        "{} ({}): {}, seen by {} of {} at {}, {:.1} nats{}",
        member.element,
        member.element_kind,
        shown.join(", "),
        member.failing_groups,
        counted(member.total_groups, "vantage group"),
        counted(member.targets, "target"),
        member.gain,
        if member.is_consequence { ", a consequence" } else { "" },
    )
}

/// "1 target", "12 targets".
fn counted(n: u32, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// "bank.example from g1: 0 of 8 runs fail at connect, 0.950 expected, 18.2 nats".
fn residual_words(residual: &Residual) -> String {
    let Residual { group, target, layer, failed, runs, expected, nats } = residual;
    format!("{target} from {group}: {failed} of {runs} runs fail at {layer}, {expected:.3} expected, {nats:.1} nats")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use faultline_attribution::{ElementKind, Layer};

    use super::*;

    #[test]
    fn an_explanation_is_told_whole() {
        let residual = |failed: u32, expected: f64| Residual {
            group: "g1".into(),
            target: "shop".into(),
            layer: Layer::Http,
            failed,
            runs: 8,
            expected,
            nats: 5.25,
        };
        let member = Member {
            element: "azure/front-door".into(),
            element_kind: ElementKind::Cdn,
            severities: BTreeMap::from([(Layer::Connect, 0.95), (Layer::Tls, 0.06)]),
            failing_groups: 15,
            total_groups: 16,
            targets: 1,
            gain: 512.31,
            is_consequence: false,
        };
        let explanation = Explanation {
            assumed_liars: 3,
            robust_margin: 400.0,
            domain_margin: 470.0,
            members: vec![member],
            residuals: Residuals {
                from: Timestamp::from_micros(1_761_752_464_000_000),
                failed: 90,
                unexplained: 1,
                failures: vec![residual(1, 0.002)],
                passes: vec![residual(0, 0.95)],
            },
            ..Explanation::default()
        };
        let mut out = Vec::new();
        let incident = IncidentId::from("inc-1".to_owned());
        write_explanation(&mut out, &incident, "Azure Front Door is failing.", &explanation).expect("a Vec takes all");
        let said = String::from_utf8(out).expect("UTF-8");
        for line in [
            "inc-1: how do we know?",
            "  Azure Front Door is failing.",
            "  margin         400.0 nats without the loudest 3 vantage groups",
            "  margin         470.0 nats without any one network",
            "  member         azure/front-door (cdn): connect 0.95, tls 0.06, seen by 15 of 16 vantage groups at 1 target, 512.3 nats",
            "  residual       1 of 90 failing runs since 2025-10-29T15:41:04Z are explained by no member",
            "  unexplained    shop from g1: 1 of 8 runs fail at http, 0.002 expected, 5.2 nats",
            "  passes         shop from g1: 0 of 8 runs fail at http, 0.950 expected, 5.2 nats",
        ] {
            assert!(said.lines().any(|said| said == line), "{line:?} is missing in\n{said}");
        }
    }
}
