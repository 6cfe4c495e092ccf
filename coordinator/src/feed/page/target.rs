//! The page of a target: what the catalog says of it, what its probes exercise, how they went lately, and the open incidents
//! that it speaks in.
//!
//! Rule: of the address only the host is shown. A path or a header of a request may hold what is not for everybody.

use std::{collections::BTreeMap, time::Duration};

use faultline_attribution::{Learned, TargetId, elements_of};
use maud::{Markup, html};

use super::{View, banner, words};
use crate::{
    catalog::CatalogTarget,
    counts::{Ended, Part},
};

/// How far back the counts of the page go.
pub const COUNTED: Duration = Duration::from_hours(24);

/// What is known of a target beside the board.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// What the catalog says; `None` for one that is not in it.
    pub catalog: Option<&'a CatalogTarget>,
    /// What healthy probes saw.
    pub learned: Option<&'a Learned>,
    /// Counts of the last [`COUNTED`], by hour; `None` where they cannot be read.
    pub counts: Option<&'a [(i64, Part)]>,
}

/// Runs from one vantage group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: [u64; 4],
    unmeasured: u64,
}

/// The sections of the page; `None` where nothing is known of such a target.
pub(super) fn target(id: &TargetId, known: Known<'_>, view: &View<'_>) -> Option<Markup> {
    let evidence = banner::evidence_of(view, |row| row.target == id.as_str());
    if known.catalog.is_none() && evidence.is_empty() {
        return None;
    }
    Some(html! {
        section #target aria-labelledby="target-title" {
            h2 #target-title { "Target " code { (id) } }
            @match known.catalog {
                Some(target) => (facts(target, known.learned)),
                None => p { "It is not in the catalog any more." }
            }
        }
        (banner::spoken(&evidence, "target-incidents", view))
        @if let Some(target) = known.catalog { (exercised(id, target)) }
        (runs(known.counts))
    })
}

fn facts(target: &CatalogTarget, learned: Option<&Learned>) -> Markup {
    let CatalogTarget { target: facts, interval, timeout, agents, .. } = target;
    let learned = learned.cloned().unwrap_or_default();
    let said = |value: &Option<String>| value.clone().unwrap_or_default();
    let agents: Vec<String> = agents.iter().map(|(label, value)| format!("{label} = {value}")).collect();
    let rows = [
        ("Probe", facts.probe.to_string()),
        ("Host", facts.host.clone().unwrap_or_else(|| "a literal address".into())),
        ("Hosted on", facts.hosted_on.clone()),
        ("Region", said(&facts.region)),
        ("Zone", said(&facts.zone)),
        ("Service", said(&facts.service)),
        ("Plane", said(&facts.plane)),
        ("Geography", said(&facts.geography)),
        ("CDN", said(&facts.cdn)),
        ("DNS operator", said(&facts.dns_operator)),
        ("Identity", said(&facts.identity)),
        ("Issuer", said(&facts.issuer)),
        ("Depends on", facts.depends_on.join(", ")),
        ("Owner", said(&facts.owner)),
        ("Every", words::span(*interval)),
        ("At most", words::span(*timeout)),
        ("From", if agents.is_empty() { "every agent".into() } else { format!("agents with {}", agents.join(", ")) }),
        ("CDN, as seen", said(&learned.cdn)),
        ("DNS operator, as seen", said(&learned.dns_operator)),
        ("Issuer, as seen", said(&learned.issuer)),
        ("Hosted on, as seen", said(&learned.hosted_on)),
        ("Region, as seen", said(&learned.region)),
    ];
    html! {
        dl.facts {
            @for (name, value) in rows {
                @if !value.is_empty() { div { dt { (name) } dd { (value) } } }
            }
        }
        @if !facts.verified {
            p { (words::glyph("▲")) " Not verified: it cannot accuse until it has passed from several groups." }
        }
        @if facts.is_control() { p { "It is a control: on neither cloud, so that passing it shows that a vantage sees." } }
    }
}

fn exercised(id: &TargetId, target: &CatalogTarget) -> Markup {
    html! {
        section #exercises aria-labelledby="exercises-title" {
            h2 #exercises-title { "What its probes exercise" }
            p { "Passing speaks for all of these, failing implicates them; what healthy probes see of it wins over the catalog." }
            ul { @for element in elements_of(id, &target.target) {
                li { (element.title()) " " span.dim { code { (element.name) } " (" (element.kind) ")" } }
            } }
        }
    }
}

fn runs(counts: Option<&[(i64, Part)]>) -> Markup {
    let mut groups: BTreeMap<&str, Tally> = BTreeMap::new();
    for (_, part) in counts.unwrap_or_default() {
        for (_, group, ended, results) in part.rows() {
            groups.entry(group).or_default().add(ended, results);
        }
    }
    let mut rows: Vec<(&str, Tally)> = groups.into_iter().collect();
    rows.sort_by_key(|(group, tally)| (std::cmp::Reverse(tally.failed.iter().sum::<u64>()), *group));
    html! {
        section #runs aria-labelledby="runs-title" {
            h2 #runs-title { "Runs of the last 24 hours" }
            @if rows.is_empty() {
                p { @if counts.is_none() { "The counts cannot be read." } @else { "None is counted yet: that is done once an hour." } }
            } @else {
                table.cards {
                    caption { "By vantage group, as counted once an hour; those with failures first" }
                    thead {
                        tr {
                            @for head in ["Vantage group", "Passed", "Failed in DNS", "to connect", "in TLS", "in HTTP", "Not measured"] {
                                th scope="col" { (head) }
                            }
                        }
                    }
                    tbody { @for (group, tally) in rows { (tally.row(group)) } }
                }
            }
        }
    }
}

impl Tally {
    fn add(&mut self, ended: Ended, results: u32) {
        let count = match ended {
            Ended::Passed => &mut self.passed,
            Ended::Dns => &mut self.failed[0],
            Ended::Connect => &mut self.failed[1],
            Ended::Tls => &mut self.failed[2],
            Ended::Http => &mut self.failed[3],
            Ended::Unmeasured => &mut self.unmeasured,
        };
        *count += u64::from(results);
    }

    fn row(self, group: &str) -> Markup {
        let labels = ["failed in DNS", "failed to connect", "failed in TLS", "failed in HTTP"];
        html! {
            tr {
                th scope="row" { (words::vantage_link(group)) }
                td data-label="Passed" { (self.passed) }
                @for (label, failed) in labels.into_iter().zip(self.failed) {
                    td.trouble[failed > 0] data-label=(label) {
                        @if failed > 0 { (words::glyph("✕")) " " }
                        (failed)
                    }
                }
                td data-label="Not measured" { (self.unmeasured) }
            }
        }
    }
}
