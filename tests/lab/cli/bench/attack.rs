//! `faultline-lab bench attack`: honest throughput with and without each attack, in paired runs.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use faultline_coordinator::registry::Place;
use faultline_lab::{
    alone::Alone,
    attack::{self, Door},
    honest::{Honest, Pace},
    load::usage,
    score::{stats, table::Table},
    scripted::Credentials,
    stage,
};
use faultline_proto::clock::Clock;

use crate::cli::{complain, say};

/// Steps of an attack that has a length.
const STEPS: usize = 20_000;

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab bench attack\n  faultline-lab bench attack --attack ping,rapid-reset --door agents\n\nHonest agents report at a steady pace to a coordinator in a process of its own, first alone and then beside one\nattacker, who comes back as soon as its connection is closed. Exit codes: 0 measured, 2 wrong usage, 3 could not be\nrun, or an honest agent was harmed"
)]
pub(super) struct Attack {
    /// Attacks [default: all]
    #[arg(long = "attack", value_enum, value_delimiter = ',')]
    attacks: Vec<attack::Attack>,
    /// Where the attacker knocks
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Knocks::Agents, Knocks::Feed])]
    door: Vec<Knocks>,
    /// Paired runs of each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    runs: u8,
    /// Seconds of each half of a pair
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Honest agents
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    agents: u16,
    /// Results in each of their batches
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    results: u16,
    /// Milliseconds between two batches of one agent
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    spacing: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Knocks {
    /// The agent port, with a good certificate
    Agents,
    /// The feed port
    Feed,
}

impl std::fmt::Display for Knocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Agents { "agents" } else { "feed" })
    }
}

/// One attack's figures: pairs of calm and attacked, and connections that the attacker used up.
struct Row {
    pairs: Vec<(Pace, Pace)>,
    connections: usize,
    grown_kib: u64,
}

impl Attack {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if cfg!(debug_assertions) {
            complain("built without optimisation: use cargo run --release, or these figures mean little");
        }
        say(&usage::machine());
        let runtime = tokio::runtime::Runtime::new()?;
        let mut table = Table::new([
            "port",
            "attack",
            "results/s calm",
            "attacked",
            "ratio",
            "p99 ms calm",
            "attacked",
            "connections/s",
            "grown MiB",
        ]);
        let attacks = if self.attacks.is_empty() { &attack::Attack::ALL[..] } else { &self.attacks };
        for door in &self.door {
            for attack in attacks {
                let row = runtime.block_on(self.measure(*door, *attack))?;
                table.row(self.row(*door, *attack, &row));
            }
        }
        say(&table.to_string());
        Ok(())
    }

    async fn measure(&self, knocks: Knocks, attack: attack::Attack) -> anyhow::Result<Row> {
        let program = std::env::current_exe().context("the path of this program")?;
        let data = tempfile::tempdir()?;
        stage::prepare(data.path())?;
        let coordinator = Alone::start(&program, data.path()).await?;
        let door = match knocks {
            Knocks::Feed => Door::Feed(coordinator.feed),
            Knocks::Agents => {
                let now = Clock::system().now_micros();
                let issued = Credentials::issue(data.path(), "bad", &Place::default(), coordinator.agents, now)?;
                Door::Agents(issued)
            }
        };
        let (mut pairs, mut connections) = (Vec::new(), 0);
        drop(self.pace(data.path(), &coordinator).await?);
        let before = coordinator.memory()?;
        for _ in 0..self.runs {
            let calm = self.pace(data.path(), &coordinator).await?;
            let attacker = Attacker::start(door.clone(), attack)?;
            let under_attack = self.pace(data.path(), &coordinator).await?;
            connections += attacker.stop()?;
            pairs.push((calm, under_attack));
        }
        let grown_kib = coordinator.memory()?.rss.saturating_sub(before.rss);
        coordinator.end().await?;
        Ok(Row { pairs, connections, grown_kib })
    }

    /// The honest agents' pace over one half of a pair.
    async fn pace(&self, data: &Path, coordinator: &Alone) -> anyhow::Result<Pace> {
        let spacing = Duration::from_millis(self.spacing);
        let honest = Honest::start(data, coordinator, self.agents.into(), self.results.into(), spacing).await?;
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        honest.stop().await
    }

    fn row(&self, door: Knocks, attack: attack::Attack, row: &Row) -> Vec<String> {
        let spread = |decimals: usize, figure: &dyn Fn(&(Pace, Pace)) -> f64| {
            let all: Vec<f64> = row.pairs.iter().map(figure).collect();
            let [low, middle, high] = [0.0, 0.5, 1.0].map(|q| stats::quantile(&all, q).unwrap_or_default());
            format!("{middle:.decimals$} ({low:.decimals$}-{high:.decimals$})")
        };
        let p99 = |pace: &Pace| pace.wait(0.99).as_secs_f64() * 1e3;
        let attacked_s = Duration::from_secs(self.seconds * u64::from(self.runs)).as_secs_f64();
        vec![
            door.to_string(),
            attack.name().to_owned(),
            spread(0, &|(calm, _)| calm.a_second()),
            spread(0, &|(_, attacked)| attacked.a_second()),
            spread(3, &|(calm, attacked)| attacked.a_second() / calm.a_second()),
            spread(1, &|(calm, _)| p99(calm)),
            spread(1, &|(_, attacked)| p99(attacked)),
            format!("{:.1}", stats::real(row.connections) / attacked_s),
            (row.grown_kib >> 10).to_string(),
        ]
    }
}

/// One attacker on a thread of its own, who comes back whenever its connection is closed.
struct Attacker {
    is_done: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<()>,
}

impl Attacker {
    fn start(door: Door, attack: attack::Attack) -> anyhow::Result<Self> {
        let (is_done, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (done, count) = (Arc::clone(&is_done), Arc::clone(&connections));
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                while !done.load(Ordering::Relaxed) {
                    // A door that does not open is what an attacker must expect.
                    drop(door.attack(attack, STEPS, Duration::from_secs(1)).await);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        Ok(Self { is_done, connections, thread })
    }

    fn stop(self) -> anyhow::Result<usize> {
        self.is_done.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the attacker panicked"))?;
        Ok(self.connections.load(Ordering::Relaxed))
    }
}
