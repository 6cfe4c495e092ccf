//! The bench's table: medians with their spread, ratios of the same run, and which goals are missed.

use serde::Serialize;

use super::{
    Load,
    side::{Row, Session, Turn},
};
use crate::{load::daemon::spread, score::table::Table};

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Processor, cores, kernel, load before.
    pub machine: String,
    /// What agents sent.
    pub load: Load,
    /// As `VictoriaMetrics` tells it; nothing where there was none.
    pub victoria: Option<String>,
    /// A row a size.
    pub rows: Vec<Row>,
    /// Goals that are missed, each in a sentence.
    pub missed: Vec<String>,
}

/// Results a second, at least.
const RATE: f64 = 500_000.0;
/// Microseconds of CPU a result, at most.
const CPU_US: f64 = 1.0;
/// Memory, at most, with so many sessions and fewer.
const PEAK_MIB: f64 = 512.0;
const SESSIONS: usize = 5_000;

impl Report {
    /// A report, judged.
    pub fn new(machine: String, load: Load, victoria: Option<String>, rows: Vec<Row>) -> Self {
        let missed = rows.iter().flat_map(missed_by).collect();
        Self { machine, load, victoria, rows, missed }
    }

    /// As people read it.
    pub fn text(&self) -> String {
        let runs = self.rows.first().map_or(0, |row| row.coordinator.len());
        let Load { targets, batch } = self.load;
        let mut lines = vec![
            self.machine.clone(),
            format!(
                "\nMedian of {runs} runs (lowest to highest); {targets} targets, {batch} results a batch. Ratios are of the same run.\n"
            ),
            coordinator_table(&self.rows).to_string(),
            peers_table(&self.rows).to_string(),
        ];
        lines.push(match &self.victoria {
            Some(version) => format!("VictoriaMetrics {version}. It answers before anything is durable."),
            None => {
                "No VictoriaMetrics: install victoria-metrics (apt-get), or name one with --victoria-metrics.".into()
            }
        });
        lines.extend(self.missed.iter().map(|missed| format!("MISSED {missed}")));
        lines.join("\n")
    }
}

fn missed_by(row: &Row) -> Vec<String> {
    let middle = |figure: fn(&Turn) -> f64| spread(&all(&row.coordinator, figure)).map(|[middle, ..]| middle);
    let mut missed = Vec::new();
    let agents = row.agents;
    if let Some(rate) = middle(|turn| turn.rate).filter(|rate| *rate < RATE) {
        missed.push(format!("{agents} agents: {rate:.0} results/s where {RATE} is the goal"));
    }
    if let Some(cpu) = middle(|turn| turn.cpu_us).filter(|cpu| *cpu > CPU_US) {
        missed.push(format!("{agents} agents: {cpu:.2} us of CPU a result where {CPU_US} is the goal"));
    }
    if let Some(peak) = middle(|turn| turn.peak_mib).filter(|peak| *peak > PEAK_MIB && agents <= SESSIONS) {
        missed.push(format!("{agents} agents: {peak:.0} MiB where {PEAK_MIB} is the goal"));
    }
    missed
}

fn coordinator_table(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "coordinator, agents",
        "results/s",
        "CPU us/result",
        "fold behind, s",
        "at most",
        "peak MiB",
        "idle MiB",
        "opened in s",
        "senders' us/result",
    ]);
    for row in rows {
        let turns = |figure: fn(&Turn) -> f64, decimals| told(&all(&row.coordinator, figure), decimals);
        let session = |figure: fn(&Session) -> f64, decimals| {
            told(&row.sessions.iter().map(figure).collect::<Vec<_>>(), decimals)
        };
        table.row([
            row.agents.to_string(),
            turns(|turn| turn.rate, 0),
            turns(|turn| turn.cpu_us, 2),
            session(|session| session.behind_s[0], 1),
            session(|session| session.behind_s[1], 1),
            turns(|turn| turn.peak_mib, 0),
            session(|session| session.idle_mib, 0),
            session(|session| session.opened_s, 1),
            turns(|turn| turn.sender_us, 2),
        ]);
    }
    table
}

fn peers_table(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "peers, agents",
        "bare append/s",
        "us/result",
        "coordinator / it",
        "Victoria, whole/s",
        "us/result",
        "it / coordinator",
        "peak MiB",
        "outcomes/s",
        "us/result",
        "it / coordinator",
        "peak MiB",
    ]);
    for row in rows {
        let [whole, outcome] = &row.victoria;
        let mut cells = vec![row.agents.to_string(), told(&all(&row.append, |turn| turn.rate), 0)];
        cells.push(told(&all(&row.append, |turn| turn.cpu_us), 2));
        cells.push(told(&ratios(&row.coordinator, &row.append), 1));
        for turns in [whole, outcome] {
            cells.push(told(&all(turns, |turn| turn.rate), 0));
            cells.push(told(&all(turns, |turn| turn.cpu_us), 2));
            cells.push(told(&ratios(turns, &row.coordinator), 2));
            cells.push(told(&all(turns, |turn| turn.peak_mib), 0));
        }
        table.row(cells);
    }
    table
}

fn all(turns: &[Turn], figure: fn(&Turn) -> f64) -> Vec<f64> {
    turns.iter().map(figure).collect()
}

/// CPU a result of the one over that of the other, of the same run.
fn ratios(over: &[Turn], under: &[Turn]) -> Vec<f64> {
    over.iter().zip(under).map(|(over, under)| over.cpu_us / under.cpu_us.max(1e-9)).collect()
}

fn told(values: &[f64], decimals: usize) -> String {
    spread(values).map_or_else(
        || "-".into(),
        |[middle, low, high]| format!("{middle:.decimals$} ({low:.decimals$}-{high:.decimals$})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(rate: f64, cpu_us: f64) -> Turn {
        Turn { rate, cpu_us, sender_us: 0.2, peak_mib: 300.0 }
    }

    #[test]
    fn ratios_are_of_the_same_run_and_a_missed_goal_is_told() {
        let row = Row {
            agents: 100,
            coordinator: vec![turn(4e5, 1.5), turn(2e5, 3.0), turn(4e5, 1.5)],
            append: vec![turn(1e6, 0.5), turn(5e5, 1.0), turn(1e6, 0.5)],
            ..Row::default()
        };
        let report = Report::new("a machine".into(), Load { targets: 1, batch: 1 }, None, vec![row]);
        assert!(report.text().contains(" 3.0 (3.0-3.0) |"), "{}", report.text());
        assert_eq!(
            report.missed,
            [
                "100 agents: 400000 results/s where 500000 is the goal",
                "100 agents: 1.50 us of CPU a result where 1 is the goal"
            ]
        );
    }
}
