//! `faultline watch`: follows the feed and resumes by itself.
//!
//! Rules: a revision is told once, however often the stream breaks; an incident that was told is told to its end, also when what
//! it is about moves out of `--only`; how well we see is always told.

mod cloudevent;
mod exec;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    process::ExitCode,
    time::Duration,
};

use faultline_attribution::State;
use faultline_proto::{
    feed::v1::feed_event::Change as Changed,
    types::v1::{Incident, Visibility},
};
use serde::Serialize;

use self::{
    cloudevent::CloudEvent,
    exec::{Exec, environment},
};
use super::{
    FeedAddress,
    colour::{Colour, Tone, clean},
    follow::{Begin, Follower, News},
    only::{Wanted, any_touches},
    runtime, say, say_error,
    subscriber::{self, Source},
};
use crate::feed::convert as wire;

/// Spacing of bookmarks asked for.
const BOOKMARKS: Duration = Duration::from_secs(15);

/// Exit code when `--for` ran out before what `--exit-on` waits for.
const NOT_YET: u8 = 3;

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline watch --only aws,azure/front-door\n  faultline watch -o ndjson | jq -r 'select(.verdict == \"aws\") | .headline'\n  faultline watch --from now --exec ./page.sh\n  faultline watch --only azure --exit-on attributed --for 10m && ./fail-over.sh",
    after_help = "Exit codes: 0 --exit-on came, --for ran out without --exit-on, or the reader is gone; 1 it did not work; 2 wrong usage; 3 --for ran out before what --exit-on waits for"
)]
pub(super) struct Watch {
    #[command(flatten)]
    feed: FeedAddress,
    /// How changes are written
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    /// Where to begin: snapshot, now, or a sequence: with what came after it
    #[arg(long, value_name = "PLACE", default_value = "snapshot")]
    from: Begin,
    /// Incidents of these verdicts, or of these elements and what they are part of or consist of, as in aws,azure/front-door
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    only: Vec<Wanted>,
    /// End as soon as an incident is in this state
    #[arg(long, value_enum, value_name = "STATE")]
    exit_on: Option<ExitOn>,
    /// End after this long
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    lasting: Option<Duration>,
    /// Run this for each change of an incident, to the end of the line or `;`: the change as JSON on its standard input,
    /// `FAULTLINE_STATE`, `_VERDICT`, `_ELEMENT`, `_HEADLINE`, `_INCIDENT`, `_REVISION`, `_KIND`, `_CONFIDENCE`, `_AT`, `_ONSET_AT`,
    /// `_SEQUENCE` and `_FROM_SNAPSHOT` in its environment. No shell reads it. One at a time, in order; with `--from snapshot` also
    /// for each incident of the snapshot, once
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true, value_terminator = ";")]
    exec: Vec<OsString>,
    /// A command is killed after this long
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "30s")]
    exec_timeout: Duration,
    #[command(flatten)]
    colour: Colour,
}

/// How changes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    #[value(alias = "json")]
    Ndjson,
    /// CloudEvents 1.0 as structured JSON, one a line
    Cloudevents,
}

/// What ends a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ExitOn {
    /// Something is suspected, or more
    Suspected,
    /// Somebody is named
    Attributed,
    /// An incident ended
    Resolved,
    /// An incident was taken back
    Retracted,
}

impl ExitOn {
    /// Whether an incident in that state ends the watch. One of the snapshot that is over is no news.
    fn is_met(self, state: State, is_from_snapshot: bool) -> bool {
        match self {
            Self::Suspected => matches!(state, State::Suspected | State::Attributed),
            Self::Attributed => state == State::Attributed,
            Self::Resolved => state == State::Resolved && !is_from_snapshot,
            Self::Retracted => state == State::Retracted && !is_from_snapshot,
        }
    }
}

/// What was told.
#[derive(Default)]
struct Told {
    /// Newest revision, by incident: after a resume nothing is told twice.
    revisions: BTreeMap<String, u64>,
    /// Incidents that `--only` let through once.
    followed: BTreeSet<String>,
    sight: Option<Visibility>,
}

impl Told {
    /// Whether this revision is to be told; from then on it was.
    fn is_news(&mut self, incident: &Incident, only: &[Wanted]) -> bool {
        let told = self.revisions.entry(incident.incident.clone()).or_default();
        if incident.revision <= *told {
            return false;
        }
        *told = incident.revision;
        if any_touches(only, incident) {
            self.followed.insert(incident.incident.clone());
        }
        self.followed.contains(&incident.incident)
    }

    /// Whether we see otherwise than was told; from then on it was told.
    fn is_new_sight(&mut self, visibility: &Visibility) -> bool {
        let is_same = self.sight.as_ref().is_some_and(|held| {
            (held.live_groups, held.below_quorum, &held.reason)
                == (visibility.live_groups, visibility.below_quorum, &visibility.reason)
        });
        self.sight = Some(visibility.clone());
        !is_same
    }
}

/// A line of JSON when we see better or worse; `type` comes first, as in every line.
#[derive(Serialize)]
struct SightLine<'a> {
    r#type: &'static str,
    at: String,
    live_groups: u32,
    total_groups: u32,
    live_groups_outside_clouds: u32,
    below_quorum: bool,
    reason: &'a str,
}

/// Where a change comes from.
#[derive(Clone, Copy)]
struct Place<'a> {
    feed_id: &'a str,
    sequence: u64,
    is_from_snapshot: bool,
}

impl Watch {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let follower = Follower::new(Source::of(&self.feed)?, "faultline-watch", self.from, BOOKMARKS);
        let ended = runtime()?.block_on(async {
            match self.lasting {
                Some(lasting) => tokio::time::timeout(lasting, self.follow(follower)).await.ok().transpose(),
                None => self.follow(follower).await.map(Some),
            }
        });
        match ended {
            Ok(Some(())) => Ok(ExitCode::SUCCESS),
            Ok(None) if self.exit_on.is_none() => Ok(ExitCode::SUCCESS),
            Ok(None) => Ok(ExitCode::from(NOT_YET)),
            // Whoever read this is gone.
            Err(error) if error.downcast_ref::<std::io::Error>().is_some() => Ok(ExitCode::SUCCESS),
            Err(error) => Err(error),
        }
    }

    /// Tells what comes, until what `--exit-on` waits for.
    async fn follow(&self, mut follower: Follower) -> anyhow::Result<()> {
        let mut told = Told::default();
        loop {
            let news = follower.next().await?;
            let is_over = match news {
                News::Snapshot(snapshot) => {
                    let place =
                        Place { feed_id: &snapshot.feed_id, sequence: snapshot.sequence, is_from_snapshot: true };
                    let mut is_over = false;
                    for incident in &snapshot.incidents {
                        is_over |= self.incident(&mut told, incident, place).await?;
                    }
                    if let Some(visibility) = &snapshot.visibility {
                        self.sight(&mut told, visibility, place)?;
                    }
                    is_over
                }
                News::Event(event, sequence) => {
                    let place = Place { feed_id: follower.feed_id(), sequence, is_from_snapshot: false };
                    match event.change {
                        Some(Changed::Incident(incident)) => self.incident(&mut told, &incident, place).await?,
                        Some(Changed::Visibility(visibility)) => {
                            self.sight(&mut told, &visibility, place)?;
                            false
                        }
                        Some(Changed::Cell(_) | Changed::Claim(_) | Changed::Work(_)) | None => false,
                    }
                }
                News::Bookmark(_) => false,
                News::Trouble { why, again_in } => {
                    say_error(&format!("{}; trying again in {again_in:.1?}", clean(&why)));
                    false
                }
            };
            if is_over {
                return Ok(());
            }
        }
    }

    /// Tells a revision; `true` if it is what `--exit-on` waits for.
    async fn incident(&self, told: &mut Told, incident: &Incident, place: Place<'_>) -> anyhow::Result<bool> {
        if !told.is_news(incident, &self.only) {
            return Ok(false);
        }
        let change = wire::change(incident);
        match (self.output, &change) {
            (Form::Text, _) => {
                let at = Tone::Faint.paint(&subscriber::moment(incident.at.as_ref()));
                self.colour.say(&at)?;
                for line in subscriber::lines(incident) {
                    self.colour.say(&line)?;
                }
            }
            (Form::Ndjson, Some(change)) => say(&serde_json::to_string(change)?)?,
            (Form::Cloudevents, Some(change)) => {
                say(&serde_json::to_string(&CloudEvent::of(change, place.feed_id, place.sequence))?)?;
            }
            (_, None) => {
                say_error(&format!("{}: of a newer coordinator, left out: upgrade", clean(&incident.incident)));
            }
        }
        let Some(change) = change else { return Ok(false) };
        if !self.exec.is_empty() {
            let exec = Exec { command: &self.exec, timeout: self.exec_timeout };
            if let Err(error) = exec.run(&change, environment(&change, place.sequence, place.is_from_snapshot)).await {
                say_error(&error.to_string());
            }
        }
        Ok(self.exit_on.is_some_and(|wanted| wanted.is_met(change.state, place.is_from_snapshot)))
    }

    fn sight(&self, told: &mut Told, visibility: &Visibility, place: Place<'_>) -> anyhow::Result<()> {
        if !told.is_new_sight(visibility) {
            return Ok(());
        }
        if self.output == Form::Text {
            let (tone, words) = if visibility.below_quorum {
                (Tone::Suspected, "░ we cannot see")
            } else {
                (Tone::Well, "● we can see")
            };
            let at = Tone::Faint.paint(&subscriber::moment(visibility.evaluated_through.as_ref()));
            let (live, total) = (visibility.live_groups, visibility.total_groups);
            let reason = clean(&visibility.reason);
            let text = format!("{at}  {}: {live} of {total} vantage groups live. {reason}", tone.paint(words));
            self.colour.say(text.trim_end())?;
            return Ok(());
        }
        let at = subscriber::instant(visibility.evaluated_through.as_ref());
        let line = SightLine {
            r#type: "visibility",
            at: at.clone(),
            live_groups: visibility.live_groups,
            total_groups: visibility.total_groups,
            live_groups_outside_clouds: visibility.live_groups_outside_clouds,
            below_quorum: visibility.below_quorum,
            reason: &visibility.reason,
        };
        let json = if self.output == Form::Ndjson {
            serde_json::to_string(&line)?
        } else {
            let (is_lost, feed_id) = (visibility.below_quorum, place.feed_id);
            serde_json::to_string(&cloudevent::sight(line, at, is_lost, feed_id, place.sequence))?
        };
        Ok(say(&json)?)
    }
}

#[cfg(test)]
mod tests {
    use faultline_proto::types::v1::Verdict;

    use super::*;
    use crate::cli::samples;

    #[test]
    fn a_revision_is_told_once_however_often_it_comes() {
        let (mut told, mut incident) = (Told::default(), samples::incident());
        assert!(told.is_news(&incident, &[]));
        assert!(!told.is_news(&incident, &[]), "as a snapshot brings it again");
        incident.revision -= 1;
        assert!(!told.is_news(&incident, &[]), "an older one");
        incident.revision += 2;
        assert!(told.is_news(&incident, &[]));
    }

    #[test]
    fn an_incident_that_was_told_is_told_to_its_end() {
        let (mut told, mut incident) = (Told::default(), samples::incident());
        let azure: [Wanted; 1] = ["azure/front-door".parse().expect("an element")];
        let aws: [Wanted; 1] = ["aws".parse().expect("a verdict")];
        assert!(!Told::default().is_news(&incident, &aws));
        assert!(told.is_news(&incident, &azure));
        incident.revision += 1;
        incident.set_verdict(Verdict::Neither);
        incident.element = "path/unknown".into();
        assert!(told.is_news(&incident, &azure), "it was wrong, and who heard of it must hear that");
    }

    #[test]
    fn an_old_incident_of_the_snapshot_ends_no_watch() {
        let ends = |on: ExitOn, state, is_from_snapshot| on.is_met(state, is_from_snapshot);
        assert!(ends(ExitOn::Attributed, State::Attributed, true));
        assert!(!ends(ExitOn::Attributed, State::Suspected, false));
        assert!(!ends(ExitOn::Attributed, State::Resolved, true));
        assert!(ends(ExitOn::Suspected, State::Attributed, false));
        assert!(!ends(ExitOn::Resolved, State::Resolved, true) && ends(ExitOn::Resolved, State::Resolved, false));
        assert!(!ends(ExitOn::Retracted, State::Retracted, true) && ends(ExitOn::Retracted, State::Retracted, false));
    }

    #[test]
    fn only_a_change_of_sight_is_told() {
        let mut told = Told::default();
        let mut visibility = Visibility { live_groups: 3, ..Visibility::default() };
        assert!(told.is_new_sight(&visibility));
        visibility.live_networks = 2;
        assert!(!told.is_new_sight(&visibility));
        visibility.below_quorum = true;
        assert!(told.is_new_sight(&visibility));
    }
}
