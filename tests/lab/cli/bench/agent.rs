//! `faultline-lab bench agent`, and the parts of the benches that run in processes of their own.

use std::{ffi::OsString, path::PathBuf, process::Stdio, time::Duration};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use faultline_lab::{
    alone,
    ingest::{append, fleet},
    load::{
        Kind, Places, blackbox, daemon,
        part::{self, Part as Running},
        prober,
        report::Report,
        server::{self, Ask},
        side, usage,
    },
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::{complain, say};

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab bench agent\n  faultline-lab bench agent --only probes --blackbox ./prometheus-blackbox-exporter -o json\n\nServers, probers and the daemon are processes of their own on loopback; only the prober's CPU is counted.\nTakes two minutes. Exit codes: 0 measured, 2 wrong usage, 3 could not be run (or a probe did not pass)"
)]
pub(super) struct Agent {
    /// Program of a peer; repeats [default: the one on the path]
    #[arg(long, value_name = "PATH")]
    blackbox: Vec<PathBuf>,
    /// Program of the agent [default: the one beside this program]
    #[arg(long = "agent", value_name = "PATH")]
    program: Option<PathBuf>,
    /// Measure this alone
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Kinds of probes
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kind::ALL)]
    kinds: Vec<Kind>,
    /// Runs, each of everybody
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    runs: u8,
    /// How long each prober probes a kind in a run, in five turns
    #[arg(long, default_value = "500ms", value_parser = slice)]
    slice: Duration,
    /// Probes at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    concurrency: u8,
    /// Targets of the daemon
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(200..=1000))]
    targets: u32,
    /// How many times faster than life the daemon's hour goes by
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=1000))]
    speed: u32,
    /// How to print what was measured
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    /// CPU a probe
    Probes,
    /// Memory, start and punctuality
    Daemon,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Output {
    Table,
    Json,
}

/// A part of a bench.
#[derive(Debug, Args)]
pub(super) struct Part {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The servers
    Server,
    /// The agent's prober
    Agent,
    /// A bare loop
    Bare,
    /// The agent by a fast clock
    Daemon {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        speed: f64,
    },
    /// A coordinator on the stage's catalog
    Coordinator {
        #[arg(long)]
        data_dir: PathBuf,
        #[arg(long)]
        agents_port: u16,
    },
    /// The agents of `bench ingest`
    Fleet,
    /// A bare append to SQLite
    Append,
    /// A program that ends with this one's input
    Keep {
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

impl Part {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        // The daemon and its prober have one thread in the field; servers may take what there is.
        let mut builder = match self.role {
            Role::Server | Role::Coordinator { .. } => tokio::runtime::Builder::new_multi_thread(),
            _ => tokio::runtime::Builder::new_current_thread(),
        };
        builder.enable_all().build()?.block_on(async {
            match &self.role {
                Role::Server => server::main().await,
                Role::Agent => prober::agent::main().await,
                Role::Bare => prober::bare::main().await,
                Role::Daemon { config, speed } => daemon::main(config, *speed).await,
                Role::Coordinator { data_dir, agents_port } => alone::main(data_dir, *agents_port).await,
                Role::Fleet => fleet::main().await,
                Role::Append => append::main().await,
                Role::Keep { program } => {
                    let (program, arguments) = program.split_first().context("no program")?;
                    part::keep(program, arguments).await
                }
            }
        })
    }
}

impl Agent {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if cfg!(debug_assertions) {
            complain("built without optimisation: use cargo run --release, or these figures mean nothing");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let report = runtime.block_on(self.measure())?;
        match self.output {
            Output::Table => say(report.text().trim_end()),
            Output::Json => say(&serde_json::to_string(&report)?),
        }
        Ok(())
    }

    async fn measure(&self) -> anyhow::Result<Report> {
        let machine = usage::machine();
        let folder = tempfile::tempdir()?;
        let side = side::Setup {
            kinds: self.kinds.clone(),
            blackboxes: if self.blackbox.is_empty() {
                blackbox::installed().into_iter().collect()
            } else {
                self.blackbox.clone()
            },
            runs: usize::from(self.runs),
            slice: self.slice,
            concurrency: usize::from(self.concurrency),
        };
        let beside = std::env::current_exe().context("the path of this program")?.with_file_name("faultline-agent");
        let daemon = daemon::Setup {
            agent: self.program.clone().unwrap_or(beside),
            runs: usize::from(self.runs),
            targets: self.targets,
            punctual: PUNCTUAL,
            speed: f64::from(self.speed),
        };
        let steps = side::steps(&side) + usize::from(self.runs) + 1;
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {msg}")?);
        let step = |what| {
            bar.inc(1);
            bar.set_message(what);
        };
        let probes = if self.only == Some(Only::Daemon) {
            None
        } else {
            let mut servers = Running::start(&["server"], Stdio::inherit())?;
            let places: Places = servers.ask(&Ask::Places).await?;
            let measured = side::measure(&side, &places, folder.path(), step).await?;
            servers.end().await?;
            Some(measured)
        };
        let daemon = match self.only {
            Some(Only::Probes) => None,
            _ => Some(daemon::measure(&daemon, folder.path(), step).await?),
        };
        bar.finish_and_clear();
        Ok(Report::new(machine, usize::from(self.concurrency), probes, daemon))
    }
}

/// A thousand runs: ten beyond the 99th percentile.
const PUNCTUAL: Duration = Duration::from_secs(5);

fn slice(text: &str) -> Result<Duration, String> {
    let slice = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(30);
    if allowed.contains(&slice) { Ok(slice) } else { Err("between 100ms and 30s".into()) }
}
