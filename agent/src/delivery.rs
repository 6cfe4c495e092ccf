//! Delivery alone: results that come from elsewhere go the way of the agent's own, from the batcher to the coordinator.
//!
//! Rule: nothing here is another way of doing it. Batcher, spool and uplink are those of [`crate::run`], driven in the same
//! order; what differs is who made the results, and by what network the coordinator is reached.

use std::{sync::Arc, time::Duration};

use faultline_proto::clock::Clock;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tracing::Instrument as _;

pub use crate::uplink::{Connect, Connecting, Connection};
use crate::{
    AgentError, Config,
    batch::Batcher,
    config::Starvation,
    died, finish,
    probe::Observed,
    run::{self, LookAgain, Orders, Shared},
    selfcheck::SelfCheck,
    spool::{Spool, View},
    uplink::Uplink,
};

/// What a run of a slot left.
#[derive(Clone, Debug, PartialEq)]
pub struct Left {
    /// The slot.
    pub slot: u32,
    /// Its results.
    pub observed: Vec<Observed>,
}

/// An agent without probes.
pub struct Delivery {
    clock: Clock,
    shared: Arc<Shared>,
    uplink: Uplink,
    orders: watch::Receiver<Orders>,
    leave: watch::Sender<bool>,
    /// Nobody runs what the coordinator wants looked at again.
    _requests: mpsc::Receiver<LookAgain>,
}

/// A look at the spool from outside.
#[derive(Clone)]
pub struct Window(Arc<Shared>);

impl Window {
    /// The spool as it stands.
    pub fn view(&self) -> View {
        self.0.spool.view()
    }

    /// Results made since the incarnation began.
    pub fn made_results(&self) -> u64 {
        self.0.spool.made_results()
    }
}

impl Delivery {
    /// Of the configuration it takes endpoint, place and policy. `seed` decides the pauses between attempts to connect.
    pub fn new(config: Config, clock: Clock, spool: Spool, connect: Connect, seed: u64) -> Self {
        let shared = Arc::new(Shared::new(spool, SelfCheck::new(clock, Starvation::Ignored)));
        let (ask, requests) = mpsc::channel(run::REQUESTS);
        let (orders_sender, orders) = watch::channel(Orders::default());
        let (leave, leaving) = watch::channel(false);
        let uplink = Uplink::new(config, clock, Arc::clone(&shared), orders_sender, ask, leaving).over(connect, seed);
        Self { clock, shared, uplink, orders, leave, _requests: requests }
    }

    /// A look at the spool while it runs.
    pub fn window(&self) -> Window {
        Window(Arc::clone(&self.shared))
    }

    /// Delivers what comes until nobody can send any more; then sends what is left and says goodbye.
    pub async fn run(mut self, mut results: mpsc::Receiver<Left>) -> Result<(), AgentError> {
        let mut uplink = JoinSet::new();
        uplink.spawn(self.uplink.run().in_current_span());
        let mut batcher = Batcher::after(self.shared.spool.view().last_facts);
        loop {
            let now = self.clock.now_micros();
            if batcher.due().is_some_and(|due| due <= now) {
                self.shared.seal(now, &mut batcher, 0);
            }
            let wait = batcher.due().and_then(|due| u64::try_from(due - now).ok()).map(Duration::from_micros);
            tokio::select! {
                biased;
                Ok(()) = self.orders.changed() => batcher.set_limits(self.orders.borrow_and_update().limits),
                left = results.recv() => match left {
                    Some(Left { slot, observed }) => {
                        self.shared.hand_over(self.clock.now_micros(), slot, observed, &mut batcher);
                    }
                    None => break,
                },
                ended = uplink.join_next() => return Err(died(ended)),
                () = self.clock.sleep(wait.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)) => {}
            }
        }
        self.shared.seal(self.clock.now_micros(), &mut batcher, 0);
        self.leave.send_replace(true);
        let left = finish(uplink.join_next().await);
        self.shared.spool.close().await;
        left
    }
}

/// Bounds how long a wall clock that was set forward goes unnoticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
