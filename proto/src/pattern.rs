//! Regular expressions that a spec may hold: they run in time linear in what they read, and in little memory.

use regex::bytes::{Regex, RegexBuilder};

/// A pattern, for bytes and not for characters, as an answer may be in any encoding; an error for one that is malformed or takes
/// more than 64 KiB.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_BYTES {
        return Err(format!("a pattern of {} bytes, {MAX_BYTES} at most", pattern.len()));
    }
    let mut builder = RegexBuilder::new(pattern);
    builder.unicode(false).size_limit(MAX_COMPILED).dfa_size_limit(MAX_CACHE);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("pattern {pattern:?} takes more than {MAX_COMPILED} bytes"),
        error => format!("pattern {pattern:?}: {}", last_line(&error.to_string())),
    })
}

/// A parser's drawing ends in what is wrong.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ")
}

/// Of an expression.
const MAX_BYTES: usize = 256;
/// Of a program and of what it remembers while it runs. Source: together with a body of 64 KiB, within the 256 KiB that a run may
/// take.
const MAX_COMPILED: usize = 64 * 1024;
const MAX_CACHE: usize = 32 * 1024;
