//! Text: what others wrote, made plain and short.
//!
//! Rules: tags go, a few entities are read once, control characters and those that turn the direction of writing go, white
//! space becomes one space, and what is longer is cut with an ellipsis. What comes out is text, to be escaped like any other.

/// Characters of a claim's text.
pub(super) const MAX_TEXT: usize = 700;

/// Characters of a reason.
pub(super) const MAX_REASON: usize = 300;

/// Bytes of a link.
pub(crate) const MAX_LINK: usize = 500;

/// Entities of HTML that stand in posts; what is none of them stays as it is.
const ENTITIES: [(&str, &str); 8] = [
    ("&nbsp;", " "),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#39;", "'"),
    ("&apos;", "'"),
    ("&rsquo;", "'"),
    ("&amp;", "&"),
];

/// Plain text of at most `most` characters from text that may hold HTML.
pub(super) fn plain(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    let mut is_spaced = true;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (read, step) = next(rest, first);
        rest = &rest[step..];
        let Some(character) = read.filter(|character| !is_invisible(*character)) else { continue };
        if character.is_whitespace() {
            is_spaced = is_spaced || push(&mut out, &mut length, ' ', most);
            continue;
        }
        if length >= most {
            out.truncate(out.trim_end().len());
            out.push('…');
            return out;
        }
        is_spaced = false;
        push(&mut out, &mut length, character, most);
    }
    out.truncate(out.trim_end().len());
    out
}

/// The character that stands here, if any, and how many bytes it took. A tag is a space, so that words stay apart.
fn next(rest: &str, first: char) -> (Option<char>, usize) {
    if first == '<'
        && rest[1..].starts_with(|after: char| after.is_ascii_alphabetic() || matches!(after, '/' | '!'))
        && let Some(end) = rest.find('>')
    {
        return (Some(' '), end + 1);
    }
    if first == '&'
        && let Some((entity, read)) = ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity))
    {
        return (read.chars().next(), entity.len());
    }
    (Some(first), first.len_utf8())
}

fn push(out: &mut String, length: &mut usize, character: char, most: usize) -> bool {
    if *length < most {
        out.push(character);
        *length += 1;
    }
    true
}

/// Characters that show nothing, or make the text around them show as something else.
pub(crate) fn is_invisible(character: char) -> bool {
    let turns =
        matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    turns || (character.is_control() && !character.is_whitespace())
}

/// The link if a page may offer it: http or https, short, plain, and without a user name. Else nothing.
pub(crate) fn link(text: &str) -> String {
    let text = text.trim();
    let is_plain = text.len() <= MAX_LINK && text.bytes().all(|byte| byte.is_ascii_graphic());
    let url = url::Url::parse(text).ok().filter(|url| {
        let is_bare = url.username().is_empty() && url.password().is_none();
        is_plain && is_bare && matches!(url.scheme(), "http" | "https")
    });
    url.map(String::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_becomes_plain_and_short() {
        let rows = [
            ("<p><b>Impact:</b> errors &amp; delays</p>\n <br/>since 15:41", "Impact: errors & delays since 15:41"),
            ("a &lt;script&gt; b", "a <script> b"),
            ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
            ("&amp;lt;", "&lt;"),
            ("\u{202e}turned\u{0007} \u{200b}", "turned"),
            ("an < unclosed <tag", "an < unclosed <tag"),
            ("", ""),
        ];
        for (written, expected) in rows {
            assert_eq!(plain(written, 100), expected, "{written:?}");
        }
        assert_eq!(plain("ab cd ef", 5), "ab cd…");
        assert_eq!(plain("äöü", 3), "äöü");
    }

    #[test]
    fn only_links_of_the_web_are_kept() {
        assert_eq!(link(" https://status.example.org/a?b=1#c "), "https://status.example.org/a?b=1#c");
        for wrong in [
            "javascript:alert(1)",
            "data:text/html,x",
            "status.example.org",
            "https://x y/",
            "https://u:p@x.example/",
            "",
        ] {
            assert_eq!(link(wrong), "", "{wrong}");
        }
        assert_eq!(link(&format!("https://x.example/{}", "a".repeat(500))), "");
    }
}
