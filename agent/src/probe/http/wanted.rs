//! What an answer must be: the spec with its patterns.

use std::sync::Arc;

use faultline_proto::{
    page,
    types::v1::{Cause, HeaderPattern, HttpSpec},
};
use http::HeaderMap;
use regex::bytes::Regex;

use super::{answer::MAX_BODY, failed, json};
use crate::probe::{outcome::Stop, patterns::Patterns};

/// A spec with its patterns.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) spec: &'a HttpSpec,
    body_matches: Vec<Arc<Regex>>,
    body_lacks: Vec<Arc<Regex>>,
    header_matches: Vec<(&'a str, Arc<Regex>)>,
    header_lacks: Vec<(&'a str, Arc<Regex>)>,
}

impl<'a> Wanted<'a> {
    /// The spec with its patterns; an error that says what is wrong with one of them.
    pub(crate) fn new(spec: &'a HttpSpec, patterns: &Patterns) -> Result<Self, String> {
        let named = |wanted: &'a [HeaderPattern]| {
            let one = |wanted: &'a HeaderPattern| Ok((wanted.name.as_str(), patterns.get(&wanted.pattern)?));
            wanted.iter().map(one).collect::<Result<_, String>>()
        };
        Ok(Self {
            spec,
            body_matches: patterns.all(&spec.body_matches)?,
            body_lacks: patterns.all(&spec.body_lacks)?,
            header_matches: named(&spec.header_matches)?,
            header_lacks: named(&spec.header_lacks)?,
        })
    }

    /// Judges the headers, in whatever order they came.
    pub(crate) fn judge_headers(&self, headers: &HeaderMap) -> Result<(), Stop> {
        let matches = |(name, pattern): &(&str, Arc<Regex>)| {
            headers.get_all(*name).iter().any(|value| pattern.is_match(value.as_bytes()))
        };
        let is_good = self.header_matches.iter().all(matches) && !self.header_lacks.iter().any(matches);
        if is_good { Ok(()) } else { Err(failed(Cause::HeaderMismatch)) }
    }

    /// Whether the body is looked at.
    pub(crate) fn reads_body(&self) -> bool {
        page::reads_body(self.spec)
    }

    /// Judges what was read of a body of so many bytes.
    pub(crate) fn judge_body(&self, held: &[u8], length: usize) -> Result<(), Stop> {
        let most = self.spec.max_body_bytes as usize;
        if most != 0 && length > most {
            return Err(failed(Cause::BodyTooLarge));
        }
        let text = self.spec.body_contains.as_bytes();
        let holds = text.is_empty() || held.windows(text.len()).any(|window| window == text);
        let holds = holds && self.body_matches.iter().all(|pattern| pattern.is_match(held));
        let lacks = !self.body_lacks.iter().any(|pattern| pattern.is_match(held));
        let is_whole = length <= MAX_BODY;
        let is_equal =
            is_whole && self.spec.json.iter().all(|wanted| json::holds(held, &wanted.pointer, &wanted.value));
        if !lacks {
            return Err(failed(Cause::BodyMismatch));
        }
        match holds && (is_equal || self.spec.json.is_empty()) {
            true => Ok(()),
            false if is_whole => Err(failed(Cause::BodyMismatch)),
            false => Err(failed(Cause::BodyTooLarge)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_bytes_that_are_no_text() {
        let spec = HttpSpec { body_matches: vec![r"\xff.ok".into()], ..HttpSpec::default() };
        assert_eq!(Wanted::new(&spec, &Patterns::new()).expect("good").judge_body(b"..\xff-ok", 6), Ok(()));
    }
}
