//! A publisher on loopback, and what is held of it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, SocketAddr, TcpListener},
    thread,
};

use super::*;

pub(in crate::ranges) const GOOD: &str =
    r#"{"createDate": "1", "prefixes": [{"ip_prefix": "192.0.2.0/24", "region": "us-east-1", "service": "EC2"}]}"#;

/// Answers one request after the other with these answers, each on a connection of its own, and hands back what was asked.
pub(in crate::ranges) fn publisher(answers: Vec<String>) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let serve = move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("accept");
            let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            asked.push(lines.collect::<Vec<_>>().join("\n"));
            stream.write_all(answer.as_bytes()).expect("answer");
        }
        asked
    };
    (address, thread::spawn(serve))
}

pub(in crate::ranges) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

pub(in crate::ranges) fn publishers(document: Document, url: &str) -> Publishers {
    Publishers::only([Override(document, url.parse().expect("url"))])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn is_held(store: &Store) -> bool {
    let (ranges, errors) = store.load();
    assert!(errors.is_empty(), "{errors:?}");
    ranges.lookup(IpAddr::from([192, 0, 2, 1])).is_some()
}

#[test]
fn a_failed_fetch_keeps_what_we_hold() {
    let folder = tempfile::tempdir().expect("dir");
    let store = Store::of(folder.path());
    let bad = GOOD.replace("192.0.2.0/24", "192.0.2.0/99");
    let (address, served) = publisher(vec![
        answer("200 OK", "etag: \"one\"\r\n", GOOD),
        answer("304 Not Modified", "etag: \"one\"\r\n", ""),
        answer("500 Internal Server Error", "", "sorry"),
        answer("200 OK", "etag: \"two\"\r\n", &bad),
        answer("200 OK", "etag: \"two\"\r\n", r#"{"prefixes": []}"#),
        answer("302 Found", "location: http://192.0.2.9/elsewhere\r\n", ""),
    ]);
    let publishers = publishers(Document::Aws, &format!("http://{address}/ip-ranges.json"));
    let ask = |now: i64| refresh(&store, &publishers, Document::Aws, at(now));

    assert_eq!(ask(100).expect("comes"), Refreshed::Changed);
    assert!(is_held(&store));
    assert_eq!(ask(200).expect("comes"), Refreshed::Unchanged);
    let note = store.note(Document::Aws).expect("note");
    assert_eq!((note.fetched_at, note.checked_at, note.etag.as_deref()), (at(100), at(200), Some("\"one\"")));
    for expected in [
        "answered 500",
        "ranges of aws: prefixes[0].ip_prefix = \"192.0.2.0/99\" is not an address prefix",
        "ranges of aws: it holds no prefix at all",
        "answered 302",
    ] {
        let error = ask(300).expect_err("fails").to_string();
        assert!(error.contains(expected) && error.contains(&address.to_string()), "{error}");
        assert!(is_held(&store));
        assert_eq!(store.note(Document::Aws).expect("note"), note, "its age shows");
    }
    let asked = served.join().expect("served");
    assert!(!asked[0].contains("if-none-match"), "{}", asked[0]);
    assert!(asked[1..].iter().all(|request| request.contains("if-none-match: \"one\"")), "{asked:?}");

    let error = ask(300).expect_err("nobody there").to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(is_held(&store));
}

#[test]
fn the_page_of_azure_leads_to_its_newest_tags() {
    let folder = tempfile::tempdir().expect("dir");
    let store = Store::of(folder.path());
    let page = r#"<a href="/download/7/ServiceTags_Public_20251017.json" target="_self">Download</a>"#;
    let tags = r#"{"changeNumber": 1, "values": [{"name": "A", "properties": {"addressPrefixes": ["192.0.2.0/24"]}}]}"#;
    let (address, served) = publisher(vec![
        answer("200 OK", "", page),
        answer("200 OK", "etag: \"tags\"\r\n", tags),
        answer("200 OK", "", page),
        answer("304 Not Modified", "", ""),
    ]);
    let publishers = publishers(Document::Azure, &format!("http://{address}/details.aspx"));
    assert_eq!(refresh(&store, &publishers, Document::Azure, at(1)).expect("comes"), Refreshed::Changed);
    assert_eq!(refresh(&store, &publishers, Document::Azure, at(2)).expect("comes"), Refreshed::Unchanged);
    let asked = served.join().expect("served");
    assert!(asked[3].starts_with("GET /download/7/ServiceTags_Public_20251017.json "), "{asked:?}");
    assert!(asked[3].contains("if-none-match: \"tags\"") && !asked[2].contains("if-none-match"), "{asked:?}");
    assert!(is_held(&store));
}

#[test]
fn a_page_leads_nowhere_but_to_its_publisher() {
    let page: DocumentUrl = "https://www.microsoft.com/download".parse().expect("url");
    let link = |text: &str| fetch::service_tags_link(&page, text);
    let good = "https://download.microsoft.com/download/7/1/ServiceTags_Public_20251017.json";
    for text in [format!("<a href=\"{good}\">"), format!("{{\"url\":\"{good}\"}}"), format!("<a href={good}>")] {
        assert_eq!(link(&text).expect("found").to_string(), good, "{text}");
    }
    assert!(matches!(link("<p>moved</p>"), Err(FetchError::Link { .. })));
    let elsewhere = link("<a href=\"https://example.org/ServiceTags_Public_1.json\">");
    assert!(matches!(elsewhere, Err(FetchError::Elsewhere { .. })));
    let plain = link("<a href=\"http://download.microsoft.com/ServiceTags_Public_1.json\">");
    assert!(matches!(plain, Err(FetchError::BadLink { .. })));
}

#[test]
fn only_https_and_loopback_are_asked() {
    for good in ["aws=https://mirror.example.org/x.json", "cloudflare-v6=http://127.0.0.9:8080/v6", "gcp=http://[::1]/"]
    {
        assert!(good.parse::<Override>().is_ok(), "{good}");
    }
    let rows = [
        ("aws=http://mirror.example.org/x.json", "over https, or over http from a loopback address"),
        ("aws=http://localhost/x.json", "over https, or over http from a loopback address"),
        ("aws=file:///etc/passwd", "over https, or over http from a loopback address"),
        ("akamai=https://example.org/", "none of aws, azure, gcp"),
        ("https://example.org/", "not PROVIDER=URL"),
        ("aws=nowhere", "not a URL"),
    ];
    for (bad, expected) in rows {
        let error = bad.parse::<Override>().expect_err(bad).to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(Publishers::default().documents().collect::<Vec<_>>(), Document::ALL);
}

#[test]
fn whoever_does_not_speak_tls_is_no_publisher() {
    let folder = tempfile::tempdir().expect("dir");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("answer");
    });
    let publishers = publishers(Document::Gcp, &format!("https://{address}/cloud.json"));
    let error = refresh(&Store::of(folder.path()), &publishers, Document::Gcp, at(1)).expect_err("fails");
    assert!(matches!(error, RefreshError::Fetch(FetchError::Exchange { .. })), "{error}");
    served.join().expect("served");
}
