//! Refresh: asks each publisher whether it has something newer, and keeps it if it can be read.
//!
//! Rule: whatever fails, what we hold stays (`a_failed_fetch_keeps_what_we_hold`): no answer, an answer that is an error,
//! a document that cannot be read or that is empty.

use std::{collections::BTreeMap, str::FromStr};

use faultline_attribution::Timestamp;

use super::{
    Document, Ranges, RangesError, UnknownDocument,
    fetch::{self, Answer, DocumentUrl, FetchError, UrlError},
    store::{Note, Store},
};

/// Where each document is published.
///
/// Source: the publishers' documentation; for Azure, the download page, whose link has the date of the edition in it.
const PUBLISHED: [(Document, &str); 6] = [
    (Document::Aws, "https://ip-ranges.amazonaws.com/ip-ranges.json"),
    (Document::Azure, "https://www.microsoft.com/en-us/download/details.aspx?id=56519"),
    (Document::Gcp, "https://www.gstatic.com/ipranges/cloud.json"),
    (Document::CloudflareV4, "https://www.cloudflare.com/ips-v4"),
    (Document::CloudflareV6, "https://www.cloudflare.com/ips-v6"),
    (Document::Fastly, "https://api.fastly.com/public-ip-list"),
];

/// Where documents are fetched from.
#[derive(Clone, Debug)]
pub struct Publishers {
    urls: BTreeMap<Document, DocumentUrl>,
}

impl Default for Publishers {
    fn default() -> Self {
        let urls = PUBLISHED.iter().filter_map(|(document, url)| Some((*document, url.parse().ok()?)));
        Self { urls: urls.collect() }
    }
}

impl Publishers {
    /// The publishers' own, but for these.
    pub fn with(overrides: impl IntoIterator<Item = Override>) -> Self {
        let mut publishers = Self::default();
        publishers.urls.extend(overrides.into_iter().map(|Override(document, url)| (document, url)));
        publishers
    }

    /// These alone.
    pub fn only(overrides: impl IntoIterator<Item = Override>) -> Self {
        Self { urls: overrides.into_iter().map(|Override(document, url)| (document, url)).collect() }
    }

    /// The documents that are fetched.
    pub fn documents(&self) -> impl Iterator<Item = Document> {
        self.urls.keys().copied()
    }
}

/// `DOCUMENT=URL`: where one document is fetched from instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override(pub Document, pub DocumentUrl);

/// An override that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// No `=`.
    #[error("{0:?} is not PROVIDER=URL, such as aws=https://mirror.example.org/ip-ranges.json")]
    Form(String),
    /// Not a document.
    #[error(transparent)]
    Document(#[from] UnknownDocument),
    /// Not an address.
    #[error(transparent)]
    Url(#[from] UrlError),
}

impl FromStr for Override {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Self, OverrideError> {
        let (document, url) = text.split_once('=').ok_or_else(|| OverrideError::Form(text.to_owned()))?;
        Ok(Self(document.parse()?, url.parse()?))
    }
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It is another than before.
    Changed,
    /// What we hold is the newest.
    Unchanged,
}

/// Why a document could not be refreshed. What we hold stays.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// No document came.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It cannot be read, or not be kept.
    #[error(transparent)]
    Ranges(#[from] RangesError),
    /// Nobody said where it is.
    #[error("no address to fetch it from")]
    Nowhere,
}

/// Asks for one document. Blocks for up to a minute (a page, then what it links to).
pub fn refresh(
    store: &Store,
    publishers: &Publishers,
    document: Document,
    now: Timestamp,
) -> Result<Refreshed, RefreshError> {
    let url = publishers.urls.get(&document).ok_or(RefreshError::Nowhere)?;
    let held = store.note(document);
    let mark = |url: &DocumentUrl| {
        let note = held.as_ref().filter(|note| note.url == url.to_string());
        note.and_then(|note| note.etag.as_deref())
    };
    let (mut url, mut answer) = (url.clone(), fetch::get(url, mark(url))?);
    if let Answer::Document { text, .. } = &answer
        && document == Document::Azure
        && !text.trim_start().starts_with('{')
    {
        url = fetch::service_tags_link(&url, text)?;
        answer = fetch::get(&url, mark(&url))?;
    }
    match answer {
        Answer::Unchanged => {
            if let Some(note) = &held {
                store.keep_note(document, &Note { checked_at: now, ..note.clone() })?;
            }
            Ok(Refreshed::Unchanged)
        }
        Answer::Document { text, etag } => {
            let url = url.to_string();
            Ranges::parse([(document, url.as_str(), text.as_str())])?;
            let is_same = store.text(document)?.is_some_and(|held| held == text);
            let since = held.filter(|_| is_same).map_or(now, |note| note.fetched_at);
            store.keep(document, &text, &Note { url, etag, fetched_at: since, checked_at: now })?;
            Ok(if is_same { Refreshed::Unchanged } else { Refreshed::Changed })
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
