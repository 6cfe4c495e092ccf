//! `faultline-lab up`: everything started, a scenario played, and the feed judged against its truth.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use faultline_lab::{
    Net, Scenario, World,
    fleet::Fleet,
    play::{Outcome, Play, Rules},
    scenario::{self, Way},
};
use faultline_proto::clock::Clock;
use tokio::signal::unix::{SignalKind, signal};

use super::{complain, say};

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab up --scenario aws-and-azure-at-once\n\nExit codes: 0 the feed told the scenario's truth (or the lab was stopped), 1 it did not, 2 wrong usage,\n3 the lab itself could not run (too slow, no port)"
)]
pub(crate) struct Up {
    /// Name of a built-in scenario, or a file
    #[arg(long, default_value = scenario::DEFAULT)]
    scenario: String,
    /// List the built-in scenarios
    #[arg(long)]
    list: bool,
    /// Decides which runs suffer where a fault is partial
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End at the verdict: exit 0 only if it is the scenario's truth
    #[arg(long)]
    exit_on_verdict: bool,
    /// Seconds of the emulated clock, from the last break, within which the truth must be told
    #[arg(long, default_value_t = 120)]
    deadline: u64,
    /// Seconds of the emulated clock for each real one
    #[arg(long, default_value_t = 8.0)]
    speed: f64,
    /// Keep everything running for so many real seconds after the end [default: until Ctrl-C, or 0 with --exit-on-verdict];
    /// SIGHUP restarts the coordinator in that time
    #[arg(long)]
    hold: Option<u64>,
    /// Where the page and the feed are
    #[arg(long, default_value = "127.0.0.1:0")]
    feed_listen: SocketAddr,
    /// Folder with the files of webhooks that are told of changes
    #[arg(long, value_name = "FOLDER")]
    webhooks: Option<PathBuf>,
}

impl Up {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        let world = World::standard();
        if self.list {
            return list(&world);
        }
        let scenario = match Scenario::find(&self.scenario, &world) {
            Ok(scenario) => scenario,
            Err(error) => {
                complain(&error.to_string());
                return ExitCode::from(2);
            }
        };
        if !(1.0..=100.0).contains(&self.speed) {
            complain(&format!("--speed {}: 1 to 100", self.speed));
            return ExitCode::from(2);
        }
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                complain(&error.to_string());
                return ExitCode::from(3);
            }
        };
        match runtime.block_on(self.run(&world, &scenario)) {
            Ok(None) => ExitCode::SUCCESS,
            Ok(Some(outcome)) if outcome.is_right => {
                say(&format!("right   {}", scenario.title));
                ExitCode::SUCCESS
            }
            Ok(Some(outcome)) => {
                for fault in &outcome.faults {
                    say(&format!("wrong   {fault}"));
                }
                ExitCode::FAILURE
            }
            Err(error) => {
                complain(&format!("{error:#}"));
                ExitCode::from(3)
            }
        }
    }

    /// Plays; `None` when stopped from outside.
    async fn run(&self, world: &World, scenario: &Scenario) -> anyhow::Result<Option<Outcome>> {
        let clock = Clock::emulated(self.speed);
        let data = tempfile::tempdir().context("no temporary directory")?;
        say(&format!("lab     {}: {}", scenario.id, scenario.title));
        say(&format!(
            "lab     speed {}, seed {}, {} targets, {} agents",
            self.speed,
            self.seed,
            world.targets.len(),
            world.agents.len()
        ));
        if let Some(webhooks) = &self.webhooks {
            copy_webhooks(webhooks, data.path())?;
        }
        let net = Net::start(world, clock, self.seed)?;
        let mut fleet = Fleet::start(world, &net, clock, data.path(), self.feed_listen).await?;
        say(&format!("page    http://{}/", fleet.feed_address()));
        say(&format!("feed    faultline watch --feed http://{}", fleet.feed_address()));
        if let Some(address) = fleet.metrics_address() {
            say(&format!("metrics http://{address}/metrics"));
        }
        let rules = Rules { exit_on_verdict: self.exit_on_verdict, deadline: Duration::from_secs(self.deadline) };
        let mut told = say_owned;
        let outcome = tokio::select! {
            outcome = Play::run(scenario, &net, &mut fleet, clock, rules, &mut told) => Some(outcome),
            _ = tokio::signal::ctrl_c() => None,
        };
        if let Some(Ok(outcome)) = &outcome {
            let ending = if outcome.is_right { "the feed told the truth" } else { "the feed did not tell the truth" };
            say(&format!("end     {ending}"));
            fleet = Box::pin(self.hold(fleet)).await?;
        }
        fleet.stop().await;
        net.shutdown().await;
        outcome.transpose()
    }

    /// Keeps everything running. A hangup signal restarts the coordinator, as an upgrade would.
    async fn hold(&self, mut fleet: Fleet) -> anyhow::Result<Fleet> {
        let hold = match self.hold {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None if self.exit_on_verdict => return Ok(fleet),
            None => None,
        };
        let mut hangups = signal(SignalKind::hangup())?;
        say(&format!(
            "hold    http://{}/ stays up{}",
            fleet.feed_address(),
            if hold.is_none() { " until Ctrl-C" } else { "" }
        ));
        let over = async {
            match hold {
                Some(hold) => tokio::time::sleep(hold).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Ok(fleet),
                _ = tokio::signal::ctrl_c() => return Ok(fleet),
                _ = fleet.agent_ended() => return Ok(fleet),
                _ = hangups.recv() => {}
            }
            fleet = fleet.restart_coordinator().await?;
            say(&format!("again   http://{}/ is back", fleet.feed_address()));
        }
    }
}

/// Puts the files of webhooks where the coordinator looks for them.
fn copy_webhooks(from: &Path, data: &Path) -> anyhow::Result<()> {
    let to = data.join("webhooks");
    std::fs::create_dir(&to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("--webhooks {}", from.display()))? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn list(world: &World) -> ExitCode {
    match scenario::built_in(world) {
        Ok(scenarios) => {
            for scenario in scenarios.iter().filter(|scenario| scenario.can_be_played_as(Way::Packets)) {
                say(&format!("{:34} {}", scenario.id, scenario.title));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the play calls")]
fn say_owned(line: String) {
    say(&line);
}
