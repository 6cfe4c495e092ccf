//! The corpus of one target: a folder of small files.
//!
//! A file that ends in `.hex` is bytes in hexadecimal; white space and lines that begin with `#` say nothing. Every other
//! file is taken as it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// A corpus that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// A file or folder.
    #[error("corpus {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not hexadecimal.
    #[error("corpus {}: not hexadecimal", .0.display())]
    Hex(PathBuf),
    /// Nothing to start from.
    #[error("corpus {}: no file in it", .0.display())]
    Empty(PathBuf),
}

/// Inputs by the names of their files, in order.
pub(super) struct Corpus(Vec<(String, Vec<u8>)>);

impl Corpus {
    pub(super) fn read(folder: &Path) -> Result<Self, CorpusError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| CorpusError::Read { path, source }
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(fail(folder))? {
            let path = entry.map_err(fail(folder))?.path();
            let bytes = fs::read(&path).map_err(fail(&path))?;
            let is_hex = path.extension().is_some_and(|ending| ending == "hex");
            let bytes = if is_hex { from_hex(&bytes).ok_or_else(|| CorpusError::Hex(path.clone()))? } else { bytes };
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            files.push((name, bytes));
        }
        if files.is_empty() {
            return Err(CorpusError::Empty(folder.to_owned()));
        }
        files.sort();
        Ok(Self(files))
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// The file of this index, counted round.
    pub(super) fn nth(&self, index: usize) -> &[u8] {
        self.0.get(index % self.0.len().max(1)).map_or(&[], |(_, bytes)| bytes)
    }
}

/// The bytes as a file of the corpus holds them.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.chunks(60).map(|line| HEXLOWER.encode(line)).collect::<Vec<_>>().join("\n")
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let digits: Vec<u8> = lines.flat_map(str::bytes).filter(|byte| !byte.is_ascii_whitespace()).collect();
    HEXLOWER_PERMISSIVE.decode(&digits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(format!("# said\n{}\n", to_hex(&bytes)).as_bytes()), Some(bytes));
        assert_eq!(from_hex(b"abc"), None, "half a byte");
        assert_eq!(from_hex(b"zz"), None);
    }
}
