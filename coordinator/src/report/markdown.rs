//! A report as Markdown (GitHub's tables): for mail, tickets and wikis. Whatever others wrote is escaped, so that it can make
//! neither a link nor a picture nor HTML.

use std::fmt::Arguments;

use super::{Block, Document};
use crate::feed::plot::Table;

/// The report as Markdown.
pub fn write(document: &Document) -> String {
    let mut out = format!(
        "# {}\n\n{} Incident `{}`.\n\n## In three sentences\n\n{}\n",
        escaped(&document.title),
        escaped(&document.standing),
        document.incident.replace('`', ""),
        document.summary.iter().map(|sentence| escaped(sentence)).collect::<Vec<_>>().join(" ")
    );
    for section in &document.sections {
        add(&mut out, format_args!("\n## {}\n", section.title));
        for block in &section.blocks {
            out.push('\n');
            match block {
                Block::Text(text) => add(&mut out, format_args!("{}\n", escaped(text))),
                Block::List(points) => {
                    for point in points {
                        add(&mut out, format_args!("* {}\n", escaped(point)));
                    }
                }
                Block::Table(table) => put(&mut out, table),
                Block::Picture(figure, compact) => {
                    add(&mut out, format_args!("**{}.** {}\n\n", figure.title, escaped(&figure.says)));
                    put(&mut out, compact);
                }
            }
        }
    }
    out
}

fn put(out: &mut String, table: &Table) {
    add(out, format_args!("{}:\n\n", escaped(&table.caption)));
    let cells = |cells: &[String]| cells.iter().map(|cell| inline(cell)).collect::<Vec<_>>().join(" | ");
    add(out, format_args!("| {} |\n|{}\n", cells(&table.heads), " --- |".repeat(table.heads.len())));
    for row in &table.rows {
        add(out, format_args!("| {} |\n", cells(row)));
    }
}

fn add(out: &mut String, what: Arguments<'_>) {
    out.push_str(&what.to_string());
}

/// The same at the beginning of a line, where more is a mark: of a list or a heading.
fn escaped(text: &str) -> String {
    let inline = inline(text);
    if inline.starts_with(['+', '-', '=']) { format!("\\{inline}") } else { inline }
}

/// Text that stays text: on one line, without a character that Markdown or HTML would take for its own. An underscore inside a
/// word is none.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let characters: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for (place, character) in characters.iter().enumerate() {
        let is_word = |place: Option<usize>| {
            place.and_then(|place| characters.get(place)).is_some_and(|near| near.is_alphanumeric())
        };
        let inside = is_word(place.checked_sub(1)) && is_word(Some(place + 1));
        let is_mark = match character {
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '!' | '#' => true,
            '_' => !inside,
            _ => false,
        };
        if is_mark {
            out.push('\\');
        }
        out.push(*character);
    }
    // An address would become a link by itself.
    out.replace("://", ":\\//").replace("www.", "www\\.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_text() {
        assert_eq!(escaped("connect_timeout in us-east-1"), "connect_timeout in us-east-1");
        assert_eq!(escaped("a|b\n# <b>[x](javascript:1)"), "a\\|b \\# \\<b\\>\\[x\\](javascript:1)");
        assert_eq!(escaped("_so_ https://evil.example"), "\\_so\\_ https:\\//evil.example");
        assert_eq!(escaped("- item"), "\\- item");
    }
}
