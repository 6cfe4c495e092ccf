//! Config: what a webhook's file says.
//!
//! `webhooks/NAME.toml` in the data directory, mode 0600, unknown keys refused:
//!
//! ```toml
//! url = "https://hooks.example.org/faultline"   # http only with allow_private
//! format = "cloudevents"                        # or alertmanager, pagerduty, slack
//! secrets = ["whsec_..."]                       # the newest first; all of them sign
//! routing_key_file = "/etc/faultline/pd.key"    # pagerduty
//! heartbeat = "60s"                             # cloudevents, alertmanager; 10 s to 1 day
//! revisions = "each"                            # or "newest": of those that wait
//! link = "https://status.example.org/"          # the page, for links in messages
//! ca_file = "/etc/ssl/our-ca.pem"               # trusted in place of the public roots
//! allow_private = false                         # private and loopback addresses, and http to them
//! disabled = "moved to the other team"          # nothing is sent
//!
//! [filter]
//! states = ["attributed", "recovering"]         # all but alertmanager's: without suspected
//! verdicts = ["aws"]
//! elements = ["aws/us-east-1"]                  # what an incident must touch, as in the filter of the feed
//! sight = true                                  # tell when we cannot see
//! ```
//!
//! Rule: what is secret (the URL's path, the secrets) stands in no error, log or list.

mod value;

use std::{
    io,
    path::{Path, PathBuf},
};

use faultline_attribution::{State, Verdict};
use serde::{Deserialize, Serialize};

pub use self::value::{Destination, Heartbeat, Link};
use super::sign::Secret;
use crate::feed::filter::check_element;

/// What is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// CloudEvents 1.0, structured, signed.
    #[default]
    Cloudevents,
    /// Alerts for the API v2 of an Alertmanager.
    Alertmanager,
    /// Events for version 2 of PagerDuty's Events API.
    Pagerduty,
    /// Messages for an incoming webhook of Slack.
    Slack,
}

impl Format {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cloudevents => "cloudevents",
            Self::Alertmanager => "alertmanager",
            Self::Pagerduty => "pagerduty",
            Self::Slack => "slack",
        }
    }
}

/// Which revisions of an incident are sent, where several wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Revisions {
    /// Each.
    #[default]
    Each,
    /// The newest; the delivery log names those that were left out for it.
    Newest,
}

/// Which changes are sent. An empty list lets everything through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Only incidents in this state: suspected, attributed, recovering, resolved or retracted; repeats
    #[arg(long = "state", value_name = "STATE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<State>,
    /// Only incidents with this verdict: aws, azure, neither or undetermined; repeats
    #[arg(long = "verdict", value_name = "VERDICT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
    /// Only incidents that touch this: it fails, or a part of it, or what it is part of, as in aws/us-east-1; repeats
    #[arg(long = "element", value_name = "ELEMENT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<String>,
    /// Whether to tell when the coordinator cannot see
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    #[serde(skip_serializing_if = "is_true")]
    pub sight: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self { states: Vec::new(), verdicts: Vec::new(), elements: Vec::new(), sight: true }
    }
}

/// A webhook, as its file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where to.
    pub url: Destination,
    /// What.
    #[serde(default)]
    pub format: Format,
    /// Sign what is sent, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Holds the key of a PagerDuty integration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_key_file: Option<PathBuf>,
    /// How often to say that we can see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// What becomes of revisions that wait.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revisions: Revisions,
    /// The page as the receiver's people reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// Certificates, PEM, that vouch for the receiver in place of the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Whether private and loopback addresses may be reached, over http too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_private: bool,
    /// Why nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<String>,
    /// Which changes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filter: Filter,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_true(value: &bool) -> bool {
    *value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What is wrong with a webhook or its file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text.
    #[error("{}:{line}: {why}", path.display())]
    Text {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What.
        why: String,
    },
    /// Keys that do not fit together.
    #[error("{0}")]
    Unfit(String),
    /// A name that cannot be a file's.
    #[error("webhook {0:?}: a name is 1 to 63 of a-z, 0-9 and -, and begins with no -")]
    Name(String),
    /// There is none.
    #[error("no webhook {0:?}: `faultline webhook list` names those that are")]
    Unknown(String),
    /// There is one already.
    #[error("webhook {0:?} exists: remove it first, or choose another name")]
    Exists(String),
}

impl Webhook {
    /// Reads the text of a file.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let fail = |line, why| ConfigError::Text { path: path.to_owned(), line, why };
        // The error's own form shows the line, and the line may be a secret.
        let read: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            fail(before.matches('\n').count() + 1, error.message().to_owned())
        })?;
        let line_of = |key: &str| {
            let begins =
                |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
            text.lines().position(begins).map_or(1, |line| line + 1)
        };
        read.check().map_err(|(key, why)| fail(line_of(key), why))?;
        Ok(read)
    }

    /// Whether the keys fit together; else the key that does not, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let format = self.format.as_str();
        if self.url.url().scheme() == "http" && !self.allow_private {
            return Err(("url", format!("url {}: http only with allow_private = true, else https", self.url)));
        }
        match (self.format, &self.routing_key_file) {
            (Format::Pagerduty, None) => {
                return Err((
                    "format",
                    "format pagerduty needs routing_key_file: a file with the integration's key".into(),
                ));
            }
            (Format::Pagerduty, Some(_)) | (_, None) => {}
            (_, Some(_)) => {
                return Err(("routing_key_file", format!("routing_key_file is for pagerduty, not for {format}")));
            }
        }
        if self.heartbeat.is_some() && !matches!(self.format, Format::Cloudevents | Format::Alertmanager) {
            return Err(("heartbeat", format!("heartbeat is for cloudevents and alertmanager, not for {format}")));
        }
        for element in &self.filter.elements {
            check_element(element).map_err(|why| ("elements", format!("element {element:?}: {why}")))?;
        }
        if self.secrets.len() > 2 {
            return Err(("secrets", format!("{} secrets: two at most, the new and the old", self.secrets.len())));
        }
        if self.format == Format::Cloudevents && self.secrets.is_empty() {
            return Err(("format", "format cloudevents needs secrets: `faultline webhook rotate` makes one".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
