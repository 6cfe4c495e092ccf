//! Honest agents at a steady pace, who notice when somebody else's attack harms them.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use faultline_coordinator::registry::Place;
use faultline_proto::clock::Clock;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior, timeout},
};

use crate::{
    alone::Alone,
    scripted::{Credentials, ScriptedAgent, passed},
};

/// An acknowledgement that takes longer is a hang.
const HANG: Duration = Duration::from_mins(1);

/// Some honest agents.
pub struct Honest {
    agents: JoinSet<anyhow::Result<Pace>>,
    stop: Arc<watch::Sender<bool>>,
}

/// How one agent, or all of them, fared.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Results that were acknowledged.
    pub results: u64,
    /// How long each acknowledgement took, sorted.
    pub waits: Vec<Duration>,
    /// From the first batch to the last acknowledgement.
    pub took: Duration,
}

impl Pace {
    /// The wait that this share of batches does not exceed.
    pub fn wait(&self, share: f64) -> Duration {
        let waits: Vec<f64> = self.waits.iter().map(Duration::as_secs_f64).collect();
        crate::score::stats::quantile(&waits, share).map_or(Duration::ZERO, Duration::from_secs_f64)
    }

    /// Results acknowledged in a second.
    pub fn a_second(&self) -> f64 {
        crate::score::stats::real(usize::try_from(self.results).unwrap_or(usize::MAX))
            / self.took.as_secs_f64().max(1e-9)
    }
}

impl Honest {
    /// Opens `count` sessions; each then sends a batch of `results` in every `spacing`.
    pub async fn start(
        data: &std::path::Path,
        coordinator: &Alone,
        count: usize,
        results: usize,
        spacing: Duration,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(watch::Sender::new(false));
        let mut agents = JoinSet::new();
        for n in 0..count {
            let now = Clock::system().now_micros();
            let place = Place { group: Some(format!("honest-{n}")), ..Place::default() };
            let credentials = Credentials::issue(data, &format!("honest-{n}"), &place, coordinator.agents, now)?;
            let agent = credentials.open(rand::random()).await?;
            agents.spawn(report(agent, results, spacing, stop.subscribe()));
        }
        Ok(Self { agents, stop })
    }

    /// Ends them; an error when one of them lost its session or was refused anything.
    pub async fn stop(mut self) -> anyhow::Result<Pace> {
        self.stop.send_replace(true);
        let mut all = Pace::default();
        while let Some(ended) = self.agents.join_next().await {
            let pace = ended??;
            all.results += pace.results;
            all.took = all.took.max(pace.took);
            all.waits.extend(pace.waits);
        }
        all.waits.sort_unstable();
        Ok(all)
    }
}

async fn report(
    mut agent: ScriptedAgent,
    results: usize,
    spacing: Duration,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<Pace> {
    let slot = agent.slot("control/one");
    let mut ticks = time::interval(spacing);
    // A batch that could not be sent in its time is one that was not handed in.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pace = Pace::default();
    let began = Instant::now();
    while !*stop.borrow() {
        ticks.tick().await;
        let asked = Instant::now();
        let batch = vec![passed(slot, Clock::system().now_micros()); results];
        let ack = timeout(HANG, agent.report(batch)).await.context("no acknowledgement")??;
        ensure!(ack.rejections.is_empty(), "refused: {ack:?}");
        pace.waits.push(asked.elapsed());
        pace.results += u64::try_from(results).unwrap_or_default();
    }
    pace.took = began.elapsed();
    Ok(pace)
}
