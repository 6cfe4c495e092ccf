//! Messages for an incoming webhook of Slack.
//!
//! Rules: text of ours and of others stands in plain-text objects, with `&`, `<` and `>` escaped, and nothing is parsed for
//! names, so that no headline mentions anybody. The one mark is the link to the page, which is the operator's own.

use faultline_attribution::{Change, State, Verdict};
use serde_json::{Value, json};

use super::{Event, link_to, sentence};
use crate::webhook::config::Link;

/// Source: limits of Slack's blocks: 150 characters of a header, 2,000 of a field; bytes here, which are no fewer.
const HEADER_BYTES: usize = 150;
const FIELD_BYTES: usize = 300;
const TEXT_BYTES: usize = 1000;

pub(super) fn body(event: &Event<'_>, link: Option<&Link>) -> Vec<u8> {
    let sentence = sentence(event);
    let glyph = glyph(event);
    let mut blocks = vec![json!({"type": "header", "text": plain(&format!("{glyph} {sentence}"), HEADER_BYTES)})];
    match event {
        Event::Incident { change, .. } => {
            if sentence.len() > HEADER_BYTES / 2 {
                blocks.push(json!({"type": "section", "text": plain(&sentence, TEXT_BYTES)}));
            }
            blocks.push(json!({"type": "section", "fields": fields(change)}));
        }
        Event::Sight { .. } | Event::Heartbeat { .. } | Event::Test { .. } => {}
    }
    if let Some(href) = link_to(link, event) {
        let text = format!("<{}|Evidence>", escaped(&href, TEXT_BYTES));
        blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}));
    }
    let text = escaped(&format!("{glyph} {sentence}"), TEXT_BYTES);
    let body = json!({"text": text, "mrkdwn": false, "parse": "none", "link_names": false, "blocks": blocks});
    body.to_string().into_bytes()
}

fn glyph(event: &Event<'_>) -> &'static str {
    match event {
        Event::Incident { change, .. } => match (change.state, change.verdict) {
            (State::Resolved, _) => "✓",
            (State::Retracted, _) => "↶",
            (State::Recovering, _) => "◐",
            (State::Suspected, _) | (_, Verdict::Undetermined) => "▲",
            (State::Attributed, Verdict::Neither) => "◆",
            (State::Attributed, _) => "✕",
        },
        Event::Sight { sight, .. } if sight.below_quorum => "░",
        Event::Sight { .. } | Event::Heartbeat { .. } | Event::Test { .. } => "●",
    }
}

fn fields(change: &Change) -> Vec<Value> {
    let named = |name: &str, value: &str| plain(&format!("{name}: {value}"), FIELD_BYTES);
    let mut fields = vec![
        named("Verdict", change.verdict.as_str()),
        named("Confidence", &format!("{:.2}", change.confidence)),
        named("Since", &format!("{} ± {:.0} s", change.onset_at, change.onset_uncertainty_s)),
        named("Seen by", &format!("{} of {} vantage groups", change.failing_groups, change.total_groups)),
        named("Layer", change.layer.as_str()),
    ];
    if !change.element.is_empty() {
        fields.push(named("Element", &change.element));
    }
    let cleared: Vec<&str> = change.alibis.iter().map(|alibi| alibi.party.as_str()).collect();
    if !cleared.is_empty() {
        fields.push(named("Cleared", &cleared.join(", ")));
    }
    fields.push(named("Incident", &format!("{} revision {}", change.incident, change.revision)));
    fields
}

fn plain(text: &str, most: usize) -> Value {
    json!({"type": "plain_text", "text": escaped(text, most), "emoji": false})
}

/// The text without marks, of so many bytes at most, as they are sent: a longer block would be refused whole.
fn escaped(text: &str, most: usize) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        let mut buffer = [0; 4];
        let written = match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            control if control.is_control() => " ",
            plain => plain.encode_utf8(&mut buffer),
        };
        if escaped.len() + written.len() > most - '…'.len_utf8() {
            escaped.push('…');
            break;
        }
        escaped.push_str(written);
    }
    escaped
}
