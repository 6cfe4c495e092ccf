//! The report of one fleet as text, short: long lists are cut, `-o json` has all of them.

use std::{collections::BTreeMap, fmt::Write as _};

use faultline_attribution::{
    Element, Layer, Verdict,
    identifiability::{Form, Pair, Report},
};

use super::check::Checked;

/// Rows of a list.
const ROWS: usize = 20;

/// Names in a row.
const NAMES: usize = 6;

/// The text, lines ending in a line feed.
pub(super) fn of(checked: &Checked) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    write(&mut text, &checked.fleet, &checked.report)?;
    Ok(text)
}

fn write(text: &mut String, fleet: &str, report: &Report) -> std::fmt::Result {
    let total: usize = report.elements.values().sum();
    let (agents, groups) = (count(report.agents, "agent"), count(report.groups, "vantage group"));
    writeln!(text, "\nfleet {fleet}: {agents} in {groups}")?;
    let kinds: Vec<String> = report.elements.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    writeln!(text, "  {total} elements in {} classes: {}", report.classes, kinds.join(", "))?;
    if let Some(reason) = &report.below_quorum {
        writeln!(text, "  below quorum: {reason}")?;
    }
    serious(text, report)?;
    weak(text, report)?;
    if !report.alike.is_empty() {
        writeln!(
            text,
            "  {} of one verdict that look alike at some layer: a name may be wrong, not a verdict",
            count(report.alike.len(), "set")
        )?;
    }
    gaps(text, report)?;
    additions(text, report)
}

fn serious(text: &mut String, report: &Report) -> std::fmt::Result {
    if report.serious.is_empty() {
        return writeln!(text, "  no serious pair");
    }
    let pairs = count(report.serious.len(), "serious pair");
    writeln!(text, "  {pairs}: different verdicts, and they fail alike")?;
    let mut rows: BTreeMap<(&Element, &[Layer], String), Vec<&Element>> = BTreeMap::new();
    for pair in &report.serious {
        let (one, other) = cloud_first(&pair.one, &pair.other);
        rows.entry((one, &pair.layers, remedy(pair, report))).or_default().push(other);
    }
    let rows = rows.into_iter().map(|((one, layers, remedy), others)| {
        format!("{} = {} at {}\n      {remedy}", labelled(one), listed(others.into_iter().map(labelled)), words(layers))
    });
    list(text, rows.collect())
}

fn remedy(pair: &Pair, report: &Report) -> String {
    if pair.separated_by.is_empty() {
        return "no single target or agent separates them".into();
    }
    let all: Vec<&str> = pair.separated_by.iter().map(|n| report.additions[*n].text.as_str()).collect();
    format!("add {}", all.join(", and "))
}

fn weak(text: &mut String, report: &Report) -> std::fmt::Result {
    if report.weak.is_empty() {
        return Ok(());
    }
    let pairs = count(report.weak.len(), "weak pair");
    if report.below_quorum.is_some() {
        return writeln!(text, "  {pairs}, since every pair rests on less than a quorum");
    }
    writeln!(text, "  {pairs}: different verdicts, and little tells them apart")?;
    let mut rows: BTreeMap<(&Element, &[Layer], usize, usize), Vec<&Element>> = BTreeMap::new();
    for weak in &report.weak {
        let (one, other) = cloud_first(&weak.one, &weak.other);
        rows.entry((one, &weak.layers, weak.targets, weak.groups)).or_default().push(other);
    }
    let rows = rows.into_iter().map(|((one, layers, targets, groups), others)| {
        let by = match (targets, groups) {
            (1, _) => "one target".to_owned(),
            (_, 1) => "one vantage group".to_owned(),
            (_, groups) => format!("{groups} vantage groups"),
        };
        format!("{} ~ {} at {}: by {by}", labelled(one), listed(others.into_iter().map(labelled)), words(layers))
    });
    list(text, rows.collect())
}

fn gaps(text: &mut String, report: &Report) -> std::fmt::Result {
    if report.gaps.is_empty() {
        return Ok(());
    }
    writeln!(text, "  {}: elements that can hardly be accused", count(report.gaps.len(), "gap"))?;
    let mut rows: BTreeMap<String, Vec<&Element>> = BTreeMap::new();
    for gap in &report.gaps {
        rows.entry(gap.lack.to_string()).or_default().push(&gap.element);
    }
    let rows = rows.into_iter().map(|(lack, elements)| {
        format!("{}: {lack}", listed(elements.into_iter().map(|element| element.name.clone())))
    });
    list(text, rows.collect())
}

fn additions(text: &mut String, report: &Report) -> std::fmt::Result {
    if report.additions.is_empty() {
        return Ok(());
    }
    writeln!(text, "  to add, the most useful first")?;
    let rows = report.additions.iter().map(|addition| {
        let form = match addition.form {
            Form::Target => "target",
            Form::Agent => "fleet",
        };
        let gains = [(addition.separates, "serious pairs separated"), (addition.closes, "gaps closed")];
        let gains: Vec<String> = gains.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{what}: {n}")).collect();
        format!("{form}: {} ({})", addition.text, gains.join(", "))
    });
    list(text, rows.collect())
}

/// Rows, indented, up to the limit.
fn list(text: &mut String, rows: Vec<String>) -> std::fmt::Result {
    let more = rows.len().saturating_sub(ROWS);
    for row in rows.into_iter().take(ROWS) {
        writeln!(text, "    {row}")?;
    }
    if more > 0 { writeln!(text, "    and {more} more rows (-o json has all)") } else { Ok(()) }
}

/// Names in a row, up to the limit.
fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMES);
    let row = names.take(NAMES).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{row} and {more} more") } else { row }
}

/// The element that a cloud would be blamed for stands first.
fn cloud_first<'a>(one: &'a Element, other: &'a Element) -> (&'a Element, &'a Element) {
    if one.verdict() == Verdict::Neither { (other, one) } else { (one, other) }
}

fn labelled(element: &Element) -> String {
    format!("{} ({})", element.name, element.verdict())
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn words(layers: &[Layer]) -> String {
    layers.iter().map(|layer| layer.as_str()).collect::<Vec<_>>().join(", ")
}
