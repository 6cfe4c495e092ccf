//! Chaos: real processes under load that die at random moments and at named failpoints, behind links that fail, and then the
//! accounting from the files that they leave: `made = logged + losses`.
//!
//! Rules: who dies when is the seed's ([`plan`](self)); what is asserted are the files alone, after everything has healed and
//! ended in order; a failpoint that was planned and not reached is a fault, and so is a process that dies of anything else, or
//! says an ERROR. Clocks are left alone here: their jumps are tested where they are read.

mod account;
mod books;
pub mod disk;
pub mod partition;
mod plan;
mod process;
mod stage;
mod torment;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use faultline_proto::agent::v1::LossReason;
use futures::future;
use tokio::time::{self, Instant};

use self::{
    account::Account,
    books::Books,
    plan::Plan,
    process::Running,
    stage::{Duty, Stage, Victim},
    torment::{Tally, Told, torment, weather},
};

/// What to do.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Processes to kill.
    pub kills: usize,
    /// Decides who dies when, and what links do.
    pub seed: u64,
    /// Agents.
    pub agents: usize,
    /// Where `faultline` and `faultline-agent` are, built with the feature `failpoints`.
    pub programs: PathBuf,
    /// Where everything goes that is to be kept.
    pub keep: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// For people.
    pub text: String,
    /// What is wrong; empty when all is well.
    pub faults: Vec<String>,
}

/// Runs it; `told` hears of the progress.
pub async fn run(setup: &Setup, told: &mut dyn FnMut(String)) -> anyhow::Result<Report> {
    let (folder, _guard) = stage::folder(setup.keep.as_deref())?;
    let stage = Stage::build(&folder, Some(&setup.programs), setup.agents, setup.seed).await?;
    let names = [faultline_agent::failpoints::NAMES, faultline_coordinator::failpoints::NAMES];
    let Plan { coordinator, agents } = Plan::draw(setup.kills, setup.seed, setup.agents, names);
    let tally = Tally::default();
    let began = Instant::now();
    let (coordinator, agents) = {
        let agents = agents.into_iter().enumerate();
        let agents = agents.map(|(n, lives)| torment(Victim::Agent(n), lives, &stage, &tally));
        let coordinator = torment(Victim::Coordinator, coordinator, &stage, &tally);
        let deaths = future::try_join(coordinator, future::try_join_all(agents));
        let links = future::join_all((0..setup.agents).map(|agent| weather(agent, setup.seed, &stage, &tally)));
        let mut progress = time::interval(PROGRESS);
        tokio::pin!(deaths, links);
        loop {
            tokio::select! {
                done = &mut deaths => break done?,
                _ = &mut links => {}
                _ = progress.tick() => {
                    told(format!("chaos   {:3} s: {} of {} deaths", began.elapsed().as_secs(), tally.deaths(), setup.kills));
                }
            }
        }
    };
    told(format!("healing {:3} s: all links are whole, nobody dies any more", began.elapsed().as_secs()));
    for agent in 0..setup.agents {
        stage.release_link(agent);
    }
    let drained = Instant::now();
    let mut faults = drain(&stage, coordinator, agents).await?;
    told(format!("drained {:3} s: after {:?}", began.elapsed().as_secs(), drained.elapsed()));
    let Stage { folder, .. } = &stage;
    let result = judge(&stage, &tally.told()).await.with_context(|| format!("the files in {}", folder.display()))?;
    faults.extend(result.faults);
    stage.net.shutdown().await;
    Ok(Report { text: result.text, faults })
}

const PROGRESS: Duration = Duration::from_secs(10);

/// Ends everything in order, with nothing left to send. Returns what is wrong with that.
async fn drain(stage: &Stage, coordinator: Running, agents: Vec<Running>) -> anyhow::Result<Vec<String>> {
    // Time for a session, whatever pause the last lost one has left behind.
    let mut running = agents;
    let mut faults = Vec::new();
    let began = Instant::now();
    let mut duty = Duty::Probing;
    loop {
        time::sleep(if duty == Duty::Probing { CALM } else { QUIET }).await;
        let stopped = future::join_all(running.drain(..).map(Running::stop)).await;
        faults.extend(stopped.into_iter().filter_map(|stopped| Some(format!("an agent: {:#}", stopped.err()?))));
        let mut waiting = Vec::new();
        for agent in &stage.world.agents {
            let spool = books::spool(&stage.folder.join(&agent.id)).with_context(|| agent.id.clone())?;
            if account::waits(&spool.ledger) > 0 {
                waiting.push(usize::from(agent.number));
            }
        }
        if waiting.is_empty() || began.elapsed() > DRAIN {
            break;
        }
        duty = Duty::Quiet;
        for agent in waiting {
            running.push(stage.program(Victim::Agent(agent), duty).start(None)?);
        }
    }
    if let Err(error) = coordinator.stop().await {
        faults.push(format!("the coordinator: {error:#}"));
    }
    Ok(faults)
}

/// Undisturbed life before the end.
const CALM: Duration = Duration::from_secs(5);
/// And what a quiet agent is given to send what it holds.
const QUIET: Duration = Duration::from_secs(3);
/// A drain that takes longer hangs; the accounting says what is left.
const DRAIN: Duration = Duration::from_mins(1);

/// Draws up the accounts of everybody.
async fn judge(stage: &Stage, told: &Told) -> anyhow::Result<Report> {
    let mut logged = books::log(&stage.data(), &stage.connecting()).await?;
    let mut faults = told.faults.clone();
    faults.extend(told.unreached.iter().map(|name| format!("failpoint {name} was never reached")));
    let mut accounts = Vec::new();
    let targets = u64::try_from(stage.world.targets.len())?;
    for (n, agent) in stage.world.agents.iter().enumerate() {
        let in_log = logged.remove(&agent.id).unwrap_or_default();
        let books = Books {
            agent: agent.id.clone(),
            spool: books::spool(&stage.folder.join(&agent.id))?,
            logged: in_log.batches,
            connecting: in_log.connecting,
            visits: stage.net.visits(agent),
            deaths: u64::try_from(told.deaths_of(n))?,
        };
        let account = Account::of(&books, targets);
        faults.extend(account.faults.iter().cloned());
        accounts.push((agent.id.as_str(), account, books.visits));
    }
    faults.extend(logged.keys().map(|agent| format!("the log has an agent {agent} that nobody issued")));
    for victim in [Victim::Coordinator].into_iter().chain((0..stage.world.agents.len()).map(Victim::Agent)) {
        let mut errors = process::lines_at("ERROR", &stage.log(victim))?;
        errors.retain(|line| !told.announced.iter().any(|announced| line.contains(announced)));
        faults.extend(errors.first().map(|first| format!("{} ERROR lines, the first: {first}", errors.len())));
    }
    Ok(Report { text: report(told, &accounts), faults })
}

fn report(told: &Told, accounts: &[(&str, Account, u64)]) -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").unwrap_or_default();
    line(format!("{:12} {:32} {:>6}", "process", "died at", "times"));
    for ((kind, at), times) in &told.deaths {
        line(format!("{kind:12} {at:32} {times:>6}"));
    }
    line(format!("{:12} {:32} {:>6}", "any", "stopped and let go on", told.pauses));
    line(format!("{:12} {:32} {:>6}\n", "link", "failed and healed", told.links));
    line(format!(
        "{:16} {:>8} {:>8} {:>8} {:>8} {:>6} {:>9}  lost",
        "agent", "visits", "made", "logged", "lost", "live", "backfill"
    ));
    for (agent, account, visits) in accounts {
        let Account { made, logged, lost, live, backfill, .. } = account;
        let all: u64 = lost.values().sum();
        let word = |reason: &LossReason| reason.as_str_name().trim_start_matches("LOSS_REASON_").to_lowercase();
        let lost: Vec<String> = lost.iter().map(|(reason, lost)| format!("{lost} {}", word(reason))).collect();
        let lost = lost.join(", ");
        line(format!("{agent:16} {visits:>8} {made:>8} {logged:>8} {all:>8} {live:>6} {backfill:>9}  {lost}"));
    }
    line(String::new());
    for (what, spans, goal) in [("serving", &told.serving, 3), ("probing", &told.probing, 2)] {
        let mut spans = spans.clone();
        spans.sort();
        let at = |part: usize| spans.get((spans.len() * part / 100).min(spans.len().saturating_sub(1)));
        if let [Some(median), Some(high), Some(worst)] = [at(50), at(95), at(100)] {
            let count = spans.len();
            line(format!(
                "{what} again after a death ({count}): median {median:.1?}, 95 % {high:.1?}, worst {worst:.1?}; goal {goal} s"
            ));
        }
    }
    text
}

/// Where programs are that were built with this one.
pub fn own_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("the path of this program")?;
    Ok(program.parent().unwrap_or(Path::new(".")).to_owned())
}
