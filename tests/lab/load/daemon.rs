//! The daemon: how soon it probes, how punctually, and what it holds.
//!
//! Start and punctuality are the real program's, at 200 probes a second; its memory is measured after a round of its targets at
//! 30 s, in real time, beside a second agent (the library, in a process of its own) whose clock runs faster, so that it does
//! an hour's worth of probes. Both report to a coordinator's stand-in ([`server`](super::server)).
//!
//! Rule: what did not pass is told beside the figures: a machine that is out of breath must not pass for a light agent.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use faultline_agent::{Config, config::Starvation};
use faultline_proto::clock::Clock;
use serde::Serialize;
use tokio::time::{self, Instant};

use super::{
    Places,
    part::{self, Kept, Part},
    server::{Ask, Plan, Seen},
    usage::{self, Memory},
};
use crate::score::stats;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The agent's program.
    pub agent: PathBuf,
    /// How often it is started.
    pub runs: usize,
    /// How many targets it has.
    pub targets: u32,
    /// How long it probes after each start.
    pub punctual: Duration,
    /// How many times faster than life the hour goes by.
    pub speed: f64,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// Targets.
    pub targets: u32,
    /// From the start of the process to its session, milliseconds, each run.
    pub session_ms: Vec<f64>,
    /// From the start of the process to the first packet of its first probe, milliseconds, each run.
    pub first_probe_ms: Vec<f64>,
    /// How late runs were at 200 a second, milliseconds: median, 99th percentile and worst of each run.
    pub late_ms: Vec<[f64; 3]>,
    /// Runs so measured, over all.
    pub punctual_runs: usize,
    /// What the program holds once every target was probed, at 30 s each.
    pub held: Memory,
    /// The hour.
    pub hour: Hour,
    /// Results that did not pass, and refusals and skipped runs, over everything above.
    pub not_passed: Vec<String>,
}

/// An hour in fast time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Hour {
    /// How many times faster than life.
    pub speed: f64,
    /// Results that passed.
    pub passed: u64,
    /// Resident memory, KiB: medians of minutes 10 to 20, and of 50 to 60.
    pub rss_kib: [f64; 2],
    /// CPU that the hour's probing took, seconds.
    pub cpu_s: f64,
}

/// Measures; `step` is called before each part.
pub async fn measure(setup: &Setup, folder: &Path, mut step: impl FnMut(String)) -> anyhow::Result<Measured> {
    ensure!(setup.agent.is_file(), "no agent at {}: cargo build --release -p faultline-agent", setup.agent.display());
    let mut measured = Measured { targets: setup.targets, ..Measured::default() };
    let mut stage = Stage::new(folder.join("real")).await?;
    for run in 0..setup.runs {
        step(format!("start and punctuality, run {}", run + 1));
        punctual(setup, &mut stage, u64::try_from(run)?, &mut measured).await?;
    }
    step(format!("memory at {} targets, and an hour at {} x", setup.targets, setup.speed));
    let mut fast = Stage::new(folder.join("fast")).await?;
    let (held, hour) = tokio::join!(held(setup, &mut stage), hour(setup, &mut fast));
    let (held, seen) = held?;
    measured.held = held;
    measured.doubts("at 30 s", &seen);
    let (hour, seen) = hour?;
    measured.hour = hour;
    measured.doubts("in fast time", &seen);
    Ok(measured)
}

/// Probes a second at which punctuality is measured.
const RATE: u32 = 200;

/// One start, and how punctual what follows is.
async fn punctual(setup: &Setup, stage: &mut Stage, run: u64, measured: &mut Measured) -> anyhow::Result<()> {
    let interval = Duration::from_secs(1) * setup.targets / RATE;
    stage.assign(Plan { targets: setup.targets, interval, timeout: interval.min(TIMEOUT), seed: run }).await?;
    let agent = stage.agent(&setup.agent).await?;
    let began = Instant::now();
    while stage.seen().await?.first_run_micros.is_none() {
        let said = || part::last_words(&stage.log());
        ensure!(began.elapsed() < PATIENCE, "the agent has not probed within {PATIENCE:?}: {}", said());
        time::sleep(Duration::from_millis(20)).await;
    }
    time::sleep(setup.punctual).await;
    let seen = stage.seen().await?;
    let since = |at: Option<i64>| {
        let at = at.context("no session")?;
        anyhow::Ok(Duration::from_micros(u64::try_from(at - agent.started_micros)?).as_secs_f64() * 1e3)
    };
    measured.session_ms.push(since(seen.joined_micros)?);
    measured.first_probe_ms.push(since(seen.first_run_micros)?);
    measured.late_ms.extend(seen.late_ms);
    measured.punctual_runs += seen.runs;
    measured.doubts("at 200 probes/s", &seen);
    agent.end().await
}

/// What the real program holds after a round of its targets.
async fn held(setup: &Setup, stage: &mut Stage) -> anyhow::Result<(Memory, Seen)> {
    stage.assign(Plan { targets: setup.targets, interval: INTERVAL, timeout: TIMEOUT, seed: 0 }).await?;
    let agent = stage.agent(&setup.agent).await?;
    // A round, and what is left of the last runs of it.
    time::sleep(INTERVAL + TIMEOUT).await;
    let held = usage::memory(agent.pid)?;
    let seen = stage.seen().await?;
    agent.end().await?;
    Ok((held, seen))
}

/// An hour in fast time.
async fn hour(setup: &Setup, stage: &mut Stage) -> anyhow::Result<(Hour, Seen)> {
    stage.assign(Plan { targets: setup.targets, interval: INTERVAL, timeout: PATIENT, seed: 0 }).await?;
    let (config, speed) = (stage.config.as_os_str().to_owned(), setup.speed.to_string().into());
    let agent = Part::start(&["daemon".into(), "--config".into(), config, "--speed".into(), speed], stage.new_log()?)?;
    let began = Instant::now();
    let mut samples = Vec::new();
    while began.elapsed() < HOUR.div_f64(setup.speed) {
        time::sleep(SAMPLE).await;
        samples.push((began.elapsed().mul_f64(setup.speed), usage::memory(agent.pid)?.rss));
    }
    let between = |from: u64, to: u64| {
        let window = Duration::from_mins(from)..Duration::from_mins(to);
        let held = samples.iter().filter(|(at, _)| window.contains(at));
        let held: Vec<f64> = held.map(|(_, rss)| stats::real(usize::try_from(*rss).unwrap_or_default())).collect();
        stats::quantile(&held, 0.5).context("no samples")
    };
    let rss_kib = [between(10, 20)?, between(50, 60)?];
    let cpu_s = Duration::from_nanos(usage::cpu_ns(agent.pid)?).as_secs_f64();
    let seen = stage.seen().await?;
    agent.end().await?;
    Ok((Hour { speed: setup.speed, passed: seen.passed, rss_kib, cpu_s }, seen))
}

/// Fifty in ten minutes at the usual speed.
const SAMPLE: Duration = Duration::from_millis(200);
const HOUR: Duration = Duration::from_hours(1);
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Half a second of life at the usual speed: what is measured is memory, not this machine's breath.
const PATIENT: Duration = Duration::from_secs(29);
const PATIENCE: Duration = Duration::from_secs(20);

impl Measured {
    fn doubts(&mut self, when: &str, seen: &Seen) {
        let mut doubts: Vec<String> = seen.not_passed.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let counts = [(seen.skipped, "runs skipped"), (u64::try_from(seen.refused).unwrap_or_default(), "refused")];
        doubts.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        self.not_passed.extend((!doubts.is_empty()).then(|| format!("{when}: {}", doubts.join(", "))));
    }
}

/// Servers, and the files of an agent that reports to them.
struct Stage {
    server: Part,
    folder: PathBuf,
    config: PathBuf,
}

impl Stage {
    async fn new(folder: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut server = Part::start(&["server"], Stdio::inherit())?;
        let places: Places = server.ask(&Ask::Places).await?;
        for (name, text) in
            [("ca.pem", &places.ca_pem), ("agent.pem", &places.agent_pem), ("agent.key", &places.agent_key)]
        {
            std::fs::write(folder.join(name), text)?;
        }
        let config = folder.join("agent.toml");
        std::fs::write(&config, agent_toml(&places))?;
        Ok(Self { server, folder, config })
    }

    async fn assign(&mut self, plan: Plan) -> anyhow::Result<()> {
        self.server.ask(&Ask::Assign(plan)).await
    }

    async fn seen(&mut self) -> anyhow::Result<Seen> {
        self.server.ask(&Ask::Seen).await
    }

    async fn agent(&self, program: &Path) -> anyhow::Result<Kept> {
        Kept::start(program, &["run".as_ref(), "--config".as_ref(), self.config.as_os_str()], self.new_log()?).await
    }

    fn log(&self) -> PathBuf {
        self.folder.join("agent.log")
    }

    fn new_log(&self) -> std::io::Result<std::fs::File> {
        std::fs::File::create(self.log())
    }
}

/// As `faultline agent issue` writes it, and what loopback needs. The system's roots are there, as they are in the field.
fn agent_toml(places: &Places) -> String {
    let Places { sessions, dns, .. } = places;
    format!(
        "[[coordinator]]\nendpoint = \"https://{sessions}\"\nca = \"ca.pem\"\ncertificate = \"agent.pem\"\nkey = \"agent.key\"\n\
         [probe]\nresolvers = [\"{dns}\"]\nroots = \"ca.pem\"\n\
         [policy]\nmin_interval = \"1s\"\nallow_loopback = true\nports = \"any\"\n\
         max_probes_per_second = 1000\nmax_target_probes_per_minute = 10000\n"
    )
}

/// Runs the library's agent by a clock of that speed until standard input ends.
pub async fn main(config: &Path, speed: f64) -> anyhow::Result<()> {
    let mut config = Config::read(config)?;
    // By a fast clock, every hiccup of the machine is a long one.
    config.probe.starvation = Starvation::Ignored;
    Ok(faultline_agent::run(config, Clock::emulated(speed), part::input_ended()).await?)
}

/// Median, lowest and highest.
pub fn spread(values: &[f64]) -> Option<[f64; 3]> {
    let [low, middle, high] = [0.0, 0.5, 1.0].map(|q| stats::quantile(values, q));
    Some([middle?, low?, high?])
}
