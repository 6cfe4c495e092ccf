//! The port over real sockets, with a prober that connects and no more.

use std::fs;

use faultline_proto::types::v1::{Cause, Layer};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::*;
use crate::blackbox::metrics::{Failure, Lookup, Of, TcpMeasured};

#[tokio::test]
async fn a_probe_is_told_as_metrics_whether_it_succeeds_or_not() {
    let port = Port::open(MODULES).await;
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let open = server.local_addr().expect("bound");
    let answer = port.get(&format!("/probe?module=tcp&target={open}&hostname=a.example")).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{answer}"
    );
    for line in ["probe_success 1", "probe_timeout_seconds 2", "probe_expect_info{hostname=\"a.example\"} 1"] {
        assert!(answer.lines().any(|told| told == line), "{line} in {answer}");
    }
    drop(server);
    let answer = port.get(&format!("/probe?module=tcp&target={open}")).await;
    let failure = "probe_failure_info{cause=\"connect_refused\",layer=\"connect\"} 1";
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("probe_success 0") && answer.contains(failure));
    let answer = port.get("/probe?module=tcp&target=nonsense&debug=true").await;
    assert!(answer.contains("target_malformed") && answer.contains("Tcp {"), "{answer}");
}

#[tokio::test]
async fn prometheus_patience_caps_the_timeout() {
    let port = Port::open(MODULES).await;
    let answer = port.ask("GET /probe?module=tcp&target=x", "X-Prometheus-Scrape-Timeout-Seconds: 1.5\r\n").await;
    assert!(answer.contains("\nprobe_timeout_seconds 1\n"), "{answer}");
}

#[tokio::test]
async fn what_cannot_be_probed_is_400_and_says_why() {
    let port = Port::open(MODULES).await;
    for (path, why) in [
        ("/probe?module=tcp", "Target parameter is missing"),
        ("/probe?module=none&target=x", "Unknown module \"none\""),
        ("/probe?module=old&target=x", "module \"old\" is not supported: prober: the agent has no icmp prober"),
    ] {
        let answer = port.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(why), "{path}: {answer}");
    }
    let answer = port.ask("GET /probe?module=tcp&target=x", "X-Prometheus-Scrape-Timeout-Seconds: x\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("no number of seconds"), "{answer}");
    assert!(port.get("/metrics").await.contains("\nblackbox_module_unknown_total 1\n"));
}

#[tokio::test]
async fn other_paths_answer_what_they_are_for() {
    let port = Port::open(MODULES).await;
    for (request, status, what) in [
        ("GET /-/healthy", 200, "Healthy"),
        ("GET /metrics", 200, "faultline_agent_up 1"),
        ("GET /config", 200, "# line 1: module \"old\" is not supported"),
        ("GET /", 200, "/probe?target="),
        ("HEAD /-/healthy", 200, ""),
        ("GET /nothing", 404, "Not found"),
        ("GET /-/reload", 405, "allow: POST, PUT"),
        ("POST /probe?target=x", 405, "allow: GET, HEAD"),
    ] {
        let answer = port.ask(request, "").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(what), "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_bad_file_leaves_the_modules_as_they_were() {
    let port = Port::open(MODULES).await;
    port.write("modules: {tcp: {prober: tcp, bad: 1}}");
    let answer = port.ask("POST /-/reload", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 500 ") && answer.contains("blackbox.yml: line 1: unknown field `bad`"),
        "{answer}"
    );
    assert!(port.get("/metrics").await.contains("\nblackbox_exporter_config_last_reload_successful 0\n"));
    assert!(port.get("/probe?module=tcp&target=x").await.starts_with("HTTP/1.1 200 "));
    port.write("modules: {new: {prober: tcp}}");
    assert!(port.ask("PUT /-/reload", "").await.starts_with("HTTP/1.1 200 "));
    assert!(port.get("/metrics").await.contains("\nblackbox_exporter_config_last_reload_successful 1\n"));
    assert!(port.get("/probe?module=tcp&target=x").await.starts_with("HTTP/1.1 400 "));
    assert!(port.get("/probe?module=new&target=x").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn probes_beyond_the_bound_are_503_until_one_ends() {
    let port = Port::open(MODULES).await;
    let mut held = Vec::new();
    for _ in 0..MAX_PROBES {
        held.push(port.send("GET /probe?module=tcp&target=hold", "").await);
    }
    port.probing.running.subscribe().wait_for(|running| *running == MAX_PROBES).await.expect("all run");
    let answer = port.get("/probe?module=tcp&target=x").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("64 probes are running"), "{answer}");
    assert!(port.get("/-/healthy").await.starts_with("HTTP/1.1 200 "), "all else is answered");
    port.probing.is_open.send_replace(true);
    for stream in held {
        assert!(read(stream).await.contains("probe_success 0"));
    }
    assert!(port.get("/probe?module=tcp&target=x").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn idle_connections_leave_room_for_others() {
    let port = Port::open(MODULES).await;
    let mut kept = Vec::new();
    for place in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(port.address).await.expect("connected");
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        let mut answer = [0; 512];
        let mut text = String::new();
        while !text.contains("Healthy") {
            let length = stream.read(&mut answer).await.expect("an answer");
            text.push_str(&String::from_utf8_lossy(&answer[..length]));
        }
        assert_eq!(text.contains("connection: close"), place >= MAX_CONNECTIONS / 2, "{place}: {text}");
        kept.push(stream);
    }
    assert!(port.get("/-/healthy").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let port = Port::open(MODULES).await;
    let answer = port.ask("GET /-/healthy", &format!("X-Long: {}\r\n", "a".repeat(32 * 1024))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_opens_no_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = folder.path().join("none.yml");
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let opened = Listener::bind(loopback, Some(none), Clock::system(), Arc::new(Connecting::default())).await;
    assert!(opened.err().expect("no file").to_string().contains("none.yml"));
    let taken = TcpListener::bind(loopback).await.expect("a port").local_addr();
    let first = Listener::bind(loopback, None, Clock::system(), Arc::new(Connecting::default())).await.expect("open");
    let second =
        Listener::bind(first.address().expect("bound"), None, Clock::system(), Arc::new(Connecting::default()));
    assert!(second.await.err().expect("taken").to_string().starts_with("prometheus: cannot listen at 127.0.0.1:"));
    drop(taken);
}

const MODULES: &str = "modules: {tcp: {prober: tcp, timeout: 2s}, old: {prober: icmp}, http_2xx: {prober: http}}";

/// Connects. The target `hold` is none that can be, and waits until it is let go.
#[derive(Debug)]
struct Connecting {
    running: watch::Sender<usize>,
    is_open: watch::Sender<bool>,
}

impl Default for Connecting {
    fn default() -> Self {
        Self { running: watch::Sender::new(0), is_open: watch::Sender::new(false) }
    }
}

impl Probing for Arc<Connecting> {
    type Ready = ();

    fn prepare(&self, _: &Modules) -> Result<(), RootsError> {
        Ok(())
    }

    async fn probe(&self, (): &(), _: &Module, target: &str, hostname: Option<&str>, timeout: Duration) -> Measured {
        let began = Instant::now();
        if target == "hold" {
            self.running.send_modify(|running| *running += 1);
            self.is_open.subscribe().wait_for(|is_open| *is_open).await.expect("open in the end");
        }
        let address: Option<SocketAddr> = target.parse().ok();
        let failure = match address {
            None => Some(Failure::Target),
            Some(address) => match TcpStream::connect(address).await {
                Ok(_) => None,
                Err(_) => Some(Failure::Layer(Layer::Connect, Cause::ConnectRefused)),
            },
        };
        let lookup = address.map(|address| Lookup { duration: Duration::ZERO, address: Some(address.ip()) });
        let found = hostname.map(|name| vec![("hostname".to_owned(), name.to_owned())]);
        let of = Of::Tcp(TcpMeasured { expect_info: found.into_iter().collect(), ..TcpMeasured::default() });
        Measured { failure, duration: began.elapsed(), timeout, lookup, presented: None, session: None, of }
    }

    fn own(&self, page: &mut Exposition) {
        page.gauge("faultline_agent_up", "It is", 1.0);
    }
}

/// A port that is open as long as this is kept.
struct Port {
    address: SocketAddr,
    probing: Arc<Connecting>,
    folder: TempDir,
    _running: JoinSet<()>,
    _stop: watch::Sender<bool>,
}

impl Port {
    async fn open(modules: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("blackbox.yml");
        fs::write(&file, modules).expect("written");
        let probing = Arc::new(Connecting::default());
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(loopback, Some(file), Clock::system(), Arc::clone(&probing)).await.expect("open");
        let address = listener.address().expect("bound");
        let (stop, stopped) = watch::channel(false);
        let mut running = JoinSet::new();
        running.spawn(listener.run(stopped));
        Self { address, probing, folder, _running: running, _stop: stop }
    }

    fn write(&self, modules: &str) {
        fs::write(self.folder.path().join("blackbox.yml"), modules).expect("written");
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path}"), "").await
    }

    async fn ask(&self, request: &str, headers: &str) -> String {
        read(self.send(request, headers).await).await
    }

    async fn send(&self, request: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        let text = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
        // A head that is refused may be so before all of it is sent.
        stream.write_all(text.as_bytes()).await.ok();
        stream
    }
}

async fn read(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}
