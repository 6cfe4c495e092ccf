//! Regular expressions of all specs, compiled once and not for each run.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use faultline_proto::pattern::compile;
use lru::LruCache;
use regex::bytes::Regex;

/// Those that were used last.
#[derive(Debug)]
pub(crate) struct Patterns(Mutex<LruCache<String, Arc<Regex>>>);

impl Patterns {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MAX_KEPT)))
    }

    /// The pattern, compiled; an error that says what is wrong with it.
    pub(crate) fn get(&self, pattern: &str) -> Result<Arc<Regex>, String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.get(pattern) {
            return Ok(Arc::clone(found));
        }
        let compiled = Arc::new(compile(pattern)?);
        kept.put(pattern.to_owned(), Arc::clone(&compiled));
        Ok(compiled)
    }

    /// All of these.
    pub(crate) fn all(&self, patterns: &[String]) -> Result<Vec<Arc<Regex>>, String> {
        patterns.iter().map(|pattern| self.get(pattern)).collect()
    }
}

/// Patterns of a fleet's catalog are few; each takes up to 96 KiB.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::new(32).expect("not zero");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_compiled_once() {
        let patterns = Patterns::new();
        let first = patterns.get("^ok").expect("good");
        assert!(Arc::ptr_eq(&first, &patterns.get("^ok").expect("good")));
    }
}
