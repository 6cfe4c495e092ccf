//! The theme: as the system has it, light or dark. The server remembers it in a cookie and writes it into the page, so that a
//! page never flashes in the other one and needs no script for it.

use maud::{Markup, html};

use super::View;

/// The name of the cookie, and of the parameter that sets it.
pub const NAME: &str = "theme";

/// How a page is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the system has it.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// The word, as in an address and in the cookie.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme of a word; the system's for any other.
    pub fn of(word: &str) -> Self {
        Self::ALL.into_iter().find(|theme| theme.word() == word).unwrap_or_default()
    }

    /// The theme that a `Cookie` header holds.
    pub fn of_cookies(cookies: &str) -> Self {
        let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == NAME).map_or(Self::Auto, |(_, word)| Self::of(word))
    }

    /// The `Set-Cookie` header that keeps it for a year; that of the system's is forgotten.
    pub fn cookie(self) -> String {
        let age = if self == Self::Auto { 0 } else { 365 * 24 * 3600 };
        format!("{NAME}={}; Path=/; Max-Age={age}; SameSite=Lax; HttpOnly", self.word())
    }

    /// What `<html data-theme>` says; nothing for the system's.
    pub(super) fn attribute(self) -> Option<&'static str> {
        (self != Self::Auto).then(|| self.word())
    }

    /// The schemes that the page allows, as in `<meta name="color-scheme">`.
    pub(super) const fn schemes(self) -> &'static str {
        match self {
            Self::Auto => "light dark",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// The switch: links to the same page.
pub(super) fn switch(view: &View<'_>) -> Markup {
    let query = view.asked.query();
    let and = if query.is_empty() { "" } else { "&" };
    html! {
        ul.choices.theme aria-label="Theme" {
            @for theme in Theme::ALL {
                li {
                    a href={ "?" (query) (and) (NAME) "=" (theme.word()) } rel="nofollow"
                        aria-current=[(theme == view.asked.theme).then_some("true")] {
                        (theme.word())
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_brings_back_what_it_keeps() {
        for theme in [Theme::Light, Theme::Dark] {
            let kept = theme.cookie();
            let (pair, _) = kept.split_once(';').expect("attributes");
            assert_eq!(Theme::of_cookies(&format!("other=1; {pair}; x")), theme);
        }
        assert!(Theme::Auto.cookie().contains("Max-Age=0"));
        for nonsense in ["", "theme", "theme=\"><script>", "xtheme=dark", "theme=DARK"] {
            assert_eq!(Theme::of_cookies(nonsense), Theme::Auto, "{nonsense}");
        }
    }
}
