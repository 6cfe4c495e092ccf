//! Regular expressions as Go's `regexp` reads them, run by the `regex` crate in time linear in the text.
//!
//! Both come from RE2 and mean the same but for spelling, so an expression is respelled before it is compiled:
//!
//! | Go | here |
//! |---|---|
//! | `\d \w \s \b` and their opposites are ASCII | spelled out, as the crate's are Unicode's |
//! | `{` that opens no repetition is itself, as in `{"status":"UP"}` | `\{` |
//! | `\Q...\E` is literal | escaped |
//! | `\<`, `\>` are `<` and `>` | themselves; the crate has them for edges of words |
//! | `\123` is octal | `\x{53}` |
//! | in a class, `[`, `&&`, `--`, `~~` are nothing special | escaped |
//!
//! Rules: what has no counterpart (`\pL`, `\p{Greek}`, `\C`, `(?i)ü`) is an error that names it; a program takes at most 2 MiB.
//! A byte that is not UTF-8 is matched by nothing, where Go takes it for U+FFFD; and an expression with `(?i)` is matched byte by
//! byte, so that its `.` takes half an `é`.

use std::{fmt, iter::Peekable, str::CharIndices};

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

/// An expression of the module file.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// The expression; an error that quotes it and says what is wrong.
    pub fn new(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("regular expression {text:?}: {what}");
        let spelled = respell(text).map_err(|what| wrong(&what))?;
        let compile = |is_unicode: bool| {
            let mut builder = RegexBuilder::new(&spelled);
            builder.unicode(is_unicode).size_limit(MAX_COMPILED).dfa_size_limit(MAX_CACHE).build()
        };
        let compiled = match compile(true) {
            // The crate folds case by bytes, or by tables of Unicode that would be a thirtieth of the agent.
            Err(regex::Error::Syntax(_)) if spelled.is_ascii() => compile(false),
            compiled => compiled,
        };
        let regex = compiled.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => wrong(&format!("takes more than {MAX_COMPILED} bytes")),
            error => wrong(why(&error.to_string())),
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether some part of the text matches.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// The first match with its groups, for templates such as `PONG ${1}`: these are spelled alike.
    pub fn captures<'t>(&self, text: &'t [u8]) -> Option<regex::bytes::Captures<'t>> {
        self.regex.captures(text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text)
    }
}

/// A parser's drawing ends in what is wrong.
fn why(drawing: &str) -> &str {
    let told = drawing.lines().last().unwrap_or_default().trim_start_matches("error: ");
    if told.contains("unicode-case") { "only ASCII letters are matched in either case" } else { told }
}

/// The same expression in the crate's spelling.
fn respell(go: &str) -> Result<String, String> {
    let mut speller = Speller { go, rest: go.char_indices().peekable(), out: String::with_capacity(go.len() + 8) };
    while let Some((at, next)) = speller.rest.next() {
        match next {
            '\\' if speller.take('Q') => speller.literal(at + 2),
            '\\' => speller.escape(false)?,
            '[' => speller.class()?,
            '{' => speller.brace(at),
            '}' => speller.out.push_str("\\}"),
            plain => speller.out.push(plain),
        }
    }
    Ok(speller.out)
}

struct Speller<'a> {
    go: &'a str,
    rest: Peekable<CharIndices<'a>>,
    out: String,
}

impl Speller<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|(_, next)| *next)
    }

    fn take(&mut self, wanted: char) -> bool {
        self.rest.next_if(|(_, next)| *next == wanted).is_some()
    }

    fn skip_to(&mut self, end: usize) {
        while self.rest.next_if(|(at, _)| *at < end).is_some() {}
    }

    /// From here to `\E`, or to the end.
    fn literal(&mut self, start: usize) {
        let text = &self.go[start..];
        let (literal, skipped) = text.split_once("\\E").map_or((text, 0), |(literal, _)| (literal, 2));
        self.out.push_str(&regex::escape(literal));
        self.skip_to(start + literal.len() + skipped);
    }

    /// A repetition, or a brace that is itself.
    fn brace(&mut self, at: usize) {
        match repetition(&self.go[at..]) {
            Some(repetition) => {
                self.out.push_str(repetition);
                self.skip_to(at + repetition.len());
            }
            None => self.out.push_str("\\{"),
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some((at, next)) = self.rest.next() else { return Err("ends in a backslash".to_owned()) };
        match next {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => {
                let members = match next.to_ascii_lowercase() {
                    'd' => "0-9",
                    'w' => "0-9A-Za-z_",
                    _ => "\\t\\n\\f\\r ",
                };
                let not = if next.is_ascii_uppercase() { "^" } else { "" };
                self.out.extend(["[", not, members, "]"]);
            }
            'b' | 'B' if !in_class => self.out.extend(["(?-u:\\", if next == 'b' { "b" } else { "B" }, ")"]),
            'C' => return Err("\\C, a single byte, is not supported".to_owned()),
            'p' | 'P' => return Err(format!("\\{next}, a class of Unicode, is not supported")),
            '0'..='7' => self.octal(at, next)?,
            'x' if self.peek() == Some('{') => {
                let end = self.go[at..].find('}').map_or(self.go.len(), |length| at + length + 1);
                self.out.extend(["\\", &self.go[at..end]]);
                self.skip_to(end);
            }
            '<' | '>' => self.out.push(next),
            other => self.out.extend(['\\', other]),
        }
        Ok(())
    }

    /// Up to three octal digits; one that is not zero must not stand alone, as that would be a reference back.
    fn octal(&mut self, at: usize, first: char) -> Result<(), String> {
        let octals = self.go[at..].bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        if first != '0' && octals == 1 {
            return Err(format!("\\{first}, a reference back, is not supported"));
        }
        let code = u32::from_str_radix(&self.go[at..at + octals], 8).map_err(|error| error.to_string())?;
        self.out.extend(["\\x{", &format!("{code:x}"), "}"]);
        self.skip_to(at + octals);
        Ok(())
    }

    /// The rest of a class whose bracket was taken.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.take('^') {
            self.out.push('^');
        }
        let mut is_first = true;
        loop {
            match self.rest.peek().copied() {
                None => return Err("a class is not closed".to_owned()),
                Some((_, ']')) if !is_first => {
                    self.rest.next();
                    self.out.push(']');
                    return Ok(());
                }
                Some((at, '[')) if self.go[at..].starts_with("[:") && self.go[at..].contains(":]") => {
                    let end = at + self.go[at..].find(":]").unwrap_or_default() + 2;
                    self.out.push_str(&self.go[at..end]);
                    self.skip_to(end);
                }
                Some(_) => self.range()?,
            }
            is_first = false;
        }
    }

    /// One member of a class, or the two ends of a range.
    fn range(&mut self) -> Result<(), String> {
        self.member()?;
        let mut ahead = self.rest.clone();
        let is_range =
            ahead.next().is_some_and(|(_, next)| next == '-') && ahead.next().is_some_and(|(_, next)| next != ']');
        if is_range {
            self.rest.next();
            self.out.push('-');
            self.member()?;
        }
        Ok(())
    }

    fn member(&mut self) -> Result<(), String> {
        match self.rest.next() {
            None => Err("a class is not closed".to_owned()),
            Some((_, '\\')) => self.escape(true),
            Some((_, special @ ('[' | ']' | '&' | '~' | '-' | '^'))) => {
                self.out.extend(['\\', special]);
                Ok(())
            }
            Some((_, plain)) => {
                self.out.push(plain);
                Ok(())
            }
        }
    }
}

/// `{2}`, `{2,}` or `{2,5}` at the beginning of the text.
fn repetition(text: &str) -> Option<&str> {
    let end = text.find('}')?;
    let (least, most) = text[1..end].split_once(',').unwrap_or((&text[1..end], ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!least.is_empty() && is_number(least) && is_number(most)).then(|| &text[..=end])
}

/// Of a program. Source: `.{1000}`, the longest repetition that Go allows, takes 977 KiB.
const MAX_COMPILED: usize = 2 * 1024 * 1024;
/// Of what a program remembers while it runs; beyond, it forgets and is slower. Start value.
const MAX_CACHE: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).expect(pattern).is_match(text.as_bytes())
    }

    #[test]
    fn what_go_matches_is_matched() {
        for (pattern, text) in [
            (r#"{"status":"UP"}"#, r#"x{"status":"UP"}"#),
            (r"^a{2,3}$", "aaa"),
            (r"^a{,3}$", "a{,3}"),
            (r"^a{x}$", "a{x}"),
            (r"^\d+\s\w+$", "42 ab_1"),
            (r"^[\d.]+$", "1.2.3"),
            (r"^[^\s]+$", "é"),
            (r"^.{5}$", "héllo"),
            (r"(?i)^a.*[^x-z]$", "A é B"),
            (r"(?i)^WELCOME\b", "welcome, you"),
            (r"\Q1+1=2?\E x", "1+1=2? x"),
            (r"^\Qa.b", "a.bc"),
            (r"\<html\>", "<html>"),
            (r"^\101\x41\x{42}$", "AAB"),
            (r"^[[]a[]]$", "[a]"),
            (r"^[a&&b]+$", "a&b"),
            (r"^[a\-z]+$", "a-z"),
            (r"^[+--]+$", "+,-"),
            (r"^[a-]+$", "-a"),
            (r"^[[:alpha:]_]+$", "aZ_"),
            (r"^[é-ë]$", "ê"),
            (r"(?s)a.b", "a\nb"),
            (r"(?m)^b$", "a\nb\nc"),
            (r"(?P<name>x)(?:y)", "xy"),
            (r"^\x{1F600}$", "😀"),
            (r"[^\D]", "7"),
        ] {
            assert!(matches(pattern, text), "{pattern} on {text:?}");
        }
    }

    #[test]
    fn what_go_does_not_match_is_not_matched() {
        for (pattern, text) in [
            (r"^\d$", "٣"),
            (r"^\w$", "é"),
            (r"^\s$", "\u{a0}"),
            (r"a.b", "a\nb"),
            (r"^b$", "a\nb\nc"),
            (r"^[a&&b]$", "c"),
            (r"\bé", "é"),
            (r"^[^\w]$", "a"),
            (r"\<html", "\\html"),
        ] {
            assert!(!matches(pattern, text), "{pattern} on {text:?}");
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_named() {
        for (pattern, what) in [
            (":[", "a class is not closed"),
            ("a(b", "unclosed group"),
            (r"\1", r"\1, a reference back"),
            (r"\pL", r"\p, a class of Unicode"),
            (r"\C", r"\C, a single byte"),
            ("a\\", "ends in a backslash"),
            ("(?=a)", "look-around"),
            ("(?i)ü", "only ASCII letters"),
            ("*", "repetition operator missing expression"),
            ("(.{1000}){1000}", "takes more than"),
        ] {
            let error = Pattern::new(pattern).expect_err(pattern);
            assert!(error.contains(what) && error.contains(&format!("{pattern:?}")), "{pattern}: {error}");
        }
    }

    #[test]
    fn groups_fill_templates() {
        let pattern = Pattern::new("PING :([^ ]+)").expect("good");
        let mut answer = Vec::new();
        pattern.captures(b"PING :abc x").expect("matches").expand(b"PONG ${1}", &mut answer);
        assert_eq!(answer, b"PONG abc");
    }
}
