//! A day without a coordinator, in fast time: what an agent's spool holds after it, and how it comes back.
//!
//! The agent is the real one with a real spool on disk, and so are coordinator and sockets; the day alone is written: batches
//! at the nominal rate, sealed one after the other in the past, straight into the spool.
//!
//! Rules: everything arrives, or is told as lost; what is seen after the return does not wait for the day to drain: no more
//! backfill reaches the log between the sealing of a live batch and its own arrival than may be in flight twice.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use faultline_agent::{
    Config,
    batch::Sealed,
    config::{SpoolPlace, Starvation},
    spool::{self, OpenError, Spool, Stamp},
    status,
};
use faultline_coordinator::{
    access::Policy,
    catalog::CatalogSource,
    serve::{Coordinator, Options},
};
use faultline_proto::{
    agent::v1::Lane,
    clock::Clock,
    convert,
    types::v1::{Outcome, ProbeResult},
};
use tokio::{sync::watch, task::JoinSet, time};

use super::{
    Report,
    account::Account,
    books::{self, Arrival, Books},
    stage::{self, Duty, Stage},
};
use crate::world::Agent;

/// What to do.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How long the agent was cut off.
    pub hours: u32,
    /// Results a second of that time.
    pub rate: f64,
    /// Where everything goes that is to be kept.
    pub keep: Option<PathBuf>,
}

/// A batch of the day is of so many seconds, as live ones are.
const BATCH: Duration = Duration::from_secs(2);
/// Batches of the day that wait for the spool at most.
const LINE: usize = 512;
/// What may be in flight of a session, as the coordinator tells it.
const IN_FLIGHT: usize = 8;
/// The drain must be so many times faster than the day was.
const FASTER: f64 = 10.0;
/// Each wait here takes seconds; this is a hang.
const HANG: Duration = Duration::from_mins(5);

/// Runs it; `told` hears of the progress.
pub async fn run(setup: &Setup, told: &mut dyn FnMut(String)) -> anyhow::Result<Report> {
    let (folder, _guard) = stage::folder(setup.keep.as_deref())?;
    let stage = Stage::build(&folder, None, 1, 1).await?;
    let clock = Clock::system();
    let coordinator = Coordinator::start(Options {
        data_dir: stage.data(),
        catalogs: vec![CatalogSource::File(stage.data().join("catalog.toml"))],
        agents_listen: ([127, 0, 0, 1], 0).into(),
        feed_listen: ([127, 0, 0, 1], 0).into(),
        access: Policy::default(),
        metrics_listen: None,
        clock,
        with_agent: false,
        publishers: None,
        claims: None,
        webhooks: true,
        retention: faultline_coordinator::retention::Retention::default(),
    })
    .await?;
    stage.net.set_coordinator(coordinator.agents_address);
    let agent = &stage.world.agents[0];
    let config = config(&stage, agent)?;

    told("before  the agent joins, and learns what to probe".into());
    let first = Living::start(config.clone(), clock);
    first.wait(|status| status.assignments.in_force > 0 && status.spool.made_results > 0).await?;
    first.end().await?;

    let day = Duration::from_hours(u64::from(setup.hours));
    let wanted = (day.as_secs_f64() * setup.rate).round();
    told(format!("cut off {} h: {wanted} results go into the spool", setup.hours));
    let began = time::Instant::now();
    store(&config, clock, day, setup.rate).await?;
    told(format!("cut off stored in {:.1} s", began.elapsed().as_secs_f64()));

    let returned = clock.now_micros();
    let second = Living::start(config, clock);
    second.wait(|status| status.spool.backfill_batches > 0).await?;
    told("back    what is seen from here on is live".into());
    second.wait(|status| status.spool.backfill_batches == 0).await?;
    // And some of it after the drain.
    let made = second.status().await?.spool.made_results;
    second.wait(|status| status.spool.made_results > made + 20).await?;
    second.end().await?;
    coordinator.stop().await;

    let targets = stage.world.targets.len();
    let logged =
        books::log(&stage.data(), &stage.connecting()).await?.remove(&agent.id).context("nothing was logged")?;
    let books = Books {
        agent: agent.id.clone(),
        spool: books::spool(&folder.join(&agent.id))?,
        logged: logged.batches,
        connecting: logged.connecting,
        visits: stage.net.visits(agent),
        deaths: 0,
    };
    let account = Account::of(&books, u64::try_from(targets)?);
    let drain = Drain::of(&logged.arrivals, returned);
    let mut faults = account.faults.clone();
    faults.extend(drain.faults(setup.rate));
    stage.net.shutdown().await;
    Ok(Report { text: drain.text(&account, setup.rate), faults })
}

/// The agent's configuration, in one process with the targets.
fn config(stage: &Stage, agent: &Agent) -> anyhow::Result<Config> {
    let mut config = Config::read(&stage.folder.join(&agent.id).join(Duty::Probing.file()))?;
    config.probe.starvation = Starvation::Ignored;
    ensure!(config.spool.place != SpoolPlace::Memory, "the spool must be on disk");
    Ok(config)
}

/// Fills the spool with a day.
async fn store(config: &Config, clock: Clock, day: Duration, rate: f64) -> anyhow::Result<()> {
    let spool = time::timeout(HANG, free(config, clock)).await.context("the spool stays in use")??;
    ensure!(spool.is_durable(), "the spool is in memory");
    let now = clock.now_micros();
    let mut results = 0.0;
    let mut ago = day;
    while let Some(next) = ago.checked_sub(BATCH) {
        ago = next;
        let sealed_at = now - i64::try_from(ago.as_micros())?;
        results += BATCH.as_secs_f64() * rate;
        let count = whole(results);
        results -= f64::from(count);
        let since = sealed_at - i64::try_from(BATCH.as_micros())?;
        let spacing = (sealed_at - since) / i64::from(count.max(1));
        let results = (0..count).map(|n| result(since + i64::from(n) * spacing)).collect();
        spool.made(u64::from(count));
        spool.push(Sealed { since, facts: Vec::new(), results }, Stamp { now: sealed_at, ..Stamp::default() });
        while spool.view().line > LINE {
            spool.changed().await;
        }
    }
    spool.close().await;
    Ok(())
}

/// The spool, once the agent's last task has let go of it.
async fn free(config: &Config, clock: Clock) -> Result<Spool, OpenError> {
    loop {
        match spool::open(config, clock) {
            Err(OpenError::Taken(_)) => stage::soon().await,
            opened => return opened,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few results a batch")]
fn whole(results: f64) -> u32 {
    results.floor() as u32
}

/// A run of the first slot that was skipped for a reason of the agent's own: nothing that targets must have seen.
fn result(started_at: i64) -> ProbeResult {
    let started_at = Some(convert::timestamp(started_at));
    let reason = faultline_proto::types::v1::Reason::Overloaded.into();
    ProbeResult {
        slot: 1,
        started_at,
        outcome: Outcome::Unmeasured.into(),
        reason,
        attempt: 1,
        ..ProbeResult::default()
    }
}

/// An agent as a task.
struct Living {
    task: JoinSet<Result<(), faultline_agent::AgentError>>,
    stop: watch::Sender<bool>,
    socket: PathBuf,
}

impl Living {
    fn start(config: Config, clock: Clock) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let socket = config.status_socket.clone().unwrap_or_default();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let shutdown = async move { drop(stopped.wait_for(|stop| *stop).await) };
            faultline_agent::run(config, clock, shutdown).await
        });
        Self { task, stop, socket }
    }

    async fn status(&self) -> anyhow::Result<status::Status> {
        Ok(status::ask(&self.socket).await?)
    }

    async fn wait(&self, is_wanted: impl Fn(&status::Status) -> bool) -> anyhow::Result<()> {
        let wanted = async {
            // It may not answer yet.
            while !status::ask(&self.socket).await.is_ok_and(|status| is_wanted(&status)) {
                stage::soon().await;
            }
        };
        time::timeout(HANG, wanted).await.context("the agent does not come to it")
    }

    async fn end(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.task.join_next().await.context("no agent")???;
        Ok(())
    }
}

/// How the day came in, and what came in beside it.
struct Drain {
    backfill_results: u64,
    /// From the first to the last of it.
    took: Duration,
    /// From sealing to the log, of live batches that were sealed while it came in.
    waits: Vec<Duration>,
    /// Most backfill batches that came in while one of them waited.
    overtaken_by: usize,
}

impl Drain {
    fn of(arrivals: &[Arrival], returned: i64) -> Self {
        let backfill: Vec<&Arrival> = arrivals.iter().filter(|arrival| arrival.lane == Lane::Backfill).collect();
        let received = |arrival: Option<&&Arrival>| arrival.map_or(0, |arrival| arrival.received_at);
        let (first, last) = (received(backfill.first()), received(backfill.last()));
        let mut drain = Self {
            backfill_results: backfill.iter().map(|arrival| arrival.results).sum(),
            took: micros(last - first),
            waits: Vec::new(),
            overtaken_by: 0,
        };
        for (place, live) in arrivals.iter().enumerate() {
            if live.lane != Lane::Live || live.sealed_at < returned.max(first) || live.sealed_at > last {
                continue;
            }
            drain.waits.push(micros(live.received_at - live.sealed_at));
            let meanwhile = arrivals[..place].iter().rev().take_while(|earlier| earlier.received_at > live.sealed_at);
            let by = meanwhile.filter(|earlier| earlier.lane == Lane::Backfill).count();
            drain.overtaken_by = drain.overtaken_by.max(by);
        }
        drain.waits.sort();
        drain
    }

    fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.backfill_results).unwrap_or(u32::MAX)) / self.took.as_secs_f64().max(0.001)
    }

    fn faults(&self, rate: f64) -> Vec<String> {
        let mut faults = Vec::new();
        if self.waits.is_empty() {
            faults.push("no live batch came in while the day drained".into());
        }
        if self.overtaken_by > 2 * IN_FLIGHT {
            faults.push(format!("a live batch waited for {} batches of the day", self.overtaken_by));
        }
        if self.rate() < FASTER * rate {
            faults.push(format!("drained at {:.0} results/s, the day had {rate:.1}", self.rate()));
        }
        faults
    }

    fn text(&self, account: &Account, rate: f64) -> String {
        let mut text = String::new();
        let mut line = |what: &str, words: String| writeln!(text, "{what:8}{words}").unwrap_or_default();
        let lost: u64 = account.lost.values().sum();
        line("results", format!("made {}, logged {}, lost {lost}", account.made, account.logged));
        let (times, took) = (self.rate() / rate, self.took.as_secs_f64());
        line(
            "drain",
            format!(
                "{} results in {took:.1} s, {times:.0} times as fast as they were made; goal 10",
                self.backfill_results
            ),
        );
        if let (Some(median), Some(worst)) = (self.waits.get(self.waits.len() / 2), self.waits.last()) {
            let (median, worst) = (median.as_secs_f64(), worst.as_secs_f64());
            let (count, by) = (self.waits.len(), self.overtaken_by);
            line(
                "live",
                format!(
                    "{count} batches meanwhile: median {median:.2} s from sealing to the log, worst {worst:.2} s; goal 2 s"
                ),
            );
            line("", format!("at most {by} batches of the day came in while one of them waited"));
        }
        text
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}
