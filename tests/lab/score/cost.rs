//! What the engine costs: a generated fleet, a quiet stretch, then a region of AWS that stops answering.
//!
//! Rules: only [`Engine::apply`] and [`Engine::advance`] are on the clock, never the making of results. Every size is
//! measured in a process of its own, since memory that an allocator keeps from an earlier run would hide growth.

mod fleet;

use std::time::{Duration, Instant};

use faultline_attribution::{Engine, Input, Output, Settings, Timestamp, Verdict};
use serde::{Deserialize, Serialize};

use self::fleet::Fleet;
use super::stats;

/// How large, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Pairs of agent and target, each probed every 30 s.
    pub cells: usize,
    /// Seconds of virtual time before the region breaks.
    pub quiet_s: u64,
    /// Seconds of virtual time after.
    pub broken_s: u64,
    /// Share of healthy runs that fail all the same.
    pub noise: f64,
    /// Decides which.
    pub seed: u64,
}

/// What one run took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Pairs of agent and target.
    pub cells: usize,
    /// Nanoseconds that a passing result takes to apply, in quiet.
    pub pass_ns: f64,
    /// Microseconds that a result takes, ticks included, in quiet.
    pub quiet_us: f64,
    /// Microseconds that a result takes, ticks included, while an incident is open.
    pub open_us: f64,
    /// Milliseconds a tick takes in quiet: median, 99th percentile, longest.
    pub quiet_tick_ms: [f64; 3],
    /// The same while an incident is open.
    pub open_tick_ms: [f64; 3],
    /// Growth of the process's resident memory, bytes a cell.
    pub bytes_per_cell: f64,
    /// Seconds from the break to the first tick that blamed AWS; negative when none did.
    pub verdict_s: f64,
}

/// One run. Resident memory is this process's: run it in a fresh one.
pub fn run(load: &Load) -> Cost {
    let fleet = Fleet::new(load);
    let mut inputs: Vec<Input> = Vec::new();
    fleet.second(fleet.from_s, None, &mut inputs); // so that the buffer is there before memory is measured
    let world = fleet.world();
    let resident = resident_bytes();
    let mut engine = Engine::new(world, Settings::default());
    let breaks_s = fleet.from_s + load.quiet_s;
    let (mut quiet, mut open) = (Spent::default(), Spent::default());
    let mut passing = (0_usize, Duration::ZERO);
    let (mut is_open, mut verdict_s) = (false, -1.0);
    for second in fleet.from_s..breaks_s + load.broken_s {
        inputs.clear();
        let broken = (second >= breaks_s).then_some(breaks_s);
        fleet.second(second, broken, &mut inputs);
        let began = Instant::now();
        for input in &inputs {
            engine.apply(input);
        }
        let applied = began.elapsed();
        let now = Timestamp::from_micros(i64::try_from(second + 1).unwrap_or(i64::MAX) * 1_000_000);
        let began = Instant::now();
        let outputs = engine.advance(now);
        let tick = began.elapsed();
        let spent = if is_open { &mut open } else { &mut quiet };
        // The first half of the quiet stretch fills the windows: what it costs is not what running costs.
        let is_filling = second < fleet.from_s + load.quiet_s / 2;
        // From the break to the first suspicion is neither quiet nor open.
        if is_open || (broken.is_none() && !is_filling) {
            spent.add(inputs.len(), applied, tick);
        }
        if broken.is_none() && !is_filling {
            passing = (passing.0 + inputs.len(), passing.1 + applied);
        }
        for output in outputs {
            let Output::Change(change) = output else { continue };
            is_open |= broken.is_some() && change.state.is_open();
            if verdict_s < 0.0 && change.verdict == Verdict::Aws && broken.is_some() {
                verdict_s = stats::real(usize::try_from(second + 1 - breaks_s).unwrap_or_default());
            }
        }
    }
    let grown = resident_bytes().saturating_sub(resident);
    Cost {
        cells: fleet.cells(),
        pass_ns: passing.1.as_secs_f64() * 1e9 / stats::real(passing.0.max(1)),
        quiet_us: quiet.micros_a_result(),
        open_us: open.micros_a_result(),
        quiet_tick_ms: quiet.tick_ms(),
        open_tick_ms: open.tick_ms(),
        bytes_per_cell: stats::real(grown) / stats::real(fleet.cells()),
        verdict_s,
    }
}

/// Time on the clock.
#[derive(Default)]
struct Spent {
    results: usize,
    total: Duration,
    ticks_ms: Vec<f64>,
}

impl Spent {
    fn add(&mut self, results: usize, applied: Duration, tick: Duration) {
        self.results += results;
        self.total += applied + tick;
        self.ticks_ms.push(tick.as_secs_f64() * 1e3);
    }

    fn micros_a_result(&self) -> f64 {
        self.total.as_secs_f64() * 1e6 / stats::real(self.results.max(1))
    }

    fn tick_ms(&self) -> [f64; 3] {
        [0.5, 0.99, 1.0].map(|q| stats::quantile(&self.ticks_ms, q).unwrap_or_default())
    }
}

/// Resident memory of this process; 0 where the system does not tell.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_measures_quiet_and_an_open_incident() {
        let load = Load { cells: 600, quiet_s: 90, broken_s: 45, noise: 0.0, seed: 1 };
        let cost = run(&load);
        assert!(cost.cells >= 600, "{cost:?}");
        assert!(cost.pass_ns > 0.0 && cost.quiet_us > 0.0 && cost.open_us > 0.0, "{cost:?}");
        assert!(cost.verdict_s > 0.0, "{cost:?}");
    }
}
