//! Fetch: one document over HTTPS, if it is another than the one that we hold.
//!
//! Rules: https only, also after a redirect; plain http to a loopback address alone, without redirects, for an emulated
//! internet. At most 32 MiB in at most 30 s, or the limits that the asker has. A proxy of the environment (`HTTPS_PROXY`) is
//! honoured, but not for loopback.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use http::{StatusCode, header};
use url::{Host, Url};

/// More is refused. The largest document has 4 MiB.
pub const MAX_BYTES: u64 = 32 << 20;

/// All together, from the first packet to the last byte.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Redirects that are followed.
const REDIRECTS: u32 = 5;

/// An address that a document may be fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentUrl(Url);

/// An address that no document is fetched from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL.
    #[error("{url:?} is not a URL: {source}")]
    Url {
        /// What was given.
        url: String,
        /// Why.
        source: url::ParseError,
    },
    /// Neither safe nor ours.
    #[error("{0:?}: documents are fetched over https, or over http from a loopback address such as 127.0.0.1")]
    Unsafe(String),
}

impl DocumentUrl {
    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(_)) | None => false,
        }
    }

    /// The host's name.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// A link as it stands in the document at this address.
    pub(super) fn join(&self, link: &str) -> Result<Self, UrlError> {
        self.0.join(link).map_err(|source| UrlError::Url { url: link.to_owned(), source })?.as_str().parse()
    }
}

impl FromStr for DocumentUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(|source| UrlError::Url { url: text.to_owned(), source })?;
        let url = Self(url);
        match url.0.scheme() {
            "https" => Ok(url),
            "http" if url.is_loopback() => Ok(url),
            _ => Err(UrlError::Unsafe(text.to_owned())),
        }
    }
}

impl fmt::Display for DocumentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What the publisher answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What we hold is what it publishes.
    Unchanged,
    /// A document.
    Document {
        /// Its text.
        text: String,
        /// Its mark, for the next time.
        etag: Option<String>,
    },
}

/// How a publisher marks what it publishes, for the next time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Its `ETag`.
    pub etag: Option<String>,
    /// Its `Last-Modified`.
    pub last_modified: Option<String>,
}

/// How much of an answer is taken, for how long, and where it may come from.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a document.
    pub bytes: u64,
    /// All together, from the first packet to the last byte.
    pub timeout: Duration,
    /// Redirects that are followed.
    pub redirects: u32,
    /// Whether they may lead to another host.
    pub to_other_hosts: bool,
}

/// What the ranges are fetched with.
const OF_RANGES: Limits = Limits { bytes: MAX_BYTES, timeout: TIMEOUT, redirects: REDIRECTS, to_other_hosts: true };

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer, or one that is refused.
    #[error("{url}: {source}")]
    Exchange {
        /// Where.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// An answer that is no document.
    #[error("{url}: answered {status}")]
    Status {
        /// Where.
        url: String,
        /// With.
        status: StatusCode,
    },
    /// Leads to another host.
    #[error("{url}: redirects to {to}, which is another host; if that is right, give that address")]
    OtherHost {
        /// Where.
        url: String,
        /// Where it leads.
        to: String,
    },
    /// Leads on and on.
    #[error("{url}: redirects more than {most} times")]
    Redirects {
        /// Where.
        url: String,
        /// How many are followed.
        most: u32,
    },
    /// Not text.
    #[error("{url}: not UTF-8 text")]
    Text {
        /// Where.
        url: String,
    },
    /// A page without the link.
    #[error(
        "{url}: neither the service tags nor a page with a link to them; give the document with --ranges-url azure=URL"
    )]
    Link {
        /// Where.
        url: String,
    },
    /// A link that leads where none should.
    #[error("{url}: links to {link}, which is not at {expected}")]
    Elsewhere {
        /// Where.
        url: String,
        /// What stands there.
        link: String,
        /// Where it should lead.
        expected: &'static str,
    },
    /// A link that is no address.
    #[error("{url}: its link leads nowhere: {source}")]
    BadLink {
        /// Where.
        url: String,
        /// Why.
        source: UrlError,
    },
}

/// Fetches a document. Blocks for up to half a minute.
pub fn get(url: &DocumentUrl, etag: Option<&str>) -> Result<Answer, FetchError> {
    let held = Mark { etag: etag.map(str::to_owned), last_modified: None };
    Ok(match ask(url, &held, OF_RANGES)? {
        None => Answer::Unchanged,
        Some((text, mark)) => Answer::Document { text, etag: mark.etag },
    })
}

/// Fetches a document and its mark; `None` if it is what bears the mark that is held. Blocks for up to the limits' time.
pub fn ask(url: &DocumentUrl, held: &Mark, limits: Limits) -> Result<Option<(String, Mark)>, FetchError> {
    let fail = |source| FetchError::Exchange { url: url.to_string(), source: Box::new(source) };
    let began = Instant::now();
    let mut asked = url.clone();
    for _ in 0..=limits.redirects {
        let mut response =
            request(&asked, held, limits, limits.timeout.saturating_sub(began.elapsed())).map_err(fail)?;
        match response.status() {
            StatusCode::OK => {
                let text = |name| response.headers().get(name).and_then(|mark| mark.to_str().ok()).map(str::to_owned);
                let mark = Mark { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) };
                let bytes = response.body_mut().with_config().limit(limits.bytes).read_to_vec().map_err(fail)?;
                let text = String::from_utf8(bytes).map_err(|_| FetchError::Text { url: url.to_string() })?;
                return Ok(Some((text, mark)));
            }
            StatusCode::NOT_MODIFIED if *held != Mark::default() => return Ok(None),
            status if status.is_redirection() && !limits.to_other_hosts => {
                let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
                let to = asked.join(to).map_err(|source| FetchError::BadLink { url: asked.to_string(), source })?;
                if to.0.origin() != asked.0.origin() {
                    return Err(FetchError::OtherHost { url: asked.to_string(), to: to.to_string() });
                }
                asked = to;
            }
            status => return Err(FetchError::Status { url: url.to_string(), status }),
        }
    }
    Err(FetchError::Redirects { url: url.to_string(), most: limits.redirects })
}

/// Asks once. Redirects within a host are the caller's.
fn request(
    url: &DocumentUrl,
    held: &Mark,
    limits: Limits,
    timeout: Duration,
) -> Result<http::Response<ureq::Body>, ureq::Error> {
    let follows = limits.to_other_hosts && !url.is_loopback();
    let mut config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .https_only(!url.is_loopback())
        .max_redirects(if follows { limits.redirects } else { 0 })
        .user_agent(concat!("faultline/", env!("CARGO_PKG_VERSION")));
    if url.is_loopback() {
        config = config.proxy(None);
    }
    let mut request = config.build().new_agent().get(url.0.as_str());
    for (name, mark) in [(header::IF_NONE_MATCH, &held.etag), (header::IF_MODIFIED_SINCE, &held.last_modified)] {
        if let Some(mark) = mark {
            request = request.header(name, mark);
        }
    }
    request.call()
}

/// Where Microsoft keeps its downloads.
const DOWNLOADS: &str = "download.microsoft.com";

/// The link to the newest service tags on a page that has one. Each edition has an address of its own, with its date.
pub(super) fn service_tags_link(page: &DocumentUrl, text: &str) -> Result<DocumentUrl, FetchError> {
    let url = || page.to_string();
    let found = text.find("ServiceTags_Public_").ok_or_else(|| FetchError::Link { url: url() })?;
    let is_end = |c: char| matches!(c, '"' | '\'' | '<' | '>' | '&' | '\\') || c.is_whitespace();
    let begin = text[..found].rfind(is_end).map_or(0, |end| end + 1);
    let end = text[found..].find(is_end).map_or(text.len(), |end| found + end);
    // An attribute without quotes begins after its name.
    let link = text[begin..end].rsplit('=').next().unwrap_or_default();
    let link = page.join(link).map_err(|source| FetchError::BadLink { url: url(), source })?;
    let is_expected = if page.is_loopback() { link.is_loopback() } else { link.host() == DOWNLOADS };
    if is_expected {
        Ok(link)
    } else {
        Err(FetchError::Elsewhere { url: url(), link: link.to_string(), expected: DOWNLOADS })
    }
}
