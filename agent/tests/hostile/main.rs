//! Servers that mean harm, and what a run against each costs in memory and time. Counted by the allocator, server and all.

use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use faultline_agent::{
    policy::{Policy, Ports},
    probe::{Outcome, ProbeSettings, Prober, ResolverChoice, Roots},
};
use faultline_proto::{
    clock::Clock,
    convert::duration,
    types::v1::{Assignment, Cause, DnsSpec, HttpSpec, Layer, Protocol, assignment::Spec},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What a run may take, its server included.
const MAX_BYTES: usize = 256 * 1024;

/// Limit of a run, and what it may take beyond; ten times as much where the machine is busy.
const TIMEOUT: Duration = Duration::from_millis(500);
const GRACE: Duration = Duration::from_secs(1);

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A hostile server for as long as this value lives.
struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Authority::self_signed(params, KeyPair::generate().expect("a key")).expect("a root")
}

/// A configuration with a good certificate and so many others behind it.
fn config(authority: &Authority, alpn: &[u8], others: usize) -> ServerConfig {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let leaf = params.signed_by(&key, authority).expect("a leaf");
    let mut chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
    chain.extend((0..others).map(|_| authority.der().clone()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .expect("an identity");
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

async fn tls<F, S>(config: ServerConfig, serve: F) -> Server
where
    F: Fn(TlsStream<TcpStream>) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(session) = acceptor.accept(stream).await {
                serve(session).await;
            }
        }
    });
    Server { address, _tasks: tasks }
}

/// Sends the head, and then the filler for ever, so often.
async fn pour(mut session: TlsStream<TcpStream>, head: &'static [u8], filler: &'static [u8], pause: Duration) {
    let Ok(1..) = session.read(&mut [0; 4096]).await else { return };
    let mut poured = session.write_all(head).await;
    while poured.is_ok() && !filler.is_empty() {
        tokio::time::sleep(pause).await;
        poured = session.write_all(filler).await;
        session.flush().await.ok();
    }
    session.shutdown().await.ok();
}

/// A name server that answers each datagram with these bytes, as often, after the question's id where there is one.
async fn names(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Server {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut question).await {
            for bytes in answer(&question[..length]) {
                socket.send_to(&bytes, peer).await.ok();
            }
        }
    });
    Server { address, _tasks: tasks }
}

/// A name server over TCP.
async fn names_over_tcp(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Ok(length) = stream.read_u16().await else { continue };
            let mut question = vec![0; usize::from(length)];
            if stream.read_exact(&mut question).await.is_err() {
                continue;
            }
            let bytes = answer(&question);
            stream.write_u16(u16::try_from(bytes.len()).expect("short")).await.ok();
            stream.write_all(&bytes).await.ok();
        }
    });
    Server { address, _tasks: tasks }
}

/// The head of an answer to the question, with so many records to come, and the question.
fn head(question: &[u8], answers: u16) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name") + 1;
    let mut bytes = question[..2].to_vec();
    bytes.extend_from_slice(&[0x81, 0x80, 0, 1]);
    bytes.extend_from_slice(&answers.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0]);
    bytes.extend_from_slice(&question[12..name_end + 4]);
    bytes
}

/// A record of the question's name.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xc0, 12];
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
    bytes.extend_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn page(server: &Server) -> HttpSpec {
    HttpSpec { url: format!("https://{}/", server.address), ..HttpSpec::default() }
}

fn question(server: &Server, transport: Protocol) -> Spec {
    let (name, record_type, server) = ("www.example.test".into(), "A".into(), server.address.to_string());
    Spec::Dns(DnsSpec { name, record_type, server, transport: transport.into(), ..DnsSpec::default() })
}

/// One run: how it ended, after how long, and the most that was held at once beyond what was held before.
async fn cost(prober: &Prober, spec: Spec) -> (Option<Outcome>, Duration, usize) {
    let target = "hostile".to_owned();
    let timeout = Some(duration(TIMEOUT));
    let assignment = Assignment { slot: 1, target, timeout, spec: Some(spec), ..Assignment::default() };
    let (profiler, began) = (dhat::Profiler::builder().testing().build(), Instant::now());
    let observed = prober.run(&assignment).await;
    let (took, held) = (began.elapsed(), dhat::HeapStats::get().max_bytes);
    drop(profiler);
    (observed[0].outcome(), took, held)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const H1: &[u8] = b"http/1.1";
const ZEROS: &[u8] = &[0; 4096];

fn http(cause: Cause) -> Outcome {
    Outcome::Failed { layer: Layer::Http, cause }
}

fn dns(cause: Cause) -> Outcome {
    Outcome::Failed { layer: Layer::Dns, cause }
}

/// One after the other: they are counted together.
#[tokio::test]
async fn no_server_costs_more_than_a_run_may_take() {
    let authority = authority();
    let prober = Prober::new(ProbeSettings {
        roots: Roots::Only(vec![authority.der().clone()]),
        policy: Policy { allow_loopback: true, ports: Ports::Any, ..Policy::default() },
        resolver: ResolverChoice::Servers(Vec::new()),
        ..ProbeSettings::new(Clock::system())
    })
    .expect("a prober");
    let mut cases = Vec::new();
    let pouring = |head: &'static [u8], filler: &'static [u8], pause_ms: u64| {
        let config = config(&authority, H1, 0);
        async move { tls(config, move |session| pour(session, head, filler, Duration::from_millis(pause_ms))).await }
    };

    let server = pouring(OK, ZEROS, 0).await;
    cases.push(("an endless body", cost(&prober, Spec::Https(page(&server))).await, vec![Outcome::Passed]));
    let spec = HttpSpec { body_matches: vec!["healthy".into()], ..page(&server) };
    cases.push(("one that is searched", cost(&prober, Spec::Https(spec)).await, vec![http(Cause::BodyTooLarge)]));
    let server = pouring(OK, b".", 20).await;
    cases.push(("a dripping body", cost(&prober, Spec::Https(page(&server))).await, vec![http(Cause::HttpTimeout)]));
    let server = pouring(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n", ZEROS, 0).await;
    let spec = HttpSpec { body_contains: "healthy".into(), ..page(&server) };
    let packed = cost(&prober, Spec::Https(spec)).await;
    cases.push(("a body that would swell if it were unpacked", packed, vec![http(Cause::BodyTooLarge)]));
    let server = pouring(b"HTTP/1.1 200 OK\r\n", Vec::leak(b"x-filler: 0123456789\r\n".repeat(200)), 0).await;
    let garbled = vec![http(Cause::HttpProtocolError)];
    cases.push(("ten thousand headers", cost(&prober, Spec::Https(page(&server))).await, garbled));
    let server = pouring(b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", b"", 0).await;
    let spec = HttpSpec { redirects: 10, ..page(&server) };
    cases.push(("a loop of redirects", cost(&prober, Spec::Https(spec)).await, vec![http(Cause::HttpRedirect)]));
    for (what, others, outcomes) in [
        ("a chain of 60 KiB", 160, vec![Outcome::Passed]),
        ("a chain beyond 64 KiB", 180, vec![Outcome::Failed { layer: Layer::Tls, cause: Cause::TlsProtocolError }]),
    ] {
        let server = tls(config(&authority, H1, others), |session| pour(session, OK, b"", Duration::ZERO)).await;
        cases.push((what, cost(&prober, Spec::Https(page(&server))).await, outcomes));
    }

    let server = names(|asked| {
        let mut answer = head(asked, 1);
        answer.extend(record(5, &[0xc0, 12]));
        vec![answer]
    })
    .await;
    let malformed = || vec![dns(Cause::DnsMalformed)];
    cases.push((
        "a name that is its own alias",
        cost(&prober, question(&server, Protocol::Unspecified)).await,
        malformed(),
    ));
    let server = names(|asked| {
        let mut answer = head(asked, 1);
        let at = u16::try_from(answer.len()).expect("short") | 0xc000;
        answer.extend(at.to_be_bytes());
        vec![answer]
    })
    .await;
    cases.push((
        "a name that points at itself",
        cost(&prober, question(&server, Protocol::Unspecified)).await,
        malformed(),
    ));
    let server = names(|asked| {
        let wrong = |number: u16| {
            let mut answer = head(asked, 0);
            answer[..2].copy_from_slice(&(u16::from_be_bytes([asked[0], asked[1]]) ^ number).to_be_bytes());
            answer
        };
        (1..500).map(wrong).collect()
    })
    .await;
    cases.push((
        "answers to other questions",
        cost(&prober, question(&server, Protocol::Unspecified)).await,
        malformed(),
    ));
    for (what, count, outcome) in
        [("four hundred records", 400_u16, Outcome::Passed), ("four thousand records", 4000, dns(Cause::DnsMalformed))]
    {
        let server = names_over_tcp(move |asked| {
            let mut answer = head(asked, count);
            (0..count)
                .for_each(|number| answer.extend(record(1, &[&[10, 0], number.to_be_bytes().as_slice()].concat())));
            answer
        })
        .await;
        cases.push((what, cost(&prober, question(&server, Protocol::DnsTcp)).await, vec![outcome]));
    }

    let mut broken = Vec::new();
    for (what, (outcome, took, held), outcomes) in cases {
        let is_good = outcome.is_some_and(|outcome| outcomes.contains(&outcome));
        if !is_good || took > TIMEOUT + GRACE || held > MAX_BYTES {
            broken.push(format!("{what}: {outcome:?} of {outcomes:?}, {took:?}, {held} of {MAX_BYTES} bytes"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
