//! Fetch: asks status pages, for ever.
//!
//! Rules: at most 1 MiB in at most ten seconds, redirects within one host alone; a page that did not change is not sent
//! again. Questions to a page are its interval apart, give or take a tenth, so that coordinators do not ask in step. A page
//! that does not answer is unreachable, with the reason; one whose answer cannot be read is unparseable. Nothing waits for a
//! page, not even the end of the coordinator.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Intake, Sighting, Sources, Stance,
    intake::Seen,
    parse::{self, FeedError, Post},
    sources::Source,
};
use crate::{
    log::LogError,
    ranges::{
        fetch::{self, FetchError, Limits, Mark},
        keep::aside,
    },
};

/// What a page may send.
const LIMITS: Limits =
    Limits { bytes: parse::MAX_BYTES as u64, timeout: Duration::from_secs(10), redirects: 3, to_other_hosts: false };

/// Asks every source until `stopped`.
pub async fn keep(
    sources: Sources,
    intake: Arc<Intake>,
    clock: faultline_proto::clock::Clock,
    stopped: CancellationToken,
) -> Result<(), LogError> {
    let mut tasks = JoinSet::new();
    for source in sources.iter().cloned() {
        let (intake, stopped) = (Arc::clone(&intake), stopped.clone());
        tasks.spawn(async move {
            let mut page = Page { source: Arc::new(source), held: None };
            while !stopped.is_cancelled() {
                let interval = clock.real(page.source.interval()).mul_f64(0.9 + 0.2 * rand::random::<f64>());
                let look = async {
                    let taken = page.look(&intake).await;
                    tokio::time::sleep(interval).await;
                    taken
                };
                tokio::select! {
                    () = stopped.cancelled() => break,
                    taken = look => taken?,
                }
            }
            Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        // A panic there is one here: a source that is silently not asked any more would look like one that says nothing.
        ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    }
    stopped.cancelled().await;
    Ok(())
}

/// A page and what we hold of it.
struct Page {
    source: Arc<Source>,
    held: Option<(Mark, Result<Vec<Post>, FeedError>)>,
}

impl Page {
    /// Asks once and hands in what it says.
    async fn look(&mut self, intake: &Intake) -> Result<(), LogError> {
        let (source, mark) = (Arc::clone(&self.source), self.held.as_ref().map(|(mark, _)| mark.clone()));
        let asked = aside(move || {
            let answer = fetch::ask(source.url(), &mark.unwrap_or_default(), LIMITS)?;
            Ok(answer.map(|(text, mark)| (mark, parse::posts(source.format, &source.about, &text))))
        });
        let answer: Option<Result<_, FetchError>> = asked.await;
        let now = intake.now();
        let sighting = match answer {
            Some(Ok(answer)) => {
                self.held = answer.or(self.held.take());
                match &self.held {
                    Some((_, Ok(posts))) => parse::stance(posts, now),
                    Some((_, Err(error))) => Sighting::failed(Stance::Unparseable, &error.to_string()),
                    None => {
                        Sighting::failed(Stance::Unparseable, "it says that nothing has changed, and we hold nothing")
                    }
                }
            }
            Some(Err(error)) => failed(&error),
            None => Sighting::failed(Stance::Unparseable, "its answer could not be taken apart"),
        };
        let Source { id, about, .. } = &*self.source;
        if matches!(sighting.stance, Stance::Unreachable | Stance::Unparseable) {
            tracing::debug!(source = %id, stance = sighting.stance.as_str(), reason = sighting.reason, "claims");
        }
        intake.take(vec![Seen { source: id.clone(), about: about.clone(), at: now, sighting }]).await.map(|_| ())
    }
}

/// What an answer that is none comes to.
fn failed(error: &FetchError) -> Sighting {
    let is_answer = match error {
        FetchError::Text { .. } => true,
        FetchError::Exchange { source, .. } => matches!(**source, ureq::Error::BodyExceedsLimit(_)),
        _ => false,
    };
    Sighting::failed(if is_answer { Stance::Unparseable } else { Stance::Unreachable }, &error.to_string())
}

#[cfg(test)]
mod tests;
