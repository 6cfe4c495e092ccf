//! Status pages on loopback: what they may do, and what is said of them.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
};

use faultline_proto::clock::Clock;
use tempfile::TempDir;
use tokio::time;

use super::*;
use crate::{
    board::Board,
    claims::Claim,
    feed::Hub,
    log::{ChangeLog as _, sqlite::SqliteLog},
};

/// Everything here takes a second or less; this is a hang.
const HANG: Duration = Duration::from_mins(1);

/// So that half a minute passes in 30 ms.
const SPEED: f64 = 1000.0;

/// One question to the page: its request, as it came.
type Asked = mpsc::Receiver<String>;

/// A page that gives these answers, one a connection, and then the last again and again.
fn page(answers: Vec<String>) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let (tell, asked) = mpsc::sync_channel(1024);
    thread::spawn(move || {
        for number in 0.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = String::new();
            let mut lines = BufReader::new(stream.try_clone().expect("clone"));
            while lines.read_line(&mut request).is_ok_and(|read| read > 2) {}
            if tell.try_send(request).is_err() {
                return;
            }
            let answer = &answers[number.min(answers.len() - 1)];
            // Who hangs up early has seen enough.
            drop(stream.write_all(answer.as_bytes()));
            if answer.is_empty() {
                drop(stream.read(&mut [0]));
            }
        }
    });
    (address, asked)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")
}

fn feed(items: &str) -> String {
    format!("<rss version=\"2.0\"><channel><title>x</title>{items}</channel></rss>")
}

/// An item of a minute ago.
fn disruption() -> String {
    let at = faultline_attribution::Timestamp::from_micros(Clock::system().now_micros() - 60_000_000);
    format!(
        "<item><title>Service disruption: errors</title><pubDate>{at}</pubDate><guid>#ec2-us-east-1_1</guid></item>"
    )
}

struct Asking {
    hub: Arc<Hub>,
    _data: TempDir,
    stop: CancellationToken,
    task: JoinSet<Result<(), LogError>>,
}

impl Asking {
    /// Asks a page at this address, with half a minute of a fast clock between.
    fn start(url: &str) -> Self {
        let data = tempfile::tempdir().expect("dir");
        let log = Arc::new(SqliteLog::open(data.path()).expect("log"));
        let clock = Clock::emulated(SPEED);
        let hub = Arc::new(Hub::new(Board::new(log.feed_id()), log, clock));
        let text = format!("[[source]]\nid = \"aws-status\"\nabout = \"aws\"\nformat = \"aws-rss\"\nurl = {url:?}\n");
        let sources = Sources::parse("claims.toml", &text).expect("sources");
        let (intake, stop) = (Arc::new(Intake::new(Arc::clone(&hub))), CancellationToken::new());
        let task = JoinSet::from_iter([keep(sources, intake, clock, stop.clone())]);
        Self { hub, _data: data, stop, task }
    }

    /// The first claim that is as wanted.
    async fn claim(&self, wanted: impl Fn(&Claim) -> bool) -> Claim {
        let look = async {
            let (found, mut live) = self.hub.subscribe(|board| {
                board.claims.told("aws-status", "aws").map(|told| told.newest().clone()).filter(|claim| wanted(claim))
            });
            if let Some(found) = found {
                return found;
            }
            loop {
                let entry = live.recv().await.expect("the hub is there");
                if let crate::feed::Published::Claim(claim) = &entry.published
                    && wanted(claim)
                {
                    return (**claim).clone();
                }
            }
        };
        time::timeout(HANG, look).await.expect("in time")
    }

    async fn stop(mut self) {
        self.stop.cancel();
        let ended = time::timeout(HANG, self.task.join_next()).await.expect("it ends by itself");
        ended.expect("a task").expect("no panic").expect("no fault");
    }
}

async fn becomes(answers: Vec<String>, stance: Stance) -> Claim {
    let (address, _asked) = page(answers);
    let asking = Asking::start(&format!("http://{address}/rss/all.rss"));
    let claim = asking.claim(|claim| claim.stance == stance).await;
    asking.stop().await;
    claim
}

#[tokio::test]
async fn a_page_without_posts_then_with_one_then_gone_is_told_as_that() {
    let ok = |items: &str| answer("200 OK", "", &feed(items));
    let (address, _asked) = page(vec![ok(""), ok(&disruption()), answer("500 Oops", "", "")]);
    let asking = Asking::start(&format!("http://{address}/rss/all.rss"));
    asking.claim(|claim| claim.stance == Stance::NothingPosted).await;
    let problem = asking.claim(|claim| claim.stance == Stance::ReportsProblem).await;
    assert_eq!(
        (problem.text.as_str(), problem.regions),
        ("Service disruption: errors", vec!["aws/us-east-1".to_owned()])
    );
    let gone = asking.claim(|claim| claim.stance == Stance::Unreachable).await;
    assert!(gone.reason.contains("answered 500"), "{}", gone.reason);
    asking.stop().await;
}

#[tokio::test]
async fn a_page_that_did_not_change_is_not_sent_again_and_still_says_what_it_said() {
    let mark = "etag: \"one\"\r\nlast-modified: Wed, 29 Oct 2025 16:18:00 GMT\r\n";
    let (address, asked) = page(vec![answer("200 OK", mark, &feed(&disruption())), answer("304 Not Modified", "", "")]);
    let asking = Asking::start(&format!("http://{address}/"));
    asking.claim(|claim| claim.stance == Stance::ReportsProblem).await;
    // The page goes on for as long as its questions are heard.
    let three = move || (asked.iter().take(3).collect::<Vec<String>>(), asked);
    let (requests, _asked) = tokio::task::spawn_blocking(three).await.expect("asked three times");
    assert!(!requests[0].to_lowercase().contains("if-none-match"), "{requests:?}");
    for request in &requests[1..] {
        let request = request.to_lowercase();
        assert!(request.contains("if-none-match: \"one\""), "{request}");
        assert!(request.contains("if-modified-since: wed, 29 oct 2025 16:18:00 gmt"), "{request}");
    }
    let board = asking.hub.board().claims.clone();
    let told = board.told("aws-status", "aws").expect("told");
    assert_eq!((told.newest().stance, told.history().count()), (Stance::ReportsProblem, 1));
    asking.stop().await;
}

#[tokio::test]
async fn garbage_bombs_and_floods_are_unparseable() {
    let bomb = "<!DOCTYPE rss [<!ENTITY a \"aaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><rss><channel>&b;</channel></rss>";
    let flood = feed(&" ".repeat(parse::MAX_BYTES));
    let rows = [
        ("<html>We moved</html>", "no RSS"),
        ("{}", "not XML"),
        (bomb, "not XML"),
        (flood.as_str(), "limit"),
        ("", "not XML"),
    ];
    for (body, expected) in rows {
        let claim = becomes(vec![answer("200 OK", "", body)], Stance::Unparseable).await;
        assert!(claim.reason.contains(expected), "{:?}: {}", body.get(..40), claim.reason);
    }
    // The first byte of two.
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\u{00ff}".to_owned();
    let claim = becomes(vec![cut], Stance::Unparseable).await;
    assert!(claim.reason.contains("not UTF-8"), "{}", claim.reason);
}

#[tokio::test]
async fn a_redirect_is_followed_within_a_host_and_no_further() {
    let (elsewhere, never) = page(vec![answer("200 OK", "", &feed(""))]);
    let to = format!("location: http://{elsewhere}/feed\r\n");
    let claim = becomes(vec![answer("302 Found", &to, "")], Stance::Unreachable).await;
    assert!(claim.reason.contains("another host") && claim.reason.contains(&elsewhere.to_string()), "{}", claim.reason);
    assert!(never.try_recv().is_err(), "the other host was asked");

    let moved = answer("301 Moved", "location: /feed\r\n", "");
    becomes(vec![moved.clone(), answer("200 OK", "", &feed(""))], Stance::NothingPosted).await;
    let claim = becomes(vec![moved], Stance::Unreachable).await;
    assert!(claim.reason.contains("redirects more than 3 times"), "{}", claim.reason);
}

#[tokio::test]
async fn a_page_that_nobody_answers_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    drop(listener);
    let asking = Asking::start(&format!("http://{address}/"));
    let claim = asking.claim(|claim| claim.stance == Stance::Unreachable).await;
    assert!(claim.reason.contains(&address.to_string()), "{}", claim.reason);
    asking.stop().await;
}

#[tokio::test]
async fn the_end_waits_for_no_page() {
    let (address, asked) = page(vec![String::new()]);
    let asking = Asking::start(&format!("http://{address}/"));
    tokio::task::spawn_blocking(move || asked.recv()).await.expect("no panic").expect("asked");
    let began = time::Instant::now();
    asking.stop().await;
    assert!(began.elapsed() < LIMITS.timeout / 2, "it took {:?}", began.elapsed());
}

#[test]
fn a_page_that_drips_is_given_up_in_time() {
    let (address, _asked) = page(vec!["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<rss".to_owned(), String::new()]);
    let (address, limits) = (format!("http://{address}/"), Limits { timeout: Duration::from_millis(300), ..LIMITS });
    let url = address.parse().expect("url");
    let began = std::time::Instant::now();
    for _ in 0..2 {
        let error = fetch::ask(&url, &Mark::default(), limits).expect_err("it never ends");
        assert_eq!(failed(&error).stance, Stance::Unreachable, "{error}");
    }
    assert!(began.elapsed() < HANG, "it took {:?}", began.elapsed());
}
