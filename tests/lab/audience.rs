//! An audience: a thousand subscribers of one coordinator while incidents change, killed and resumed at random, each with a
//! filter of its own.
//!
//! The coordinator is a process of its own on loopback; what changes is what scripted agents report, and, much more often, what a
//! crowd says. One subscriber without a filter is never killed: what it hears is what there was. Rules: every other one must
//! hear exactly what its filter lets pass of that, in order and once; only changes that came live count for latencies, by the
//! machine's clock: from publication, and, where results made the change, from the oldest that it may have hung on
//! (`decided`); slices with a stalled reader and without one take turns, so that a noisy one is everybody's.

mod crowd;
mod decided;
mod reader;
mod world;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use faultline_coordinator::feed::filter::Filter;
use faultline_proto::{
    clock::Clock,
    feed::v1::{ChangeKind, ConfidenceBand, FeedFilter},
    types::v1::Verdict,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};

use self::{
    crowd::Crowd,
    reader::{Heard, Reader, Stalled},
};
use crate::{alone::Alone, load::usage::Memory, score::stats, stage::Witnesses};

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Subscribers.
    pub subscribers: usize,
    /// Pairs of slices, one without a stalled reader and one with it.
    pub pairs: usize,
    /// Length of a slice.
    pub slice: Duration,
    /// Share of the subscribers that is killed each second.
    pub kills: f64,
    /// Decides who is killed when.
    pub seed: u64,
}

/// What the subscribers went through.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Changes that there were, all kinds, and revisions of incidents among them.
    pub changes: usize,
    /// Revisions of incidents among them.
    pub revisions: usize,
    /// Messages that all subscribers together were to hear, and heard.
    pub heard: usize,
    /// Subscribers killed and resumed.
    pub kills: u64,
    /// What was wrong, a sentence each; empty when every subscriber heard what it was to hear.
    pub wrong: Vec<String>,
    /// Latency of revisions that results made, from the receipt of the oldest result that may have decided it to a subscriber,
    /// milliseconds, at the median, the 99th percentile and the most. Cells are painted every five seconds: they do not count.
    pub decided_ms: [f64; 3],
    /// The slowest of them: what each said, and its median.
    pub slowest: Vec<(String, f64)>,
    /// Latency of any change, from its publication to a subscriber, likewise; a slice each, without a stalled reader.
    pub alone_ms: Vec<[f64; 3]>,
    /// The same with one.
    pub beside_stalled_ms: Vec<[f64; 3]>,
    /// How late the last hundredth of a change's subscribers hear of it, beside a stalled reader over without, at the median of
    /// changes, of each pair of slices. Of all changes together, those few decide that come while the machine is busy with something
    /// else.
    pub stalled_ratios: Vec<f64>,
    /// What the coordinator held before the subscribers came, and after.
    pub memory: [Memory; 2],
    /// CPU that the coordinator used while they were there, seconds.
    pub cpu_s: f64,
}

/// A look of all agents at all targets each: so often, so that something changes at almost every tick.
const LOOK: Duration = Duration::from_millis(250);

/// Subscribers of one address.
const OF_ONE: usize = 100;

/// All have heard all long before, or never.
const HANG: Duration = Duration::from_mins(1);

/// Runs a plan against the lab's binary at this path, in a prepared data directory.
///
/// # Errors
///
/// When the coordinator or a subscriber cannot be run; what subscribers heard wrongly is in the outcome.
pub async fn run(program: &Path, data: &Path, plan: Plan, progress: impl Fn(usize)) -> anyhow::Result<Outcome> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    world::prepare(data)?;
    let coordinator = Alone::start(program, data).await?;
    let mut witnesses = Witnesses::join(data, coordinator.agents, Clock::system()).await?;
    let before = coordinator.memory()?;
    let mut agents = JoinSet::new();
    agents.spawn(async move {
        for round in 0_u32.. {
            witnesses.look(|target| world::is_broken(target, round)).await?;
            time::sleep(LOOK).await;
        }
        anyhow::Ok(())
    });

    let crowd = Crowd::join(data, coordinator.feed).await?;
    agents.spawn(crowd.babble());

    let stop = watch::Sender::new(None);
    let mut everything = Reader::new(coordinator.feed, address(0), FeedFilter::default(), 0.0, plan.seed)?;
    everything.begin().await.context("the first subscriber")?;
    let mut readers = JoinSet::new();
    for n in 0..plan.subscribers {
        let mut reader =
            Reader::new(coordinator.feed, address(1 + n / OF_ONE), filter(n), plan.kills, plan.seed + n as u64)?;
        reader.begin().await.with_context(|| format!("subscriber {n}"))?;
        readers.spawn(reader.follow(stop.subscribe()));
    }
    let mut whole = JoinSet::new();
    whole.spawn(everything.follow(stop.subscribe()));
    let cpu = coordinator.cpu_ns()?;

    let began = Clock::system().now_micros();
    let mut slices = Vec::new();
    for slice in 0..plan.pairs * 2 {
        // Pairs in turn: without and with, with and without.
        let is_stalled = matches!(slice % 4, 1 | 2);
        let stalled = if is_stalled { Some(Stalled::open(coordinator.feed, address(0)).await?) } else { None };
        let from = Clock::system().now_micros();
        time::sleep(plan.slice).await;
        slices.push((is_stalled, from, Clock::system().now_micros()));
        drop(stalled);
        progress(slice + 1);
        ensure!(agents.try_join_next().is_none(), "the agents' sessions ended");
    }
    agents.shutdown().await;
    let cpu_s = Duration::from_nanos(coordinator.cpu_ns()? - cpu).as_secs_f64();
    // What is said last reaches everybody: all stop at the same place.
    let last = reader::latest(coordinator.feed).await?;
    stop.send_replace(Some(last));
    let truth = time::timeout(HANG, whole.join_next()).await.context("the first subscriber hangs")?;
    let truth = truth.context("it is there")???;
    let mut heard = Vec::with_capacity(plan.subscribers);
    let deadline = Instant::now() + HANG;
    while let Some(reader) = time::timeout_at(deadline, readers.join_next()).await.context("a subscriber hangs")? {
        heard.push(reader??);
    }
    let after = coordinator.memory()?;
    coordinator.end().await?;
    let decided = decided::oldest_batches(data).await?;
    let mut outcome = outcome(&truth, &heard, &slices, began, cpu_s);
    outcome.memory = [before, after];
    let late: Vec<(u64, f64)> = heard.iter().flat_map(|reader| reader.after_ms(&decided, began)).collect();
    outcome.decided_ms = quantiles(late.iter().map(|(_, late)| *late).collect());
    outcome.slowest = slowest(&truth, &late);
    Ok(outcome)
}

/// The revisions that took longest, with their median, slowest first.
fn slowest(truth: &Heard, late: &[(u64, f64)]) -> Vec<(String, f64)> {
    let mut of_revision: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (sequence, late) in late {
        of_revision.entry(*sequence).or_default().push(*late);
    }
    let mut all: Vec<(u64, f64)> =
        of_revision.into_iter().map(|(sequence, late)| (sequence, quantiles(late)[0])).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let told = |(sequence, late): (u64, f64)| {
        let incident = truth.said(sequence)?;
        Some((format!("{:?} {} r{}", incident.state(), incident.element, incident.revision), late))
    };
    all.into_iter().take(SLOWEST).filter_map(told).collect()
}

/// Revisions that are told as the slowest.
const SLOWEST: usize = 5;

/// The median, the 99th percentile and the most.
fn quantiles(mut late: Vec<f64>) -> [f64; 3] {
    late.sort_by(f64::total_cmp);
    [0.5, 0.99, 1.0].map(|q| stats::quantile_sorted(&late, q).unwrap_or(f64::NAN))
}

fn outcome(truth: &Heard, heard: &[Heard], slices: &[(bool, i64, i64)], began: i64, cpu_s: f64) -> Outcome {
    let mut wrong = Vec::new();
    for (n, reader) in heard.iter().enumerate() {
        if let Err(why) = reader.is_what_passes_of(truth) {
            wrong.push(format!("subscriber {n}: {why}"));
        }
    }
    let late = |from: i64, to: i64| {
        heard.iter().flat_map(move |reader| reader.latencies_ms(from.max(began), to)).map(|(_, late)| late).collect()
    };
    let of = |stalled: bool| -> Vec<Vec<f64>> {
        let slices = slices.iter().filter(|(is_stalled, ..)| *is_stalled == stalled);
        slices.map(|(_, from, to)| late(*from, *to)).collect()
    };
    let late_of_a_change = |(_, from, to): &(bool, i64, i64)| {
        let mut of_change: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (sequence, late) in heard.iter().flat_map(|reader| reader.latencies_ms(*from.max(&began), *to)) {
            of_change.entry(sequence).or_default().push(late);
        }
        let late: Vec<f64> = of_change.into_values().map(|late| quantiles(late)[1]).collect();
        quantiles(late)[0]
    };
    let of_pair = |pair: &[(bool, i64, i64)]| {
        let late = |stalled: bool| pair.iter().find(|slice| slice.0 == stalled).map_or(f64::NAN, late_of_a_change);
        late(true) / late(false)
    };
    Outcome {
        changes: truth.changes(),
        revisions: truth.revisions(),
        heard: heard.iter().map(Heard::changes).sum(),
        kills: heard.iter().map(|reader| reader.kills).sum(),
        wrong,
        decided_ms: [f64::NAN; 3],
        slowest: Vec::new(),
        stalled_ratios: slices.chunks(2).map(of_pair).collect(),
        alone_ms: of(false).into_iter().map(quantiles).collect(),
        beside_stalled_ms: of(true).into_iter().map(quantiles).collect(),
        memory: <[Memory; 2]>::default(),
        cpu_s,
    }
}

/// Addresses of the subscribers.
fn address(n: usize) -> IpAddr {
    let first = Ipv4Addr::new(127, 80, 0, 1).to_bits();
    Ipv4Addr::from_bits(first + u32::try_from(n).unwrap_or_default()).into()
}

/// What the subscribers want to hear, in turn.
fn filter(n: usize) -> FeedFilter {
    let filter = FeedFilter::default();
    match n % 5 {
        0 => filter,
        1 => FeedFilter { verdicts: vec![Verdict::Azure as i32], ..filter },
        2 => FeedFilter { kinds: vec![ChangeKind::Incident as i32], ..filter },
        3 => FeedFilter { elements: vec!["azure/front-door".into(), "aws/*".into()], ..filter },
        _ => FeedFilter { min_band: ConfidenceBand::High as i32, kinds: vec![ChangeKind::Incident as i32], ..filter },
    }
}

/// Pauses of somebody who was killed, until it comes back.
fn pause(luck: &mut StdRng) -> Duration {
    Duration::from_millis(luck.random_range(0..500))
}

/// Luck of one subscriber.
fn luck(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// A filter as the coordinator reads it.
fn read(filter: &FeedFilter) -> anyhow::Result<Arc<Filter>> {
    Ok(Arc::new(Filter::of(Some(filter))?))
}
