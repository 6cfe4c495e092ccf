//! The page: one picture of one board, as HTML, for people.
//!
//! Pure: a [`View`] goes in, markup comes out. Rules: everything on a page comes from one board, so that no part
//! contradicts another; all text is escaped, and there is no inline style or script (the policy forbids both); a state
//! is a glyph and a word, never colour alone; the page reads whole without scripts. `app.js` replaces the sections of
//! `<main>` by their ids, so each of its children has one.

pub mod asked;
mod banner;
pub mod copied;
mod incident;
pub mod lanes;
mod map;
mod matrix;
pub mod mine;
pub mod scorecard;
mod sight;
pub mod target;
pub mod theme;
mod timeline;
mod vantage;
pub(crate) mod words;
mod work;

use std::{sync::LazyLock, time::Duration};

use faultline_attribution::{TargetId, Timestamp};
use maud::{DOCTYPE, Markup, html};

pub use self::incident::{Order, Told};
use self::{asked::Asked, copied::Copied, scorecard::Lead, words::Mark};
use crate::{board::Board, ingest::AgentView};

/// The stylesheet of every page, without what is for its authors alone: comments and indentation.
pub static STYLE: LazyLock<String> = LazyLock::new(|| {
    let whole = concat!(include_str!("plot.css"), include_str!("style.css"), include_str!("page/lanes.css"));
    let rules = whole.split("/*").enumerate().map(|(n, part)| match part.split_once("*/") {
        Some((_, rules)) if n > 0 => rules,
        _ => part,
    });
    rules.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
});

/// A picture older than this says nothing of the present.
pub(crate) const LATE: Duration = Duration::from_mins(1);

/// What a page shows.
pub struct View<'a> {
    /// The picture.
    pub board: &'a Board,
    /// Who looks.
    pub agents: &'a [AgentView],
    /// The moment that ages are counted from.
    pub now: Timestamp,
    /// What the reader asked for.
    pub asked: &'a Asked,
    /// Median of how our first word compares with that of the accused cloud's own page, over 90 days; `None` where their
    /// words are not known.
    pub official_lead: Option<Lead>,
    /// When this copy was taken; `None` for the page itself.
    pub copied: Option<Copied>,
}

impl View<'_> {
    /// Why we cannot see, if we cannot: no quorum, or a picture that has stopped.
    fn blindness(&self) -> Option<String> {
        let sight = self.board.sight();
        if sight.below_quorum {
            return Some(if sight.reason.is_empty() { "too few vantages".into() } else { sight.reason });
        }
        // Said without an age, so that a screen reader does not hear it anew with every second.
        let last = sight.evaluated_through;
        (self.now.since(last) > LATE).then(|| {
            format!("nothing was evaluated since {}: the coordinator is behind", words::in_words(last, self.now))
        })
    }

    /// What the page as a whole stands for: its title and icon.
    fn mark(&self) -> Mark {
        let open = self.board.open();
        let marks = |mark| open.iter().any(|change| Mark::of(change) == mark);
        let in_order = [Mark::Accused, Mark::Neither, Mark::Recovering];
        if let Some(mark) = in_order.into_iter().find(|mark| marks(*mark)) {
            return mark;
        }
        if self.blindness().is_some() {
            Mark::Blind
        } else if open.is_empty() {
            Mark::Quiet
        } else {
            Mark::Suspected
        }
    }
}

/// The title of the front page: state and culprit first, since tabs are narrow.
pub fn title(view: &View<'_>) -> String {
    let mark = view.mark();
    let open = view.board.open();
    let culprits: Vec<String> =
        open.iter().filter(|change| Mark::of(change) == mark).filter_map(|change| words::culprit(change)).collect();
    let what = match culprits.as_slice() {
        [] => mark.word().to_owned(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} + {}", rest.len()),
    };
    let doing = if mark == Mark::Recovering { " recovering" } else { "" };
    format!("{} {what}{doing} · Faultline", mark.glyph())
}

/// The icon of the page, as SVG.
pub fn icon(view: &View<'_>) -> &'static str {
    view.mark().icon()
}

/// The front page.
pub fn front(view: &View<'_>) -> Markup {
    let main = html! {
        (banner::banner(view))
        (sight::strip(view))
        @if view.copied.is_none() { (mine::mine(view)) }
        (matrix::matrix(view))
        (lanes::lanes(view))
        (work::near(view))
        (timeline::timeline(view))
        (map::map(view))
        (incident::recent(view))
        (sight::vantages(view))
        (limits(Some(&scorecard::line(view))))
    };
    document(&title(view), view.mark(), view, &main)
}

/// The page of one incident.
pub fn incident(view: &View<'_>, told: &Told<'_>) -> Markup {
    let Some(newest) = told.revisions.last() else { return missing(view, "") };
    let mark = Mark::of(newest);
    let what = words::culprit(newest).unwrap_or_else(|| mark.word().into());
    let main = html! {
        (within(&incident::whole(newest, told, view)))
        (limits(None))
    };
    document(&format!("{} {what} · {} · Faultline", mark.glyph(), newest.incident), mark, view, &main)
}

/// The page for an incident that is not on the board.
pub fn missing(view: &View<'_>, id: &str) -> Markup {
    let main = html! {
        section #missing {
            h2 { "No such incident" }
            p {
                "This coordinator has not published an incident " code { (id) } ". Ids look like "
                code { "inc-20251029T154113Z-1" } " and stay the same for ever. See "
                a href="/" { "what is known now" } ", or " code { "faultline status" } "."
            }
        }
        (incident::recent(view))
    };
    document("No such incident · Faultline", view.mark(), view, &main)
}

/// The page of the scorecard.
pub fn scorecard(view: &View<'_>) -> Markup {
    let main = within(&scorecard::scorecard(view));
    document("Scorecard · Faultline", view.mark(), view, &main)
}

/// The page of a target; `None` where nothing is known of it.
pub fn target(view: &View<'_>, id: &TargetId, known: target::Known<'_>) -> Option<Markup> {
    let main = within(&target::target(id, known, view)?);
    Some(document(&format!("{id} · Faultline"), view.mark(), view, &main))
}

/// The page of a vantage group or an agent; `None` where there is none of that name.
pub fn vantage(view: &View<'_>, name: &str) -> Option<Markup> {
    let main = within(&vantage::vantage(name, view)?);
    Some(document(&format!("{name} · Faultline"), view.mark(), view, &main))
}

/// The page for something that is not there: what, and its name.
pub fn absent(view: &View<'_>, what: &str, name: &str) -> Markup {
    let main = within(&html! {
        section #missing {
            h2 { "No such " (what) }
            p { "This coordinator knows no " (what) " " code { (name) } ". Its pages link to those that it knows." }
        }
    });
    document(&format!("No such {what} · Faultline"), view.mark(), view, &main)
}

/// The main part of a page other than the front page: with a way back.
fn within(sections: &Markup) -> Markup {
    html! {
        p #back { a href="/" { "‹ All of it" } }
        (sections)
    }
}

/// What every page has around its main part.
fn document(title: &str, mark: Mark, view: &View<'_>, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[view.asked.theme.attribute()] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content=(view.asked.theme.schemes());
                title { (title) }
                link #icon rel="icon" type="image/svg+xml" href=(icon_url(mark))
                    data-stale=[view.copied.is_none().then(|| icon_url(Mark::Blind))];
                link rel="stylesheet" href="/style.css";
                @if view.copied.is_none() {
                    script src="/app.js" defer {}
                    noscript { meta http-equiv="refresh" content="15"; }
                }
            }
            body.(mark.class()).copied[view.copied.is_some()] data-sequence=(view.board.sequence) {
                a.skip href="#main" { "Skip to verdict" }
                header {
                    h1.name { a href="/" { "Faultline" } }
                    p.question { "Which cloud is failing: AWS, Azure or neither?" }
                    p #updated { (updated(view)) }
                    @if view.copied.is_none() { (theme::switch(view)) p #live {} }
                }
                main #main { (copied::banner(view)) (main) }
                @if view.copied.is_none() { (footer()) }
            }
        }
    }
}

fn updated(view: &View<'_>) -> Markup {
    let through = view.board.visibility.evaluated_through;
    html! {
        @if let Some(copied) = view.copied {
            "a copy of " (words::full(copied.at))
        } @else if through == Timestamp::default() {
            "nothing evaluated yet"
        } @else {
            "updated " (words::at(through, view.now)) " (" (words::span(view.now.since(through))) " ago)"
        }
    }
}

/// What no verdict of ours can say.
fn limits(scores: Option<&Markup>) -> Markup {
    html! {
        section #limits aria-labelledby="limits-title" {
            h2 #limits-title { "How sure, and what we cannot see" }
            p {
                "We see whether names resolve, connections open, TLS completes and HTTP answers, from our vantages. We do "
                "not see your account, your quotas, your data, or what works slowly but works."
            }
            p {
                "Confidence is the probability that the engine gives its verdict: HIGH from 0.95, MEDIUM from 0.8, else "
                "LOW. An onset is when the world broke, give or take the seconds behind ±. A cloud is accused only by "
                "several independent vantage groups, some of them outside it. Crowd reports and status pages never move "
                "a verdict. A wrong verdict is retracted here, in public."
            }
            @if let Some(scores) = scores { p #scores { (scores) } }
        }
    }
}

fn footer() -> Markup {
    html! {
        footer {
            h2 { "Get it elsewhere" }
            ul {
                li { "terminal: " code { "faultline watch" } ", for programs " code { "faultline watch -o ndjson" } }
                li {
                    "gRPC: "
                    code { "grpcurl -plaintext localhost:7444 faultline.feed.v1.FeedService/GetSnapshot" }
                }
                li { "server-sent events: " a href="/events" { code { "/events" } } ", resumes from " code { "Last-Event-ID" } }
            }
        }
    }
}

/// A mark's icon as a URL.
fn icon_url(mark: Mark) -> String {
    let svg = mark.icon().replace('%', "%25").replace('#', "%23").replace('<', "%3C").replace('>', "%3E");
    format!("data:image/svg+xml,{svg}")
}

#[cfg(test)]
mod tests;
