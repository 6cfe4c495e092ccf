//! The server over a real socket.

use std::net::SocketAddr;

use faultline_attribution::Visibility;
use faultline_proto::clock::Clock;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;
use crate::{
    access::{self, Peer, Policy},
    board::Board,
    feed::Published,
    log::{ChangeLog as _, Cursor, sqlite::SqliteLog},
};

#[tokio::test]
async fn a_reader_resumes_right_after_what_it_holds() {
    let site = Served::start().await;
    site.publish(3).await;
    let mut reader = site.events("Last-Event-ID: 1\r\n").await;
    assert_eq!(reader.changes(2).await, [2, 3]);
    site.publish(2).await;
    assert_eq!(reader.changes(2).await, [4, 5]);
}

#[tokio::test]
async fn a_new_reader_starts_from_now_and_hears_a_tick_at_once() {
    let site = Served::start().await;
    site.publish(3).await;
    let mut reader = site.events("").await;
    let tick = reader.event().await;
    assert_eq!((tick.kind.as_str(), tick.id), ("tick", 3));
    assert!(tick.data.contains("evaluated_through"), "{}", tick.data);
    site.publish(1).await;
    assert_eq!(reader.changes(1).await, [4]);
}

#[tokio::test]
async fn a_place_that_is_not_of_this_feed_is_reset() {
    let site = Served::start().await;
    site.publish(3).await;
    for place in ["9", "nonsense"] {
        let mut reader = site.events(&format!("Last-Event-ID: {place}\r\n")).await;
        let first = reader.event().await;
        assert_eq!((first.kind.as_str(), first.id), ("reset", 3));
    }
}

#[tokio::test]
async fn streams_end_at_shutdown() {
    let site = Served::start().await;
    let mut reader = site.events("").await;
    assert_eq!(reader.event().await.kind, "tick");
    site.stop.cancel();
    let mut rest = String::new();
    reader.stream.read_to_string(&mut rest).await.expect("the stream ends by itself");
}

#[tokio::test]
async fn every_answer_carries_the_policy_and_an_unknown_incident_is_a_page() {
    let site = Served::start().await;
    for (path, status) in [("/", 200), ("/incidents/inc-x-1", 404), ("/style.css", 200), ("/healthz", 200)] {
        let mut answer = String::new();
        site.get(path, "").await.read_to_string(&mut answer).await.expect("answer");
        assert!(answer.starts_with(&format!("HTTP/1.0 {status}")), "{path}: {answer}");
        assert!(answer.contains("content-security-policy: default-src 'none';"), "{path}: {answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{path}: {answer}");
        assert!(status == 200 || answer.contains("<h2>No such incident</h2>"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_target_and_a_vantage_have_a_page_each() {
    let site = Served::start().await;
    let paths = [
        ("/targets/shop/checkout", 200, "<dd>checkout.example.org</dd>"),
        ("/targets/shop/nowhere", 404, "No such target"),
        ("/vantages/nobody", 404, "No such vantage"),
        ("/vantages/%3Cscript%3E", 404, "&lt;script&gt;"),
    ];
    for (path, status, what) in paths {
        let mut answer = String::new();
        site.get(path, "").await.read_to_string(&mut answer).await.expect("answer");
        assert!(answer.starts_with(&format!("HTTP/1.0 {status}")) && answer.contains(what), "{path}: {answer}");
        assert!(!answer.contains("secret"), "a path may hold what is not for everybody: {answer}");
    }
}

#[tokio::test]
async fn a_theme_that_is_chosen_is_kept_and_leads_to_no_other_host() {
    let site = Served::start().await;
    let ask = async |path: &str, headers: &str| {
        let mut answer = String::new();
        site.get(path, headers).await.read_to_string(&mut answer).await.expect("answer");
        answer
    };
    for (path, way) in [("/?span=7d&theme=dark", "?span=7d"), ("//elsewhere.example/?theme=dark", "?")] {
        let answer = ask(path, "").await;
        assert!(answer.starts_with("HTTP/1.0 303"), "{answer}");
        assert!(answer.contains(&format!("location: {way}\r\n")), "{answer}");
        assert!(answer.contains("set-cookie: theme=dark; Path=/;"), "{answer}");
    }
    let dark = ask("/?span=7d", "Cookie: theme=dark\r\n").await;
    assert!(dark.contains(r#"<html lang="en" data-theme="dark">"#), "{dark}");
    assert!(dark.contains(r#"<a href="?span=7d&amp;theme=light""#), "{dark}");
    assert!(ask("/", "").await.contains(r#"<html lang="en">"#));
}

const CATALOG: &str = r#"
[[target]]
id = "shop/checkout"
probe = "https"
url = "https://checkout.example.org/secret?key=secret"
hosted_on = "aws"
region = "eu-west-1"
owner = "shop"
"#;

/// A site over an empty board, on a port of its own.
struct Served {
    address: SocketAddr,
    hub: Arc<Hub>,
    log: Arc<SqliteLog>,
    stop: CancellationToken,
    _server: JoinSet<()>,
    _data: TempDir,
}

impl Served {
    async fn start() -> Self {
        let data = tempfile::tempdir().expect("dir");
        let log = Arc::new(SqliteLog::open(data.path()).expect("log"));
        let hub = Arc::new(Hub::new(Board::new(log.feed_id()), Arc::clone(&log) as _, Clock::system()));
        let stop = CancellationToken::new();
        let catalog = Catalog::parse("test", CATALOG).expect("catalog");
        let known = Known { catalog: Arc::new(catalog), data: data.path().to_owned() };
        let access = Arc::new(Access::new(&Policy::default(), data.path(), Clock::system()));
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), is_private: true };
        let archive = Archive::of(data.path().to_owned(), Clock::system());
        let router = router(Arc::clone(&hub), Arc::new(Vec::new), known, archive, Arc::clone(&access), stop.clone())
            .layer(middleware::from_fn_with_state(access, access::guard))
            .layer(axum::Extension(peer));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { address, hub, log, stop, _server: server, _data: data }
    }

    async fn publish(&self, n: usize) {
        let now = Timestamp::from_micros(1_761_752_640_000_000);
        let changes = vec![Published::Visibility(Visibility::default()); n];
        let entries = self.log.publish(Cursor::START, now, changes).await.expect("durable");
        self.hub.publish(entries);
    }

    /// HTTP/1.0, so that the body comes as it is, without chunks.
    async fn get(&self, path: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("connect");
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        stream
    }

    async fn events(&self, headers: &str) -> Events {
        Events { stream: BufReader::new(self.get("/events", headers).await) }
    }
}

struct Events {
    stream: BufReader<TcpStream>,
}

#[derive(Default)]
struct Seen {
    kind: String,
    id: u64,
    data: String,
}

impl Events {
    async fn event(&mut self) -> Seen {
        let mut seen = Seen::default();
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).await.expect("read") > 0, "the stream ended");
            match line.trim_end().split_once(": ") {
                Some(("event", kind)) => kind.clone_into(&mut seen.kind),
                Some(("id", id)) => seen.id = id.parse().expect("a number"),
                Some(("data", data)) => data.clone_into(&mut seen.data),
                _ if line.trim_end().is_empty() && !seen.kind.is_empty() => return seen,
                _ => {}
            }
        }
    }

    /// The places of the next changes; ticks are passed over.
    async fn changes(&mut self, n: usize) -> Vec<u64> {
        let mut places = Vec::new();
        while places.len() < n {
            let event = self.event().await;
            if event.kind != "tick" {
                places.push(event.id);
            }
        }
        places
    }
}
