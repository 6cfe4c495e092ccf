//! How much goes wrong in a healthy world, by profile.
//!
//! Where no source is given the figure is chosen: within what operators of probes report, and rather too much than too
//! little, since an engine must live with the worse network.

use crate::scenario::Noise;

/// The figures of one profile. Rates are chances per run, spans are seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Profile {
    /// Failures without any cause worth a name, per (agent, target); drawn for each pair once.
    ///
    /// Source: the recorded checks behind this project fail in 0.1 to 0.5 % of runs.
    pub(super) base: (f64, f64),
    /// How far the base rate swings with the hour of the day at the agent.
    pub(super) swing: f64,
    /// Share of access networks, and of agents, that lose packets in bursts (Gilbert and Elliott's two states).
    pub(super) bursty: f64,
    /// Mean time between an access network's bursts, which all its agents share, and between an agent's own.
    pub(super) burst_gap: f64,
    /// Length of a burst. Source: benchmark protocol, 5.1: mean 20 to 120 s.
    pub(super) burst_length: (f64, f64),
    /// Share of runs that a burst makes fail. Source: the same.
    pub(super) burst_loss: (f64, f64),
    /// Reports that never arrive. Source: the same, 1 to 5 % lost, duplicated or late.
    pub(super) lost: f64,
    /// Reports that arrive late.
    pub(super) late: f64,
    /// Reports that arrive twice.
    pub(super) doubled: f64,
    /// Residual error of an agent's clock, either way. Source: the same, 2 s.
    pub(super) skew: f64,
    /// Share of agents whose clock is off by half a minute and marked as suspect.
    pub(super) suspect_clocks: f64,
    /// Mean time between an agent's restarts.
    pub(super) restart_gap: f64,
    /// Mean time between spells in which an agent has more to do than it can.
    pub(super) overload_gap: f64,
    /// Share of third parties' targets that answer an error for minutes to days, now and then.
    ///
    /// Source: the recorded checks: 1 to 2 % of third-party endpoints at any time.
    pub(super) flapping: f64,
    /// Share of (agent, third party's target) pairs in which the agent is taken for a robot and refused.
    pub(super) robots: f64,
    /// Share of runs whose round trips grow, and by how much at most, evenly in the logarithm.
    pub(super) tail: (f64, f64),
    /// Whether one endpoint is dead all the time.
    pub(super) has_dead: bool,
}

/// How late a late report is. Source: benchmark protocol, 5.1 (60 s), widened both ways.
pub(super) const LATENESS: (f64, f64) = (30.0, 150.0);

/// How long a restart takes.
pub(super) const RESTART: f64 = 30.0;

/// How long an agent has too much to do.
pub(super) const OVERLOAD: (f64, f64) = (15.0, 60.0);

/// How long an endpoint answers an error, and how long it then answers well: minutes to days.
pub(super) const FLAP: (f64, f64) = (300.0, 172_800.0);

/// What such an endpoint answers: refusals of robots and quotas, and plain errors.
pub(super) const FLAP_STATUS: [u16; 4] = [403, 417, 429, 500];

impl Profile {
    /// The figures of that profile.
    pub(super) fn of(noise: Noise) -> Self {
        let typical = Self {
            base: (0.001, 0.005),
            swing: 0.5,
            bursty: 1.0,
            burst_gap: 4.0 * 3600.0,
            burst_length: (20.0, 120.0),
            burst_loss: (0.2, 0.6),
            lost: 0.015,
            late: 0.01,
            doubled: 0.01,
            skew: 2.0,
            suspect_clocks: 0.03,
            restart_gap: 24.0 * 3600.0,
            overload_gap: 12.0 * 3600.0,
            flapping: 0.03, // half of the time each
            robots: 0.01,
            tail: (0.0, 1.0),
            has_dead: true,
        };
        match noise {
            Noise::Calm => Self {
                bursty: 0.0,
                lost: 0.0,
                late: 0.0,
                doubled: 0.0,
                skew: 0.2,
                suspect_clocks: 0.0,
                restart_gap: f64::INFINITY,
                overload_gap: f64::INFINITY,
                flapping: 0.0,
                robots: 0.0,
                has_dead: false,
                ..typical
            },
            Noise::Typical => typical,
            // Three of ten networks, in bursts two thirds of the time between them.
            Noise::Bursty => Self { bursty: 0.3, burst_gap: 100.0, ..typical },
            Noise::Hostile => Self {
                base: (0.002, 0.015),
                burst_gap: 1.5 * 3600.0,
                burst_length: (40.0, 240.0),
                burst_loss: (0.3, 0.9),
                lost: 0.04,
                late: 0.03,
                doubled: 0.03,
                skew: 4.0,
                suspect_clocks: 0.08,
                restart_gap: 8.0 * 3600.0,
                overload_gap: 4.0 * 3600.0,
                flapping: 0.08,
                robots: 0.03,
                ..typical
            },
            // Each differs in kind, not in degree, and is chosen: no engine setting is fitted to it. Mobile and shared
            // access networks: most pairs are better than usual and some far worse, evenings are ten times as bad as
            // mornings, and a network drizzles for half an hour where others pour for a minute.
            Noise::Foreign => Self {
                base: (0.0003, 0.02),
                swing: 0.82, // 1.82 in the evening to 0.18 in the morning
                burst_gap: 1.5 * 3600.0,
                burst_length: (300.0, 2400.0),
                burst_loss: (0.02, 0.12),
                // Spools that are sent again after each change of address: few reports are lost, many come late or
                // twice.
                lost: 0.005,
                late: 0.05,
                doubled: 0.06,
                // Machines without a good time server, which do not all know that.
                skew: 5.0,
                suspect_clocks: 0.06,
                // Small machines, updated often.
                restart_gap: 6.0 * 3600.0,
                overload_gap: 2.0 * 3600.0,
                flapping: 0.05,
                robots: 0.04,
                // Queues in front of radio links: one run in fifty takes up to 20 times as long, some of them too
                // long.
                tail: (0.02, 20.0),
                ..typical
            },
        }
    }
}
