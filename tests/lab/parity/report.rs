//! What the suite tells: a table of cases, one of differences, and JSON.

use serde::Serialize;

use super::{
    Played,
    case::{Catalog, Difference, Occurs, Teller},
    compare::{Judged, Seen},
};
use crate::score::table::Table;

/// All cases with the differences that are their own, the reasons of all that occurred, what is wrong, and the tally.
pub fn text(played: &Played, catalog: &Catalog) -> String {
    let is_common = |id: &str| catalog.difference(id).is_some_and(|difference| difference.occurs != Occurs::Named);
    let mut table = Table::new(["case", "blackbox", "agent", "failure_info", "differences"]);
    for judged in &played.judged {
        table.row([
            judged.name.clone(),
            judged.blackbox.map_or_else(|| "cannot".to_owned(), word),
            word(judged.agent),
            judged.failure.clone().unwrap_or_else(|| "-".to_owned()),
            judged.differences.iter().filter(|id| !is_common(id)).cloned().collect::<Vec<_>>().join(" "),
        ]);
    }
    let mut text = format!("blackbox_exporter {}\n\n{table}\n", played.version);
    for difference in &catalog.differences {
        let cases = played.judged.iter().filter(|judged| judged.differences.contains(&difference.id)).count();
        if cases > 0 {
            text.extend([format!("{} ({cases} cases): {}\n", difference.id, difference.reason)]);
        }
    }
    text.push('\n');
    for judged in &played.judged {
        text.extend(judged.wrong.iter().map(|wrong| format!("WRONG {}: {wrong}\n", judged.name)));
    }
    text.extend(played.unused.iter().map(|id| format!("WRONG difference {id} occurred in no case\n")));
    let wrong = played.judged.iter().filter(|judged| !judged.wrong.is_empty()).count();
    let alone = played.judged.iter().filter(|judged| judged.blackbox.is_none()).count();
    let equal = played.judged.iter().filter(|judged| judged.is_equal(is_common)).count();
    text + &format!(
        "{} cases: {equal} equal, {} with differences of their own, {alone} that this blackbox_exporter cannot play, {wrong} wrong\n",
        played.judged.len(),
        played.judged.len() - equal - alone - wrong,
    )
}

/// All differences and their reasons, in Markdown.
pub fn differences(catalog: &Catalog) -> String {
    let row = |difference: &Difference| {
        let metrics: Vec<_> = difference.metric.iter().map(|metric| format!("`{metric}`")).collect();
        let teller = match difference.told_by {
            Teller::Agent => "agent alone",
            Teller::Blackbox => "blackbox alone",
            Teller::Both => "both, with other values",
        };
        let since = difference.since.map(|version| format!(", from {version} on")).unwrap_or_default();
        let before = difference.before.map(|version| format!(", before {version}")).unwrap_or_default();
        let (id, metrics, reason) = (&difference.id, metrics.join(" "), difference.reason.replace('|', "\\|"));
        format!("| {id} | {metrics} | {teller}{since}{before} | {reason} |\n")
    };
    let head = "| difference | metric | told by | why |\n| --- | --- | --- | --- |\n".to_owned();
    std::iter::once(head).chain(catalog.differences.iter().map(row)).collect()
}

/// The run as one JSON object.
pub fn json(played: &Played, catalog: &Catalog) -> serde_json::Result<String> {
    let case = |judged: &Judged| Row {
        case: judged.name.clone(),
        blackbox: judged.blackbox.map(|seen| Side { success: seen.is_success, seconds: seen.seconds }),
        agent: Side { success: judged.agent.is_success, seconds: judged.agent.seconds },
        failure_info: judged.failure.clone(),
        differences: judged
            .differences
            .iter()
            .map(|id| Reason { id: id.clone(), reason: catalog.difference(id).map(|known| known.reason.clone()) })
            .collect(),
        wrong: judged.wrong.clone(),
    };
    serde_json::to_string_pretty(&Run {
        blackbox_version: played.version.to_string(),
        holds: played.holds(),
        cases: played.judged.iter().map(case).collect(),
        unused_differences: played.unused.clone(),
    })
}

fn word(seen: Seen) -> String {
    if seen.is_success { "passes" } else { "fails" }.to_owned()
}

#[derive(Serialize)]
struct Run {
    blackbox_version: String,
    holds: bool,
    cases: Vec<Row>,
    unused_differences: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    case: String,
    blackbox: Option<Side>,
    agent: Side,
    failure_info: Option<String>,
    differences: Vec<Reason>,
    wrong: Vec<String>,
}

#[derive(Serialize)]
struct Side {
    success: bool,
    seconds: f64,
}

#[derive(Serialize)]
struct Reason {
    id: String,
    reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_tells_every_difference() {
        let catalog = Catalog::built_in().expect("sound tables");
        assert!(
            include_str!("../../../deploy/README.md").contains(&differences(&catalog)),
            "put what `faultline-lab parity --differences` prints into deploy/README.md"
        );
    }
}
