//! The loop over real sockets, with a router that says hello.

use std::time::Duration;

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    super::{FEED, places::Share},
    *,
};

struct Port {
    address: SocketAddr,
    stop: CancellationToken,
    _serving: JoinSet<()>,
}

impl Port {
    async fn open(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let stop = CancellationToken::new();
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route("/never", get(async || std::future::pending::<&str>().await));
        let greet = |stream, _| async move { Ok((stream, Extensions::new())) };
        let (mut serving, stopped) = (JoinSet::new(), stop.clone());
        serving.spawn(async move { serve(listener, limits, router, greet, stopped).await });
        Self { address, stop, _serving: serving }
    }

    async fn ask(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n");
        // It may be closed already: then the answer is none.
        drop(stream.write_all(request.as_bytes()).await);
        stream
    }
}

/// What comes until the end.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let read = time::timeout(Duration::from_secs(100), stream.read_to_string(&mut text)).await;
    drop(read.expect("closed"));
    text
}

#[tokio::test]
async fn a_connection_without_requests_ends_and_its_places_are_free_again() {
    let one = Share { all: 1, of_one: 1 };
    let port = Port::open(Limits { connections: one, opening: one, idle: Duration::from_millis(200), ..FEED }).await;
    let thrice = async {
        let mut answered = 0;
        while answered < 3 {
            answered += usize::from(rest(port.ask("/").await).await.ends_with("hello"));
        }
    };
    time::timeout(Duration::from_secs(100), thrice).await.expect("a place for each");
}

#[tokio::test]
async fn one_too_many_is_closed_at_once() {
    let limits = Limits { connections: Share { all: 9, of_one: 1 }, ..FEED };
    let port = Port::open(limits).await;
    let mut first = port.ask("/").await;
    let mut head = [0; 12];
    first.read_exact(&mut head).await.expect("answered");
    let mut second = TcpStream::connect(port.address).await.expect("connected");
    assert!(!matches!(second.read(&mut [0; 16]).await, Ok(1..)), "closed");
    first.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await.expect("asked");
    assert!(rest(first).await.ends_with("hello"), "the first one goes on");
}

#[tokio::test]
async fn shutdown_ends_what_is_open() {
    let port = Port::open(FEED).await;
    let (idle, busy) = (port.ask("/").await, port.ask("/never").await);
    port.stop.cancel();
    let (idle, busy) = tokio::join!(rest(idle), rest(busy));
    assert!(idle.is_empty() || idle.ends_with("hello"), "{idle}");
    assert_eq!(busy, "");
}

#[tokio::test]
async fn a_connection_ends_at_its_age_once_its_requests_have() {
    let port = Port::open(Limits { age: Duration::from_millis(200), ..FEED }).await;
    assert!(rest(port.ask("/").await).await.ends_with("hello"));
}
