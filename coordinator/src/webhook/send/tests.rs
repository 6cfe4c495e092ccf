//! What may be reached, and what an answer can do to us, against servers on loopback.

use std::{
    io::Write as _,
    net::{IpAddr, TcpListener, TcpStream},
    sync::mpsc,
};

use super::*;
use crate::webhook::config::{Filter, Revisions};

fn webhook(url: &str, allow_private: bool) -> Webhook {
    Webhook {
        url: url.parse().expect(url),
        format: Format::Slack,
        secrets: Vec::new(),
        routing_key_file: None,
        heartbeat: None,
        revisions: Revisions::Each,
        link: None,
        ca_file: None,
        allow_private,
        disabled: None,
        filter: Filter::default(),
    }
}

fn message() -> Message {
    Message { id: "test-1".into(), content_type: "application/json", body: b"{}".to_vec() }
}

fn sent(webhook: &Webhook) -> Answer {
    send(webhook, &message(), Timestamp::from_micros(1_761_752_640_000_000))
}

/// A server that hands each connection, its request read, to `answer`; and its port.
fn server(answer: impl Fn(TcpStream) + Send + 'static) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let (sender, requests) = mpsc::channel();
    thread_of(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut chunk = [0; 1024];
            while !request.ends_with(b"{}") {
                match io::Read::read(&mut stream, &mut chunk) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&chunk[..read]),
                }
            }
            if sender.send(String::from_utf8_lossy(&request).into_owned()).is_err() {
                return;
            }
            answer(stream);
        }
    });
    (port, requests)
}

fn thread_of(work: impl FnOnce() + Send + 'static) {
    drop(std::thread::spawn(work));
}

#[test]
fn only_what_is_allowed_may_be_connected_to() {
    let to = |address: &str| SocketAddr::new(address.parse::<IpAddr>().expect(address), 443);
    for never in [
        "169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "0.0.0.0",
        "224.0.0.1",
        "::",
        "255.255.255.255",
        "198.18.0.1",
        "240.0.0.1",
    ] {
        assert!(check(to(never), false, true).is_err(), "{never} with allow_private");
    }
    for private in [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "fd12::1",
        "fe80::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ] {
        let refused = check(to(private), false, false).expect_err(private);
        assert!(refused.contains("allow_private"), "{refused}");
        assert_eq!(check(to(private), true, true), Ok(()), "{private}");
    }
    for public in ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"] {
        assert_eq!(check(to(public), false, false), Ok(()));
        assert!(check(to(public), true, true).is_err_and(|why| why.contains("https only")), "{public}");
    }
}

#[test]
fn no_address_of_ours_is_reached_under_any_name() {
    let (port, requests) = server(|_| {});
    for host in [
        "localhost",
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "017700000001",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "127.1",
    ] {
        let answer = sent(&webhook(&format!("https://{host}:{port}/"), false));
        assert_eq!((answer.status, answer.addresses.len()), (None, 0), "{host}: {answer:?}");
        assert!(answer.error.contains("is a loopback address"), "{host}: {}", answer.error);
    }
    let metadata = sent(&webhook("http://169.254.169.254/latest/meta-data", true));
    assert!(metadata.error.contains("metadata") && !metadata.error.contains("latest"), "{}", metadata.error);
    assert!(requests.try_recv().is_err(), "nothing was connected to");
}

#[test]
fn a_redirect_is_followed_nowhere_and_is_no_yes() {
    let (other, reached) = server(|mut stream| drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")));
    let (port, _requests) = server(move |mut stream| {
        let answer = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:{other}/\r\ncontent-length: 0\r\n\r\n"
        );
        drop(stream.write_all(answer.as_bytes()));
    });
    let answer = sent(&webhook(&format!("http://127.0.0.1:{port}/"), true));
    assert_eq!((answer.status, answer.reply()), (Some(307), Reply::NotTaken(None)), "{answer:?}");
    assert!(answer.error.contains("answered 307") && reached.try_recv().is_err());
    assert_eq!(answer.address(), format!("127.0.0.1:{port}"), "the port is in the log");
}

#[test]
fn an_answer_without_end_costs_four_kibibytes() {
    let (port, _requests) = server(|mut stream| {
        let begin = b"HTTP/1.1 503 Busy\r\nretry-after: 120\r\nconnection: close\r\n\r\nslow \x1b[31mdown\r\n";
        let mut open = stream.write_all(begin).is_ok();
        while open {
            open = stream.write_all(&[b'x'; 4096]).is_ok();
        }
    });
    let answer = sent(&webhook(&format!("http://127.0.0.1:{port}/"), true));
    assert_eq!(answer.reply(), Reply::NotTaken(Some(Duration::from_mins(2))));
    assert_eq!(answer.error, "answered 503 slow [31mdown");
}

#[test]
fn a_receiver_that_is_silent_costs_five_seconds() {
    let (held, _hold) = mpsc::channel();
    let (port, _requests) = server(move |stream| drop(held.send(stream)));
    let answer = sent(&webhook(&format!("http://127.0.0.1:{port}/"), true));
    assert!(answer.error.starts_with("no answer within 5 s"), "{answer:?}");
    assert!((TIMEOUT..TIMEOUT * 10).contains(&answer.took), "{:?}", answer.took);
}

#[test]
fn only_whom_its_own_certificates_vouch_for_is_told() {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let data = tempfile::tempdir().expect("dir");
    let now = faultline_proto::clock::Clock::system().now_micros();
    crate::pki::Authority::init(data.path(), "test.internal", &["127.0.0.1".into()], now).expect("authority");
    let ca = |name: &str| data.path().join("ca").join(name);
    let chain = CertificateDer::pem_file_iter(ca("server.pem")).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let key = PrivateKeyDer::from_pem_file(ca("server.key")).expect("key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain.expect("certificates"), key)
        .expect("config");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    thread_of(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("connection");
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                drop(stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"));
            }
        }
    });
    let trusting = Webhook { ca_file: Some(ca("root.pem")), ..webhook(&format!("https://127.0.0.1:{port}/"), true) };
    assert_eq!(sent(&trusting).status, Some(204), "{:?}", sent(&trusting));
    let strict = sent(&Webhook { ca_file: None, ..trusting.clone() });
    assert!(strict.status.is_none() && strict.error.to_lowercase().contains("certificate"), "{strict:?}");
    let keyless = sent(&Webhook { ca_file: Some(ca("root.key")), ..trusting });
    assert!(keyless.error.contains("no certificate"), "{keyless:?}");
}

#[test]
fn a_routing_key_is_read_from_its_file_each_time() {
    let data = tempfile::tempdir().expect("dir");
    let path = data.path().join("key");
    let pager = Webhook { routing_key_file: Some(path.clone()), ..webhook("https://events.pagerduty.com/", false) };
    assert!(routing_key(&pager).is_err_and(|why| why.contains("key")));
    fs::write(&path, "0123456789abcdef0123456789abcdef\n").expect("write");
    assert_eq!(routing_key(&pager).as_deref(), Ok("0123456789abcdef0123456789abcdef"));
    fs::write(&path, "not a key").expect("write");
    assert!(routing_key(&pager).is_err_and(|why| !why.contains("not a key")));
}
