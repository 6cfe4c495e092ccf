//! The bench's tables: medians with their spread, ratios of the same run, and which goals are missed.

use serde::Serialize;

use super::{Kind, daemon, daemon::spread, side, side::Figures};
use crate::score::{stats::real, table::Table};

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Processor, cores, kernel, load before.
    pub machine: String,
    /// Probes at a time.
    pub concurrency: usize,
    /// The peers side by side.
    pub side: Option<side::Measured>,
    /// The daemon.
    pub daemon: Option<daemon::Measured>,
    /// Goals that are missed, each in a sentence.
    pub missed: Vec<String>,
}

/// `blackbox_exporter`'s CPU a probe over the agent's, at least.
const FEWER: f64 = 5.0;
/// The agent's CPU a probe of HTTPS over the bare loop's, at most.
const OVERHEAD: f64 = 1.3;
const RSS_MIB: f64 = 16.0;
const START_MS: f64 = 200.0;
const LATE_MS: f64 = 10.0;
/// More than this is growth. Start value: an allocator's arenas move by less.
const GROWTH_MIB: f64 = 0.5;

impl Report {
    /// A report, judged.
    pub fn new(
        machine: String,
        concurrency: usize,
        side: Option<side::Measured>,
        daemon: Option<daemon::Measured>,
    ) -> Self {
        let mut missed = Vec::new();
        for row in side.iter().flat_map(|side| &side.rows) {
            missed.extend(side.iter().flat_map(|side| missed_by(row, &side.blackboxes)));
        }
        missed.extend(
            daemon
                .iter()
                .flat_map(Figure::all)
                .filter(Figure::is_missed)
                .map(|figure| format!("{}: {} where {} is the goal", figure.what, figure.value, figure.goal)),
        );
        Self { machine, concurrency, side, daemon, missed }
    }

    /// As people read it.
    pub fn text(&self) -> String {
        let mut lines = vec![self.machine.clone()];
        let mut line = |text: String| lines.push(text);
        if let Some(side) = &self.side {
            let runs = side.rows.first().map_or(0, |row| row.agent.cpu_us.len());
            line(format!(
                "\nCPU a probe, microseconds: median of {runs} runs (lowest to highest); {} at a time. Ratios are of the same run.\n\n{}",
                self.concurrency,
                side_table(side)
            ));
            if side.blackboxes.is_empty() {
                line("No blackbox_exporter: install prometheus-blackbox-exporter, or name one with --blackbox.".into());
            }
        }
        if let Some(daemon) = &self.daemon {
            let mut table = Table::new(["daemon", "measured", "goal"]);
            for figure in Figure::all(daemon) {
                table.row([figure.what, figure.value, figure.goal]);
            }
            line(format!("\n{table}"));
            for doubt in &daemon.not_passed {
                line(format!("Did not pass {doubt}"));
            }
        }
        for missed in &self.missed {
            line(format!("MISSED {missed}"));
        }
        lines.join("\n")
    }
}

/// Ratios of the same run.
fn ratios(over: &Figures, under: &Figures) -> Vec<f64> {
    over.cpu_us.iter().zip(&under.cpu_us).map(|(over, under)| over / under.max(1e-9)).collect()
}

fn missed_by(row: &side::Row, versions: &[String]) -> Vec<String> {
    let mut missed = Vec::new();
    let name = row.kind.words();
    for (version, figures) in versions.iter().zip(&row.blackboxes) {
        let ratio = figures.as_ref().and_then(|figures| spread(&ratios(figures, &row.agent)));
        if let Some([ratio, ..]) = ratio.filter(|[ratio, ..]| *ratio < FEWER) {
            missed.push(format!(
                "{name}: {ratio:.1} x fewer than blackbox_exporter {version} where {FEWER} x is the goal"
            ));
        }
    }
    let overhead = spread(&ratios(&row.agent, &row.bare));
    if let Some([ratio, ..]) = overhead.filter(|[ratio, ..]| *ratio > OVERHEAD)
        && matches!(row.kind, Kind::Https1 | Kind::Https2)
    {
        missed.push(format!("{name}: {ratio:.2} x the bare loop where {OVERHEAD} x is the goal"));
    }
    missed
}

fn side_table(side: &side::Measured) -> Table {
    let mut head = vec!["probe".to_owned(), "agent".into(), "bare loop".into(), "agent / bare".into()];
    for version in &side.blackboxes {
        head.extend([format!("blackbox {version}"), format!("{version} / agent")]);
    }
    head.push("agent, ms each".into());
    let mut table = Table::new(head.iter().map(String::as_str));
    for row in &side.rows {
        let mut cells = vec![row.kind.words().to_owned(), told(&row.agent.cpu_us, 0), told(&row.bare.cpu_us, 0)];
        cells.push(told(&ratios(&row.agent, &row.bare), 2));
        for figures in &row.blackboxes {
            match figures {
                Some(figures) => cells.extend([told(&figures.cpu_us, 0), told(&ratios(figures, &row.agent), 1)]),
                None => cells.extend(["cannot".into(), "-".into()]),
            }
        }
        let wall_ms: Vec<f64> = row.agent.wall_us.iter().map(|us| us / 1e3).collect();
        cells.push(told(&wall_ms, 2));
        table.row(cells);
    }
    table
}

fn told(values: &[f64], decimals: usize) -> String {
    spread(values).map_or_else(
        || "-".into(),
        |[middle, low, high]| format!("{middle:.decimals$} ({low:.decimals$}-{high:.decimals$})"),
    )
}

/// A row of the daemon's table.
struct Figure {
    what: String,
    value: String,
    goal: String,
    /// What is held against the limit.
    judged: Option<(f64, f64)>,
}

impl Figure {
    fn is_missed(&self) -> bool {
        self.judged.is_some_and(|(value, limit)| value > limit)
    }

    fn all(daemon: &daemon::Measured) -> Vec<Self> {
        let mib = |kib: u64| real(usize::try_from(kib).unwrap_or_default()) / 1024.0;
        let middle = |values: &[f64]| spread(values).map(|[middle, ..]| middle);
        let column = |place: usize| daemon.late_ms.iter().map(|late| late[place]).collect::<Vec<f64>>();
        let (held, hour, late) = (daemon.held, &daemon.hour, column(1));
        let [early, later] = hour.rss_kib.map(|kib| kib / 1024.0);
        let grown = later - early;
        let figure = |what: &str, value: String, judged: Option<(f64, f64)>, unit: &str| Self {
            what: what.to_owned(),
            value,
            goal: judged.map_or_else(String::new, |(_, limit)| format!("{limit} {unit}")),
            judged,
        };
        vec![
            figure("start to session, ms", told(&daemon.session_ms, 0), None, ""),
            figure(
                "start to first probe, ms",
                told(&daemon.first_probe_ms, 0),
                middle(&daemon.first_probe_ms).map(|ms| (ms, START_MS)),
                "ms",
            ),
            figure("late at 200 probes/s, ms p50", told(&column(0), 2), None, ""),
            figure("late at 200 probes/s, ms p99", told(&late, 2), middle(&late).map(|ms| (ms, LATE_MS)), "ms"),
            figure("late at 200 probes/s, ms worst", told(&column(2), 2), None, ""),
            figure(
                &format!("RSS, {} targets at 30 s, MiB (of it heap and stacks; peak)", daemon.targets),
                format!("{:.1} ({:.1}; {:.1})", mib(held.rss), mib(held.anonymous), mib(held.peak)),
                Some((mib(held.rss), RSS_MIB)),
                "MiB",
            ),
            figure(
                &format!("growth over an hour at {} x, MiB (minutes 10-20, 50-60)", hour.speed),
                format!("{grown:+.2} ({early:.1}, {later:.1})"),
                Some((grown, GROWTH_MIB)),
                "MiB",
            ),
            figure(
                "CPU of that hour, s (probes that passed)",
                format!("{:.1} ({})", hour.cpu_s, hour.passed),
                None,
                "",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(cpu_us: &[f64]) -> Figures {
        Figures { cpu_us: cpu_us.to_vec(), wall_us: vec![100.0; cpu_us.len()], probes: vec![10; cpu_us.len()] }
    }

    fn report(agent: &[f64]) -> Report {
        let row = |kind, blackbox| side::Row {
            kind,
            agent: figures(agent),
            bare: figures(&[200.0, 400.0, 200.0]),
            blackboxes: vec![blackbox],
        };
        let rows = vec![row(Kind::Https1, Some(figures(&[1500.0, 3000.0, 1500.0]))), row(Kind::Http3, None)];
        Report::new("a machine".into(), 1, Some(side::Measured { blackboxes: vec!["0.23.0".into()], rows }), None)
    }

    #[test]
    fn ratios_are_of_the_same_run_so_that_a_slow_run_is_everybodys() {
        let report = report(&[240.0, 480.0, 240.0]);
        assert_eq!(report.missed, Vec::<String>::new());
        let text = report.text();
        assert!(text.contains("240 (240-480)") && text.contains("1.20 (1.20-1.20)"), "{text}");
        assert!(text.contains("6.2 (6.2-6.2)") && text.contains("cannot"), "{text}");
    }

    #[test]
    fn a_missed_goal_is_told() {
        let missed = report(&[320.0, 640.0, 320.0]).missed;
        assert_eq!(
            missed,
            [
                "HTTPS GET, HTTP/1.1: 4.7 x fewer than blackbox_exporter 0.23.0 where 5 x is the goal",
                "HTTPS GET, HTTP/1.1: 1.60 x the bare loop where 1.3 x is the goal"
            ]
        );
    }
}
