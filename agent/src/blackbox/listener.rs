//! The port that Prometheus asks: HTTP/1.1 without TLS, off unless an address is configured.
//!
//! | path | answers |
//! |---|---|
//! | `GET /probe?target=T&module=M` | the metrics of one probe; `&hostname=H` is the name to ask for, `&debug=true` tells all |
//! | `GET /metrics` | the agent's own metrics |
//! | `GET /-/healthy` | 200 |
//! | `POST /-/reload` | 200 when the module file was read anew; 500 with what is wrong, and the modules stay as they were |
//! | `GET /config` | the modules in force, and what is not supported |
//!
//! As `blackbox_exporter` has it: the module is `http_2xx` unless one is named; 400 without a target, and for a module that is
//! unknown or not supported; a probe that fails is 200 with `probe_success 0`. A probe takes at most what its module says, and at
//! most half a second less than Prometheus waits.
//!
//! Rules: at most [`MAX_CONNECTIONS`] at a time, further ones wait to be accepted; those beyond half of that are closed after an
//! answer, so that idle ones cannot keep others out; at most [`MAX_PROBES`] probes at a time, beyond is 503; a request's head has
//! at most 16 KiB and half a minute, and its body is not read; a probe that outlives its timeout by a second is given up, 503.

mod answer;
mod routes;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use faultline_proto::clock::Clock;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{
    exposition::Exposition,
    metrics::Measured,
    modules::{Module, Modules, ModulesError},
};
use crate::probe::RootsError;

/// Whoever probes for the port, and knows the agent.
pub trait Probing: Send + Sync + 'static {
    /// What it needs of modules to run them; goes with them when they are read anew.
    type Ready: Send + Sync + 'static;

    /// Makes ready for these modules.
    fn prepare(&self, modules: &Modules) -> Result<Self::Ready, RootsError>;

    /// One probe of a module that was made ready for; ends by itself within the timeout.
    fn probe(
        &self,
        ready: &Self::Ready,
        module: &Module,
        target: &str,
        hostname: Option<&str>,
        timeout: Duration,
    ) -> impl Future<Output = Measured> + Send;

    /// Adds the agent's own metrics.
    fn own(&self, page: &mut Exposition);
}

/// The port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// The address cannot be bound.
    #[error("prometheus: cannot listen at {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The module file cannot be used.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// There is nothing that a certificate could end at.
    #[error("prometheus: roots: {0}")]
    Roots(#[from] RootsError),
}

/// An open port.
pub struct Listener<P: Probing> {
    socket: TcpListener,
    room: Arc<Room<P>>,
}

/// What all requests share.
struct Room<P: Probing> {
    probing: P,
    clock: Clock,
    /// Where modules are read from; without a file there are none.
    file: Option<PathBuf>,
    modules: Mutex<Loaded<P::Ready>>,
    probes: Semaphore,
    unknown_modules: AtomicU64,
}

/// The modules in force, and how the last reading went.
struct Loaded<R> {
    modules: Arc<Modules>,
    ready: Arc<R>,
    was_last_good: bool,
    /// Microseconds since 1970 of the last good reading.
    read_micros: i64,
}

impl<R> Clone for Loaded<R> {
    fn clone(&self) -> Self {
        let (modules, ready) = (Arc::clone(&self.modules), Arc::clone(&self.ready));
        Self { modules, ready, was_last_good: self.was_last_good, read_micros: self.read_micros }
    }
}

impl<P: Probing> Listener<P> {
    /// Opens the port with the modules of the file; logs each that is not supported.
    pub async fn bind(
        address: SocketAddr,
        file: Option<PathBuf>,
        clock: Clock,
        probing: P,
    ) -> Result<Self, ListenerError> {
        let modules = read(file.as_ref())?;
        let ready = Arc::new(probing.prepare(&modules)?);
        let socket = TcpListener::bind(address).await.map_err(|source| ListenerError::Bind { address, source })?;
        let loaded = Loaded { modules: Arc::new(modules), ready, was_last_good: true, read_micros: clock.now_micros() };
        let room = Room {
            probing,
            clock,
            file,
            modules: Mutex::new(loaded),
            probes: Semaphore::new(MAX_PROBES),
            unknown_modules: AtomicU64::new(0),
        };
        Ok(Self { socket, room: Arc::new(room) })
    }

    /// Where it listens: the port in place of 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until stopped; what is being answered then is cut off.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            let has_room = connections.len() < MAX_CONNECTIONS;
            let accepted = tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    resume(ended);
                    continue;
                }
                accepted = self.socket.accept(), if has_room => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let keeps = connections.len() < MAX_CONNECTIONS / 2;
                    connections.spawn(serve(stream, Arc::clone(&self.room), keeps));
                }
                Err(error) => {
                    tracing::warn!(%error, "prometheus: cannot accept");
                    self.room.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl<P: Probing> Room<P> {
    fn loaded(&self) -> Loaded<P::Ready> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file anew; what was read before stays in force where that fails.
    fn reload(&self) -> Result<(), ListenerError> {
        let read = read(self.file.as_ref()).map_err(ListenerError::from);
        let read = read.and_then(|modules| Ok((self.probing.prepare(&modules)?, modules)));
        let mut loaded = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.was_last_good = read.is_ok();
        let (ready, modules) = read.inspect_err(|error| tracing::warn!(%error, "modules not read"))?;
        (loaded.modules, loaded.ready) = (Arc::new(modules), Arc::new(ready));
        loaded.read_micros = self.clock.now_micros();
        Ok(())
    }

    /// What is known of the module file and of those who ask for others.
    fn of_modules(&self, page: &mut Exposition) {
        let Loaded { was_last_good, read_micros, .. } = self.loaded();
        let help = "Whether the module file could be read when it was last tried";
        page.gauge("blackbox_exporter_config_last_reload_successful", help, f64::from(u8::from(was_last_good)));
        #[expect(clippy::cast_precision_loss, reason = "microseconds of any date of ours are below 2^53")]
        let read_s = read_micros as f64 / 1e6;
        let help = "When the module file was last read";
        page.gauge("blackbox_exporter_config_last_reload_success_timestamp_seconds", help, read_s);
        let help = "Requests for modules that there are not";
        #[expect(clippy::cast_precision_loss, reason = "nobody asks 2^53 times")]
        let unknown = self.unknown_modules.load(Ordering::Relaxed) as f64;
        page.counter("blackbox_module_unknown_total", help, &[], unknown);
    }
}

fn read(file: Option<&PathBuf>) -> Result<Modules, ModulesError> {
    let modules = file.map_or_else(|| Ok(Modules::default()), |file| Modules::read(file))?;
    for refused in modules.unsupported() {
        tracing::warn!(
            module = refused.module,
            field = refused.field,
            line = refused.line,
            why = refused.why,
            "module not supported"
        );
    }
    Ok(modules)
}

async fn serve<P: Probing>(stream: TcpStream, room: Arc<Room<P>>, keeps: bool) {
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request| {
        let room = Arc::clone(&room);
        async move { Ok::<_, std::convert::Infallible>(room.answer(&request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(keeps)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "prometheus: connection lost");
    }
}

/// A panic of a request is the agent's panic.
fn resume(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = ended.map_err(tokio::task::JoinError::try_into_panic)
        && let Ok(panic) = panic
    {
        std::panic::resume_unwind(panic);
    }
}

/// At a time. Source: [`MAX_PROBES`], and some to say that there are no more, and to answer all else; about 24 KiB each.
pub const MAX_CONNECTIONS: usize = MAX_PROBES + 16;
/// At a time, on request. Source: as many as the schedule runs by default.
pub const MAX_PROBES: usize = 64;
/// Of a request's head. Source: the least that hyper takes is 8 KiB; a target and its headers have a few hundred bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Source: Prometheus sends six.
const MAX_HEADERS: usize = 64;
/// In real time; start value.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long to wait when the system is out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
