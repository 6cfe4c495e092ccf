//! Parse: the RSS feed of a status page in, posts and then a stance out.
//!
//! **Posts.** RSS 2 without a document type, so there are no entities to expand; at most 1 MiB, 60,000 nodes (the reader does
//! not recurse, so they may be nested as they like) and the first 500 items, of which only `title`, `description`, `link`, `pubDate` and `guid` are read, each once. Posts of one event
//! belong together: of AWS those whose `guid` differs in its last number alone (`#ec2-us-east-1_1760944260`), of others
//! those with the same `guid`.
//!
//! **Words.** A title that says `[RESOLVED]`, mitigated, or that this is a review of what was ends its event. A post that
//! begins with a word of AWS's scale (`Service disruption:`), or speaks of errors, latency, investigating and the like,
//! reports a problem. What does neither is unread, never guessed.
//!
//! **Stance.** The newest post of each event speaks for it, for [`SPEAKS`] after it was posted. Any event that goes on is a
//! reported problem, since its first post after the last that ended it; else any that is unread makes the feed
//! unparseable; else nothing is posted.
//!
//! Source: the feeds of both clouds as public tools quote and read them; that times of AWS come as `PDT`, and that Azure
//! lists nothing while nothing is wrong, is from there too.

use std::{collections::BTreeMap, time::Duration};

use faultline_attribution::Timestamp;
use roxmltree::{Document, Node, ParsingOptions};
use serde::Deserialize;

use super::{
    Sighting, Stance, regions,
    text::{self, MAX_TEXT},
};

/// Largest feed.
pub const MAX_BYTES: usize = 1 << 20;

/// Nodes of one, at most. Source: 500 items of five fields are some 10,000.
const MAX_NODES: u32 = 60_000;

/// Items that are read.
const MAX_ITEMS: usize = 500;

/// Characters of a post in which words and regions are looked for.
const MAX_PROSE: usize = 8000;

/// For how long a post without a later one speaks. Source: both clouds write at least daily while something goes on; a
/// post that nobody ended must not accuse for ever.
pub const SPEAKS: Duration = Duration::from_hours(48);

/// How a feed is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Format {
    /// That of AWS: all of it, or of one service in one region.
    #[serde(rename = "aws-rss")]
    AwsRss,
    /// That of Azure: prose.
    #[serde(rename = "azure-rss")]
    AzureRss,
}

/// Why a feed cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// Too long.
    #[error("{0} bytes are more than {MAX_BYTES}")]
    Long(usize),
    /// No XML, or more of it than is read.
    #[error("not XML that is read here: {0}")]
    Xml(String),
    /// XML, but no RSS.
    #[error("no RSS: its root is <{0}> and not <rss> with a <channel>")]
    Rss(String),
}

/// One post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Posts of one event share it.
    pub event: String,
    /// What it says of its event.
    pub word: Word,
    /// Title and text, plain.
    pub text: String,
    /// http or https, or empty.
    pub link: String,
    /// When, as it says; `None` where it does not or where that cannot be read.
    pub at: Option<Timestamp>,
    /// Regions that it names.
    pub regions: Vec<String>,
}

/// What a post says of its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It goes on.
    Problem,
    /// It is over.
    Ended,
    /// We cannot tell.
    Unread,
}

/// Words of AWS's scale that a title begins with, before a colon; whether they say that it is over.
const SCALE: [(&str, bool); 7] = [
    ("service is operating normally", true),
    ("resolved", true),
    ("informational message", false),
    ("performance issues", false),
    ("service degradation", false),
    ("service disruption", false),
    ("service impact", false),
];

/// Titles that say that it is over.
const ENDINGS: [&str; 5] = ["[resolved]", "resolved", "mitigated", "post incident review", "root cause"];

/// Words of a post about something that goes on.
const TROUBLES: [&str; 16] = [
    "connectivity",
    "degrad",
    "delay",
    "disrupt",
    "elevated",
    "error",
    "fail",
    "impact",
    "impair",
    "increased",
    "intermittent",
    "investigating",
    "issue",
    "latenc",
    "outage",
    "unavailab",
];

/// The posts of a feed about `cloud`.
pub fn posts(format: Format, cloud: &str, feed: &str) -> Result<Vec<Post>, FeedError> {
    let feed = feed.strip_prefix('\u{feff}').unwrap_or(feed).trim_start();
    if feed.len() > MAX_BYTES {
        return Err(FeedError::Long(feed.len()));
    }
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(feed, options)
        .map_err(|error| FeedError::Xml(text::plain(&error.to_string(), text::MAX_REASON)))?;
    let root = document.root_element();
    let wrong = || FeedError::Rss(text::plain(root.tag_name().name(), 40));
    let channel = child(root, "channel").filter(|_| root.has_tag_name("rss")).ok_or_else(wrong)?;
    let items = channel.children().filter(|node| node.has_tag_name("item")).take(MAX_ITEMS);
    Ok(items.map(|item| post(format, cloud, item)).collect())
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn post(format: Format, cloud: &str, item: Node<'_, '_>) -> Post {
    let field = |name: &str, most| {
        let written = child(item, name).and_then(|node| node.text()).unwrap_or_default();
        // What is looked at is bounded before it is read: tags do not count as characters.
        let end = written.char_indices().nth(4 * most).map_or(written.len(), |(end, _)| end);
        text::plain(&written[..end], most)
    };
    let (title, prose) = (field("title", MAX_TEXT), field("description", MAX_PROSE));
    let (guid, date) = (field("guid", MAX_TEXT), field("pubDate", 60));
    let id = guid.rsplit_once('#').map_or(guid.as_str(), |(_, id)| id);
    let id = match (format, id.rsplit_once('_')) {
        (Format::AwsRss, Some((id, number))) if number.bytes().all(|byte| byte.is_ascii_digit()) => id,
        _ => id,
    };
    let all = format!("{title} {prose}");
    let at_end = if format == Format::AwsRss { regions::at_end(cloud, id) } else { None };
    let said = if prose.is_empty() || title.contains(&prose) { title.clone() } else { format!("{title}: {prose}") };
    Post {
        event: if id.is_empty() { title.clone() } else { id.to_owned() },
        word: word(&title, &prose),
        text: text::plain(&said, MAX_TEXT),
        link: text::link(&field("link", MAX_TEXT)),
        at: instant(&date),
        regions: at_end.map_or_else(|| regions::named(cloud, &all), |region| vec![region]),
    }
}

/// What a post says of its event.
fn word(title: &str, prose: &str) -> Word {
    let (title, prose) = (title.to_lowercase(), prose.to_lowercase());
    if ENDINGS.iter().any(|ending| title.contains(ending))
        || title.split(|c: char| !c.is_alphanumeric()).any(|w| w == "pir")
    {
        return Word::Ended;
    }
    let scale = title.split_once(':').map_or(title.as_str(), |(scale, _)| scale).trim();
    if let Some((_, is_over)) = SCALE.iter().find(|(known, _)| *known == scale) {
        return if *is_over { Word::Ended } else { Word::Problem };
    }
    let speaks_of_trouble = TROUBLES.iter().any(|trouble| title.contains(trouble) || prose.contains(trouble));
    if speaks_of_trouble { Word::Problem } else { Word::Unread }
}

/// An instant as RSS writes it (RFC 2822), or as RFC 3339; none before 2000 or after 2200.
fn instant(date: &str) -> Option<Timestamp> {
    // Azure writes the zone as "Z".
    let mended = date.strip_suffix(" Z").map(|date| format!("{date} +0000"));
    let date = mended.as_deref().unwrap_or(date);
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(date);
    let at = parsed.ok().or_else(|| date.parse().ok())?;
    let is_sane = (946_684_800..7_258_118_400).contains(&at.as_second());
    is_sane.then(|| Timestamp::from_micros(at.as_microsecond()))
}

/// What a feed says at a moment.
pub fn stance(posts: &[Post], now: Timestamp) -> Sighting {
    let mut events: BTreeMap<&str, Vec<&Post>> = BTreeMap::new();
    for post in posts {
        events.entry(&post.event).or_default().push(post);
    }
    let (mut going_on, mut unread) = (Vec::new(), None);
    for mut event in events.into_values() {
        // The newest first; a feed lists them so, where they do not say when.
        event.sort_by_key(|post| std::cmp::Reverse(post.at));
        let newest = event[0];
        if newest.at.is_some_and(|at| now.since(at) > SPEAKS) {
            continue;
        }
        match newest.word {
            Word::Ended => {}
            Word::Unread => unread = unread.or(Some(newest)),
            Word::Problem => {
                let spell = event.iter().take_while(|post| post.word != Word::Ended);
                let since = spell.filter_map(|post| post.at).min();
                going_on.push((newest, since));
            }
        }
    }
    let Some((newest, _)) = going_on.iter().max_by_key(|(newest, _)| newest.at) else {
        return unread.map_or_else(|| Sighting::bare(Stance::NothingPosted), cannot_read);
    };
    let mut regions: Vec<String> = going_on.iter().flat_map(|(post, _)| post.regions.clone()).collect();
    regions.sort();
    regions.dedup();
    regions.truncate(32);
    let not_yet = |at: &Timestamp| *at <= now;
    Sighting {
        since: going_on.iter().filter_map(|(_, since)| *since).min().filter(not_yet),
        posted_at: newest.at.filter(not_yet),
        text: newest.text.clone(),
        link: newest.link.clone(),
        regions,
        ..Sighting::bare(Stance::ReportsProblem)
    }
}

fn cannot_read(post: &Post) -> Sighting {
    Sighting {
        posted_at: post.at,
        text: post.text.clone(),
        link: post.link.clone(),
        reason: "a post that neither reports a problem nor ends one, as far as we can read".into(),
        ..Sighting::bare(Stance::Unparseable)
    }
}

#[cfg(test)]
mod tests;
