//! Sources: which status pages are asked, where and how often: `claims.toml`.
//!
//! ```toml
//! [[source]]
//! id = "aws-status"
//! about = "aws"
//! format = "aws-rss"                                     # or "azure-rss"
//! url = "https://status.aws.amazon.com/rss/all.rss"      # https; http to a loopback address alone
//! interval = "30s"                                       # 10s to 1h; the default is 30s
//! ```
//!
//! Without a file both clouds' own pages are asked. Rules: at most 16 sources, each with an id of its own; ids that begin
//! with `crowd` are for what operators push in.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{is_name, parse::Format};
use crate::ranges::fetch::DocumentUrl;

/// What is asked where no file says otherwise.
///
/// Source: the addresses that both clouds publish; two per cloud and minute is what feed readers are.
const BUILTIN: &str = r#"
[[source]]
id = "aws-status"
about = "aws"
format = "aws-rss"
url = "https://status.aws.amazon.com/rss/all.rss"

[[source]]
id = "azure-status"
about = "azure"
format = "azure-rss"
url = "https://azure.status.microsoft/en-us/status/feed/"
"#;

/// Sources, at most.
const MOST: usize = 16;

/// Largest file.
const MAX_BYTES: u64 = 64 << 10;

/// The shortest and the longest time between two questions, and the usual one.
const INTERVALS: (Duration, Duration, Duration) =
    (Duration::from_secs(10), Duration::from_hours(1), Duration::from_secs(30));

/// What is asked.
#[derive(Clone, Debug)]
pub struct Sources(Vec<Source>);

/// One status page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its id: `aws-status`.
    pub id: String,
    /// Whom it is about: `aws`, `azure`, or another name.
    pub about: String,
    /// How it is written.
    pub format: Format,
    #[serde(deserialize_with = "url")]
    url: DocumentUrl,
    #[serde(default)]
    interval: Interval,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Interval(Duration);

impl Default for Interval {
    fn default() -> Self {
        Self(INTERVALS.2)
    }
}

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let interval =
            humantime::parse_duration(&text).map_err(|_| format!("interval {text:?} is no time, as in 30s"))?;
        let (least, most, _) = INTERVALS;
        if interval < least {
            return Err(format!("interval {text:?} is below the floor of 10s"));
        }
        if interval > most { Err(format!("interval {text:?} is above 1h")) } else { Ok(Self(interval)) }
    }
}

fn url<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<DocumentUrl, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    source: Vec<toml::Spanned<Source>>,
}

/// Why sources cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// The file cannot be read.
    #[error("claims file {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What stands there is wrong.
    #[error("{file}:{line}: {message}")]
    Wrong {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Field, value and what is allowed.
        message: String,
    },
}

impl Default for Sources {
    /// The status pages of both clouds.
    fn default() -> Self {
        Self::parse("builtin", BUILTIN).unwrap_or(Self(Vec::new()))
    }
}

impl Sources {
    /// Those of a file.
    pub fn load(path: &Path) -> Result<Self, SourcesError> {
        use std::io::Read as _;
        let fail = |source| SourcesError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(fail)?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(fail)?;
        let name = path.display().to_string();
        if text.len() as u64 > MAX_BYTES {
            let message = format!("more than {MAX_BYTES} bytes");
            return Err(SourcesError::Wrong { file: name, line: 1, message });
        }
        Self::parse(&name, &text)
    }

    /// Those of a text; `file` is for errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, SourcesError> {
        let line = |at: usize| text.get(..at).unwrap_or(text).matches('\n').count() + 1;
        let wrong = |at, message| SourcesError::Wrong { file: file.to_owned(), line: line(at), message };
        let read: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            wrong(at, error.message().trim_end().replace('\n', "; "))
        })?;
        let mut ids = BTreeSet::new();
        for source in &read.source {
            let (at, Source { id, about, .. }) = (source.span().start, source.get_ref());
            let name =
                |field: &str, value: &str| format!("{field} {value:?} is no name: a-z, 0-9, - and ., at most 40");
            if !is_name(id) {
                return Err(wrong(at, name("id", id)));
            }
            if !is_name(about) {
                return Err(wrong(at, name("about", about)));
            }
            if id.starts_with("crowd") {
                return Err(wrong(at, format!("id {id:?}: those that begin with crowd are for what is pushed in")));
            }
            if !ids.insert(id.clone()) {
                return Err(wrong(at, format!("id {id:?} is there twice")));
            }
            if ids.len() > MOST {
                return Err(wrong(at, format!("more than {MOST} sources")));
            }
        }
        Ok(Self(read.source.into_iter().map(toml::Spanned::into_inner).collect()))
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }
}

impl Source {
    /// Where it is.
    pub fn url(&self) -> &DocumentUrl {
        &self.url
    }

    /// Time between two questions.
    pub fn interval(&self) -> Duration {
        self.interval.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clouds_are_asked_by_default() {
        let found: Vec<_> = Sources::default().iter().map(|source| (source.id.clone(), source.interval())).collect();
        let every = Duration::from_secs(30);
        assert_eq!(found, [("aws-status".to_owned(), every), ("azure-status".to_owned(), every)]);
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_value() {
        let good =
            "[[source]]\nid = \"x-status\"\nabout = \"x\"\nformat = \"azure-rss\"\nurl = \"http://127.0.0.1:1/\"\n";
        assert!(Sources::parse("claims.toml", good).is_ok());
        let rows = [
            (good.replace("azure-rss", "atom"), "claims.toml:4:", "atom"),
            (good.replace("http://127.0.0.1:1/", "http://example.org/"), "claims.toml:5:", "over https"),
            (format!("{good}interval = \"1s\"\n"), "claims.toml:6:", "below the floor of 10s"),
            (format!("{good}interval = \"2h\"\n"), "claims.toml:6:", "above 1h"),
            (format!("{good}interval = \"often\"\n"), "claims.toml:6:", "\"often\" is no time"),
            (format!("{good}proxy = true\n"), "claims.toml:6:", "proxy"),
            (good.replace("x-status", "X status"), "claims.toml:1:", "\"X status\" is no name"),
            (good.replace("x-status", "crowd-x"), "claims.toml:1:", "begin with crowd"),
            (format!("{good}\n{good}"), "claims.toml:7:", "\"x-status\" is there twice"),
            ("[[sources]]\n".to_owned(), "claims.toml:1:", "sources"),
        ];
        for (text, place, expected) in rows {
            let error = Sources::parse("claims.toml", &text).expect_err(&text).to_string();
            assert!(error.starts_with(place) && error.contains(expected), "{error}");
        }
        let most = (0..17).map(|n| good.replace("x-status", &format!("x{n}-status"))).collect::<String>();
        assert!(Sources::parse("claims.toml", &most).expect_err("many").to_string().contains("more than 16 sources"));
    }
}
