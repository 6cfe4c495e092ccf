//! Values of a webhook's file that are checked as they are read.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

/// Shortest and longest time between heartbeats.
const HEARTBEAT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(24));

/// Where a webhook is delivered to. Shown without its path, which may be a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Destination(Url);

impl Destination {
    /// The whole address, as it is connected to.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("url is no URL: {error}"))?;
        let shown = Self(url);
        match shown.0.scheme() {
            "https" | "http" => {}
            other => return Err(format!("url begins with {other:?}: https, or http with allow_private")),
        }
        if !shown.0.username().is_empty() || shown.0.password().is_some() {
            return Err(format!("url {shown} carries a name or a password: sign with secrets instead"));
        }
        if shown.0.fragment().is_some() {
            return Err(format!("url {shown} has a # part, which no server gets"));
        }
        Ok(shown)
    }
}

impl TryFrom<String> for Destination {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.0.into()
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = (self.0.scheme(), self.0.host_str().unwrap_or_default());
        match self.0.port() {
            Some(port) => write!(f, "{scheme}://{host}:{port}"),
            None => write!(f, "{scheme}://{host}"),
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The page's own address, for links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Link(Url);

impl Link {
    /// The page of an incident.
    pub fn incident(&self, incident: &str) -> String {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["incidents", incident]);
        }
        url.into()
    }

    /// The front page.
    pub fn home(&self) -> String {
        self.0.to_string()
    }
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("link {text:?} is no URL: {error}"))?;
        let is_plain = matches!(url.scheme(), "https" | "http") && url.query().is_none() && url.fragment().is_none();
        let is_safe = !url.as_str().contains(['|', '<', '>', '"', '\'']);
        if is_plain && is_safe { Ok(Self(url)) } else { Err(format!("link {text:?}: https, without ? or #")) }
    }
}

impl TryFrom<String> for Link {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Link> for String {
    fn from(link: Link) -> Self {
        link.0.into()
    }
}

/// Time between heartbeats, 10 s to 1 day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Heartbeat(Duration);

impl Heartbeat {
    /// The time between two.
    pub const fn interval(self) -> Duration {
        self.0
    }
}

impl FromStr for Heartbeat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span =
            humantime::parse_duration(text).map_err(|error| format!("heartbeat {text:?}: {error}, as in 60s"))?;
        let (least, most) = HEARTBEAT;
        if span < least || span > most {
            return Err(format!("heartbeat {text:?} is not within 10s to 1day"));
        }
        Ok(Self(span))
    }
}

impl TryFrom<String> for Heartbeat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Heartbeat> for String {
    fn from(heartbeat: Heartbeat) -> Self {
        humantime::format_duration(heartbeat.0).to_string()
    }
}
