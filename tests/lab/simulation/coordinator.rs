//! The coordinator of a simulation: its sessions and its ingest, over a made-up network and a made-up disk.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicI64},
};

use faultline_coordinator::{
    assignment::Assignments,
    catalog::Catalog,
    ingest::{Ingest, listener::AgentPeer},
    log::{RecordLog, patient::Patient},
    observe::Observer,
    registry::Registry,
    rpc,
};
use faultline_proto::clock::Clock;
use http::Extensions;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use turmoil::net::{TcpListener, TcpStream};

use super::{
    BEGAN, PORT,
    log::{Disk, ModelLog},
    wire::{Gate, Wire},
};

/// Makes agents known in a data directory, as an operator who says nothing of their places.
pub fn register(data: &Path, agents: &[&str]) -> io::Result<()> {
    let folder = data.join("agents");
    fs::create_dir_all(&folder)?;
    agents.iter().try_for_each(|agent| fs::write(folder.join(format!("{agent}.toml")), ""))
}

/// What a coordinator is made of, and what outlives its process.
pub struct Site {
    /// Its log.
    pub disk: Arc<Disk>,
    /// Its connections.
    pub gate: Arc<Gate>,
    /// What it sets its clock ahead by.
    pub jumped: &'static AtomicI64,
    /// Its registry.
    pub data: PathBuf,
    /// Its targets.
    pub catalog: Arc<Catalog>,
    stop: Mutex<CancellationToken>,
}

impl Site {
    /// A coordinator that has not run yet.
    pub fn new(disk: Arc<Disk>, jumped: &'static AtomicI64, data: PathBuf, catalog: Arc<Catalog>) -> Self {
        let of_gate = Arc::clone(&disk);
        let gate = Arc::new(Gate::new(move || of_gate.is_dead()));
        Self { disk, gate, jumped, data, catalog, stop: Mutex::default() }
    }

    /// Asks the process to end in order.
    pub fn stop(&self) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    /// Its process.
    pub async fn run(self: Arc<Self>) -> turmoil::Result {
        let stop = CancellationToken::new();
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop.clone();
        let since = i64::try_from(turmoil::sim_elapsed().unwrap_or_default().as_micros())?;
        let clock = Clock::starting_at(BEGAN + since, self.jumped);
        let mut observer = Observer::default();
        for record in self.disk.records() {
            observer.observe(&record)?;
        }
        let (log, writing) = ModelLog::start(&self.disk);
        let assignments = Assignments::new(Arc::clone(&self.catalog), observer.tables().clone());
        let log = Arc::new(log);
        let patient = Arc::new(Patient::new(Arc::clone(&log) as Arc<dyn RecordLog>, log, clock));
        let full_since = patient.full_since();
        let registry = Registry::of(&self.data);
        let ingest = Ingest::new(patient, registry, assignments, clock, &observer, full_since, stop.clone());
        let ingest = Arc::new(ingest);
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        let gate = Arc::clone(&self.gate);
        let greet = move |stream: TcpStream, address: SocketAddr| {
            let name = turmoil::reverse_lookup(address.ip()).unwrap_or_default();
            // A clone has the certificate of the agent that it was made of.
            let agent = name.replace("clone", "agent").into();
            let mut known = Extensions::new();
            known.insert(AgentPeer { agent, address, signer: String::new() });
            let stream = Wire::new(stream, Arc::clone(&gate));
            async move { Ok((stream, known)) }
        };
        let router = Routes::new(ingest.service()).prepare().into_axum_router();
        let serving = rpc::serve(Incoming(listener), rpc::AGENTS, router, greet, stop.clone());
        let watching = async {
            ingest.watch().await?;
            std::future::pending::<turmoil::Result>().await
        };
        let grace = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            () = writing => Ok(()),
            () = serving => Ok(()),
            watched = watching => watched,
            () = grace => Ok(()),
        }
    }
}

/// The made-up network's way in.
struct Incoming(TcpListener);

impl rpc::Listener for Incoming {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }

    fn prepare(_: &TcpStream) -> io::Result<()> {
        Ok(())
    }
}

/// As the real process has it.
const GRACE: std::time::Duration = std::time::Duration::from_secs(4);
