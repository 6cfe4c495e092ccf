//! `faultline status`: the picture once, with the exit code of a monitoring plugin.

mod check;

use std::process::ExitCode;

use faultline_proto::{
    feed::v1::Snapshot,
    types::v1::{CellState, Incident, Verdict},
};
use serde_json::json;

use super::{
    DataDir, FeedAddress, Format,
    colour::{Colour, Tone, clean},
    only::Wanted,
    ranges, say, say_error, subscriber,
};
use crate::board::Standing;

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline status --feed http://probe.example.org:7444 || page-somebody\n  faultline status --check aws/us-east-1,azure/front-door",
    after_help = "Exit codes: 0 nothing attributed, 1 suspected, 2 attributed, 3 cannot see (also: an element that is unknown, wrong usage, no coordinator)"
)]
pub(super) struct Status {
    #[command(flatten)]
    feed: FeedAddress,
    #[command(flatten)]
    data: DataDir,
    /// Am I affected? One line and the exit code of these elements alone, as in aws/us-east-1,azure/front-door
    #[arg(long, value_name = "ELEMENTS", value_delimiter = ',')]
    check: Vec<Wanted>,
    /// text or json
    #[arg(short, long, default_value = "text")]
    output: Format,
    #[command(flatten)]
    colour: Colour,
}

impl Status {
    pub(super) fn run(self) -> ExitCode {
        match self.look() {
            Ok(standing) => ExitCode::from(standing as u8),
            Err(error) => {
                say_error(&format!("cannot see: {error:#}"));
                ExitCode::from(Standing::Blind as u8)
            }
        }
    }

    fn look(&self) -> anyhow::Result<Standing> {
        let snapshot = subscriber::snapshot(&self.feed)?;
        if !self.check.is_empty() {
            return Ok(self.checked(&snapshot)?);
        }
        let standing = standing(&snapshot);
        if self.output == Format::Text {
            self.print(&snapshot, standing)?;
            if let Some(line) = ranges::ages(&self.data.data_dir) {
                say(&line)?;
            }
        } else {
            say(&object(&snapshot, standing).to_string())?;
        }
        Ok(standing)
    }

    /// What is asked about alone.
    fn checked(&self, snapshot: &Snapshot) -> std::io::Result<Standing> {
        let checked = check::check(snapshot, &self.check);
        let standing = check::overall(&checked);
        if self.output == Format::Text {
            self.colour.say(&check::line(&checked))?;
        } else {
            let visibility = snapshot.visibility.clone().unwrap_or_default();
            let object = json!({
                "standing": word(standing),
                "sequence": snapshot.sequence,
                "counts": check::by_standing(&checked),
                "checked": checked,
                "evaluated_through": subscriber::instant(visibility.evaluated_through.as_ref()),
            });
            say(&object.to_string())?;
        }
        Ok(standing)
    }

    fn print(&self, snapshot: &Snapshot, standing: Standing) -> std::io::Result<()> {
        let visibility = snapshot.visibility.clone().unwrap_or_default();
        let say = |line: &str| self.colour.say(line);
        match standing {
            Standing::Quiet => say(&format!("{} No failure attributed to AWS or Azure.", Tone::Well.paint("●")))?,
            Standing::Blind => {
                let reason = clean(&visibility.reason);
                say(&format!("{}: {reason}.", Tone::Suspected.paint("░ We cannot see")))?;
            }
            Standing::Suspected | Standing::Attributed => {}
        }
        for incident in open(snapshot) {
            for line in subscriber::lines(incident) {
                say(&line)?;
            }
        }
        let through = subscriber::moment(visibility.evaluated_through.as_ref());
        say(&format!(
            "can we see? {} of {} vantage groups live, {} outside both clouds, {} networks,",
            visibility.live_groups,
            visibility.total_groups,
            visibility.live_groups_outside_clouds,
            visibility.live_networks
        ))?;
        say(&format!("  evaluated through {through}"))?;
        for notice in &snapshot.notices {
            say(&format!("{} {}", Tone::Suspected.paint("▲"), clean(notice)))?;
        }
        let (mut failing, mut degraded, mut ok, mut no_data) = (0, 0, 0, 0);
        for cell in &snapshot.cells {
            match cell.state() {
                CellState::Failing => failing += 1,
                CellState::Degraded => degraded += 1,
                CellState::Ok => ok += 1,
                CellState::NoData | CellState::Unspecified => no_data += 1,
            }
        }
        say(&format!("cells: ✕ {failing} failing, ▲ {degraded} degraded, ● {ok} ok, ░ {no_data} no data"))
    }
}

/// The same rule as the board's, from what a subscriber holds.
fn standing(snapshot: &Snapshot) -> Standing {
    let blind = snapshot.visibility.as_ref().is_none_or(|visibility| visibility.below_quorum);
    let open = open(snapshot);
    let accused =
        open.iter().any(|incident| !matches!(incident.verdict(), Verdict::Undetermined | Verdict::Unspecified));
    match (open.is_empty(), accused, blind) {
        (_, true, _) => Standing::Attributed,
        (_, _, true) => Standing::Blind,
        (true, ..) => Standing::Quiet,
        _ => Standing::Suspected,
    }
}

fn open(snapshot: &Snapshot) -> Vec<&Incident> {
    snapshot.incidents.iter().filter(|incident| subscriber::is_open(incident)).collect()
}

/// The word of a standing, as in `-o json`.
const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Quiet => "quiet",
        Standing::Suspected => "suspected",
        Standing::Attributed => "attributed",
        Standing::Blind => "blind",
    }
}

fn object(snapshot: &Snapshot, standing: Standing) -> serde_json::Value {
    let visibility = snapshot.visibility.clone().unwrap_or_default();
    let incidents: Vec<_> = open(snapshot)
        .into_iter()
        .map(|incident| {
            json!({
                "incident": incident.incident,
                "revision": incident.revision,
                "verdict": subscriber::verdict(incident),
                "element": incident.element,
                "confidence": incident.confidence,
                "onset_at": subscriber::instant(incident.onset_at.as_ref()),
                "headline": incident.headline,
                "undetermined_reason": incident.undetermined_reason,
            })
        })
        .collect();
    json!({
        "standing": word(standing),
        "sequence": snapshot.sequence,
        "incidents": incidents,
        "live_groups": visibility.live_groups,
        "total_groups": visibility.total_groups,
        "live_groups_outside_clouds": visibility.live_groups_outside_clouds,
        "below_quorum": visibility.below_quorum,
        "reason": visibility.reason,
        "notices": snapshot.notices,
        "evaluated_through": subscriber::instant(visibility.evaluated_through.as_ref()),
    })
}
