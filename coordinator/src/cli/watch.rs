//! `faultline watch`: follows the feed and resumes by itself.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use faultline_proto::{
    convert,
    feed::v1::{
        FromSnapshot, ResumeAfter, Snapshot, SubscribeRequest, feed_event::Change as Changed, subscribe_request::Start,
        subscribe_response::Message,
    },
    types::v1::{Incident, Visibility},
};
use serde::Serialize;
use tonic::{Code, Status};

use super::{FeedAddress, Format, runtime, say, say_error, subscriber};
use crate::feed::convert as wire;

/// Pauses between attempts: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline watch -o ndjson | jq -r 'select(.verdict == \"aws\") | .headline'")]
pub(super) struct Watch {
    #[command(flatten)]
    feed: FeedAddress,
    /// text or ndjson
    #[arg(short, long, default_value = "text")]
    output: Format,
}

/// Where a subscriber stands.
#[derive(Default)]
struct Follower {
    feed_id: String,
    sequence: Option<u64>,
    /// Newest revision shown, by incident: after a resume nothing is shown twice.
    shown: BTreeMap<String, u64>,
    sight: Option<Visibility>,
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

/// How a stream ended.
enum End {
    /// Come back after the pause.
    Again(Duration),
    /// Come back with a snapshot: the place held means nothing any more.
    StartOver,
}

impl Watch {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        runtime()?.block_on(self.follow())
    }

    async fn follow(&self) -> anyhow::Result<ExitCode> {
        let mut follower = Follower::default();
        let mut pause = BACKOFF.0;
        loop {
            match self.stream(&mut follower).await {
                Ok(End::Again(after)) => {
                    pause = BACKOFF.0;
                    tokio::time::sleep(after).await;
                }
                Ok(End::StartOver) => follower.sequence = None,
                Err(error) if error.downcast_ref::<std::io::Error>().is_some() => return Ok(ExitCode::SUCCESS),
                Err(error) => {
                    say_error(&format!("{error:#}; trying again in {pause:?}"));
                    tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
                    pause = (pause * 2).min(BACKOFF.1);
                }
            }
        }
    }

    async fn stream(&self, follower: &mut Follower) -> anyhow::Result<End> {
        let mut client = subscriber::connect(&self.feed.feed).await?;
        let start = match follower.sequence {
            Some(sequence) => Start::ResumeAfter(ResumeAfter { feed_id: follower.feed_id.clone(), sequence }),
            None => Start::FromSnapshot(FromSnapshot {}),
        };
        let request = SubscribeRequest {
            start: Some(start),
            bookmark_interval: None,
            client_name: concat!("faultline-watch/", env!("CARGO_PKG_VERSION")).into(),
            ..SubscribeRequest::default()
        };
        let mut stream = match client.subscribe(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if must_start_over(&status) => return Ok(End::StartOver),
            Err(status) => return Err(status.into()),
        };
        // Three bookmarks late is dead. Source: subscription rules of the design notes.
        while let Ok(answer) = tokio::time::timeout(Duration::from_secs(45), stream.message()).await {
            let Some(answer) = answer? else { return Ok(End::Again(BACKOFF.0)) };
            let is_snapshot = matches!(answer.message, Some(Message::Snapshot(_)));
            if !is_snapshot && follower.sequence.is_some_and(|held| held != answer.prev_sequence) {
                say_error("a change was lost on the way; starting over with a snapshot");
                return Ok(End::StartOver);
            }
            follower.sequence = Some(answer.sequence);
            match answer.message {
                Some(Message::Snapshot(snapshot)) => self.snapshot(follower, snapshot)?,
                Some(Message::Event(event)) => match event.change {
                    Some(Changed::Incident(incident)) => self.incident(follower, &incident)?,
                    Some(Changed::Visibility(visibility)) => self.sight(follower, visibility)?,
                    Some(Changed::Cell(_)) | None => {}
                },
                Some(Message::Bookmark(bookmark)) => follower.feed_id = bookmark.feed_id,
                Some(Message::Closing(closing)) => {
                    let after = convert::std_duration(closing.retry_after.as_ref()).unwrap_or(BACKOFF.0);
                    return Ok(End::Again(after));
                }
                Some(Message::Gap(_)) => say_error("this reader is too slow: what follows is the newest state alone"),
                None => {}
            }
        }
        anyhow::bail!("no word from the coordinator for 45 s")
    }

    fn snapshot(&self, follower: &mut Follower, snapshot: Snapshot) -> anyhow::Result<()> {
        follower.feed_id = snapshot.feed_id;
        for incident in &snapshot.incidents {
            self.incident(follower, incident)?;
        }
        match snapshot.visibility {
            Some(visibility) => self.sight(follower, visibility),
            None => Ok(()),
        }
    }

    fn incident(&self, follower: &mut Follower, incident: &Incident) -> anyhow::Result<()> {
        let shown = follower.shown.entry(incident.incident.clone()).or_default();
        if incident.revision <= *shown {
            return Ok(());
        }
        *shown = incident.revision;
        if self.output == Format::Text {
            say(&subscriber::instant(incident.at.as_ref()))?;
            for line in subscriber::lines(incident) {
                say(&line)?;
            }
        } else if let Some(change) = wire::change(incident) {
            say(&serde_json::to_string(&change)?)?;
        }
        Ok(())
    }

    fn sight(&self, follower: &mut Follower, visibility: Visibility) -> anyhow::Result<()> {
        let same = follower.sight.as_ref().is_some_and(|held| {
            (held.live_groups, held.below_quorum, &held.reason)
                == (visibility.live_groups, visibility.below_quorum, &visibility.reason)
        });
        if !same && self.output == Format::Text {
            let glyph = if visibility.below_quorum { "░ we cannot see" } else { "● we can see" };
            let at = subscriber::instant(visibility.evaluated_through.as_ref());
            let (live, total) = (visibility.live_groups, visibility.total_groups);
            let text = format!("{at}  {glyph}: {live} of {total} vantage groups live. {}", visibility.reason);
            say(text.trim_end())?;
        } else if !same {
            let line = SightLine {
                r#type: "visibility",
                at: subscriber::instant(visibility.evaluated_through.as_ref()),
                live_groups: visibility.live_groups,
                total_groups: visibility.total_groups,
                live_groups_outside_clouds: visibility.live_groups_outside_clouds,
                below_quorum: visibility.below_quorum,
                reason: &visibility.reason,
            };
            say(&serde_json::to_string(&line)?)?;
        }
        follower.sight = Some(visibility);
        Ok(())
    }
}

/// Whether the place held means nothing any more.
fn must_start_over(status: &Status) -> bool {
    matches!(status.code(), Code::OutOfRange | Code::FailedPrecondition)
}
