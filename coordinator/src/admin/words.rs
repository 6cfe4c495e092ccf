//! Words: what text a person may publish, and where it may lead.
//!
//! Rule: what is wrong is refused and named, never mended in silence, but that white space becomes one space. What passes is
//! text, to be escaped like any other.

use super::{Refused, Why};
use crate::claims::text::{self, is_invisible};

/// Characters of a note or a reason, at most.
pub const MAX_TEXT: usize = 500;

/// Bytes of a link, at most.
pub const MAX_LINK: usize = text::MAX_LINK;

/// The text in one line, if it may be published; `what` is what it is called.
///
/// # Errors
///
/// Where it is empty, too long, or holds what shows nothing or turns the text around it.
pub fn plain(words: &str, what: &str) -> Result<String, Refused> {
    let malformed = |message| Err(Refused::new(Why::Malformed, message));
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return malformed(format!("the {what} is empty: say something"));
    }
    let length = line.chars().count();
    if length > MAX_TEXT {
        return malformed(format!(
            "the {what} has {length} characters, {MAX_TEXT} are allowed: put the rest behind a link"
        ));
    }
    match line.chars().find(|character| is_invisible(*character)) {
        Some(character) => {
            malformed(format!("the {what} holds U+{:04X}, which shows nothing: leave it out", u32::from(character)))
        }
        None => Ok(line),
    }
}

/// The link, if a page may offer it; empty for none.
///
/// # Errors
///
/// Where it is no address of http or https, is too long, or holds a user name.
pub fn link(link: &str) -> Result<String, Refused> {
    let link = link.trim();
    if link.is_empty() {
        return Ok(String::new());
    }
    let offered = text::link(link);
    let wrong = || {
        let shown: String = link.chars().take(80).collect();
        let message = format!(
            "{shown:?} is no link to publish: as in https://example.org/post-mortem, at most {MAX_LINK} characters of ASCII"
        );
        Refused::new(Why::Malformed, message)
    };
    if offered.is_empty() { Err(wrong()) } else { Ok(offered) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_line_of_what_can_be_seen() {
        assert_eq!(
            plain("  our own\nfirewall <b>&amp; no more ", "text").as_deref(),
            Ok("our own firewall <b>&amp; no more")
        );
        assert_eq!(plain(&"é".repeat(MAX_TEXT), "text").map(|text| text.chars().count()), Ok(MAX_TEXT));
        for (bad, wanted) in [
            (" \n".to_owned(), "empty"),
            ("é".repeat(MAX_TEXT + 1), "501 characters"),
            ("a\u{202e}b".to_owned(), "U+202E"),
            ("a\u{1b}[2J".to_owned(), "U+001B"),
        ] {
            let error = plain(&bad, "reason").expect_err("refused");
            assert!(error.why == Why::Malformed && error.message.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_link_leads_to_the_web() {
        assert_eq!(link("").as_deref(), Ok(""));
        assert_eq!(link("https://example.org/a?b=c").as_deref(), Ok("https://example.org/a?b=c"));
        let long = format!("https://example.org/{}", "a".repeat(MAX_LINK));
        for bad in ["javascript:alert(1)", "example.org", "https://u:p@example.org/", "https://exa mple.org", &long] {
            assert!(link(bad).is_err(), "{bad}");
        }
    }
}
