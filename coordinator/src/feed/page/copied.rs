//! A copy of the page as files, for a mirror on another network: what stays readable when the coordinator does not answer.
//!
//! Rules: a copy says first when it was taken, carries no script, and never looks live; its links are relative, so that it can
//! stand anywhere, and those to pages that are not in it lead nowhere.

use faultline_attribution::{Change, Timestamp};
use maud::{Markup, html};

use super::{Order, Told, View, words};

/// What is known of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// When it was taken.
    pub at: Timestamp,
    /// Whether the agents are known: a feed does not tell them.
    pub has_agents: bool,
}

/// The files of a copy: path, and content.
pub fn files(view: &View<'_>, most: usize) -> Vec<(String, String)> {
    let incidents: Vec<&Change> = view.board.incidents().filter(|change| is_a_file_name(change)).take(most).collect();
    let is_there = |path: &str| match path.strip_prefix("/incidents/") {
        Some(id) => incidents.iter().any(|change| change.incident.as_str() == id),
        None => path == "/scorecard",
    };
    let mut files = vec![("style.css".to_owned(), super::STYLE.to_owned())];
    for change in &incidents {
        if let Some(revisions) = view.board.revisions(&change.incident) {
            let revisions: Vec<Change> = revisions.iter().cloned().collect();
            // A copy has what was published, and no pictures of results.
            let told = Told { revisions: &revisions, past: None, order: Order::default() };
            let html = super::incident(view, &told).into_string();
            files.push((format!("incidents/{}.html", change.incident), localise(&html, "../", is_there)));
        }
    }
    files.push(("scorecard.html".to_owned(), localise(&super::scorecard(view).into_string(), "", is_there)));
    // Last, so that it never leads to what is not there yet.
    files.push(("index.html".to_owned(), localise(&super::front(view).into_string(), "", is_there)));
    files
}

/// Whether the id of an incident can be the name of a file anywhere.
fn is_a_file_name(change: &Change) -> bool {
    let id = change.incident.as_str();
    !id.is_empty() && id.len() <= 100 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// The words above everything else.
pub(super) fn banner(view: &View<'_>) -> Markup {
    html! {
        @if let Some(copied) = view.copied {
            section #copied aria-label="A copy" {
                p {
                    (words::glyph("▣")) " " b { "This is a copy, taken at " (words::full(copied.at)) "." }
                    " It does not change by itself. What happened since, it does not know."
                }
            }
        }
    }
}

/// Makes links relative: `up` leads to the folder of the copy. A link to a page that is not there loses its address.
///
/// Every address of a page stands in double quotes, and in text those are escaped: nothing else looks like one.
fn localise(html: &str, up: &str, is_there: impl Fn(&str) -> bool) -> String {
    const START: &str = " href=\"/";
    let mut local = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, after)) = rest.split_once(START) {
        local.push_str(before);
        let (address, after) = after.split_once('"').unwrap_or((after, ""));
        let (path, fragment) =
            address.split_once('#').map_or((address, String::new()), |(path, id)| (path, format!("#{id}")));
        let place = match path {
            "" => Some("index.html".to_owned()),
            "style.css" => Some(path.to_owned()),
            _ if is_there(&format!("/{path}")) => Some(format!("{path}.html")),
            _ => None,
        };
        if let Some(place) = place {
            local.extend([" href=\"", up, &place, &fragment, "\""]);
        }
        rest = after;
    }
    local.push_str(rest);
    local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_those_to_nowhere_are_none() {
        let html = r#"<a href="/">a</a><a href="/incidents/inc-1#evidence">b</a><a href="/targets/x">c &quot; href=</a><a href="\#m">d</a>"#;
        let html = html.replace('\\', "");
        let local = localise(&html, "../", |path| path == "/incidents/inc-1");
        let wanted = r#"<a href="../index.html">a</a><a href="../incidents/inc-1.html#evidence">b</a><a>c &quot; href=</a><a href="\#m">d</a>"#;
        assert_eq!(local, wanted.replace('\\', ""));
    }
}
