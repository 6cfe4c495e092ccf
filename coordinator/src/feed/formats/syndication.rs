//! The incidents as a feed for feed readers: `/history.atom` (RFC 4287) and `/history.rss` (RSS 2.0).
//!
//! An entry is an incident, the fifty that changed last. Rules: its id is a tag URI of the feed and the incident and never
//! changes; `updated` moves with each revision; what is no character of XML is left out; a retraction says so first.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
    routing::get,
};
use faultline_attribution::{Change, State as Life, Timestamp, Verdict};
use jiff::fmt::rfc2822::DateTimePrinter;
use maud::{Markup, PreEscaped, html};

use super::{
    Picture,
    answer::{Document, Freshness},
    base::Base,
};
use crate::feed::Hub;

/// Entries of a feed.
const ENTRIES: usize = 50;

const TITLE: &str = "Faultline: which cloud is failing";
const ABOUT: &str = "Incidents of AWS, Azure and what is neither, as measured. No entry does not mean that all is well: see whether we can see.";
const DECLARATION: PreEscaped<&str> = PreEscaped("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");

/// Both feeds.
pub(super) fn router<S: Clone + Send + Sync + 'static>(hub: Arc<Hub>, scheme: &'static str) -> Router<S> {
    let of = |render: fn(&Picture<'_>, &Base) -> Document| {
        get(async move |State(hub): State<Arc<Hub>>, uri: Uri, asked: HeaderMap| -> Response {
            let base = Base::of(scheme, &uri, &asked);
            hub.picture(|picture| render(picture, &base)).answer(&asked)
        })
    };
    Router::new().route("/history.atom", of(atom)).route("/history.rss", of(rss)).with_state(hub)
}

/// The incidents that changed last, the newest change first.
fn entries<'a>(picture: &'a Picture<'_>) -> Vec<&'a Change> {
    let mut changes: Vec<&Change> = picture.board.incidents().collect();
    changes.sort_by(|a, b| (b.at, &b.incident).cmp(&(a.at, &a.incident)));
    changes.truncate(ENTRIES);
    changes
}

fn atom(picture: &Picture<'_>, base: &Base) -> Document {
    let (entries, board) = (entries(picture), picture.board);
    let updated = entries.first().map_or_else(Timestamp::default, |change| change.at);
    let feed = html! {
        (DECLARATION)
        feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en" {
            id { (tag(&board.feed_id, "")) }
            title { (TITLE) }
            subtitle { (ABOUT) }
            updated { (updated) }
            author { name { "Faultline" } }
            link rel="self" type="application/atom+xml" href={ (base) "/history.atom" } {}
            link rel="alternate" type="text/html" href={ (base) "/" } {}
            @for change in entries {
                entry {
                    id { (tag(&board.feed_id, change.incident.as_str())) }
                    title { (title(change)) }
                    published { (change.opened_at) }
                    updated { (change.at) }
                    link rel="alternate" type="text/html" href={ (base) "/incidents/" (change.incident) } {}
                    link rel="related" type="application/json" href={ (base) "/api/v1/incidents/" (change.incident) } {}
                    category term=(change.state) {}
                    category term=(change.verdict) {}
                    content type="html" { (content(change).into_string()) }
                }
            }
        }
    };
    written("application/atom+xml; charset=utf-8", board.sequence, feed)
}

fn rss(picture: &Picture<'_>, base: &Base) -> Document {
    let (entries, board) = (entries(picture), picture.board);
    let feed = html! {
        (DECLARATION)
        rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom" {
            channel {
                title { (TITLE) }
                // A tag that HTML has no end for: maud writes one wherever there are braces.
                link { (base) "/" }
                description { (ABOUT) }
                language { "en" }
                atom:link rel="self" type="application/rss+xml" href={ (base) "/history.rss" } {}
                @for change in entries {
                    item {
                        title { (title(change)) }
                        link { (base) "/incidents/" (change.incident) }
                        guid isPermaLink="false" { (tag(&board.feed_id, change.incident.as_str())) }
                        pubDate { (rfc_822(change.at)) }
                        category { (change.state) }
                        category { (change.verdict) }
                        description { (content(change).into_string()) }
                    }
                }
            }
        }
    };
    written("application/rss+xml; charset=utf-8", board.sequence, feed)
}

fn written(content_type: &'static str, sequence: u64, feed: Markup) -> Document {
    let mut text = feed.into_string();
    text.retain(is_of_xml);
    Document::new(content_type, Freshness::Live, sequence, text)
}

/// Source: XML 1.0, production 2.
const fn is_of_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// A tag URI. Source: RFC 4151; a name under `.invalid` belongs to nobody else either.
fn tag(feed_id: &str, incident: &str) -> String {
    let mut tag = format!("tag:faultline.invalid,2025:{feed_id}");
    if !incident.is_empty() {
        // Writing to a string cannot fail.
        write!(tag, "/{incident}").ok();
    }
    tag
}

fn title(change: &Change) -> String {
    let state = match change.state {
        Life::Retracted => "Retracted: ",
        Life::Resolved => "Resolved: ",
        Life::Recovering => "Recovering: ",
        Life::Suspected | Life::Attributed => "",
    };
    let who = if change.verdict == Verdict::Neither { "Neither AWS nor Azure: " } else { "" };
    format!("{state}{who}{}", change.headline)
}

/// What is known of it, in short.
fn content(change: &Change) -> Markup {
    html! {
        p { (change.headline) }
        @if change.state == Life::Retracted { p { "We were wrong: this incident is retracted." } }
        ul {
            li { "State: " (change.state) ", revision " (change.revision) }
            @if change.verdict == Verdict::Undetermined {
                li { "Nobody is accused: " (change.undetermined_reason) }
            } @else {
                li { "Verdict: " (change.verdict) ", confidence " (format!("{:.3}", change.confidence)) ", " code { (change.element) } }
            }
            li { "Onset: " (change.onset_at) " ± " (format!("{:.0}", change.onset_uncertainty_s)) " s" }
            @if let Some(at) = change.resolved_at { li { "Ended: " (at) } }
            li { "Seen by " (change.failing_groups) " of " (change.total_groups) " vantage groups, at layer " (change.layer) }
            @for alibi in &change.alibis {
                li {
                    (alibi.party) " is cleared: " (alibi.passed) " of " (alibi.runs) " runs passed from "
                    (alibi.groups) " vantage groups (" (alibi.layer) ")"
                }
            }
            @for caveat in &change.caveats { li { "Caveat: " (caveat) } }
        }
    }
}

fn rfc_822(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default();
    DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        board::Board,
        feed::formats::examples::{self, NOW, change, suspicion},
    };

    fn text(board: &Board, render: fn(&Picture<'_>, &Base) -> Document) -> String {
        let base = Base::of("http", &Uri::from_static("https://f.example/"), &HeaderMap::new());
        String::from_utf8(render(&Picture { board, now: NOW }, &base).body.to_vec()).expect("text")
    }

    fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
        let after = text.split_once(start).unwrap_or_else(|| panic!("no {start} in {text}")).1;
        after.split_once(end).expect("its end").0
    }

    #[test]
    fn an_entry_keeps_its_id_and_moves_its_time_with_each_revision() {
        let mut board = examples::board(vec![examples::incident(suspicion(1))]);
        let before = text(&board, atom);
        board.apply(&examples::entry(2, examples::incident(change(1))));
        let after = text(&board, atom);
        let [first, second] = [&before, &after].map(|text| between(text, "<entry>", "</entry>"));
        assert_eq!(between(first, "<id>", "</id>"), between(second, "<id>", "</id>"));
        assert_eq!(
            between(second, "<id>", "</id>"),
            format!("tag:faultline.invalid,2025:{}/{}", board.feed_id, change(1).incident)
        );
        assert_ne!(between(first, "<updated>", "</updated>"), between(second, "<updated>", "</updated>"));
        assert_eq!(between(second, "<updated>", "</updated>"), NOW.to_string());
        assert_eq!(between(second, "<published>", "</published>"), change(1).opened_at.to_string());
    }

    #[test]
    fn what_was_retracted_says_so_first() {
        let retracted = Change { state: Life::Retracted, revision: 3, ..change(1) };
        let board = examples::board(vec![examples::incident(retracted)]);
        for render in [atom, rss] {
            assert!(text(&board, render).contains("<title>Retracted: Azure Front Door is failing"));
        }
    }

    #[test]
    fn hostile_text_stays_text() {
        let headline = "</title><script>alert(1)</script>\u{0}\u{1b}\u{ffff}]]>&".to_owned();
        let board = examples::board(vec![examples::incident(Change { headline, ..change(1) })]);
        for render in [atom, rss] {
            let text = text(&board, render);
            assert!(!text.contains("<script") && text.contains("&lt;/title&gt;&lt;script&gt;alert(1)"), "{text}");
            assert!(text.chars().all(is_of_xml), "{text}");
            assert!(text.contains("&amp;lt;script&amp;gt;"), "its HTML is escaped before it is XML: {text}");
        }
    }

    #[test]
    fn a_feed_is_bounded_and_the_last_change_comes_first() {
        let changes =
            (1..=60).map(|n| Change { at: NOW.before(std::time::Duration::from_secs(u64::from(n))), ..change(n) });
        let board = examples::board(changes.map(examples::incident).collect());
        let text = text(&board, atom);
        assert_eq!(text.matches("<entry>").count(), ENTRIES);
        assert!(between(&text, "<entry>", "</entry>").contains(change(1).incident.as_str()), "{text}");
    }

    #[test]
    fn rss_writes_dates_and_links_as_its_readers_want_them() {
        let board = examples::board(vec![examples::incident(change(1))]);
        let text = text(&board, rss);
        let link = format!("<link>https://f.example/incidents/{}</link>", change(1).incident);
        assert!(text.contains(&link) && text.contains("<pubDate>Wed, 29 Oct 2025 15:44:00 GMT</pubDate>"), "{text}");
    }
}
