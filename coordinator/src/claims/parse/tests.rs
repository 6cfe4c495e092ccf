//! Feeds in, stances out: rows of `tests.toml`, and what no feed may do.

use super::*;

const ROWS: &str = include_str!("tests.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    row: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    format: Format,
    items: Vec<Item>,
    stance: Stance,
    since: Option<Timestamp>,
    posted_at: Option<Timestamp>,
    regions: Option<Vec<String>>,
    text: Option<String>,
    link: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    title: String,
    #[serde(default)]
    text: String,
    at: Option<String>,
    guid: String,
    #[serde(default)]
    link: String,
}

#[test]
fn a_feed_says_what_its_row_says() {
    let rows: Rows = toml::from_str(ROWS).expect("rows");
    for row in rows.row {
        let name = &row.name;
        let said = said(row.format, &feed(&row.items)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(said.stance, row.stance, "{name}: {said:?}");
        assert_eq!(said.since, row.since, "{name}: {said:?}");
        assert!(row.posted_at.is_none() || said.posted_at == row.posted_at, "{name}: {said:?}");
        assert!(row.regions.is_none_or(|regions| said.regions == regions), "{name}: {:?}", said.regions);
        assert!(row.text.is_none_or(|text| said.text == text), "{name}: {:?}", said.text);
        assert!(row.link.is_none_or(|link| said.link == link), "{name}: {:?}", said.link);
        assert!(row.reason.is_none_or(|reason| said.reason.contains(&reason)), "{name}: {:?}", said.reason);
    }
}

fn said(format: Format, feed: &str) -> Result<Sighting, FeedError> {
    let cloud = if format == Format::AwsRss { "aws" } else { "azure" };
    Ok(stance(&posts(format, cloud, feed)?, now()))
}

fn now() -> Timestamp {
    Timestamp::from_micros("2025-10-29T18:00:00Z".parse::<jiff::Timestamp>().expect("at").as_microsecond())
}

/// Titles stand in CDATA, as those of AWS do; texts as they are in the row.
fn feed(items: &[Item]) -> String {
    let item = |item: &Item| {
        let date = item.at.as_ref().map_or_else(String::new, |at| format!("<pubDate>{at}</pubDate>"));
        let Item { title, text, guid, link, .. } = item;
        format!(
            "<item><title><![CDATA[{title}]]></title><link>{link}</link>{date}<guid isPermaLink=\"false\">{guid}</guid>\
             <description>{text}</description></item>"
        )
    };
    let items: String = items.iter().map(item).collect();
    format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?><rss version=\"2.0\"><channel><title>x</title>{items}</channel></rss>"
    )
}

#[test]
fn what_is_no_feed_is_said_to_be_none() {
    let rows = [
        ("", "not XML"),
        ("<!doctype html><html><body>moved</body></html>", "not XML"),
        ("<html><body/></html>", "no RSS: its root is <html>"),
        ("<rss version=\"2.0\"/>", "no RSS"),
        ("<rss><channel><item></channel></rss>", "not XML"),
        ("{\"status\": \"ok\"}", "not XML"),
    ];
    for (feed, expected) in rows {
        let error = said(Format::AzureRss, feed).expect_err(feed).to_string();
        assert!(error.contains(expected), "{feed}: {error}");
    }
}

#[test]
fn no_entity_is_expanded_and_none_is_fetched() {
    let bomb = "<!DOCTYPE rss [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>\
        <rss><channel><item><title>&b;</title></item></channel></rss>";
    let outside = "<!DOCTYPE rss [<!ENTITY a SYSTEM \"file:///etc/hostname\">]>\
        <rss><channel><item><title>&a;</title></item></channel></rss>";
    for feed in [bomb, outside, "<rss><channel><item><title>&a;</title></item></channel></rss>"] {
        assert!(matches!(said(Format::AwsRss, feed), Err(FeedError::Xml(_))), "{feed}");
    }
}

#[test]
fn what_is_too_long_too_deep_or_too_many_is_bounded() {
    let long = format!("<rss><channel>{}</channel></rss>", " ".repeat(MAX_BYTES));
    assert!(matches!(said(Format::AwsRss, &long), Err(FeedError::Long(_))));
    let many_nodes = format!("<rss><channel>{}</channel></rss>", "<a/>".repeat(MAX_NODES as usize));
    assert!(matches!(said(Format::AwsRss, &many_nodes), Err(FeedError::Xml(_))));
    // Deeper than a stack would bear, if anything here recursed.
    let deep = format!("<rss><channel>{}{}</channel></rss>", "<a>".repeat(50_000), "</a>".repeat(50_000));
    assert_eq!(said(Format::AwsRss, &deep).expect("read").stance, Stance::NothingPosted);
    let item = |n: usize| format!("<item><title>errors {n} {}</title><guid>{n}</guid></item>", "x".repeat(900));
    let items: String = (0..1000).map(item).collect();
    let posts = posts(Format::AzureRss, "azure", &format!("<rss><channel>{items}</channel></rss>")).expect("read");
    assert_eq!(posts.len(), MAX_ITEMS);
    assert!(posts.iter().all(|post| post.text.chars().count() <= MAX_TEXT + 1));
}
