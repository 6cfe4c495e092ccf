//! The feed port as strangers, browsers, token holders and proxies meet it: TLS and its renewal, tokens and roles, gRPC-Web,
//! compression, and other origins.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use faultline_attribution::Timestamp;
use faultline_coordinator::{
    access::{
        Policy,
        tokens::{Role, Tokens},
    },
    serve::{Coordinator, ServeError},
};
use faultline_lab::{programs::built, stage};
use faultline_proto::{
    clock::Clock,
    convert,
    feed::v1::{
        FromSnapshot, GetSnapshotRequest, SubscribeRequest, feed_service_client::FeedServiceClient,
        subscribe_request::Start,
    },
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, body::Bytes, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tempfile::TempDir;
use tokio::{net::TcpStream, time};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Code, codec::CompressionEncoding, metadata::MetadataValue, transport::Endpoint};
use tonic_types::StatusExt as _;

/// Everything here takes seconds; this is a hang.
const HANG: Duration = Duration::from_mins(1);

async fn serve(change: impl FnOnce(&Path, &mut Policy)) -> (TempDir, Result<Coordinator, ServeError>) {
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    let mut access = Policy::default();
    change(data.path(), &mut access);
    let coordinator = stage::start_with(data.path(), Clock::system(), |options| options.access = access).await;
    (data, coordinator)
}

fn token(data: &Path, id: &str) -> String {
    token_of(data, id, Vec::new())
}

fn token_of(data: &Path, id: &str, roles: Vec<Role>) -> String {
    let expires_at = Timestamp::from_micros(Clock::system().now_micros() + 600_000_000);
    Tokens::of(data).create(id, roles, None, expires_at).expect("made")
}

async fn ask(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let stream = TcpStream::connect(address).await.expect("connect");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("http");
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let answer = time::timeout(HANG, sender.send_request(request)).await.expect("in time").expect("an answer");
    let (head, body) = answer.into_parts();
    Response::from_parts(head, body.collect().await.expect("a body").to_bytes())
}

fn get(path: &str) -> http::request::Builder {
    Request::get(path).header(header::HOST, "localhost")
}

fn empty(builder: http::request::Builder) -> Request<Full<Bytes>> {
    builder.body(Full::default()).expect("a request")
}

#[tokio::test]
async fn a_feed_that_asks_for_tokens_is_read_with_one_and_not_without() {
    let (data, coordinator) = serve(|_, access| access.anonymous = false).await;
    let coordinator = coordinator.expect("serves");
    let (feed, good) = (coordinator.feed_address, token(data.path(), "noc"));
    let page = ask(feed, empty(get("/"))).await;
    assert_eq!(page.status(), StatusCode::UNAUTHORIZED);
    assert!(page.headers().get_all(header::WWW_AUTHENTICATE).iter().any(|how| how.as_bytes().starts_with(b"Basic")));
    let bearer = get("/").header(header::AUTHORIZATION, format!("Bearer {good}"));
    assert_eq!(ask(feed, empty(bearer)).await.status(), StatusCode::OK);
    let password = data_encoding::BASE64.encode(format!("anybody:{good}").as_bytes());
    let basic = get("/").header(header::AUTHORIZATION, format!("Basic {password}"));
    assert_eq!(ask(feed, empty(basic)).await.status(), StatusCode::OK);
    assert_eq!(ask(feed, empty(get("/healthz"))).await.status(), StatusCode::OK, "health is for all");

    let channel = Endpoint::from_shared(format!("http://{feed}")).expect("url").connect().await.expect("connect");
    let refused = FeedServiceClient::new(channel.clone()).get_snapshot(GetSnapshotRequest::default()).await;
    let refused = refused.expect_err("no token");
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(refused.get_details_error_info().expect("info").reason, "TOKEN_REQUIRED");
    let bearer: MetadataValue<_> = format!("Bearer {good}").parse().expect("ascii");
    let mut client = FeedServiceClient::with_interceptor(channel, move |mut request: tonic::Request<()>| {
        request.metadata_mut().insert("authorization", bearer.clone());
        Ok(request)
    });
    let start = Some(Start::FromSnapshot(FromSnapshot {}));
    let bookmark_interval = Some(convert::duration(Duration::from_secs(1)));
    let request = SubscribeRequest { start, bookmark_interval, ..SubscribeRequest::default() };
    let mut stream = client.subscribe(request).await.expect("subscribed").into_inner();
    assert!(stream.message().await.expect("a snapshot").is_some());
    assert!(Tokens::of(data.path()).revoke("noc").expect("revoked"));
    let end = time::timeout(HANG, async {
        loop {
            if let Err(status) = stream.message().await {
                return status;
            }
        }
    });
    assert_eq!(end.await.expect("in time").code(), Code::Unauthenticated, "the stream of a revoked token ends");
    coordinator.stop().await;
}

/// A self-signed certificate for localhost; returns it as a root to trust.
fn certificate(folder: &Path) -> (PathBuf, PathBuf, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let (chain, key) = (folder.join("feed.pem"), folder.join("feed.key"));
    std::fs::write(&chain, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    (chain, key, roots)
}

async fn shake(address: SocketAddr, roots: &RootCertStore) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart_and_a_broken_one_is_not() {
    let mut old = RootCertStore::empty();
    let (data, coordinator) = serve(|data, access| {
        let (chain, key, roots) = certificate(data);
        access.tls = Some((chain, key));
        old = roots;
    })
    .await;
    let coordinator = coordinator.expect("serves");
    let feed = coordinator.feed_address;
    let stream = shake(feed, &old).await.expect("the certificate is the file's");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("http/2");
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let request = Request::get("https://localhost/").body(Full::<Bytes>::default()).expect("a request");
    assert_eq!(sender.send_request(request).await.expect("an answer").status(), StatusCode::OK);

    std::fs::write(data.path().join("feed.key"), "no key").expect("written");
    let (_, _, new) = {
        assert!(shake(feed, &old).await.is_ok(), "a broken key changes nothing");
        certificate(data.path())
    };
    time::timeout(HANG, async {
        while shake(feed, &new).await.is_err() {
            time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("the new certificate is served");
    assert!(shake(feed, &old).await.is_err());
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_reads_a_feed_with_a_token_over_tls_and_never_sends_it_in_the_open() {
    let program = &built("faultline");
    let (data, coordinator) = serve(|data, access| {
        let (chain, key, _) = certificate(data);
        access.tls = Some((chain, key));
        access.anonymous = false;
    })
    .await;
    let coordinator = coordinator.expect("serves");
    let (feed, file) = (format!("https://localhost:{}", coordinator.feed_address.port()), data.path().join("token"));
    std::fs::write(&file, token(data.path(), "noc")).expect("written");
    let status = async |feed: &str, options: &[(&str, &Path)]| {
        let mut command = tokio::process::Command::new(program);
        command.args(["status", "-o", "json", "--feed", feed]);
        for (option, file) in options {
            command.arg(option).arg(file);
        }
        let output = time::timeout(HANG, command.output()).await.expect("in time").expect("runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let authority = data.path().join("feed.pem");
    let (ca, by_token) = (("--ca-file", authority.as_path()), ("--token-file", file.as_path()));
    let seen = status(&feed, &[ca, by_token]).await;
    assert!(seen.contains("\"below_quorum\""), "{seen}");
    let refused = status(&feed, &[ca]).await;
    assert!(refused.contains("a token is needed"), "{refused}");
    let distrusted = status(&feed, &[by_token]).await;
    assert!(distrusted.contains("certificate"), "{distrusted}");
    let open = status("http://192.0.2.1:7444", &[by_token]).await;
    assert!(open.contains("must not go over plaintext"), "{open}");

    let ops = data.path().join("ops");
    std::fs::write(&ops, token_of(data.path(), "ops", vec![Role::Operator])).expect("written");
    let crowd = data.path().join("crowd.csv");
    std::fs::write(&crowd, "about,count,baseline,window_s\naws,6025,8,900\n").expect("written");
    let run = async |arguments: &[&str], token: &Path| {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).args(["--feed", &feed, "--ca-file"]).arg(&authority).arg("--token-file").arg(token);
        let output = time::timeout(HANG, command.output()).await.expect("in time").expect("runs");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let crowd = crowd.to_str().expect("a path");
    let (code, refused) = run(&["claim", "push", crowd], &file).await;
    assert!(code == Some(1) && refused.contains("ROLE_REQUIRED"), "{refused}");
    let (code, pushed) = run(&["claim", "push", crowd], &ops).await;
    assert!(code == Some(0) && pushed.contains("1 published"), "{pushed}");
    let (code, listed) = run(&["claim", "list"], &file).await;
    assert!(code == Some(0) && listed.contains("6025 reports, 8 are usual"), "{listed}");
    let (_, report) = run(&["report", "inc-20251029T154113Z-1"], &file).await;
    assert!(report.contains("no such incident"), "{report}");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_feed_that_others_could_read_on_its_way_is_not_opened_unasked() {
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let start = |plaintext| {
        stage::start_with(data.path(), Clock::system(), move |options| {
            options.feed_listen = everywhere;
            options.access.plaintext = plaintext;
        })
    };
    let Err(refused) = start(false).await else { panic!("it opened") };
    assert!(refused.to_string().contains("--tls-cert"), "{refused}");
    start(true).await.expect("asked for").stop().await;
}

#[tokio::test]
async fn a_browser_reads_the_feed_by_grpc_web_from_an_origin_that_may() {
    let (_data, coordinator) = serve(|_, access| access.cors = vec!["https://status.example.org".into()]).await;
    let coordinator = coordinator.expect("serves");
    let feed = coordinator.feed_address;
    let call = "/faultline.feed.v1.FeedService/GetSnapshot";
    for (origin, may) in [("https://status.example.org", true), ("https://evil.example", false)] {
        let preflight = Request::options(call)
            .header(header::HOST, "localhost")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "content-type,x-grpc-web");
        let answer = ask(feed, empty(preflight)).await;
        let allowed = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(allowed.is_some_and(|allowed| allowed == origin), may, "{origin}: {answer:?}");
    }
    let call = Request::post(call)
        .header(header::HOST, "localhost")
        .header(header::ORIGIN, "https://status.example.org")
        .header(header::CONTENT_TYPE, "application/grpc-web+proto")
        .header("x-grpc-web", "1");
    let answer = ask(feed, call.body(Full::from(Bytes::from_static(&[0; 5]))).expect("a request")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body();
    assert_eq!(body[0], 0, "a message first");
    assert!(body.windows(13).any(|part| part == b"grpc-status:0"), "the trailers come in the body: {body:?}");
    coordinator.stop().await;
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    let (_data, coordinator) = serve(|_, _| {}).await;
    let coordinator = coordinator.expect("serves");
    let url = format!("http://{}", coordinator.feed_address);
    let channel = Endpoint::from_shared(url).expect("url").connect().await.expect("connect");
    for (asked, told) in
        [(Some(CompressionEncoding::Gzip), "gzip"), (Some(CompressionEncoding::Zstd), "zstd"), (None, "")]
    {
        let mut client = FeedServiceClient::new(channel.clone());
        if let Some(asked) = asked {
            client = client.accept_compressed(asked);
        }
        let answer = client.get_snapshot(GetSnapshotRequest::default()).await.expect("a snapshot");
        let encoding = answer.metadata().get("grpc-encoding").map_or("", |word| word.to_str().expect("a word"));
        assert_eq!(encoding, told);
        assert!(answer.into_inner().snapshot.is_some());
    }
    coordinator.stop().await;
}

#[tokio::test]
async fn whoever_is_lost_is_told_so_in_its_own_words() {
    let (_data, coordinator) = serve(|_, _| {}).await;
    let coordinator = coordinator.expect("serves");
    let feed = coordinator.feed_address;
    let answer = ask(feed, empty(get("/no/such%3Cpage%3E"))).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(answer.headers().contains_key(header::CONTENT_SECURITY_POLICY));
    let body = String::from_utf8(answer.into_body().into()).expect("text");
    assert!(body.contains("No such page") && body.contains("/no/such%3Cpage%3E"), "{body}");
    for kind in ["application/grpc-web+proto", "application/grpc"] {
        let call = Request::post("/no.such.Service/Call").header(header::HOST, "localhost");
        let answer = ask(feed, empty(call.header(header::CONTENT_TYPE, kind))).await;
        assert_eq!(
            answer.headers().get("grpc-status").map(http::HeaderValue::as_bytes),
            Some(&b"12"[..]),
            "{answer:?}"
        );
    }
    coordinator.stop().await;
}
