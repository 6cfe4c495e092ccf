//! The daemon: one process that is not joined, or is an agent, and goes from one to the other when it is told to.
//!
//! Rules: whatever is wrong with the configuration or the identity ends it before it says that it is ready; not joined, it sleeps
//! until somebody speaks to it; an identity on disk outranks every join string, so that one is never looked at while there is one.
//! Orders are carried out one after the other; while one is, status is answered and the agent probes.

mod alone;
mod progress;
mod wipe;

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use faultline_proto::clock::Clock;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use self::alone::Attempts;
pub use self::{
    alone::Alone,
    wipe::{WipeError, wipe},
};
use crate::{
    AgentError, Setup,
    config::Coordinator,
    control::{self, End, FAILED, Order, Reply, Request, USAGE},
    enroll::{self, Existing, Joined, Joining, Step},
    run::Shared,
    running::{Running, died},
    status::{self, Listening, Status},
};

/// The daemon's state as its status tells it.
#[derive(Clone)]
struct Sight {
    began: Instant,
    clock: Clock,
    now: Arc<Mutex<Now>>,
}

enum Now {
    /// Why not, where it tries by itself.
    NotJoined(Option<String>),
    Joined(Arc<Shared>, Coordinator),
}

impl Sight {
    fn set(&self, now: Now) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn status(&self) -> Status {
        match &*self.now.lock().unwrap_or_else(PoisonError::into_inner) {
            Now::NotJoined(why) => Status::not_joined(self.began.elapsed().as_secs(), why.clone()),
            Now::Joined(shared, coordinator) => Status::of(shared, coordinator, self.clock),
        }
    }
}

struct Daemon<T> {
    setup: Setup,
    clock: Clock,
    sight: Sight,
    agent: Option<Running>,
    /// Told what the service manager shows.
    tell: T,
    /// Those who wait for a first batch.
    waiting: JoinSet<()>,
}

/// Runs until `shutdown` completes. `tell` is told one line on how it is: first when it is ready, then at each change.
///
/// # Errors
///
/// When it cannot start, or a part of it ends that must not.
pub async fn run(
    setup: Setup,
    clock: Clock,
    alone: Option<Alone>,
    shutdown: impl Future<Output = ()>,
    tell: impl Fn(&str),
) -> Result<(), AgentError> {
    let mut shutdown = pin!(shutdown);
    let sight = Sight { began: Instant::now(), clock, now: Arc::new(Mutex::new(Now::NotJoined(None))) };
    let (sender, mut orders) = mpsc::channel(1);
    let mut services = JoinSet::new();
    let joined = setup.joined()?;
    match Listening::at(setup.control_socket.clone()) {
        Ok(listening) => {
            let told = sight.clone();
            services.spawn(control::serve(listening, move || told.status(), sender.clone()));
        }
        Err(error) if joined.is_some() || alone.is_some() => {
            tracing::warn!(socket = %setup.control_socket.display(), %error, "no orders: change [control] socket to a path that can be made");
        }
        Err(source) => return Err(AgentError::Control { path: setup.control_socket.clone(), source }),
    }
    let told = sight.clone();
    services.spawn(status::serve(setup.status_socket.clone(), move || told.status()));
    let mut attempts = alone.map(Attempts::new);
    let mut daemon = Daemon { setup, clock, sight, agent: None, tell, waiting: JoinSet::new() };
    match joined {
        Some(coordinator) => daemon.start(coordinator).await?,
        None => daemon.idle(None),
    }
    loop {
        let due = attempts.as_ref().filter(|_| daemon.agent.is_none()).map(Attempts::due);
        let order = tokio::select! {
            biased;
            () = &mut shutdown => break,
            ended = part(daemon.agent.as_mut()) => return Err(ended),
            ended = services.join_next() => return Err(died(ended)),
            Some(order) = orders.recv() => Some(order),
            Some(_) = daemon.waiting.join_next() => continue,
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
        };
        let carried_out = async {
            match (order, attempts.as_mut()) {
                (Some(order), attempts) => daemon.carry_out(order, attempts).await,
                (None, Some(attempts)) => daemon.attempt(attempts).await,
                (None, None) => Ok(()),
            }
        };
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            done = carried_out => done?,
        }
    }
    match daemon.agent.take() {
        Some(agent) => agent.leave().await,
        None => Ok(()),
    }
}

impl<T: Fn(&str)> Daemon<T> {
    /// Becomes an agent.
    async fn start(&mut self, coordinator: Coordinator) -> Result<(), AgentError> {
        let mut config = self.setup.of(coordinator.clone());
        // The daemon itself answers there, joined or not.
        config.status_socket = None;
        let agent = Running::start(config, self.clock).await?;
        self.sight.set(Now::Joined(Arc::clone(agent.shared()), coordinator.clone()));
        self.agent = Some(agent);
        let named = status::Identity::of(&coordinator, self.clock.now_micros()).unwrap_or_default();
        tracing::info!(agent = named.name, coordinator = named.coordinator, "joined");
        (self.tell)(&format!("joined {} as {}", named.coordinator, named.name));
        Ok(())
    }

    /// Is nobody's agent.
    fn idle(&self, why: Option<String>) {
        match &why {
            None => (self.tell)(NOT_JOINED),
            Some(why) => (self.tell)(&format!("not joined: {why}")),
        }
        self.sight.set(Now::NotJoined(why));
    }

    async fn carry_out(&mut self, order: Order, attempts: Option<&mut Attempts>) -> Result<(), AgentError> {
        let Order { request, replies } = order;
        let end = match request {
            Request::Join { host, port, join_string, replace, wait_s } => {
                let Ok(join_string) = join_string.parse() else {
                    replies.try_send(Reply::End(End::failed(USAGE, "no join string"))).ok();
                    return Ok(());
                };
                let existing = if replace { Existing::IsReplaced } else { Existing::Stays };
                let joining = Joining { host, port, join_string, existing };
                match self.join(&joining, &mut |step| drop(replies.try_send(Reply::Step(step)))).await? {
                    Ok(agent) => {
                        let Some(shared) = self.agent.as_ref().map(|agent| Arc::clone(agent.shared())) else {
                            return Ok(());
                        };
                        let wait = std::time::Duration::from_secs(wait_s.min(MAX_WAIT_S));
                        self.waiting.spawn(progress::first_batch(shared, agent, wait, replies));
                        return Ok(());
                    }
                    Err(end) => end,
                }
            }
            Request::Leave | Request::ImagePrepare => {
                let end = self.leave(&mut |step| drop(replies.try_send(Reply::Step(step)))).await?;
                if let Some(attempts) = attempts.filter(|_| end.exit_code == 0) {
                    attempts.stop();
                }
                end
            }
            Request::Status => return Ok(()),
        };
        replies.try_send(Reply::End(end)).ok();
        Ok(())
    }

    /// Joins; returns the agent's name, or what the order ends with.
    async fn join(
        &mut self,
        joining: &Joining,
        tell: &mut (dyn FnMut(Step) + Send),
    ) -> Result<Result<String, End>, AgentError> {
        let joined = match enroll::join(&self.setup, joining, self.clock, tell).await {
            Ok(joined) => joined,
            Err(error) => return Ok(Err(End::from(&error))),
        };
        let name = match joined {
            Joined::Already if self.agent.is_some() => {
                return Ok(Err(End::done("joined already: nothing was changed")));
            }
            Joined::Already => None,
            Joined::As(name) => Some(name),
        };
        if let Some(before) = self.agent.take() {
            before.leave().await?;
        }
        let started = match self.setup.joined() {
            Ok(Some(coordinator)) => self.start(coordinator).await.map_err(|error| error.to_string()),
            Ok(None) => Err("its identity went while it joined".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        Ok(match (started, name) {
            (Err(error), _) => {
                self.idle(Some(error.clone()));
                Err(End::failed(FAILED, format!("joined, but it cannot start: {error}")))
            }
            (Ok(()), Some(name)) => Ok(name),
            (Ok(()), None) => Err(End::done("joined already: nothing was changed")),
        })
    }

    /// Leaves the coordinator and forgets it.
    async fn leave(&mut self, tell: &mut (dyn FnMut(Step) + Send)) -> Result<End, AgentError> {
        let was_joined = self.agent.is_some();
        if let Some(agent) = self.agent.take() {
            self.idle(None);
            agent.leave().await?;
            tell(Step::ok("session", "said goodbye"));
        }
        if let Err(error) = wipe(&self.setup) {
            // What it is stays on its disk, so that it goes on being that.
            if let Ok(Some(coordinator)) = self.setup.joined() {
                self.start(coordinator).await?;
            }
            return Ok(End::failed(FAILED, error.to_string()));
        }
        tell(Step::ok("identity", "gone, and all results that waited"));
        self.idle(None);
        Ok(End::done(if was_joined { "left" } else { "it was not joined" }))
    }

    /// Joins without being told to.
    async fn attempt(&mut self, attempts: &mut Attempts) -> Result<(), AgentError> {
        let joining = match attempts.joining() {
            Ok(joining) => joining,
            Err(why) => {
                tracing::warn!(why, "not joined");
                self.idle(Some(why));
                return Ok(());
            }
        };
        let log = &mut |step: Step| tracing::info!(step = step.what, value = step.value, fix = step.fix, "joining");
        match self.join(&joining, log).await? {
            Ok(_) => {}
            Err(end) if end.exit_code == 0 => {}
            Err(end) => {
                tracing::warn!(why = end.message, "not joined");
                attempts.failed(end.exit_code);
                self.idle(Some(end.message));
            }
        }
        Ok(())
    }
}

async fn part(agent: Option<&mut Running>) -> AgentError {
    match agent {
        Some(agent) => agent.ended().await,
        None => std::future::pending().await,
    }
}

/// What the service manager shows of an agent that has not joined.
pub const NOT_JOINED: &str = "not joined: run faultline-agent join";

/// Nobody waits longer for a batch.
const MAX_WAIT_S: u64 = 3600;
