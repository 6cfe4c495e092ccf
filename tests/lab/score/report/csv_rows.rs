//! `cases.csv`: one row a case and method. Never is `inf`, unknown is empty, several incidents are joined by a space.

use super::super::{judged::JudgedIncident, run::Row};

pub(super) fn text(rows: &[Row]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEAD)?;
    for row in rows {
        writer.write_record(record(row))?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

const HEAD: [&str; 27] = [
    "method",
    "scenario",
    "family",
    "seed",
    "agents",
    "liars",
    "hard",
    "held_out",
    "truth",
    "said",
    "right",
    "wrong_clouds",
    "wrong_neither",
    "wrong_begun",
    "flips",
    "seconds",
    "optimum_s",
    "element_right",
    "kind_right",
    "onset_error_s",
    "resolve_s",
    "p_aws",
    "p_azure",
    "p_both",
    "p_neither",
    "p_none",
    "cpu_us_per_result",
];

fn record(row: &Row) -> Vec<String> {
    let judged = &row.judged;
    let each = |text: &dyn Fn(&JudgedIncident) -> String| {
        judged.incidents.iter().map(text).collect::<Vec<_>>().join(" ").trim().to_owned()
    };
    let some = |value: Option<f64>| value.map(|value| format!("{value:.3}")).unwrap_or_default();
    let claim = |value: Option<bool>| value.map(|value| value.to_string()).unwrap_or_default();
    let clouds: Vec<&str> = judged.wrong_clouds.iter().map(|cloud| cloud.word()).collect();
    let mut record = vec![
        row.method.to_owned(),
        row.scenario.clone(),
        row.family.clone(),
        row.seed.to_string(),
        row.agents.to_string(),
        format!("{:.2}", row.liars),
        row.is_hard.to_string(),
        row.is_held_out.to_string(),
        judged.truth.word().to_owned(),
        judged.said.word().to_owned(),
        judged.is_right().to_string(),
        clouds.join(" "),
        judged.is_neither_wrong.to_string(),
        judged.wrong_begun.to_string(),
        judged.flips.to_string(),
        each(&|incident| format!("{:.3}", incident.seconds)),
        some(row.optimum_s),
        each(&|incident| claim(incident.is_element_right)),
        each(&|incident| claim(incident.is_kind_right)),
        each(&|incident| some(incident.onset_error_s)),
        each(&|incident| some(incident.resolve_s)),
    ];
    let probabilities = judged.probabilities.map_or([None; 5], |all| all.map(Some));
    record.extend(probabilities.map(|value| value.map(|value| format!("{value:.6}")).unwrap_or_default()));
    let inputs = super::super::stats::real(row.spent.inputs.max(1));
    record.push(format!("{:.3}", row.spent.total.as_secs_f64() * 1e6 / inputs));
    record
}
