//! A full disk, on either side: real processes whose folders are on small file systems of their own, which are filled and
//! emptied again.
//!
//! Rules: while a disk is full probing goes on (targets see it), what is wrong is said where people look, and nobody is
//! acknowledged what is not stored; within `RECOVERY` of the room's return results are stored and confirmed again, and the
//! books add up at the end. Times are printed; what is asserted has ten times as long, since machines are slow.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use faultline_agent::status::{self, Status};
use tokio::time::{self, Instant};

use super::{
    Report, drain, judge,
    process::{self, Running},
    stage::{self, Duty, Stage, Victim, soon},
    torment::Told,
};
use crate::net::Link;

/// What to do.
#[derive(Clone, Debug)]
pub struct Setup {
    /// A file system of the agent's own, some 24 MiB.
    pub agent_disk: PathBuf,
    /// One of the coordinator's own.
    pub coordinator_disk: PathBuf,
    /// Where `faultline` and `faultline-agent` are.
    pub programs: PathBuf,
}

/// What the tables of a spool take, and some.
const TABLES: u64 = 768 << 10;
/// How long a disk stays full.
const FULL: Duration = Duration::from_secs(8);
/// How soon everything must go on after that; the goal.
const RECOVERY: Duration = Duration::from_secs(5);
/// Ten times that is a hang.
const HANG: Duration = Duration::from_secs(50);
/// Runs that targets must have seen of an agent while a disk is full: it makes some 15 a second.
const VISITS: u64 = 20;

/// Runs it; `told` hears of the progress.
pub async fn run(setup: &Setup, told: &mut dyn FnMut(String)) -> anyhow::Result<Report> {
    let (folder, _guard) = stage::folder(None)?;
    let names = stage::world(2, 1).agents.into_iter().map(|agent| agent.id);
    let names: Vec<String> = names.collect();
    link(&setup.coordinator_disk, &folder.join(stage::DATA))?;
    std::fs::create_dir_all(folder.join(&names[0]))?;
    link(&setup.agent_disk, &folder.join(&names[0]).join(stage::STATE))?;
    let stage = Stage::build(&folder, Some(&setup.programs), 2, 1).await?;
    let mut scene = Scene { coordinator: serve(&stage).await?, agents: Vec::new(), stage: &stage, faults: Vec::new() };
    // Room for the tables, and for no reserve.
    let mut fill = Fill::up(&setup.agent_disk)?;
    fill.give_back(TABLES)?;
    for n in 0..2 {
        scene.agents.push(stage.program(Victim::Agent(n), Duty::Probing).start(None)?);
    }
    scene.wait(0, "it probes", |status| status.spool.made_results > 0).await?;
    scene.wait(1, "it stores and is confirmed", flows).await?;

    told("full    the agent's disk, and no coordinator that would make room by confirming".into());
    stage.hold_link(0, Link::Refused);
    let is_told = |status: &Status| status.spool.trouble.is_some() && status.spool.line_batches > 0;
    scene.wait_full(&mut fill, 0, is_told).await?;
    scene.stays_full(&mut fill, 0).await?;
    told(said(&scene.status(0).await?));
    let took =
        scene.recovers(fill, 0, |status| status.spool.trouble.is_none() && status.spool.line_batches < 3).await?;
    told(format!("room    stored again after {:.1} s", took.as_secs_f64()));
    stage.release_link(0);
    scene.wait(0, "it is confirmed again", flows).await?;

    told("full    the coordinator's disk".into());
    let mut fill = Fill::up(&setup.coordinator_disk)?;
    scene.stays_full(&mut fill, 0).await?;
    scene.coordinator_says(&mut fill, told).await?;
    let took = scene.recovers(fill, 0, flows).await?;
    scene.wait(1, "it is confirmed again", flows).await?;
    told(format!("room    stored and confirmed again after {:.1} s", took.as_secs_f64()));

    let Scene { coordinator, agents, mut faults, .. } = scene;
    faults.extend(drain(&stage, coordinator, agents).await?);
    let result = judge(&stage, &Told { announced: vec![LOGGED], ..Told::default() }).await?;
    faults.extend(result.faults);
    stage.net.shutdown().await;
    Ok(Report { text: result.text, faults })
}

/// A coordinator that serves.
async fn serve(stage: &Stage) -> anyhow::Result<Running> {
    let mut coordinator = stage.program(Victim::Coordinator, Duty::Probing).start(None)?;
    let address = coordinator.hear("agents").await?.context("the coordinator does not serve")?;
    stage.net.set_coordinator(address.parse()?);
    let page = coordinator.hear("page").await?.context("the coordinator has no page")?;
    stage.set_page(page.trim_end_matches('/').trim_start_matches("http://"));
    Ok(coordinator)
}

/// Whether an agent's results are stored and confirmed as they come.
fn flows(status: &Status) -> bool {
    let spool = &status.spool;
    let waits = spool.live_batches + spool.backfill_batches;
    spool.is_durable && spool.trouble.is_none() && spool.line_batches < 3 && waits < 5 && spool.made_results > 30
}

struct Scene<'a> {
    coordinator: Running,
    agents: Vec<Running>,
    stage: &'a Stage,
    faults: Vec<String>,
}

impl Scene<'_> {
    async fn status(&self, agent: usize) -> anyhow::Result<Status> {
        Ok(status::ask(&self.stage.socket(agent)).await?)
    }

    async fn wait(&self, agent: usize, what: &str, is_so: impl Fn(&Status) -> bool) -> anyhow::Result<()> {
        let so = async {
            while !self.status(agent).await.is_ok_and(|status| is_so(&status)) {
                soon().await;
            }
        };
        let came = time::timeout(HANG, so).await;
        came.with_context(|| {
            let log = self.stage.log(Victim::Agent(agent));
            format!("agent {agent}: not so that {what}; its log: {}", log.display())
        })
    }

    /// Keeps a disk full for a while, in which probing must go on.
    async fn stays_full(&mut self, fill: &mut Fill, agent: usize) -> anyhow::Result<()> {
        let visits = || self.stage.net.visits(&self.stage.world.agents[agent]);
        let (before, began) = (visits(), Instant::now());
        while began.elapsed() < FULL || (visits() < before + VISITS && began.elapsed() < HANG) {
            fill.top_up()?;
            soon().await;
        }
        let seen = visits() - before;
        if seen < VISITS {
            self.faults.push(format!("targets saw {seen} runs of agent {agent} while a disk was full"));
        }
        Ok(())
    }

    /// Nothing is confirmed while the coordinator cannot store, and it says why.
    async fn coordinator_says(&mut self, fill: &mut Fill, told: &mut dyn FnMut(String)) -> anyhow::Result<()> {
        let first = self.status(0).await?;
        let began = Instant::now();
        while began.elapsed() < FULL {
            fill.top_up()?;
            soon().await;
        }
        let then = self.status(0).await?;
        if then.spool.live_batches + then.spool.backfill_batches
            <= first.spool.live_batches + first.spool.backfill_batches
        {
            self.faults.push("batches were confirmed while the log's disk was full".into());
        }
        if then.coordinator.session != status::Session::Up {
            self.faults.push(format!("the session did not live through it: {:?}", then.coordinator.session));
        }
        let page = crate::stage::page(&self.stage.page())?;
        match page.split(['<', '>', '"']).find(|text| text.contains(SAYS)) {
            Some(said) => told(format!("        the page: {said}")),
            None => self.faults.push(format!("the page does not say {SAYS:?}")),
        }
        if !page.contains(UP) {
            self.faults.push(format!("the page does not say {UP:?}: agents wait for the coordinator's disk"));
        }
        let logged = process::lines_at("ERROR", &self.stage.log(Victim::Coordinator))?;
        if !logged.iter().any(|line| line.contains(LOGGED)) {
            self.faults.push(format!("the coordinator did not log {LOGGED:?}"));
        }
        Ok(())
    }

    /// Keeps a disk full until an agent says so.
    async fn wait_full(&self, fill: &mut Fill, agent: usize, is_so: impl Fn(&Status) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.status(agent).await.is_ok_and(|status| is_so(&status)) {
            ensure!(
                began.elapsed() < HANG,
                "agent {agent} does not say that its disk is full: {:?}",
                self.status(agent).await
            );
            fill.top_up()?;
            soon().await;
        }
        Ok(())
    }

    /// Gives the room back. Returns how long it takes until all is well again.
    async fn recovers(&self, fill: Fill, agent: usize, is_well: impl Fn(&Status) -> bool) -> anyhow::Result<Duration> {
        drop(fill);
        let began = Instant::now();
        self.wait(agent, "all is well once there is room", is_well).await?;
        let took = began.elapsed();
        if took > RECOVERY {
            // The machine may be slow: the figure is printed, and the hang guard is the judge.
            tracing::warn!(?took, "slow recovery");
        }
        Ok(took)
    }
}

/// What `faultline-agent status` says of the spool.
fn said(status: &Status) -> String {
    let text = status::text(status);
    let spool = text.lines().skip_while(|line| !line.starts_with("spool")).take(4);
    spool.map(|line| format!("        | {line}")).collect::<Vec<_>>().join("\n")
}

/// What the page says of a log that takes nothing.
const SAYS: &str = "cannot be written";
/// And of the agents meanwhile.
const UP: &str = "2 up, 0 silent";
/// What the coordinator's own log says of it.
const LOGGED: &str = "log cannot be written: nothing is acknowledged";

fn link(disk: &Path, at: &Path) -> anyhow::Result<()> {
    let disk = disk.canonicalize().with_context(|| disk.display().to_string())?;
    ensure!(
        std::fs::read_dir(&disk)?.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "lost+found")),
        "{} is not empty",
        disk.display()
    );
    symlink(&disk, at).with_context(|| at.display().to_string())
}

/// A file that takes all the room of a disk until it is dropped.
struct Fill {
    path: PathBuf,
    file: File,
}

impl Fill {
    fn up(disk: &Path) -> anyhow::Result<Self> {
        let path = disk.join("fill");
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let mut all = Self { path, file };
        all.top_up()?;
        Ok(all)
    }

    /// Makes some room.
    fn give_back(&mut self, bytes: u64) -> anyhow::Result<()> {
        Ok(self.file.set_len(self.file.metadata()?.len().saturating_sub(bytes))?)
    }

    /// Takes what has become free.
    fn top_up(&mut self) -> anyhow::Result<()> {
        for size in [1 << 20, 4096, 1] {
            let block = vec![7; size];
            loop {
                match self.file.write(&block) {
                    Ok(written) if written == size => {}
                    Ok(_) => break,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).with_context(|| self.path.display().to_string()),
                }
            }
        }
        Ok(())
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}
