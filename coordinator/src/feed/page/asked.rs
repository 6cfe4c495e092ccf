//! What a reader asks of the page, in its address. Rules: every page can be linked to as it looks; what is not understood is
//! as if it was not asked, unless it is a name: that is said; lengths are bounded.

use faultline_attribution::Timestamp;
use url::form_urlencoded;

use super::{mine::Mine, theme::Theme};

/// What is asked of the front page. Nothing asked is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// How far back the timeline goes.
    pub span: Span,
    /// What the reader uses.
    pub mine: Mine,
    /// How the page is coloured. It is kept in a cookie, not in the address.
    pub theme: Theme,
}

/// How far back the timeline goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Span {
    /// 24 hours.
    #[default]
    Day,
    /// 7 days.
    Week,
    /// 90 days.
    Quarter,
}

impl Asked {
    /// What a query asks, as in `span=7d`.
    pub fn of(query: &str) -> Self {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "span" => asked.span = Span::ALL.into_iter().find(|span| span.word() == value).unwrap_or_default(),
                "mine" => asked.mine = Mine::of(&value),
                _ => {}
            }
        }
        asked
    }

    /// The same, but of everything.
    pub(super) fn without_mine(&self) -> Self {
        Self { mine: Mine::default(), ..self.clone() }
    }

    /// The query that asks this; empty where nothing is asked.
    pub(super) fn query(&self) -> String {
        let mut query = Vec::new();
        if self.span != Span::default() {
            query.push(format!("span={}", self.span.word()));
        }
        if !self.mine.is_empty() {
            query.push(format!("mine={}", self.mine.in_address()));
        }
        query.join("&")
    }

    /// The address of the front page that shows this, from the root.
    pub(super) fn address(&self) -> String {
        let query = self.query();
        if query.is_empty() { "/".into() } else { format!("/?{query}") }
    }
}

impl Span {
    /// All of them, shortest first.
    pub(super) const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Quarter];

    /// As in an address.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Quarter => "90d",
        }
    }

    /// As people say it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Day => "24 hours",
            Self::Week => "7 days",
            Self::Quarter => "90 days",
        }
    }

    /// How long it is, in hours.
    pub(super) const fn hours(self) -> i64 {
        match self {
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Quarter => 90 * 24,
        }
    }

    /// Hours between two marks of the axis.
    pub(super) const fn mark_hours(self) -> i64 {
        match self {
            Self::Day => 6,
            Self::Week => 48,
            Self::Quarter => 30 * 24,
        }
    }

    /// When it begins, if it ends at that moment.
    pub(super) const fn before(self, end: Timestamp) -> Timestamp {
        Timestamp::from_micros(end.micros() - self.hours() * HOUR)
    }
}

/// Microseconds of an hour.
pub(super) const HOUR: i64 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_what_it_says_and_nonsense_is_as_if_not_asked() {
        for address in ["/", "/?span=7d", "/?span=90d&mine=aws/us-east-1,azure/front-door", "/?mine=a%26b"] {
            let query = address.strip_prefix("/?").unwrap_or_default();
            assert_eq!(Asked::of(query).address(), address);
        }
        assert_eq!(Asked::of("span=1y&x=%ff&&="), Asked::default());
    }
}
