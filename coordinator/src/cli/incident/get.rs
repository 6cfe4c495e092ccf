//! `faultline incident get`: everything that was published of one incident.

use std::{io, process::ExitCode};

use faultline_attribution::{Alibi, Change, EvidenceRow, Note};
use faultline_proto::{
    feed::v1::{GetIncidentRequest, ListIncidentsRequest},
    types::v1 as wire,
};
use tonic::Code;

use super::Form;
use crate::{
    cli::{
        FeedAddress,
        colour::{Colour, Tone, clean, cut},
        runtime, say, say_error, subscriber,
    },
    feed::convert,
};

/// Ids that are shown where one is unknown.
const NEWEST: i32 = 3;

/// Rows of evidence in the table; `-o json` has all of them.
const ROWS: usize = 12;

/// Widest line of a table.
const WIDTH: usize = 80;

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline incident get inc-20251029T154113Z-1 --revisions",
    after_help = "Exit codes: 0 shown; 1 no such incident, or no coordinator answers; 2 wrong usage"
)]
pub(in crate::cli) struct Get {
    /// Which, as `faultline incident list` names it
    #[arg(value_name = "ID")]
    incident: String,
    #[command(flatten)]
    feed: FeedAddress,
    /// Also show every earlier revision that is kept, oldest first
    #[arg(long)]
    revisions: bool,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    #[command(flatten)]
    colour: Colour,
}

impl Get {
    pub(in crate::cli) fn run(self) -> anyhow::Result<ExitCode> {
        let Some((incident, history)) = runtime()?.block_on(self.ask())? else { return Ok(ExitCode::FAILURE) };
        let newest = change(&incident)?;
        let earlier = history.iter().map(change).collect::<anyhow::Result<Vec<_>>>()?;
        match self.print(&newest, &incident, &earlier) {
            // Whoever read this is gone.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            printed => Ok(printed.map(|()| ExitCode::SUCCESS)?),
        }
    }

    /// The newest revision and the earlier ones; `None` where there is none, which was said.
    async fn ask(&self) -> anyhow::Result<Option<(wire::Incident, Vec<wire::Incident>)>> {
        let mut client = subscriber::connect(&self.feed).await?;
        match client.get_incident(GetIncidentRequest { incident: self.incident.clone() }).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let newest = answer.incident.ok_or_else(|| anyhow::anyhow!("the coordinator sent no incident"))?;
                Ok(Some((newest, answer.history)))
            }
            Err(status) if status.code() == Code::NotFound => {
                let request = ListIncidentsRequest { page_size: NEWEST, ..ListIncidentsRequest::default() };
                let newest = client.list_incidents(request).await.map(|answer| answer.into_inner().incidents);
                say_error(&unknown(&self.incident, &newest.unwrap_or_default()));
                Ok(None)
            }
            Err(status) => anyhow::bail!("{}", subscriber::said(&status)),
        }
    }

    fn print(&self, newest: &Change, incident: &wire::Incident, earlier: &[Change]) -> io::Result<()> {
        let earlier = if self.revisions { earlier } else { &[] };
        let mut all: Vec<&Change> = earlier.iter().collect();
        all.push(newest);
        match self.output {
            Form::Table => {
                let revisions: &[&Change] = if self.revisions { all.as_slice() } else { &[] };
                lines(newest, incident, revisions).iter().try_for_each(|line| self.colour.say(line))
            }
            Form::Json if self.revisions => say(&serde_json::to_string_pretty(&all)?),
            Form::Json => say(&serde_json::to_string_pretty(newest)?),
            Form::Ndjson => all.into_iter().try_for_each(|change| say(&serde_json::to_string(change)?)),
        }
    }
}

fn change(incident: &wire::Incident) -> anyhow::Result<Change> {
    let why = || anyhow::anyhow!("{}: of a newer coordinator: upgrade", clean(&incident.incident));
    convert::change(incident).ok_or_else(why)
}

/// What to say of an incident that there is none of.
fn unknown(incident: &str, newest: &[wire::Incident]) -> String {
    let incident = clean(incident);
    if newest.is_empty() {
        return format!("no incident {incident}: this coordinator has published none");
    }
    let ids: Vec<String> = newest.iter().map(|incident| clean(&incident.incident)).collect();
    format!("no incident {incident}: the newest are {}; `faultline incident list` has all", ids.join(", "))
}

/// One revision in full, in lines of the terminal, with styles.
pub(in crate::cli) fn detail(change: &Change, incident: &wire::Incident) -> Vec<String> {
    lines(change, incident, &[])
}

/// Everything, in lines of the terminal, with styles.
fn lines(change: &Change, incident: &wire::Incident, revisions: &[&Change]) -> Vec<String> {
    let mut lines = vec![
        format!("{}  {}", subscriber::tone(incident).paint(subscriber::state(incident)), clean(&change.headline)),
        String::new(),
    ];
    lines.extend(facts(change, incident).into_iter().map(|(name, value)| format!("{name:13} {value}")));
    if !change.alibis.is_empty() {
        lines.extend([String::new(), heading("Cleared")]);
        lines.extend(change.alibis.iter().map(alibi));
    }
    if !change.evidence.is_empty() {
        lines.extend([
            String::new(),
            heading("Evidence"),
            Tone::Faint.paint(&evidence_row(["GROUP", "TARGET", "FAILED", "CAUSE"])),
        ]);
        lines.extend(change.evidence.iter().take(ROWS).map(evidence));
        let more = change.evidence.len().saturating_sub(ROWS);
        if more > 0 {
            lines.push(format!("  and {more} more rows: -o json"));
        }
    }
    if !change.caveats.is_empty() {
        lines.extend([String::new(), heading("What would change our mind")]);
        lines.extend(change.caveats.iter().map(|caveat| format!("  {}", clean(caveat))));
    }
    if !change.notes.is_empty() {
        lines.extend([String::new(), heading("Notes")]);
        lines.extend(change.notes.iter().map(note));
    }
    if !revisions.is_empty() {
        lines.extend([String::new(), heading("Revisions")]);
        for revision in revisions {
            lines.extend(told(revision));
        }
    }
    lines
}

fn heading(text: &str) -> String {
    let bold = anstyle::Style::new().bold();
    format!("{bold}{text}{bold:#}")
}

fn facts(change: &Change, incident: &wire::Incident) -> Vec<(&'static str, String)> {
    let kind = change.kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
    let odds = &change.probabilities;
    let element_kind = change.element_kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
    let moment = |at: Option<&prost_types::Timestamp>| at.map(|at| subscriber::moment(Some(at)));
    let suspects: Vec<String> = change
        .suspects
        .iter()
        .map(|suspect| format!("{} {:.2}", clean(&suspect.element), suspect.probability))
        .collect();
    let everywhere = if change.element.is_empty() { "" } else { "everywhere" };
    let regions = if change.regions.is_empty() { everywhere.to_owned() } else { clean(&change.regions.join(", ")) };
    let rows = [
        ("incident", Some(format!("{} revision {}", clean(change.incident.as_str()), change.revision))),
        ("verdict", Some(format!("{}{kind}, confidence {:.3}", change.verdict, change.confidence))),
        (
            "odds",
            Some(format!(
                "aws {:.3}, azure {:.3}, neither {:.3}, nothing wrong {:.3}",
                odds.aws, odds.azure, odds.neither, odds.none
            )),
        ),
        ("element", Some(format!("{}{element_kind}", clean(&change.element)))),
        ("suspects", Some(suspects.join(", "))),
        ("undetermined", Some(clean(&change.undetermined_reason))),
        ("regions", Some(regions)),
        ("layer", Some(change.layer.to_string())),
        (
            "seen by",
            Some(format!(
                "{} of {} vantage groups; controls fail too for {}",
                change.failing_groups, change.total_groups, change.control_failing_groups
            )),
        ),
        ("onset", moment(incident.onset_at.as_ref()).map(|at| format!("{at} ± {:.0} s", change.onset_uncertainty_s))),
        ("published", moment(incident.opened_at.as_ref())),
        ("attributed", moment(incident.attributed_at.as_ref())),
        ("ended", moment(incident.resolved_at.as_ref())),
        ("folded into", Some(clean(&change.superseded_by))),
        ("taken back", Some(clean(&change.retraction_reason))),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?))).collect()
}

fn alibi(alibi: &Alibi) -> String {
    let (party, layer) = (clean(&alibi.party), alibi.layer);
    format!(
        "  {party}: {} of {} checks passed at {layer}, {} vantage groups ({:.1} nats)",
        alibi.passed, alibi.runs, alibi.groups, alibi.nats
    )
}

fn note(Note { at, text, link }: &Note) -> String {
    let at = at.to_string();
    let at = at.get(..19).unwrap_or(&at).replace('T', " ");
    let link = if link.is_empty() { String::new() } else { format!(" {}", clean(link)) };
    format!("  {at}Z  {}{link}", clean(text))
}

fn evidence(row: &EvidenceRow) -> String {
    let failed = format!("{}/{}", row.failed, row.runs);
    let cause = row.cause.map_or_else(|| format!("slow at {}", row.layer), |cause| cause.to_string());
    evidence_row([&clean(&row.group), &clean(&row.target), &failed, &cause])
}

fn evidence_row([group, target, failed, cause]: [&str; 4]) -> String {
    let line = format!("  {:20} {:24} {failed:9} {cause}", cut(group, 20), cut(target, 24));
    cut(line.trim_end(), WIDTH)
}

/// A revision in two lines.
fn told(change: &Change) -> [String; 2] {
    let at = change.at.to_string();
    let at = at.get(..19).unwrap_or(&at).replace('T', " ");
    let line = format!(
        "  r{:<3} {at}Z  {}  {} {:.2}  {}",
        change.revision,
        change.state,
        change.verdict,
        change.confidence,
        clean(&change.element)
    );
    [cut(line.trim_end(), WIDTH), format!("       {}", cut(&clean(&change.headline), WIDTH - 7))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    fn shown(change: &Change, revisions: &[&Change]) -> String {
        let lines = lines(change, &convert::incident(change), revisions);
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string() + "\n").collect()
    }

    #[test]
    fn an_incident_shows_its_facts_evidence_and_who_is_cleared() {
        let change = samples::change();
        let text = shown(&change, &[&change]);
        for wanted in [
            "✕ attributed  Azure Front Door is failing for 41 of 44 vantage groups\n",
            "verdict       azure, confidence 0.981\n",
            "element       azure/front-door (cdn)\n",
            "regions       everywhere\n",
            "onset         2025-10-29 15:41:04Z ± 20 s\n",
            "seen by       41 of 44 vantage groups; controls fail too for 0\n",
            "  aws: 90 of 90 checks passed at connect, 30 vantage groups (112.5 nats)\n",
            "  hetzner-de           air                      9/10      connect_timeout\n",
            "  Nobody looks from South America.\n",
            "  r2   2025-10-29 15:42:20Z  attributed  azure 0.98  azure/front-door\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(!text.contains("suspects") && !text.contains("folded"), "what is empty is left out: {text}");
    }

    #[test]
    fn what_people_say_is_shown() {
        let mut change = samples::change();
        change.retraction_reason = "our own firewall".into();
        let at = change.at;
        change.notes.push(Note { at, text: "The post-mortem is out.".into(), link: "https://example.org/pir".into() });
        let text = shown(&change, &[]);
        for wanted in [
            "taken back    our own firewall\n",
            "Notes\n  2025-10-29 15:42:20Z  The post-mortem is out. https://example.org/pir\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
    }

    #[test]
    fn text_of_others_stays_text() {
        let mut change = samples::change();
        change.retraction_reason = "\u{1b}[2J".into();
        change.notes.push(Note { at: change.at, text: "\u{1b}[2J".into(), link: "\u{7}".into() });
        change.evidence[0].target = "\u{1b}]0;x\u{7}".into();
        change.caveats = vec!["\u{1b}[2J".into()];
        let lines = lines(&change, &convert::incident(&change), &[]);
        assert!(lines.iter().all(|line| !line.contains("\u{1b}[2J") && !line.contains('\u{7}')), "{lines:?}");
    }

    #[test]
    fn an_unknown_id_names_those_there_are() {
        assert_eq!(unknown("x", &[]), "no incident x: this coordinator has published none");
        let said = unknown("x", &[samples::incident()]);
        assert!(said.contains("inc-20251029T154113Z-1") && said.contains("faultline incident list"), "{said}");
    }
}
