//! `faultline incident list`: all pages, those that are asked for.

use std::{io, process::ExitCode, time::Duration};

use faultline_attribution::{Change, State, Timestamp, Verdict};
use faultline_proto::{clock::Clock, feed::v1::ListIncidentsRequest, types::v1 as wire};

use super::Form;
use crate::{
    cli::{
        FeedAddress,
        colour::{Colour, Tone, clean, cut},
        only::{Wanted, any_touches},
        runtime, say, say_error, subscriber,
    },
    feed::convert,
};

/// Incidents on a page.
const PAGE: i32 = 100;

/// Widest line of a table.
const WIDTH: usize = 80;

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline incident list --state open\n  faultline incident list --since 7d --verdict aws -o ndjson | jq -r .headline",
    after_help = "Exit codes: 0 listed, also none; 1 no coordinator answers; 2 wrong usage"
)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    feed: FeedAddress,
    /// In this state
    #[arg(long, value_enum, value_name = "STATE")]
    state: Option<Standing>,
    /// That went on then or later: an instant, or a time ago, as in 2026-10-29T15:00:00Z or 7d
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    /// With this verdict: aws, azure, neither or undetermined
    #[arg(long, value_name = "VERDICT")]
    verdict: Option<Verdict>,
    /// About these verdicts or elements, as in aws/us-east-1,azure/front-door
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    only: Vec<Wanted>,
    /// How incidents are written
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    #[command(flatten)]
    colour: Colour,
}

/// States that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Standing {
    /// Goes on: suspected, attributed or recovering
    Open,
    /// Something fails, nobody is accused
    Suspected,
    /// Somebody is named
    Attributed,
    /// Failures are falling
    Recovering,
    /// Ended
    Resolved,
    /// Taken back
    Retracted,
}

impl Standing {
    fn has(self, state: State) -> bool {
        match self {
            Self::Open => state.is_open(),
            Self::Suspected => state == State::Suspected,
            Self::Attributed => state == State::Attributed,
            Self::Recovering => state == State::Recovering,
            Self::Resolved => state == State::Resolved,
            Self::Retracted => state == State::Retracted,
        }
    }
}

/// From when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    At(Timestamp),
    Ago(Duration),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(at) = crate::cli::replay::instant(text) {
        return Ok(Since::At(at));
    }
    let ago = humantime::parse_duration(text);
    ago.map(Since::Ago).map_err(|_| "no instant and no time, as in 2026-10-29T15:00:00Z or 7d".into())
}

impl Since {
    fn instant(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.before(ago),
        }
    }
}

impl List {
    pub(in crate::cli) fn run(self) -> anyhow::Result<ExitCode> {
        let mut listed = Vec::new();
        let mut unknown = 0_u32;
        runtime()?.block_on(self.pages(|incident| match convert::change(&incident) {
            Some(change) if self.is_asked(&change, &incident) => listed.push((change, incident)),
            Some(_) => {}
            None => unknown += 1,
        }))?;
        if unknown > 0 {
            say_error(&format!("{unknown} incidents are of a newer coordinator and left out: upgrade"));
        }
        match self.print(&listed) {
            // Whoever read this is gone.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            printed => Ok(printed.map(|()| ExitCode::SUCCESS)?),
        }
    }

    /// Hands out every incident of the feed, newest first.
    async fn pages(&self, mut give: impl FnMut(wire::Incident)) -> anyhow::Result<()> {
        let mut client = subscriber::connect(&self.feed).await?;
        let mut token = String::new();
        loop {
            let mut request = ListIncidentsRequest { page_size: PAGE, ..ListIncidentsRequest::default() };
            request.page_token.clone_from(&token);
            let answer = client.list_incidents(request).await;
            let page = answer.map_err(|status| anyhow::anyhow!("{}", subscriber::said(&status)))?.into_inner();
            page.incidents.into_iter().for_each(&mut give);
            if page.next_page_token.is_empty() || page.next_page_token == token {
                return Ok(());
            }
            token = page.next_page_token;
        }
    }

    fn is_asked(&self, change: &Change, incident: &wire::Incident) -> bool {
        let ended = change.resolved_at.filter(|_| !change.state.is_open());
        self.state.is_none_or(|state| state.has(change.state))
            && self.verdict.is_none_or(|verdict| verdict == change.verdict)
            && self.since.is_none_or(|since| ended.is_none_or(|ended| ended >= since.instant(now())))
            && any_touches(&self.only, incident)
    }

    fn print(&self, listed: &[(Change, wire::Incident)]) -> io::Result<()> {
        match self.output {
            Form::Table if listed.is_empty() => say("no incidents"),
            Form::Table => {
                self.colour.say(&Tone::Faint.paint(&row(["INCIDENT", "STATE", "VERDICT", "SINCE (UTC)", "LASTED"])))?;
                for (change, incident) in listed {
                    for line in rows(change, incident, now()) {
                        self.colour.say(&line)?;
                    }
                }
                Ok(())
            }
            Form::Json => {
                let changes: Vec<&Change> = listed.iter().map(|(change, _)| change).collect();
                say(&serde_json::to_string_pretty(&changes)?)
            }
            Form::Ndjson => listed.iter().try_for_each(|(change, _)| say(&serde_json::to_string(change)?)),
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(Clock::system().now_micros())
}

/// An incident in two lines: its facts, and its headline.
fn rows(change: &Change, incident: &wire::Incident, now: Timestamp) -> [String; 2] {
    let since = subscriber::moment(incident.onset_at.as_ref());
    let is_open = change.state.is_open();
    let end = if is_open { now } else { change.resolved_at.unwrap_or(change.at) };
    let lasted = lasted(end.since(change.onset_at), is_open);
    let state = subscriber::state(incident);
    let line = row([
        &cut(&clean(change.incident.as_str()), 24),
        state,
        change.verdict.as_str(),
        since.get(..16).unwrap_or(&since),
        &lasted,
    ]);
    let painted = line.replacen(state, &subscriber::tone(incident).paint(state), 1);
    [painted, format!("  {}", cut(&clean(&change.headline), WIDTH - 2))]
}

fn row([incident, state, verdict, since, lasted]: [&str; 5]) -> String {
    format!("{incident:24} {state:12}  {verdict:12}  {since:16}  {lasted}").trim_end().to_owned()
}

/// For how long it went on; `+` where it still does.
fn lasted(span: Duration, is_open: bool) -> String {
    let more = if is_open { "+" } else { "" };
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s{more}"),
        120..7200 => format!("{} min{more}", seconds / 60),
        7200..172_800 => format!("{} h{more}", seconds / 3600),
        _ => format!("{} d{more}", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    fn list(arguments: &[&str]) -> List {
        use clap::{Args as _, FromArgMatches as _};
        let command = List::augment_args(clap::Command::new("list"));
        let matches = command.try_get_matches_from([&["list"][..], arguments].concat()).expect("arguments");
        List::from_arg_matches(&matches).expect("a list")
    }

    #[test]
    fn what_is_asked_for_is_listed() {
        let (open, mut ended) = (samples::change(), samples::change());
        ended.state = State::Resolved;
        ended.resolved_at = "2025-10-29T20:00:00Z"
            .parse::<jiff::Timestamp>()
            .ok()
            .map(|at| Timestamp::from_micros(at.as_microsecond()));
        let rows: [(&[&str], bool, bool); 8] = [
            (&[], true, true),
            (&["--state", "open"], true, false),
            (&["--state", "resolved"], false, true),
            (&["--verdict", "aws"], false, false),
            (&["--verdict", "azure"], true, true),
            (&["--since", "2025-10-29T19:00:00Z"], true, true),
            (&["--since", "1d"], true, false),
            (&["--only", "aws,azure/front-door"], true, true),
        ];
        for (arguments, is_open_listed, is_ended_listed) in rows {
            let list = list(arguments);
            for (change, is_listed) in [(&open, is_open_listed), (&ended, is_ended_listed)] {
                assert_eq!(
                    list.is_asked(change, &convert::incident(change)),
                    is_listed,
                    "{arguments:?} {}",
                    change.state
                );
            }
        }
    }

    #[test]
    fn a_row_fits_eighty_columns() {
        let mut change = samples::change();
        change.headline = "a very long headline ".repeat(9);
        let lines = rows(&change, &convert::incident(&change), change.at);
        let plain = lines.map(|line| anstream::adapter::strip_str(&line).to_string());
        assert_eq!(plain[0], "inc-20251029T154113Z-1   ✕ attributed  azure         2025-10-29 15:41  76 s+");
        assert!(plain.iter().all(|line| line.chars().count() <= WIDTH), "{plain:?}");
        assert!(plain[1].ends_with('…'));
    }
}
