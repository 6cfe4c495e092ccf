//! One subscriber: it follows the feed, dies now and then, resumes, and keeps what it heard.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use faultline_attribution::{Change, Timestamp};
use faultline_coordinator::feed::{
    Published, convert as wire,
    filter::{Filter, Sieve},
};
use faultline_proto::{
    clock::Clock,
    convert,
    feed::v1::{
        FeedFilter, FromNow, FromSnapshot, GetSnapshotRequest, ResumeAfter, SubscribeRequest, SubscribeResponse,
        feed_event::Change as Changed, feed_service_client::FeedServiceClient, subscribe_request::Start,
        subscribe_response::Message,
    },
    types::v1::Incident,
};
use hyper_util::rt::TokioIo;
use rand::{RngExt as _, rngs::StdRng};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use super::{luck, pause, read};
use crate::scripted;

/// How often a subscriber asks itself whether to die.
const SECOND: Duration = Duration::from_secs(1);

/// A change as somebody heard it.
#[derive(Clone, Debug)]
struct Told {
    sequence: u64,
    /// The incident and its revision; `None` for other kinds.
    revision: Option<(String, u64)>,
    /// What was said, where it is kept to be judged by.
    change: Option<Changed>,
    published_micros: i64,
    /// When it was heard, if it came live.
    heard_micros: Option<i64>,
}

/// What a subscriber heard.
#[derive(Debug)]
pub(super) struct Heard {
    filter: Arc<Filter>,
    /// Where it began.
    from: u64,
    told: Vec<Told>,
    /// How often it was killed.
    pub(super) kills: u64,
}

/// A subscriber.
pub(super) struct Reader {
    feed: SocketAddr,
    source: IpAddr,
    asked: FeedFilter,
    /// Share of seconds in which it dies.
    kills: f64,
    luck: StdRng,
    feed_id: String,
    held: u64,
    stream: Option<Streaming<SubscribeResponse>>,
    heard: Heard,
}

impl Reader {
    pub(super) fn new(
        feed: SocketAddr,
        source: IpAddr,
        asked: FeedFilter,
        kills: f64,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let heard = Heard { filter: read(&asked)?, from: 0, told: Vec::new(), kills: 0 };
        let (luck, feed_id) = (luck(seed), String::new());
        Ok(Self { feed, source, asked, kills, luck, feed_id, held: 0, stream: None, heard })
    }

    /// Takes its snapshot.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        let mut stream = self.subscribe(Start::FromSnapshot(FromSnapshot {})).await?;
        let first = stream.message().await?.context("the end")?;
        let Some(Message::Snapshot(snapshot)) = first.message else { bail!("no snapshot first") };
        (self.feed_id, self.held, self.heard.from) = (snapshot.feed_id, first.sequence, first.sequence);
        self.stream = Some(stream);
        Ok(())
    }

    /// Follows the feed until everything up to the place that `stop` comes to is heard.
    pub(super) async fn follow(mut self, mut stop: watch::Receiver<Option<u64>>) -> anyhow::Result<Heard> {
        let mut die = time::interval_at(Instant::now() + SECOND.mul_f64(self.luck.random()), SECOND);
        loop {
            if stop.borrow().is_some_and(|last| self.held >= last) {
                return Ok(self.heard);
            }
            let is_live = self.stream.is_some();
            if !is_live {
                let after = ResumeAfter { feed_id: self.feed_id.clone(), sequence: self.held };
                // What it missed is not late.
                let latest = latest(self.feed).await?;
                let mut stream = self.subscribe(Start::ResumeAfter(after)).await?;
                while self.held < latest {
                    let answer = stream.message().await?.context("the stream ended while it caught up")?;
                    self.take(answer, None)?;
                }
                self.stream = Some(stream);
                continue;
            }
            let Some(stream) = &mut self.stream else { continue };
            tokio::select! {
                answer = stream.message() => {
                    let now = Clock::system().now_micros();
                    let answer = answer?.context("the stream ended")?;
                    self.take(answer, Some(now))?;
                }
                _ = die.tick() => {
                    if stop.borrow().is_none() && self.luck.random::<f64>() < self.kills {
                        self.stream = None;
                        self.heard.kills += 1;
                        time::sleep(pause(&mut self.luck)).await;
                    }
                }
                changed = stop.changed() => changed?,
            }
        }
    }

    async fn subscribe(&self, start: Start) -> anyhow::Result<Streaming<SubscribeResponse>> {
        let request = SubscribeRequest {
            start: Some(start),
            bookmark_interval: Some(convert::duration(SECOND)),
            filter: Some(self.asked.clone()),
            ..SubscribeRequest::default()
        };
        Ok(connect(self.feed, self.source).await?.subscribe(request).await?.into_inner())
    }

    fn take(&mut self, answer: SubscribeResponse, heard_micros: Option<i64>) -> anyhow::Result<()> {
        ensure!(answer.prev_sequence == self.held, "held {}, and {answer:?} follows", self.held);
        if let Some(Message::Event(event)) = answer.message {
            ensure!(answer.sequence > self.held, "{} after {}", answer.sequence, self.held);
            let published_micros = convert::micros(event.published_at.as_ref()).unwrap_or_default();
            let revision = match &event.change {
                Some(Changed::Incident(incident)) => Some((incident.incident.clone(), incident.revision)),
                _ => None,
            };
            let is_truth = self.heard.filter.is_open() && self.kills == 0.0;
            let change = if is_truth { event.change } else { None };
            self.heard.told.push(Told { sequence: answer.sequence, revision, change, published_micros, heard_micros });
        }
        self.held = answer.sequence;
        Ok(())
    }
}

impl Heard {
    /// Changes heard.
    pub(super) fn changes(&self) -> usize {
        self.told.len()
    }

    /// Revisions of incidents heard.
    pub(super) fn revisions(&self) -> usize {
        self.told.iter().filter(|told| told.revision.is_some()).count()
    }

    /// How long those took that were published within these instants and came live, with their sequences.
    pub(super) fn latencies_ms(&self, from: i64, to: i64) -> impl Iterator<Item = (u64, f64)> {
        let within = self.told.iter().filter(move |told| (from..to).contains(&told.published_micros));
        within.filter_map(|told| {
            let late = u64::try_from(told.heard_micros? - told.published_micros).unwrap_or_default();
            Some((told.sequence, Duration::from_micros(late).as_secs_f64() * 1000.0))
        })
    }

    /// How long it took from these instants, by sequence, to those revisions that came live; those published before `began` do
    /// not count. With their sequences.
    pub(super) fn after_ms(&self, instants: &BTreeMap<u64, i64>, began: i64) -> impl Iterator<Item = (u64, f64)> {
        let live = self.told.iter().filter(move |told| told.published_micros >= began && told.revision.is_some());
        live.filter_map(|told| {
            let late = u64::try_from(told.heard_micros? - instants.get(&told.sequence)?).unwrap_or_default();
            Some((told.sequence, Duration::from_micros(late).as_secs_f64() * 1000.0))
        })
    }

    /// What a revision of an incident said.
    pub(super) fn said(&self, sequence: u64) -> Option<&Incident> {
        let told = self.told.iter().find(|told| told.sequence == sequence)?;
        if let Some(Changed::Incident(incident)) = &told.change { Some(incident) } else { None }
    }

    /// Whether this is what the filter lets pass of everything, from where it began, in order and once.
    pub(super) fn is_what_passes_of(&self, everything: &Self) -> Result<(), String> {
        let mut sieve = Sieve::new((*self.filter).clone());
        let mut before: Vec<Change> = Vec::new();
        let mut expected = Vec::new();
        for told in &everything.told {
            let published = told.change.as_ref().and_then(published).ok_or("a change that cannot be read")?;
            let passed_before = |change: &Change| {
                let mut earlier = before.iter().filter(|earlier| earlier.incident == change.incident);
                earlier.any(|earlier| self.filter.passes_incident(earlier))
            };
            if sieve.passes(&published, passed_before) && told.sequence > self.from {
                expected.push((told.sequence, told.revision.clone()));
            }
            if let Published::Incident(change) = published {
                before.push(*change);
            }
        }
        let heard: Vec<_> = self.told.iter().map(|told| (told.sequence, told.revision.clone())).collect();
        match heard.iter().zip(&expected).find(|(heard, expected)| heard != expected) {
            Some((heard, expected)) => Err(format!("heard {heard:?} where {expected:?} was to come")),
            None if heard.len() != expected.len() => {
                Err(format!("heard {} changes, and {} were to come", heard.len(), expected.len()))
            }
            None => Ok(()),
        }
    }
}

/// What the coordinator published, of what the wire carried.
fn published(change: &Changed) -> Option<Published> {
    use faultline_attribution::{CellChange, CellState, Layer, Visibility};
    match change {
        Changed::Incident(incident) => wire::change(incident).map(|change| Published::Incident(Box::new(change))),
        // What filters look at, and no more.
        Changed::Cell(cell) => Some(Published::Cell(CellChange {
            provider: cell.provider.clone(),
            region: cell.region.clone(),
            layer: Layer::Dns,
            state: CellState::Ok,
            failing_groups: 0,
            total_groups: 0,
            changed_at: Timestamp::default(),
        })),
        Changed::Visibility(_) => Some(Published::Visibility(Visibility::default())),
        Changed::Claim(claim) => wire::claimed(claim).map(|claim| Published::Claim(Box::new(claim))),
        Changed::Work(work) => wire::planned(work).map(|work| Published::Work(Box::new(work))),
    }
}

/// The newest place of the feed.
pub(super) async fn latest(feed: SocketAddr) -> anyhow::Result<u64> {
    let source = IpAddr::from([127, 0, 0, 1]);
    let answer = connect(feed, source).await?.get_snapshot(GetSnapshotRequest::default()).await?;
    Ok(answer.into_inner().snapshot.context("no snapshot")?.sequence)
}

async fn connect(feed: SocketAddr, source: IpAddr) -> anyhow::Result<FeedServiceClient<Channel>> {
    let dial = move |_| async move { scripted::connect(feed, Some(source)).await.map(TokioIo::new) };
    let endpoint = Endpoint::from_shared(format!("http://{feed}"))?;
    let channel = endpoint.connect_with_connector(tower::service_fn(dial)).await?;
    Ok(FeedServiceClient::new(channel).max_decoding_message_size(16 << 20))
}

/// A reader that opens a stream and reads nothing.
pub(super) struct Stalled {
    _stream: Streaming<SubscribeResponse>,
}

impl Stalled {
    pub(super) async fn open(feed: SocketAddr, source: IpAddr) -> anyhow::Result<Self> {
        let request = SubscribeRequest { start: Some(Start::FromNow(FromNow {})), ..SubscribeRequest::default() };
        let mut client = connect(feed, source).await?;
        Ok(Self { _stream: client.subscribe(request).await?.into_inner() })
    }
}
