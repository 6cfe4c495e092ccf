//! An agent of a simulation: everything of it but its probes, over a made-up network and a made-up disk.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use faultline_agent::{
    Config,
    delivery::{Connection, Delivery, Left, Window},
    probe::{Facts, Observed},
    spool::Spool,
};
use faultline_proto::{
    clock::Clock,
    convert,
    types::v1::{Cause, Layer, Outcome, ProbeResult, Timings},
};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use tokio::{sync::mpsc, time};
use turmoil::net::TcpStream;

use super::{
    BEGAN, PORT,
    spool::SpoolDisk,
    wire::{Gate, Wire},
};

/// Results that wait for the batcher: what is beyond waits with whoever made it.
const QUEUE: usize = 4;

/// Bytes that wait in memory for the spool's disk. Little, so that it overflows.
const LINE: usize = 4 << 10;

const CONFIG: &str = r#"
[[coordinator]]
endpoint = "https://coordinator:7443"
ca = "ca.pem"
certificate = "agent.pem"
key = "agent.key"
"#;

/// Where an agent runs, and what outlives its process.
pub struct Vm {
    /// Its host.
    pub name: String,
    /// Its spool.
    pub disk: Arc<SpoolDisk>,
    /// Its connections.
    pub gate: Arc<Gate>,
    /// What it sets its clock ahead by.
    pub jumped: &'static AtomicI64,
    /// What it saw.
    pub seen: Mutex<Seen>,
    /// Its targets are quiet: it makes no results.
    pub is_idle: AtomicBool,
    /// Its spool is in memory, and ends with the process.
    is_forgetful: bool,
    /// Milliseconds between runs, about.
    pace: u64,
    seed: u64,
    starts: AtomicU64,
    window: Mutex<Option<Window>>,
}

/// Every result that was ever given to the agent.
#[derive(Default)]
pub struct Seen {
    /// By the serial number that the result carries.
    pub results: BTreeMap<u32, (Duration, ProbeResult, String)>,
}

impl Vm {
    /// One that has not run yet.
    pub fn new(name: String, disk: SpoolDisk, jumped: &'static AtomicI64, pace: u64, seed: u64) -> Self {
        let disk = Arc::new(disk);
        let of_gate = Arc::clone(&disk);
        let gate = Arc::new(Gate::new(move || of_gate.is_dead()));
        let is_forgetful = name.starts_with("clone");
        let (is_idle, starts) = (AtomicBool::new(false), AtomicU64::new(0));
        let (saw, window) = (Mutex::default(), Mutex::default());
        Self { name, disk, gate, jumped, seen: saw, is_idle, is_forgetful, pace, seed, starts, window }
    }

    /// The spool of the process that runs now.
    pub fn window(&self) -> Option<Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it has the identity of another.
    pub fn is_clone(&self) -> bool {
        self.is_forgetful
    }

    /// What it saw so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process.
    pub async fn run(self: Arc<Self>) -> turmoil::Result {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let mut draw = Xoshiro256PlusPlus::seed_from_u64(self.seed ^ start << 32);
        let since = i64::try_from(turmoil::sim_elapsed().unwrap_or_default().as_micros())?;
        let clock = Clock::starting_at(BEGAN + since, self.jumped);
        let incarnation: [u8; 16] = draw.random();
        let spool = loop {
            if self.is_forgetful {
                break Spool::memory(incarnation, 1 << 20);
            }
            let (store, counter) = self.disk.open();
            match Spool::driven(store, counter, incarnation, LINE, clock.now_micros()) {
                Ok(spool) => break spool,
                // The service manager starts it again.
                Err(_) => time::sleep(Duration::from_secs(1)).await,
            }
        };
        let config = Config::parse(CONFIG, Path::new("/etc/faultline/agent.toml"))?;
        let gate = Arc::clone(&self.gate);
        let connect = Arc::new(move || {
            let gate = Arc::clone(&gate);
            let connecting = async move {
                let stream = TcpStream::connect(("coordinator", PORT)).await?;
                Ok(Box::new(Wire::new(stream, gate)) as Box<dyn Connection>)
            };
            Box::pin(connecting) as faultline_agent::delivery::Connecting
        });
        let delivery = Delivery::new(config, clock, spool, connect, draw.random());
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = Some(delivery.window());
        let (results, received) = mpsc::channel(QUEUE);
        let probing = self.probe(clock, draw, results);
        tokio::select! {
            biased;
            ended = delivery.run(received) => Ok(ended?),
            () = probing => Ok(()),
        }
    }

    /// Sees something now and then, and never ends.
    async fn probe(&self, clock: Clock, mut draw: Xoshiro256PlusPlus, results: mpsc::Sender<Left>) {
        loop {
            time::sleep(Duration::from_millis(draw.random_range(1..=2 * self.pace))).await;
            if self.is_idle.load(Ordering::Relaxed) {
                continue;
            }
            let slot = draw.random_range(1..=super::TARGETS);
            let observed = (0..draw.random_range(1..4)).map(|_| self.see(clock, &mut draw, slot)).collect();
            if results.send(Left { slot, observed }).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// A clone's serial numbers are others than those of whom it is a clone.
    fn first_serial(&self) -> u32 {
        if self.is_forgetful { 1_000_000 } else { 1 }
    }

    fn see(&self, clock: Clock, draw: &mut Xoshiro256PlusPlus, slot: u32) -> Observed {
        let mut seen = self.seen();
        let serial = seen.results.last_key_value().map_or(self.first_serial(), |(last, _)| *last + 1);
        let mut result = ProbeResult {
            started_at: Some(convert::timestamp(clock.now_micros())),
            outcome: Outcome::Passed.into(),
            timings: Some(Timings { total_us: serial, ..Timings::default() }),
            attempt: 1,
            ..ProbeResult::default()
        };
        if draw.random_range(0..10) == 0 {
            result.set_outcome(Outcome::Failed);
            result.set_layer(Layer::Connect);
            result.set_cause(Cause::ConnectRefused);
        }
        let issuer = format!("issuer {}", serial / 20 % 9);
        let at = turmoil::sim_elapsed().unwrap_or_default();
        seen.results.insert(serial, (at, ProbeResult { slot, ..result.clone() }, issuer.clone()));
        Observed { result, facts: Some(Facts { issuer, ..Facts::default() }) }
    }
}
