//! The way in over a real socket.

use std::net::SocketAddr;

use faultline_proto::clock::Clock;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;
use crate::{
    board::Board,
    feed::Hub,
    log::{ChangeLog as _, sqlite::SqliteLog},
};

struct Served {
    address: SocketAddr,
    hub: Arc<Hub>,
    _server: JoinSet<()>,
    _data: TempDir,
}

impl Served {
    async fn start() -> Self {
        let data = tempfile::tempdir().expect("dir");
        let log = Arc::new(SqliteLog::open(data.path()).expect("log"));
        let hub = Arc::new(Hub::new(Board::new(log.feed_id()), log, Clock::system()));
        let router = router(Arc::new(Intake::new(Arc::clone(&hub))));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let server = JoinSet::from_iter([async move { axum::serve(listener, router).await.expect("serves") }]);
        Self { address, hub, _server: server, _data: data }
    }

    /// Status and body of a push.
    async fn push(&self, content_type: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("connect");
        let length = body.len();
        let head = format!(
            "POST /api/v1/claims HTTP/1.0\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("write");
        // Who refuses a long body does not read it.
        drop(stream.write_all(body.as_bytes()).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
        (status, answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
    }
}

/// What the API says of itself.
const DESCRIPTION: &str = include_str!("../../feed/formats/api/openapi.json");

#[tokio::test]
async fn what_may_be_pushed_in_is_what_the_description_says() {
    let site = Served::start().await;
    let described: serde_json::Value = serde_json::from_str(DESCRIPTION).expect("JSON");
    let paths = described["paths"].as_object().expect("paths");
    let pushed: Vec<_> = paths.iter().filter(|(_, item)| item.get("post").is_some()).map(|(path, _)| path).collect();
    assert_eq!(pushed, ["/api/v1/claims"]);
    let post = &paths["/api/v1/claims"]["post"];
    let scheme = post["security"][0].as_object().and_then(|one| one.keys().next()).expect("who may");
    assert_eq!(described["components"]["securitySchemes"][scheme]["scheme"], "bearer");
    let crowd = &described["components"]["schemas"]["Crowd"];
    let mut row = serde_json::Map::new();
    for field in crowd["properties"].as_object().expect("fields").keys() {
        let value = match field.as_str() {
            "count" | "baseline" | "window_s" => json!(60),
            "about" => json!("aws"),
            "source" => json!("crowd-x"),
            _ => json!(null),
        };
        row.insert(field.clone(), value);
    }
    let (status, answer) = site.push("application/json", &json!(row).to_string()).await;
    assert_eq!(status, 200, "every field is known: {answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let names = |object: &serde_json::Value| object.as_object().expect("object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&answer), names(&described["components"]["schemas"]["Taken"]["properties"]));
    for required in crowd["required"].as_array().expect("list") {
        let mut without = row.clone();
        without.remove(required.as_str().expect("text"));
        let (status, answer) = site.push("application/json", &json!(without).to_string()).await;
        assert!(status == 400 && post["responses"].get("400").is_some(), "{required}: {answer}");
    }
    for (content_type, body, wanted) in
        [("text/plain", "x", 415), ("text/csv", &*"x".repeat(crowd::MAX_BYTES + 1), 413)]
    {
        let (status, _) = site.push(content_type, body).await;
        assert!(status == wanted && post["responses"].get(wanted.to_string()).is_some(), "{status}");
    }
}

#[tokio::test]
async fn what_operators_push_in_is_on_the_board() {
    let site = Served::start().await;
    let csv = "about,count,baseline\naws,6025,8\nazure,9,8\n";
    let (status, body) = site.push("text/csv; charset=utf-8", csv).await;
    assert_eq!((status, body.as_str()), (200, r#"{"published":2,"known":0,"older":0}"#));
    let (status, body) = site.push("application/json", r#"{"about": "aws", "count": 6100, "baseline": 8}"#).await;
    assert_eq!((status, body.as_str()), (200, r#"{"published":0,"known":1,"older":0}"#));
    let board = site.hub.board();
    let aws = board.claims.told("crowd", "aws").expect("told");
    assert_eq!(aws.newest().stance, crate::claims::Stance::ReportsProblem);
    assert_eq!((aws.newest().crowd.expect("a crowd").count, aws.crowd.expect("by now").count), (6025, 6100));
    assert_eq!(
        board.claims.told("crowd", "azure").expect("told").newest().stance,
        crate::claims::Stance::NothingPosted
    );
}

#[tokio::test]
async fn what_is_wrong_is_refused_whole_with_a_reason() {
    let site = Served::start().await;
    let rows = [
        ("text/csv", "about,count,baseline\naws,6025,8\naws,many,8\n", 400, "line 3: count: "),
        ("application/json", "[", 400, "not JSON"),
        ("text/plain", "hello", 415, "neither application/json nor text/csv"),
    ];
    for (content_type, body, expected, reason) in rows {
        let (status, answer) = site.push(content_type, body).await;
        assert!(status == expected && answer.contains(reason), "{body}: {status} {answer}");
    }
    let (status, _) = site.push("application/json", &" ".repeat(crowd::MAX_BYTES + 1)).await;
    assert_eq!(status, 413);
    assert!(site.hub.board().claims.is_empty());
}
