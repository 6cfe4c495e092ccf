//! Colour on terminals: what stands for what, and when there is any.
//!
//! Rules: a colour never says what a glyph and a word do not; it is left out where standard output is no terminal or `NO_COLOR`
//! is set, unless it was asked for.

use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// When output has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum When {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Also into files and pipes
    Always,
    /// Nowhere
    Never,
}

/// Whether output has colours.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Colour {
    /// Colours of the text for people
    #[arg(long, visible_alias = "colour", value_enum, value_name = "WHEN", default_value_t)]
    color: When,
}

/// What a piece of text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Somebody is named.
    Accused,
    /// Something is suspected, or works in part.
    Suspected,
    /// Failures are falling.
    Recovering,
    /// Well, or well again.
    Well,
    /// Taken back.
    Retracted,
    /// Not seen.
    Blind,
    /// Of less weight: times, names.
    Faint,
}

impl Tone {
    /// How it is drawn where there is colour.
    pub(super) const fn style(self) -> Style {
        let plain = Style::new();
        match self {
            Self::Accused => plain.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red))).bold(),
            Self::Suspected => plain.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow))),
            Self::Recovering => plain.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Cyan))),
            Self::Well => plain.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green))),
            Self::Retracted => plain.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Magenta))),
            Self::Blind => plain.fg_color(Some(anstyle::Color::Ansi(AnsiColor::White))).dimmed(),
            Self::Faint => plain.dimmed(),
        }
    }

    /// The text in that style: [`Colour::say`] takes the style out again where there is no colour.
    pub(super) fn paint(self, text: &str) -> String {
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}

impl Colour {
    /// Whether standard output gets colours.
    pub(super) fn is_on(self) -> bool {
        match self.color {
            When::Auto => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
            When::Always => true,
            When::Never => false,
        }
    }

    /// Prints a line that may hold styles. A reader that has gone away is an error of its kind.
    pub(super) fn say(self, line: &str) -> io::Result<()> {
        let choice = match self.color {
            When::Auto => AutoStream::choice(&io::stdout()),
            When::Always => ColorChoice::AlwaysAnsi,
            When::Never => ColorChoice::Never,
        };
        let mut out = AutoStream::new(io::stdout().lock(), choice);
        writeln!(out, "{line}")?;
        out.flush()
    }
}

/// Text of others as it may stand on a terminal: what would move the cursor, ring, or turn the direction of writing is
/// replaced.
pub(super) fn clean(text: &str) -> String {
    let is_harmful = |c: char| {
        c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    };
    text.chars().map(|c| if is_harmful(c) { '\u{fffd}' } else { c }).collect()
}

/// The first characters of a text, `…` at the end where there are more.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let head: String = text.chars().take(width.saturating_sub(1)).collect();
    head.trim_end().to_owned() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_drive_a_terminal() {
        let hostile = "down\u{1b}[2J\u{7}\r\nup\u{9b}31m\u{202e}";
        let cleaned = clean(hostile);
        assert!(!cleaned.chars().any(char::is_control), "{cleaned:?}");
        assert!(!cleaned.contains('\u{202e}') && cleaned.starts_with("down") && cleaned.contains("up"), "{cleaned:?}");
        assert_eq!(clean("Azure Front Door ± 20 s"), "Azure Front Door ± 20 s");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(cut("front-door", 10), "front-door");
        assert_eq!(cut("front-doors", 10), "front-doo…");
        assert_eq!(cut("", 3), "");
    }

    #[test]
    fn every_tone_ends_its_own_style() {
        for tone in
            [Tone::Accused, Tone::Suspected, Tone::Recovering, Tone::Well, Tone::Retracted, Tone::Blind, Tone::Faint]
        {
            let painted = tone.paint("x");
            assert!(painted.starts_with("\u{1b}[") && painted.ends_with("\u{1b}[0m"), "{painted:?}");
        }
    }
}
