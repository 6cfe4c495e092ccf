//! What the tests play on: a feed with webhooks, and a receiver on loopback.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State as Shared, http::HeaderMap, http::StatusCode, routing::post};
use faultline_attribution::{Change, Timestamp};
use faultline_proto::clock::Clock;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{
    board::Board,
    feed::{Hub, Published},
    log::{ChangeLog as _, Cursor, sqlite::SqliteLog},
    webhook::{
        config::{Filter, Format, Revisions, Webhook},
        deliver,
        folder::Folder,
        sign::Secret,
        store::Store,
    },
};

/// Everything here takes seconds; this is a hang.
pub(super) const HANG: Duration = Duration::from_mins(1);

/// A minute of backoff passes in half a second.
pub(super) const SPEED: f64 = 120.0;

/// What a receiver got.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Got {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(super) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A receiver that answers as told, and then yes, or never.
pub(super) struct Receiver {
    pub(super) url: String,
    pub(super) got: mpsc::Receiver<Got>,
    pub(super) answers: Arc<Mutex<VecDeque<u16>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Desk {
    got: mpsc::Sender<Got>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

/// The answer of a receiver that says nothing.
pub(super) const NEVER: u16 = 0;

async fn take(Shared(desk): Shared<Desk>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let answer = desk.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(200);
    drop(desk.got.send(Got { headers, body }).await);
    if answer == NEVER {
        std::future::pending::<()>().await;
    }
    StatusCode::from_u16(answer).expect("status")
}

impl Receiver {
    pub(super) async fn open(answers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let url = format!("http://{}/hook", listener.local_addr().expect("address"));
        let (sender, got) = mpsc::channel(10_000);
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let desk = Desk { got: sender, answers: Arc::clone(&answers) };
        let router = Router::new().fallback(post(take)).with_state(desk);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.expect("serve") });
        Self { url, got, answers, _tasks: tasks }
    }

    pub(super) async fn next(&mut self) -> Got {
        time::timeout(HANG, self.got.recv()).await.expect("in time").expect("a message")
    }

    /// Ids up to and with this one.
    pub(super) async fn ids_through(&mut self, last: &str) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.last().is_none_or(|id| id != last) {
            ids.push(self.next().await.id().to_owned());
        }
        ids
    }
}

/// A feed with webhooks.
pub(super) struct Stage {
    pub(super) data: TempDir,
    pub(super) log: Arc<SqliteLog>,
    pub(super) hub: Arc<Hub>,
    pub(super) clock: Clock,
    pub(super) driver: JoinSet<Result<(), String>>,
}

impl Stage {
    pub(super) fn open(speed: f64) -> Self {
        let data = tempfile::tempdir().expect("dir");
        let clock = Clock::emulated(speed);
        let (log, hub) = feed(data.path(), clock);
        Self { data, log, hub, clock, driver: JoinSet::new() }
    }

    /// Delivers, from the first change that was ever published on.
    pub(super) fn deliver(&mut self) {
        self.driver.spawn(deliver::run(self.data.path().to_owned(), Arc::clone(&self.hub), CancellationToken::new()));
    }

    /// Ends without a word, as a kill does, and comes back with what is durable.
    pub(super) async fn kill_and_restart(&mut self) {
        self.driver.shutdown().await;
        (self.log, self.hub) = feed(self.data.path(), self.clock);
        self.deliver();
    }

    pub(super) fn add(&self, name: &str, url: &str, change: impl FnOnce(&mut Webhook)) -> Secret {
        let secret = Secret::random();
        let mut webhook = Webhook {
            url: url.parse().expect(url),
            format: Format::Cloudevents,
            secrets: vec![secret.clone()],
            routing_key_file: None,
            heartbeat: None,
            revisions: Revisions::Each,
            link: None,
            ca_file: None,
            allow_private: true,
            disabled: None,
            filter: Filter { sight: false, ..Filter::default() },
        };
        change(&mut webhook);
        self.store().begin(name, "", 0).expect("begin");
        Folder::of(self.data.path()).write(name, &webhook).expect("written");
        secret
    }

    pub(super) fn store(&self) -> Store {
        Store::open(self.data.path()).expect("store")
    }

    pub(super) async fn publish(&self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            let now = Timestamp::from_micros(self.clock.now_micros());
            let published = vec![Published::Incident(Box::new(change))];
            self.hub.publish(self.log.publish(Cursor::nth(1), now, published).await.expect("publish"));
        }
    }

    /// Waits until it holds.
    pub(super) async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let wait = async {
            while !holds() {
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        time::timeout(HANG, wait).await.unwrap_or_else(|_| panic!("{what}: {:?}", self.hub.board().webhooks));
    }

    pub(super) fn sees(&self, below_quorum: bool) {
        let mut board = self.hub.board();
        board.visibility.below_quorum = below_quorum;
        board.visibility.reason = if below_quorum { "two groups are live".into() } else { String::new() };
        board.visibility.evaluated_through = Timestamp::from_micros(self.clock.now_micros());
    }
}

pub(super) fn feed(data: &Path, clock: Clock) -> (Arc<SqliteLog>, Arc<Hub>) {
    let log = Arc::new(SqliteLog::open(data).expect("log"));
    let board = Board::new(log.feed_id());
    let hub = Arc::new(Hub::new(board, Arc::clone(&log) as _, clock));
    (log, hub)
}
