//! The agents: scripted sessions over real mutual TLS and gRPC in one process, each with all the credit that it is given.
//!
//! A part. It issues identities, opens sessions from many loopback addresses (one address may hold few connections), and
//! sends batches that were encoded once ([`batches`](super::batches)); `codec` puts them on the wire as they are.
//!
//! Rules: no more batches are in flight than the coordinator last allowed; acknowledged is what it says is durable;
//! whatever it refuses ends the bench; the process has one thread.

mod codec;
mod session;

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use faultline_attribution::Timestamp;
use faultline_coordinator::registry::Place;
use faultline_proto::clock::Clock;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinSet, LocalSet},
};

use super::{Load, agent, batches::Batches};
use crate::{load::part, scripted::Credentials};

/// A question to this part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Issue so many identities in all, a few at a time: how many there are now.
    Issue(PathBuf, usize),
    /// Begin to open sessions.
    Open(Opening),
    /// How many sessions are open, with their facts acknowledged.
    OpenSessions,
    /// Send from here on.
    Send,
    /// How many results were acknowledged by that instant.
    AckedBy(Timestamp),
    /// Drop all sessions: the coordinator is gone.
    Abandon,
}

/// Sessions to open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// Where.
    pub coordinator: SocketAddr,
    /// How many.
    pub agents: usize,
    /// What they will send.
    pub load: Load,
}

/// What sessions share.
struct Shared {
    batches: Batches,
    load: Load,
    clock: Clock,
    open: Cell<usize>,
    acked: RefCell<Acked>,
    /// Whether it is time to send.
    sends: watch::Receiver<bool>,
    /// Sessions that are being opened at a time.
    doors: Semaphore,
}

/// Results that were acknowledged, over time: the sum after each step of [`STEP`].
#[derive(Debug, Default)]
struct Acked {
    steps: Vec<(Timestamp, u64)>,
    all: u64,
}

const STEP: Duration = Duration::from_millis(5);

impl Acked {
    fn add(&mut self, now: Timestamp, results: u64) {
        self.all += results;
        match self.steps.last_mut() {
            Some((since, sum)) if now.since(*since) < STEP => *sum = self.all,
            _ => self.steps.push((now, self.all)),
        }
    }

    /// What had been acknowledged by then; in doubt less.
    fn by(&self, at: Timestamp) -> u64 {
        let after = self.steps.partition_point(|(since, _)| since.after(STEP) <= at);
        after.checked_sub(1).map_or(0, |last| self.steps[last].1)
    }
}

/// Identities issued in one answer.
const AT_ONCE: usize = 500;

/// The coordinator handshakes with 256 at a time, and all of this has one thread.
const DOORS: usize = 128;

/// Connections from one address: below the 128 that the coordinator takes.
const FROM_ONE: usize = 100;

const OPEN_FILES: u64 = 16_384;

/// The part.
pub async fn main() -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(OPEN_FILES).context("more open files")?;
    let mut identities: Vec<Credentials> = Vec::new();
    let mut fleet: Option<Fleet> = None;
    let answers = part::answer(async |ask| {
        if let Some(fleet) = fleet.as_mut().filter(|_| !matches!(ask, Ask::Abandon)) {
            fleet.check()?;
        }
        Ok(match ask {
            Ask::Issue(data, all) => {
                let until = all.min(identities.len() + AT_ONCE);
                for number in identities.len()..until {
                    identities.push(issue(&data, number)?);
                }
                serde_json::to_value(identities.len())?
            }
            Ask::Open(opening) => {
                fleet = Some(Fleet::open(&identities, &opening)?);
                serde_json::Value::Null
            }
            Ask::OpenSessions => serde_json::to_value(running(fleet.as_ref())?.shared.open.get())?,
            Ask::Send => {
                running(fleet.as_ref())?.sends.send_replace(true);
                serde_json::Value::Null
            }
            Ask::AckedBy(at) => serde_json::to_value(running(fleet.as_ref())?.shared.acked.borrow().by(at))?,
            Ask::Abandon => {
                fleet = None;
                serde_json::Value::Null
            }
        })
    });
    LocalSet::new().run_until(answers).await
}

fn running(fleet: Option<&Fleet>) -> anyhow::Result<&Fleet> {
    fleet.context("no sessions")
}

/// An agent in one of forty networks, a third of them each in a cloud.
fn issue(data: &std::path::Path, number: usize) -> anyhow::Result<Credentials> {
    let network = number % 40;
    let place = Place {
        isp: Some(format!("isp-{network}")),
        asn: Some(64_512 + u32::try_from(network)?),
        country: Some(["de", "us", "jp", "br", "za"][network % 5].into()),
        geography: Some(["eu", "na", "as", "sa", "af"][network % 5].into()),
        hosted_on: Some(["aws", "azure", "other"][network % 3].into()),
        ..Place::default()
    };
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Credentials::issue(data, &agent(number), &place, nowhere, Clock::system().now_micros())
}

/// The loopback address that an agent dials from.
fn source(number: usize) -> anyhow::Result<IpAddr> {
    let host = u32::try_from(number / FROM_ONE)?;
    Ok(Ipv4Addr::from_bits(Ipv4Addr::new(127, 9, 0, 1).to_bits() + host).into())
}

struct Fleet {
    shared: Rc<Shared>,
    sends: watch::Sender<bool>,
    sessions: JoinSet<anyhow::Result<()>>,
}

impl Fleet {
    fn open(identities: &[Credentials], opening: &Opening) -> anyhow::Result<Self> {
        let (sender, sends) = watch::channel(false);
        let shared = Rc::new(Shared {
            batches: Batches::new(opening.load),
            load: opening.load,
            clock: Clock::system(),
            open: Cell::new(0),
            acked: RefCell::default(),
            sends,
            doors: Semaphore::new(DOORS),
        });
        let mut sessions = JoinSet::new();
        for (number, identity) in identities.iter().enumerate().take(opening.agents) {
            let credentials = identity.clone().between(source(number)?, opening.coordinator);
            let shared = Rc::clone(&shared);
            sessions.spawn_local(async move { session::run(number, &credentials, &shared).await });
        }
        Ok(Self { shared, sends: sender, sessions })
    }

    /// Sessions end by themselves only when something went wrong.
    fn check(&mut self) -> anyhow::Result<()> {
        match self.sessions.try_join_next() {
            None => Ok(()),
            Some(ended) => match ended? {
                Err(error) => Err(error),
                Ok(()) => bail!("a session ended by itself"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_later_does_not_count_earlier() {
        let at = |ms: i64| Timestamp::from_micros(1_000 * ms);
        let mut acked = Acked::default();
        for (ms, results) in [(10, 1), (12, 2), (20, 4)] {
            acked.add(at(ms), results);
        }
        let by = [9, 12, 15, 24, 25].map(|ms| acked.by(at(ms)));
        assert_eq!(by, [0, 0, 3, 3, 7], "a step counts once it is over");
    }
}
