//! Debian's `prometheus-blackbox-exporter`, asked for probes as a Prometheus server asks: `GET /probe` over kept-alive connections.
//!
//! Rules: the program runs as its package has it, but for the port and the modules; what asks it is in the bench's process and on
//! nobody's bill; a probe passed when `probe_success` is 1. HTTP/3 is left out where the program does not know it.

use std::{
    cell::RefCell,
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, process::Command, task::JoinSet, time};

use super::{
    Kind, Places, ZONE,
    part::{self, Kept},
    prober::{Counted, Slice},
};

/// A running exporter.
#[derive(Debug)]
pub struct Blackbox {
    /// As it says itself, "0.23.0".
    pub version: String,
    /// Its process.
    pub pid: u32,
    knows_http3: bool,
    at: SocketAddr,
    program: Kept,
    asked: RefCell<usize>,
}

/// The name of the package and its program.
pub const PROGRAM: &str = "prometheus-blackbox-exporter";

/// The program on the path, if there is one.
pub fn installed() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(PROGRAM)).find(|path| path.is_file())
}

impl Blackbox {
    /// Starts the program with modules for every kind that it knows; `folder` is for its files.
    pub async fn start(program: &Path, places: &Places, folder: &Path) -> anyhow::Result<Self> {
        let version = version(program).await?;
        let file = |what: &str| folder.join(format!("blackbox-{version}-{what}"));
        let (ca, config, log) = (file("ca.pem"), file("modules.yml"), file("log"));
        std::fs::write(&ca, &places.ca_pem)?;
        std::fs::write(&config, modules(&ca) + HTTP3)?;
        let config_file = OsString::from(format!("--config.file={}", config.display()));
        let knows_http3 = check(program, &config_file).await?.is_ok();
        if !knows_http3 {
            std::fs::write(&config, modules(&ca))?;
            if let Err(why) = check(program, &config_file).await? {
                bail!("{} {version} does not take the bench's modules: {why}", program.display());
            }
        }
        // Free now; should somebody take it before the program does, that ends with a complaint.
        let at = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let arguments = [config_file, format!("--web.listen-address={at}").into()];
        let program = Kept::start(program, &arguments, std::fs::File::create(&log)?).await?;
        let began = time::Instant::now();
        while TcpStream::connect(at).await.is_err() {
            if began.elapsed() > START {
                bail!("blackbox_exporter {version} does not listen: {}", part::last_words(&log));
            }
            time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { version, pid: program.pid, knows_http3, at, program, asked: RefCell::new(0) })
    }

    /// Whether it can probe that.
    pub fn knows(&self, kind: Kind) -> bool {
        kind != Kind::Http3 || self.knows_http3
    }

    /// The slice.
    pub async fn run(&self, slice: &Slice) -> anyhow::Result<Counted> {
        let mut connections = JoinSet::new();
        let mut senders = Vec::new();
        for _ in 0..slice.concurrency {
            let (sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(self.at).await?)).await?;
            connections.spawn(connection);
            senders.push(tokio::sync::Mutex::new(sender));
        }
        let counted = slice.run(async |worker| {
            // A worker's own: never waited for.
            let mut sender = senders[worker].lock().await;
            self.probe(&mut sender, slice).await.map_err(|error| format!("{error:#}"))
        });
        Ok(counted.await)
    }

    async fn probe(&self, sender: &mut SendRequest<Empty<Bytes>>, slice: &Slice) -> anyhow::Result<()> {
        let places = &slice.places;
        let (module, target) = match slice.kind {
            Kind::Https1 => ("https-1", format!("https://{}/", places.https1)),
            Kind::Https2 => ("https-2", format!("https://{}/", places.https2)),
            Kind::Http3 => ("http3", format!("https://{}/", places.http3)),
            Kind::Tls => ("tls", places.https1.to_string()),
            Kind::Dns => ("dns", places.dns.to_string()),
            Kind::Tcp => {
                let number = self.asked.replace_with(|asked| *asked + 1);
                ("tcp", places.tcp[number % places.tcp.len()].to_string())
            }
        };
        let request = Request::get(format!("/probe?module={module}&target={target}"))
            .header(header::HOST, self.at.to_string())
            .body(Empty::new())?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK || !body.windows(PASSED.len()).any(|window| window == PASSED) {
            bail!("{status}: {}", String::from_utf8_lossy(&body).lines().last().unwrap_or_default());
        }
        Ok(())
    }

    /// Ends it.
    pub async fn end(self) -> anyhow::Result<()> {
        self.program.end().await
    }
}

const PASSED: &[u8] = b"\nprobe_success 1\n";
const START: Duration = Duration::from_secs(10);

async fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("{}: name another with --blackbox", program.display()))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let version = text.split("blackbox_exporter, version ").nth(1).and_then(|rest| rest.split_whitespace().next());
    version.map(str::to_owned).with_context(|| format!("{} is no blackbox_exporter: {text}", program.display()))
}

async fn check(program: &Path, config_file: &OsString) -> anyhow::Result<Result<(), String>> {
    let output = Command::new(program).arg("--config.check").arg(config_file).stdin(Stdio::null()).output().await?;
    let said = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    Ok(if output.status.success() { Ok(()) } else { Err(said) })
}

fn modules(ca: &Path) -> String {
    let ca = ca.display();
    format!(
        "modules:
  https-1: {{prober: http, timeout: 5s, http: {{preferred_ip_protocol: ip4, valid_http_versions: [HTTP/1.1], enable_http2: false, tls_config: &tls {{ca_file: {ca}}}}}}}
  https-2: {{prober: http, timeout: 5s, http: {{preferred_ip_protocol: ip4, valid_http_versions: [HTTP/2.0], tls_config: *tls}}}}
  tls: {{prober: tcp, timeout: 5s, tcp: {{preferred_ip_protocol: ip4, tls: true, tls_config: *tls}}}}
  tcp: {{prober: tcp, timeout: 5s, tcp: {{preferred_ip_protocol: ip4}}}}
  dns: {{prober: dns, timeout: 5s, dns: {{preferred_ip_protocol: ip4, query_name: www.{ZONE}, query_type: A, transport_protocol: udp}}}}
"
    )
}

/// Of 0.28 and newer.
const HTTP3: &str = "  http3: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4, valid_http_versions: [HTTP/3.0], enable_http2: false, enable_http3: true, tls_config: *tls}}
";
