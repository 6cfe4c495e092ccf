//! Event: what a webhook is told, and the body that says it in the webhook's format.
//!
//! The state table is below; the formats stand beside it, a file each.
//!
//! | incident | cloudevents | alertmanager | pagerduty | slack |
//! |---|---|---|---|---|
//! | suspected | event | only where the filter names it: info | trigger, info | message |
//! | attributed to a cloud: a region, some regions | event | firing, warning | trigger, error | message |
//! | attributed to a cloud: most of its regions, or what has none | event | firing, critical | trigger, critical | message |
//! | neither | event | firing, info | resolve, where it was told | message |
//! | recovering | event | firing as before | - | message |
//! | resolved, retracted | event | resolved | resolve | message |
//!
//! Rules: the end of what was told is told, whatever the filter says (`the_end_of_what_was_told_passes_every_filter`). A body
//! is smaller than [`MAX_BODY_BYTES`] (`however_much_there_is_a_body_keeps_its_size`). Text of others is plain text: escaped
//! where the format has marks of its own.

mod alertmanager;
mod cloudevents;
mod pagerduty;
mod slack;

use std::collections::BTreeMap;

use faultline_attribution::{Change, State, Timestamp, Verdict, Visibility};

pub(super) use self::alertmanager::again;
use super::config::{Filter, Format, Link, Webhook};
use crate::feed::filter::touches;

/// A body is smaller than this. Source: the Standard Webhooks specification's advice.
pub const MAX_BODY_BYTES: usize = 20_000;

/// Something to tell.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A revision of an incident.
    Incident {
        /// The revision.
        change: &'a Change,
        /// Its place in the feed.
        sequence: u64,
        /// When it was published.
        published_at: Timestamp,
    },
    /// Sight was lost, or is back.
    Sight {
        /// How well we see.
        sight: &'a Visibility,
        /// Since when we could not see.
        blind_since: Timestamp,
        /// When this was noticed.
        at: Timestamp,
    },
    /// We can see.
    Heartbeat {
        /// How well.
        sight: &'a Visibility,
        /// The newest change.
        sequence: u64,
        /// Incidents that go on.
        open: usize,
        /// Now.
        at: Timestamp,
    },
    /// A person looks whether messages arrive.
    Test {
        /// The webhook's name.
        name: &'a str,
        /// Now.
        at: Timestamp,
    },
}

/// What stands around an event.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Identity of the feed.
    pub feed_id: String,
    /// Regions that are watched, by provider.
    pub regions: BTreeMap<String, usize>,
    /// The moment of the attempt.
    pub now: Timestamp,
    /// Key of the PagerDuty integration; empty elsewhere.
    pub routing_key: String,
}

/// A message, ready to be signed and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Names the event: the same however often it is sent.
    pub id: String,
    /// Media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// What an incident's receiver still waits for after a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// As before.
    AsBefore,
    /// The end of it; for an alertmanager, the alerts that fire.
    Open(String),
    /// Nothing.
    Nothing,
}

/// What is sent of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// The message; `None` where the format has nothing to say of it.
    pub message: Option<Message>,
    /// What is held once it was delivered.
    pub held: Held,
}

impl Event<'_> {
    /// Names the event; the same at each attempt.
    pub fn id(&self, feed_id: &str) -> String {
        // No dot: it separates what is signed.
        match self {
            Self::Incident { change, .. } => format!("{}-r{}", change.incident, change.revision),
            Self::Sight { sight, at, .. } => {
                let what = if sight.below_quorum { "lost" } else { "regained" };
                format!("sight-{feed_id}-{}-{what}", at.basic())
            }
            Self::Heartbeat { at, .. } => format!("heartbeat-{feed_id}-{}", at.basic()),
            Self::Test { at, .. } => format!("test-{}", at.basic()),
        }
    }

    /// What is sent of it, where `told` is what its receiver still waits for, if it was told of the incident.
    pub fn telling(&self, webhook: &Webhook, scene: &Scene, told: Option<&str>) -> Telling {
        let id = self.id(&scene.feed_id);
        let (content_type, body, held) = match webhook.format {
            Format::Cloudevents => {
                ("application/cloudevents+json", Some(cloudevents::body(self, scene, &id)), self.held())
            }
            Format::Alertmanager => {
                let (body, held) = alertmanager::body(self, webhook, scene, told);
                ("application/json", Some(body), held)
            }
            Format::Pagerduty => {
                let body = pagerduty::body(self, webhook.link.as_ref(), scene, told.is_some());
                let held = if body.is_some() { self.held() } else { Held::AsBefore };
                ("application/json", body, held)
            }
            Format::Slack => ("application/json", Some(slack::body(self, webhook.link.as_ref())), self.held()),
        };
        let message = body.map(|body| Message { id, content_type, body });
        Telling { message, held }
    }

    fn held(&self) -> Held {
        match self {
            Self::Incident { change, .. } if change.state.is_open() => Held::Open(String::new()),
            Self::Sight { sight, .. } if sight.below_quorum => Held::Open(String::new()),
            _ => Held::Nothing,
        }
    }
}

/// Whether a webhook of this format and filter is told of a revision; `is_told`: whether it was told of the incident before.
pub fn wants(format: Format, filter: &Filter, change: &Change, is_told: bool) -> bool {
    if is_told && !change.state.is_open() {
        return true;
    }
    let state = if filter.states.is_empty() {
        format != Format::Alertmanager || change.state != State::Suspected
    } else {
        filter.states.contains(&change.state)
    };
    let verdict = filter.verdicts.is_empty() || filter.verdicts.contains(&change.verdict);
    let element = filter.elements.is_empty() || filter.elements.iter().any(|wanted| touches(wanted, change));
    state && verdict && element
}

/// A row of the state table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Something is wrong, nobody is accused.
    Suspected,
    /// A cloud is accused: a region, or some.
    Accused,
    /// A cloud is accused: most of its regions, or what has none.
    AccusedWidely,
    /// Neither cloud.
    Neither,
    /// It goes back.
    Recovering,
    /// It ended, or was never so.
    Ended,
}

/// The row of a revision.
pub(super) fn standing(change: &Change, scene: &Scene) -> Standing {
    match (change.state, change.verdict) {
        (State::Resolved | State::Retracted, _) => Standing::Ended,
        (State::Suspected, _) | (_, Verdict::Undetermined) => Standing::Suspected,
        (State::Recovering, _) => Standing::Recovering,
        (State::Attributed, Verdict::Neither) => Standing::Neither,
        (State::Attributed, verdict) => {
            let watched = scene.regions.get(verdict.as_str()).copied().unwrap_or(usize::MAX);
            let is_wide = change.regions.is_empty() || change.regions.len() > watched / 2;
            if is_wide { Standing::AccusedWidely } else { Standing::Accused }
        }
    }
}

/// The first `most` bytes of a text, cut between characters, with an ellipsis where something is missing.
pub(super) fn short(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Where to read on.
fn link_to(link: Option<&Link>, event: &Event<'_>) -> Option<String> {
    let link = link?;
    Some(match event {
        Event::Incident { change, .. } => link.incident(change.incident.as_str()),
        _ => link.home(),
    })
}

/// One sentence for people.
fn sentence(event: &Event<'_>) -> String {
    match event {
        Event::Incident { change, .. } => match change.state {
            State::Suspected | State::Attributed => change.headline.clone(),
            State::Recovering => format!("Recovering: {}", change.headline),
            State::Resolved => format!("Resolved: {}", change.headline),
            State::Retracted => format!("Retracted, we were wrong: {}", change.headline),
        },
        Event::Sight { sight, .. } if sight.below_quorum => {
            format!("Faultline cannot see: do not trust its silence. {}", sight.reason).trim_end().to_owned()
        }
        Event::Sight { .. } => "Faultline can see again.".to_owned(),
        Event::Heartbeat { .. } => "Faultline can see.".to_owned(),
        Event::Test { name, .. } => format!("A test of Faultline's webhook {name}: nothing is wrong."),
    }
}

#[cfg(test)]
mod tests;
