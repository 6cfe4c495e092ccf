//! Planned work: announced and called off.

use faultline_attribution::Timestamp;
use tokio::time;

use super::{DEADLINE, Desk};
use crate::{
    admin::{AddWork, CancelWork, Done, Refused, Why, words},
    claims::text::is_invisible,
    feed::{Published, filter::check_element},
    work::{AHEAD, ELEMENTS, HISTORY, LONGEST, PlannedWork, Stage, UNFINISHED},
};

impl Desk {
    /// Announces work.
    pub(super) async fn add_work(&self, asked: AddWork) -> Result<Done, Refused> {
        let now = self.now();
        let work = announced(asked, now)?;
        let id = {
            let board = self.hub.board();
            if board.work.unfinished(now) >= UNFINISHED {
                let message = format!(
                    "{UNFINISHED} works are planned, which is all that there may be: call one off with `faultline work cancel`"
                );
                return Err(Refused::new(Why::State, message));
            }
            board.work.next_id(now)
        };
        self.tell(PlannedWork { id, ..work }, now).await
    }

    /// Calls work off.
    pub(super) async fn cancel_work(&self, CancelWork { id, reason }: CancelWork) -> Result<Done, Refused> {
        let now = self.now();
        let cancel_reason = words::plain(&reason, "reason")?;
        let held = self.hub.board().work.get(&id).cloned();
        let Some(held) = held else {
            let shown: String = id.chars().take(60).collect();
            return Err(Refused::new(Why::Unknown, format!("no work {shown:?}: `faultline work list` has all")));
        };
        match held.stage(now) {
            Stage::Scheduled | Stage::InProgress => {
                self.tell(PlannedWork { cancelled_at: Some(now), cancel_reason, ..held }, now).await
            }
            Stage::Completed => Err(Refused::new(Why::State, format!("{id} ended at {}", held.ends_at))),
            Stage::Cancelled => Err(Refused::new(Why::State, format!("{id} was called off already"))),
        }
    }

    /// Publishes it; acts are one at a time, so that nothing was announced since the board was looked at.
    async fn tell(&self, work: PlannedWork, now: Timestamp) -> Result<Done, Refused> {
        let id = work.id.clone();
        let told = async {
            let turn = self.hub.turn().await;
            self.hub.publish_in_turn(&turn, vec![Published::Work(Box::new(work))], now).await
        };
        match time::timeout(DEADLINE, told).await {
            Ok(Ok(())) => Ok(Done::Planned { id }),
            Ok(Err(error)) => Err(Refused::new(Why::Failed, error.to_string())),
            Err(_) => {
                let message = format!(
                    "not published within {} s: is the disk full? It may still be: `faultline work list` says",
                    DEADLINE.as_secs()
                );
                Err(Refused::new(Why::Failed, message))
            }
        }
    }
}

/// The work as it is asked for, without an id.
fn announced(asked: AddWork, now: Timestamp) -> Result<PlannedWork, Refused> {
    let AddWork { starts_at, ends_at, text, link, elements } = asked;
    let malformed = |message: String| Err(Refused::new(Why::Malformed, message));
    if ends_at <= starts_at {
        return malformed(format!("it ends at {ends_at}, which is not after it begins, {starts_at}"));
    }
    let days = |span: std::time::Duration| span.as_secs() / 86_400;
    if ends_at.since(starts_at) > LONGEST {
        return malformed(format!("it lasts {} days, {} are allowed", days(ends_at.since(starts_at)), days(LONGEST)));
    }
    if starts_at.since(now) > AHEAD {
        return malformed(format!("it begins at {starts_at}, more than {} days from now", days(AHEAD)));
    }
    if now.since(ends_at) > HISTORY {
        return malformed(format!("it ended at {ends_at}, more than {} days ago", days(HISTORY)));
    }
    if elements.len() > ELEMENTS {
        return malformed(format!("{} elements, {ELEMENTS} are allowed", elements.len()));
    }
    for element in &elements {
        if let Err(why) = check_element(element) {
            let shown: String = element.chars().take(60).collect();
            return malformed(format!("element {shown:?}: {why}"));
        }
        if let Some(hidden) = element.chars().find(|character| is_invisible(*character)) {
            return malformed(format!("an element holds U+{:04X}, which shows nothing", u32::from(hidden)));
        }
    }
    Ok(PlannedWork {
        id: String::new(),
        announced_at: now,
        starts_at,
        ends_at,
        text: words::plain(&text, "text")?,
        link: words::link(&link)?,
        elements,
        cancelled_at: None,
        cancel_reason: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_761_752_640_000_000);

    fn asked(begins_in_s: u64, lasts_s: u64) -> AddWork {
        let starts_at = NOW.after(Duration::from_secs(begins_in_s));
        AddWork {
            starts_at,
            ends_at: starts_at.after(Duration::from_secs(lasts_s)),
            text: "A new carrier in Frankfurt".into(),
            link: String::new(),
            elements: vec!["aws/eu-central-1".into()],
        }
    }

    #[test]
    fn work_that_means_nothing_is_refused_and_named() {
        assert!(announced(asked(3600, 3600), NOW).is_ok());
        let long_ago = NOW.before(HISTORY + LONGEST + Duration::from_secs(1));
        let of = |elements: Vec<String>| AddWork { elements, ..asked(0, 60) };
        for (bad, wanted) in [
            (asked(60, 0), "not after it begins"),
            (asked(60, 32 * 86_400), "lasts 32 days, 31 are allowed"),
            (asked(367 * 86_400, 60), "more than 366 days from now"),
            (
                AddWork { starts_at: long_ago, ends_at: long_ago.after(LONGEST), ..asked(0, 60) },
                "more than 90 days ago",
            ),
            (AddWork { text: " ".into(), ..asked(0, 60) }, "the text is empty"),
            (AddWork { link: "javascript:alert(1)".into(), ..asked(0, 60) }, "no link to publish"),
            (of(vec!["aws//s3".into()]), "no empty part"),
            (of(vec!["aws/\u{202e}s3".into()]), "U+202E"),
            (of(vec!["aws".into(); 21]), "21 elements, 20 are allowed"),
        ] {
            let refused = announced(bad, NOW).expect_err(wanted);
            assert!(refused.why == Why::Malformed && refused.message.contains(wanted), "{refused}");
        }
    }
}
