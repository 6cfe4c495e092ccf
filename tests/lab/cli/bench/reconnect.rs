//! `faultline-lab bench reconnect`: a herd, and what it must not exceed.

use anyhow::{Context as _, ensure};
use clap::Args;
use faultline_lab::{
    herd::{self, Herd},
    load::usage,
    stage,
};

use crate::cli::{complain, say};

/// What 5,000 agents may take. Source: fault table of the design notes, row 9, and the ingest goal of 512 MiB.
const BACK_S: f64 = 60.0;
const AT_REST_KIB: u64 = 512 << 10;
const PEAK_KIB: u64 = 1536 << 10;

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab bench reconnect\n  faultline-lab bench reconnect --agents 500\n\nThe coordinator is a process of its own on loopback; it is killed and started again in the same moment, and the\nagents come back as real ones do, after a random pause of up to 0.5 s, 1 s, 2 s ... 60 s.\nExit codes: 0 within bounds, 2 wrong usage, 3 could not be run or was not within bounds"
)]
pub(super) struct Reconnect {
    /// Agents
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=9000))]
    agents: u32,
}

impl Reconnect {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if cfg!(debug_assertions) {
            complain("built without optimisation: use cargo run --release, or these figures mean little");
        }
        let program = std::env::current_exe().context("the path of this program")?;
        let data = tempfile::tempdir()?;
        stage::prepare(data.path())?;
        say(&usage::machine());
        let runtime = tokio::runtime::Runtime::new()?;
        let herd = runtime.block_on(herd::run(&program, data.path(), usize::try_from(self.agents)?))?;
        for line in lines(&herd) {
            say(&line);
        }
        let slowest = herd.back_s[2];
        ensure!(slowest <= BACK_S, "all were back after {slowest:.1} s, more than {BACK_S} s");
        let (at_rest, peak) = (herd.at_rest.rss.max(herd.after.rss), herd.after.peak);
        ensure!(at_rest <= AT_REST_KIB, "{at_rest} KiB at rest, more than {AT_REST_KIB}");
        ensure!(peak <= PEAK_KIB, "{peak} KiB at the most, more than {PEAK_KIB}");
        Ok(())
    }
}

fn lines(herd: &Herd) -> Vec<String> {
    let mib = |kib: u64| kib >> 10;
    let [half, most, all] = herd.back_s;
    vec![
        format!("{} agents opened in {:.1} s", herd.agents, herd.opened_s),
        format!("coordinator at rest: {} MiB, most {} MiB", mib(herd.at_rest.rss), mib(herd.at_rest.peak)),
        format!("killed and started again: half back after {half:.1} s, 99 % after {most:.1} s, all after {all:.1} s"),
        format!("openings that failed and were tried again: {}", herd.failed),
        format!(
            "coordinator then: {} MiB, most {} MiB, {:.1} s of CPU",
            mib(herd.after.rss),
            mib(herd.after.peak),
            herd.cpu_s
        ),
    ]
}
