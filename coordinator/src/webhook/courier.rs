//! Courier: carries the feed to one webhook.
//!
//! It reads the durable changes after the place that was delivered through, in order, [`WAITING`] at most at a time, and
//! carries each that the webhook wants until it is taken; all others wait in the log. Beside that it tells when we cannot see
//! (for a minute or longer), sends alerts that fire again, and beats.
//!
//! Rules: a change is passed once its receiver took it, and the place is stored with the attempt
//! (`a_killed_coordinator_goes_on_where_it_was`, `changes_come_in_order_until_each_is_taken`). A courier waits for nobody but
//! its own receiver. No heartbeat is sent while we cannot see or the log is full, and what holds it back is told
//! (`no_heart_beats_while_nothing_is_seen`). Of heartbeats and alerts that are sent again, the delivery log has those that
//! ended otherwise than the one before.

mod heart;
mod sight;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use faultline_attribution::Timestamp;
use tokio::sync::{Mutex, oneshot};

use super::{
    config::{Format, Revisions, Webhook},
    event::{self, Event, Held, Message, Scene},
    schedule::{self, Next},
    send::{self, Answer},
    store::{Attempt, Stand, Store, StoreError},
};
use crate::{
    feed::{Hub, Published},
    log::Entry,
};

/// Changes that are held at once; further ones wait in the log.
const WAITING: usize = 64;

/// How often it is looked whether we can see.
const LOOK: Duration = Duration::from_secs(10);

/// How often alerts that fire are sent again. Source: an Alertmanager's shortest sensible `resolve_timeout` is some minutes.
pub(super) const AGAIN: Duration = Duration::from_mins(1);

/// Carries the feed to one webhook.
pub(super) struct Courier {
    pub(super) name: String,
    pub(super) webhook: Webhook,
    pub(super) store: Arc<Store>,
    pub(super) hub: Arc<Hub>,
    /// One message at a time, whatever the file said when it was sent.
    pub(super) turn: Arc<Mutex<()>>,
    pub(super) is_disabled: AtomicBool,
}

/// How far it is.
struct Line {
    stand: Stand,
    /// The place that is stored.
    stored: u64,
    told: BTreeMap<String, String>,
    blind_since: Option<Timestamp>,
    looked_at: Timestamp,
    again_at: Timestamp,
    again: Repeated,
}

/// The outcome of what is sent over and over.
#[derive(Default)]
struct Repeated(Option<String>);

impl Courier {
    /// Carries for ever; may be dropped at any time.
    pub(super) async fn run(&self) {
        tokio::join!(self.deliver(), self.beat());
    }

    async fn deliver(&self) {
        let clock = self.hub.clock();
        let (sequence, mut news) = self.hub.subscribe(|board| board.sequence);
        let mut line = self.begin(sequence).await;
        loop {
            if line.stand.disabled.is_some() {
                self.wait_until_enabled(&mut line).await;
            }
            self.catch_up(&mut line).await;
            if line.stand.disabled.is_none() && self.now().since(line.looked_at) >= LOOK {
                self.look(&mut line).await;
            }
            // Whatever comes, or was missed: the log has it.
            tokio::select! {
                _ = news.recv() => {}
                () = clock.sleep(LOOK) => {}
            }
        }
    }

    /// Where it was, or at the newest change.
    async fn begin(&self, sequence: u64) -> Line {
        let feed_id = self.feed_id();
        let name = self.name.clone();
        let begun = self.stored(move |store| {
            if let Some(stand) = store.stand(&name, &feed_id)? {
                store.pass(&name, &feed_id, stand.delivered)?;
                return Ok((stand, store.told(&name)?));
            }
            store.begin(&name, &feed_id, sequence)?;
            Ok((Stand { delivered: sequence, failing: None, disabled: None }, BTreeMap::new()))
        });
        let fresh = || (Stand { delivered: sequence, failing: None, disabled: None }, BTreeMap::new());
        let (stand, told) = begun.await.unwrap_or_else(fresh);
        tracing::info!(webhook = self.name, format = self.webhook.format.as_str(), to = %self.webhook.url, delivered = stand.delivered, "webhook begins");
        let now = self.now();
        let stored = stand.delivered;
        Line { stand, stored, told, blind_since: None, looked_at: now, again_at: now, again: Repeated::default() }
    }

    /// Carries everything that is there.
    async fn catch_up(&self, line: &mut Line) {
        loop {
            let entries = match self.hub.changes().published_after(line.stand.delivered, WAITING).await {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::warn!(webhook = self.name, %error, "webhook cannot read the changes");
                    return;
                }
            };
            if entries.is_empty() {
                return;
            }
            for (place, entry) in entries.iter().enumerate() {
                self.carry(line, entry, &entries[place + 1..]).await;
                if line.stand.disabled.is_some() {
                    return;
                }
                line.stand.delivered = entry.sequence;
            }
        }
    }

    async fn carry(&self, line: &mut Line, entry: &Entry, later: &[Entry]) {
        let Published::Incident(change) = &entry.published else { return };
        let subject = change.incident.as_str();
        let (format, filter) = (self.webhook.format, &self.webhook.filter);
        if !event::wants(format, filter, change, line.told.contains_key(subject)) {
            return;
        }
        let event = Event::Incident { change, sequence: entry.sequence, published_at: entry.published_at };
        let is_newer = |later: &&Entry| match &later.published {
            Published::Incident(newer) => {
                newer.incident == change.incident
                    && event::wants(format, filter, newer, line.told.contains_key(subject))
            }
            _ => false,
        };
        if self.webhook.revisions == Revisions::Newest
            && let Some(newer) = later.iter().rfind(is_newer)
            && let Published::Incident(newer) = &newer.published
        {
            let error = format!("left out for revision {}", newer.revision);
            let attempt = Attempt {
                at: self.now(),
                event: event.id(&self.feed_id()),
                attempt: 0,
                address: String::new(),
                status: None,
                error,
                took_us: 0,
            };
            self.record(attempt, None, None).await;
            return;
        }
        self.tell(line, &event, subject, Some(entry.sequence)).await;
    }

    /// Tells until it is taken, or given up.
    async fn tell(&self, line: &mut Line, event: &Event<'_>, subject: &str, through: Option<u64>) {
        loop {
            let Some((attempt, answer, held)) = self.attempt(line, event, subject).await else { return };
            let next = schedule::next(line.stand.failing, answer.reply(), self.now(), rand::random());
            match next {
                Next::GoOn => {
                    line.stand.failing = None;
                    line.stand.delivered = through.unwrap_or(line.stand.delivered);
                    line.stored = line.stand.delivered;
                    line.hold(subject, &held);
                    self.record(attempt, Some(line.stand.clone()), Some((subject.to_owned(), held))).await;
                    self.notice(None);
                    return;
                }
                Next::Again(failing, pause) => {
                    tracing::warn!(
                        webhook = self.name,
                        event = attempt.event,
                        error = attempt.error,
                        pause_s = pause.as_secs(),
                        "webhook not delivered"
                    );
                    self.notice(Some(format!("not delivered since {}: {}", failing.since, attempt.error)));
                    line.stand.failing = Some(failing);
                    self.record(attempt, Some(line.stand.clone()), None).await;
                    self.hub.clock().sleep(pause).await;
                }
                Next::Stop(why) => {
                    tracing::error!(
                        webhook = self.name,
                        why,
                        error = attempt.error,
                        "webhook disabled: see `faultline webhook log`"
                    );
                    line.stand.disabled = Some(why);
                    self.record(attempt, Some(line.stand.clone()), None).await;
                    return;
                }
            }
        }
    }

    /// One attempt; `None` where the format has nothing to say.
    async fn attempt(&self, line: &Line, event: &Event<'_>, subject: &str) -> Option<(Attempt, Answer, Held)> {
        let told = line.told.get(subject).map(String::as_str);
        let (scene, missing) = self.scene();
        let telling = event.telling(&self.webhook, &scene, told);
        let message = telling.message?;
        let id = message.id.clone();
        let answer = match missing {
            Some(error) => Answer { error, ..Answer::default() },
            None => self.send(message).await,
        };
        let number = line.stand.failing.map_or(0, |failing| failing.attempts).saturating_add(1);
        Some((self.attempted(id, number, &answer), answer, telling.held))
    }

    /// Sends on a thread that nobody has to wait for, when it is its turn.
    async fn send(&self, message: Message) -> Answer {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (webhook, now) = (self.webhook.clone(), self.now());
        let (sender, answer) = oneshot::channel();
        thread::spawn(move || {
            // Nobody waits for the answer any more once the coordinator ends or the file says something else.
            drop(sender.send(send::send(&webhook, &message, now)));
            drop(turn);
        });
        answer.await.unwrap_or_else(|_| Answer { error: "the attempt was cut off".into(), ..Answer::default() })
    }

    /// Tells of sight lost and regained, sends alerts again, and stores the place.
    async fn look(&self, line: &mut Line) {
        let now = self.now();
        line.looked_at = now;
        let sight = self.hub.board().sight();
        if self.webhook.filter.sight {
            self.look_at_sight(line, &sight, now).await;
        }
        if self.webhook.format == Format::Alertmanager && now.since(line.again_at) >= AGAIN {
            line.again_at = now;
            if let Some(body) = event::again(line.told.values(), now) {
                let id = format!("again-{}", now.basic());
                let answer = self.send(Message { id: id.clone(), content_type: "application/json", body }).await;
                if line.again.differs(&answer) {
                    self.record(self.attempted(id, 1, &answer), None, None).await;
                }
            }
        }
        if line.stored != line.stand.delivered {
            let (name, feed_id, delivered) = (self.name.clone(), self.feed_id(), line.stand.delivered);
            if self.stored(move |store| store.pass(&name, &feed_id, delivered)).await.is_some() {
                line.stored = delivered;
            }
        }
    }

    /// Says so, and waits until somebody enables it.
    async fn wait_until_enabled(&self, line: &mut Line) {
        self.is_disabled.store(true, Ordering::Relaxed);
        while let Some(why) = line.stand.disabled.take() {
            self.notice(Some(format!("disabled: {why}; `faultline webhook enable {}` sends what waits", self.name)));
            tokio::time::sleep(super::deliver::SCAN).await;
            let (name, feed_id) = (self.name.clone(), self.feed_id());
            match self.stored(move |store| store.stand(&name, &feed_id)).await.flatten() {
                Some(stand) => line.stand = stand,
                None => line.stand.disabled = Some(why),
            }
        }
        line.stored = line.stand.delivered;
        self.is_disabled.store(false, Ordering::Relaxed);
        self.notice(None);
        tracing::info!(webhook = self.name, "webhook enabled");
    }

    /// What stands around an event, and what is missing to send it.
    fn scene(&self) -> (Scene, Option<String>) {
        let (routing_key, missing) = match send::routing_key(&self.webhook) {
            Ok(key) => (key, None),
            Err(error) => (String::new(), Some(error)),
        };
        let mut regions: BTreeMap<String, std::collections::BTreeSet<String>> = BTreeMap::new();
        for cell in self.hub.board().cells() {
            regions.entry(cell.provider.clone()).or_default().insert(cell.region.clone());
        }
        let regions = regions.into_iter().map(|(provider, regions)| (provider, regions.len())).collect();
        (Scene { feed_id: self.feed_id(), regions, now: self.now(), routing_key }, missing)
    }

    fn attempted(&self, event: String, attempt: u32, answer: &Answer) -> Attempt {
        Attempt {
            at: self.now(),
            event,
            attempt,
            address: answer.address(),
            status: answer.status,
            error: answer.error.clone(),
            took_us: u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX),
        }
    }

    async fn record(&self, attempt: Attempt, stand: Option<Stand>, held: Option<(String, Held)>) {
        let name = self.name.clone();
        self.stored(move |store| {
            let held = held.as_ref().map(|(subject, held)| (subject.as_str(), held));
            store.record(&name, &attempt, stand.as_ref(), held)
        })
        .await;
    }

    /// What the store answers; where it cannot, it goes on without, and a restart may send again.
    async fn stored<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<T> {
        let store = Arc::clone(&self.store);
        let answer = tokio::task::spawn_blocking(move || ask(&store)).await.ok()?;
        answer.inspect_err(|error| tracing::warn!(webhook = self.name, %error, "webhook's place is not stored")).ok()
    }

    /// Shows what whoever runs this should know.
    fn notice(&self, text: Option<String>) {
        let mut board = self.hub.board();
        match text {
            Some(text) => board.webhooks.insert(self.name.clone(), format!("webhook {}: {text}", self.name)),
            None => board.webhooks.remove(&self.name),
        };
    }

    fn feed_id(&self) -> String {
        self.hub.changes().feed_id()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.hub.clock().now_micros())
    }
}

impl Line {
    fn hold(&mut self, subject: &str, held: &Held) {
        match held {
            Held::Open(held) => drop(self.told.insert(subject.to_owned(), held.clone())),
            Held::Nothing => drop(self.told.remove(subject)),
            Held::AsBefore => {}
        }
    }
}

impl Repeated {
    /// Whether this one ended otherwise than the one before.
    fn differs(&mut self, answer: &Answer) -> bool {
        let before = self.0.replace(answer.error.clone());
        before.as_ref() != Some(&answer.error)
    }
}
