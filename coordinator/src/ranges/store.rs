//! Store: published documents on disk, as they came, each with a note of where and when.
//!
//! `ranges/<document>.json` or `.txt` in the data directory is the publisher's text; `ranges/<document>.note` is JSON:
//! `{url, etag, fetched_at, checked_at}`, times in RFC 3339. Rules: each file is replaced as a whole, the text before its
//! note, so that a cut leaves at worst an old note, which costs one fetch. A text without a note is fine: somebody put it
//! there by hand.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use faultline_attribution::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Document, Ranges, RangesError};

/// Where and when a document was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Where from.
    pub url: String,
    /// The publisher's mark of this edition.
    pub etag: Option<String>,
    /// When this text came.
    pub fetched_at: Timestamp,
    /// When the publisher last said that it is the newest.
    pub checked_at: Timestamp,
}

impl Note {
    /// Time since the publisher last said that the text is the newest.
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.checked_at)
    }
}

/// The documents of one data directory.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store of a data directory.
    pub fn of(data: &Path) -> Self {
        Self { folder: data.join("ranges") }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The text of a document, if there is one.
    pub fn text(&self, document: Document) -> Result<Option<String>, RangesError> {
        let path = self.path(document);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RangesError::Read { file: path.display().to_string(), source }),
        }
    }

    /// The note of a document. One that cannot be read counts as none: then the document is fetched again.
    pub fn note(&self, document: Document) -> Option<Note> {
        let text = fs::read(self.note_path(document)).ok()?;
        let note = serde_json::from_slice(&text).ok()?;
        self.path(document).exists().then_some(note)
    }

    /// Keeps a new text and its note.
    pub fn keep(&self, document: Document, text: &str, note: &Note) -> Result<(), RangesError> {
        self.replace(&self.path(document), text.as_bytes())?;
        self.keep_note(document, note)
    }

    /// Keeps a new note.
    pub fn keep_note(&self, document: Document, note: &Note) -> Result<(), RangesError> {
        let text = serde_json::to_vec_pretty(note).unwrap_or_default();
        self.replace(&self.note_path(document), &text)
    }

    /// The ranges of all documents that are here and can be read, and what is wrong with the others.
    pub fn load(&self) -> (Ranges, Vec<RangesError>) {
        let (mut good, mut wrong) = (Vec::new(), Vec::new());
        for document in Document::ALL {
            let file = self.path(document).display().to_string();
            match self.text(document) {
                Ok(Some(text)) => match Ranges::parse([(document, file.as_str(), text.as_str())]) {
                    Ok(_) => good.push((document, file, text)),
                    Err(error) => wrong.push(error),
                },
                Ok(None) => {}
                Err(error) => wrong.push(error),
            }
        }
        let all = good.iter().map(|(document, file, text)| (*document, file.as_str(), text.as_str()));
        match Ranges::parse(all) {
            Ok(ranges) => (ranges, wrong),
            Err(error) => {
                wrong.push(error);
                (Ranges::default(), wrong)
            }
        }
    }

    fn path(&self, document: Document) -> PathBuf {
        let ending = match document {
            Document::CloudflareV4 | Document::CloudflareV6 => "txt",
            Document::Aws | Document::Azure | Document::Gcp | Document::Fastly => "json",
        };
        self.folder.join(format!("{document}.{ending}"))
    }

    fn note_path(&self, document: Document) -> PathBuf {
        self.folder.join(format!("{document}.note"))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> Result<(), RangesError> {
        let fail = |source| RangesError::Read { file: path.display().to_string(), source };
        fs::create_dir_all(&self.folder).map_err(fail)?;
        let fresh = path.with_extension("new");
        let mut file = fs::File::create(&fresh).map_err(fail)?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(fail)?;
        fs::rename(&fresh, path).map_err(fail)
    }
}
