//! Serve: starts all rooms of the coordinator, and ends them in order.

mod error;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use faultline_attribution::{Settings, Target, TargetId, Timestamp};
use faultline_proto::clock::Clock;
use tokio::{net::TcpListener, task::JoinSet, time};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    access::Policy,
    admin::{self, Desk, Signers, audit::Audit},
    assignment::Assignments,
    catalog::{Catalog, CatalogSource},
    claims::{self, Intake, Sources},
    enroll::{Enrolment, Enrolments, newcomers_only_enroll},
    feed::{Hub, port::FeedPort, web::Known},
    fold::{Fold, Keep, Snapshots},
    ingest::{Ingest, listener::Greeter},
    local_agent::LocalAgent,
    log::{
        Admission, ChangeLog, LogError, RecordLog,
        patient::{FullSince, Patient},
        sqlite::{
            SqliteLog,
            check::{Depth, check},
        },
    },
    metrics,
    pki::port::AgentPort,
    ranges::{keep, refresh::Publishers, store::Store},
    record::{CatalogRecord, Record, RecordKind},
    registry::Registry,
    retention::{Keeper, Retention},
    rpc, tick, webhook,
};

pub use self::error::ServeError;

/// After this the rooms that have not ended are dropped. An orderly end takes less than 5 s all told.
const GRACE: Duration = Duration::from_secs(4);

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Keys, registry, log.
    pub data_dir: PathBuf,
    /// Catalogs, joined.
    pub catalogs: Vec<CatalogSource>,
    /// Where agents connect.
    pub agents_listen: SocketAddr,
    /// Where people and subscribers connect.
    pub feed_listen: SocketAddr,
    /// Who may read the feed.
    pub access: Policy,
    /// Where Prometheus reads metrics; nowhere without it.
    pub metrics_listen: Option<SocketAddr>,
    /// The clock.
    pub clock: Clock,
    /// Whether to run an agent beside the coordinator.
    pub with_agent: bool,
    /// Whom to ask for published address ranges; without it, those of the data directory stay as they are.
    pub publishers: Option<Publishers>,
    /// Whose status pages to ask; without it, none.
    pub claims: Option<Sources>,
    /// For how long results stay, and how many.
    pub retention: Retention,
    /// Whether the data directory's webhooks are told of changes.
    pub webhooks: bool,
}

/// A coordinator that is up.
pub struct Coordinator {
    /// Where agents connect.
    pub agents_address: SocketAddr,
    /// Where people and subscribers connect.
    pub feed_address: SocketAddr,
    /// Where Prometheus reads metrics.
    pub metrics_address: Option<SocketAddr>,
    /// The feed.
    pub hub: Arc<Hub>,
    /// The agent port.
    pub ingest: Arc<Ingest>,
    /// The log.
    pub log: Arc<SqliteLog>,
    /// Where claims come in.
    pub claims: Arc<Intake>,
    tasks: JoinSet<Result<(), ServeError>>,
    stop: CancellationToken,
    _lock: File,
}

impl Coordinator {
    /// Rebuilds the picture from the newest snapshot and the log after it, and opens its ports.
    pub async fn start(options: Options) -> Result<Self, ServeError> {
        let data = &options.data_dir;
        fs::create_dir_all(data).map_err(|source| ServeError::Data { path: data.clone(), source })?;
        let catalog = Arc::new(Catalog::load(&options.catalogs)?);
        let clock = options.clock;
        let tls = Arc::new(AgentPort::open(data, clock)?);
        let port = FeedPort::new(&options)?;
        let lock = lock(data)?;
        let operators = admin::Listening::of(data)?;
        let agents = listen(options.agents_listen, "agents", "--agents-listen").await?;
        let feed = listen(options.feed_listen, "the feed", "--feed-listen").await?;
        let metrics = match options.metrics_listen {
            Some(asked) => Some(listen(asked, "metrics", "--metrics-listen").await?),
            None => None,
        };
        let metrics_address = metrics.as_ref().map(|metrics| address(metrics, "metrics")).transpose()?;
        let (agents_address, feed_address) = (address(&agents, "agents")?, address(&feed, "the feed")?);

        let log = Arc::new(SqliteLog::open(data)?);
        look_at(data);
        let patient = Arc::new(Patient::new(Arc::clone(&log) as _, Arc::clone(&log) as _, clock));
        let full_since = patient.full_since();
        let records: Arc<dyn RecordLog> = Arc::clone(&patient) as _;
        let changes: Arc<dyn ChangeLog> = patient;
        let now = || Timestamp::from_micros(clock.now_micros());
        let snapshots = Arc::new(Snapshots::of(data));
        let (inputs, feed_log) = (Arc::clone(&records), Arc::clone(&changes));
        let (mut fold, board) = Fold::resume(inputs, feed_log, Settings::default(), &snapshots, now()).await?;
        put_in_force(&*records, fold.observer().targets(), catalog.world(), now()).await?;
        let store = Store::of(data);
        let ranges = keep::put_in_force(&*records, fold.observer().ranges(), &store, now()).await?;
        let hub = Arc::new(Hub::new(board, changes, clock));
        let claims = Arc::new(Intake::new(Arc::clone(&hub)));
        let audit = Arc::new(Audit::open(data)?);
        let enrolment = Arc::new(Enrolment::open(data, Arc::clone(&audit), clock)?);
        let stop = CancellationToken::new();
        let assignments = Assignments::new(Arc::clone(&catalog), fold.observer().tables().clone());
        let ingest = Ingest::new(
            Arc::clone(&records),
            Registry::of(data),
            assignments,
            clock,
            fold.observer(),
            full_since.clone(),
            stop.clone(),
        );
        let ingest = Arc::new(ingest.paced(fold.pace()).knowing(enrolment.machines()));
        ingest.record_standings().await?;
        let signers = Signers { data: data.clone(), port: Arc::clone(&tls), enrolment: Arc::clone(&enrolment) };
        ingest.trust(signers.take_up()?);
        let desk = Desk::new(Arc::clone(&hub), Arc::clone(&records), audit, signers, Arc::clone(&ingest));
        fold.tick(now(), &hub).await?;

        let mut tasks = JoinSet::new();
        let covered = Arc::clone(&snapshots);
        let passing = tick::run(fold, Keep::new(snapshots), Arc::clone(&hub), Arc::clone(&ingest), stop.clone());
        tasks.spawn(async move { Ok(passing.await?) });
        tasks.spawn(show_full(full_since, Arc::clone(&hub), stop.clone()));
        let keeper = Keeper::new(
            Arc::clone(&log),
            data.clone(),
            options.retention,
            clock,
            Arc::new(move || Some(covered.snapshot_cursor())),
        );
        let until = stop.clone();
        tasks.spawn(async move {
            keeper.run(until).await;
            Ok(())
        });
        tasks.spawn(serve_operators(operators, desk, stop.clone()));
        let watching = Arc::clone(&ingest);
        tasks.spawn(async move { Ok(watching.watch().await?) });
        tasks.spawn(serve_agents(agents, tls, Arc::clone(&ingest), enrolment, stop.clone()));
        let known = Known { catalog, data: data.clone() };
        tasks.spawn(port.serve(feed, Arc::clone(&hub), Arc::clone(&ingest), Arc::clone(&claims), known, stop.clone()));
        if let Some(metrics) = metrics {
            let (hub, ingest) = (Arc::clone(&hub), Arc::clone(&ingest));
            let log_limit_bytes = options.retention.results_bytes;
            let sources = metrics::Sources { hub, ingest, data: data.clone(), log_limit_bytes };
            tasks.spawn(serve_metrics(metrics, sources, stop.clone()));
        }
        if let Some(publishers) = options.publishers {
            let fresh = keep::keep_fresh(records, ranges, store, publishers, clock, stop.clone());
            tasks.spawn(async move { Ok(fresh.await?) });
        }
        if let Some(sources) = options.claims {
            let asking = claims::fetch::keep(sources, Arc::clone(&claims), clock, stop.clone());
            tasks.spawn(async move { Ok(asking.await?) });
        }
        if options.webhooks {
            let told = webhook::deliver::run(data.clone(), Arc::clone(&hub), stop.clone());
            tasks.spawn(async move { told.await.map_err(ServeError::Task) });
        }
        if options.with_agent {
            let dialled = SocketAddr::new(loopback_for(agents_address), agents_address.port());
            let agent = LocalAgent::start(data, dialled, clock.now_micros())?;
            tasks.spawn(mind(agent, stop.clone()));
        }
        Ok(Self { agents_address, feed_address, metrics_address, hub, ingest, log, claims, tasks, stop, _lock: lock })
    }

    /// Serves until `until` is ready or a room fails, then ends in order.
    pub async fn run(mut self, until: impl Future<Output = ()>) -> Result<(), ServeError> {
        let failed = tokio::select! {
            () = until => None,
            ended = self.tasks.join_next() => ended,
        };
        let result = match failed {
            Some(ended) => ended.unwrap_or_else(|error| Err(ServeError::Task(error.to_string()))),
            None => Ok(()),
        };
        self.stop().await;
        result
    }

    /// Ends in order: agents are asked to say goodbye, streams close with a place to resume from.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if time::timeout(GRACE, all).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
    }
}

/// Records a catalog that is another than the one in force.
async fn put_in_force(
    records: &dyn RecordLog,
    in_force: &BTreeMap<TargetId, Target>,
    targets: BTreeMap<TargetId, Target>,
    now: Timestamp,
) -> Result<(), LogError> {
    if *in_force != targets {
        let record = Record::own(RecordKind::Catalog, now, "", &CatalogRecord { targets });
        records.append(Admission::Own, record).await?;
    }
    Ok(())
}

/// Shows that nothing can be written, for as long as it lasts. The picture stays: only its sight is lost.
async fn show_full(full_since: FullSince, hub: Arc<Hub>, stopped: CancellationToken) -> Result<(), ServeError> {
    let mut since = full_since.get();
    loop {
        hub.board().full_since = since;
        since = tokio::select! {
            () = stopped.cancelled() => return Ok(()),
            since = full_since.other_than(since) => since,
        };
    }
}

async fn serve_agents(
    agents: TcpListener,
    tls: Arc<AgentPort>,
    ingest: Arc<Ingest>,
    enrolment: Arc<Enrolment>,
    stopped: CancellationToken,
) -> Result<(), ServeError> {
    let calls = Routes::new(ingest.service()).add_service(Enrolments::service(enrolment));
    let router = calls.prepare().into_axum_router().layer(axum::middleware::from_fn(newcomers_only_enroll));
    let greeter = Greeter::new(Arc::clone(&tls));
    let greet = move |stream, peer| greeter.clone().greet(stream, peer);
    tokio::join!(rpc::serve(agents, rpc::AGENTS, router, greet, stopped.clone()), tls.keep_fresh(stopped));
    Ok(())
}

async fn serve_operators(
    listening: admin::Listening,
    desk: Arc<Desk>,
    stopped: CancellationToken,
) -> Result<(), ServeError> {
    admin::serve(listening, desk, stopped).await;
    Ok(())
}

async fn serve_metrics(
    listener: TcpListener,
    sources: metrics::Sources,
    stopped: CancellationToken,
) -> Result<(), ServeError> {
    let greet = async |stream, _| Ok((stream, http::Extensions::new()));
    rpc::serve(listener, rpc::METRICS, metrics::router(sources), greet, stopped).await;
    Ok(())
}

/// Keeps the local agent company.
async fn mind(mut agent: LocalAgent, stopped: CancellationToken) -> Result<(), ServeError> {
    let ended = tokio::select! {
        () = stopped.cancelled() => None,
        ended = agent.ended() => Some(ended),
    };
    match ended {
        None => {
            agent.stop().await;
            Ok(())
        }
        Some(Ok(status)) => Err(ServeError::AgentEnded(status.to_string())),
        Some(Err(error)) => Err(ServeError::AgentEnded(error.to_string())),
    }
}

async fn listen(address: SocketAddr, who: &'static str, flag: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { who, address, flag, source })
}

fn address(listener: &TcpListener, who: &'static str) -> Result<SocketAddr, ServeError> {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    listener.local_addr().map_err(|source| ServeError::Listen { who, address: nowhere, flag: "", source })
}

/// The address of this machine that reaches a listener.
fn loopback_for(listening: SocketAddr) -> std::net::IpAddr {
    match listening {
        address if !address.ip().is_unspecified() => address.ip(),
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}

/// Says what is wrong with the newest part of the log. Nothing of it keeps the coordinator from starting.
fn look_at(data: &std::path::Path) {
    let findings = match check(data, Depth::Newest, |_, _| {}) {
        Ok(found) => found.findings,
        Err(error) => vec![error.to_string()],
    };
    for finding in findings {
        tracing::error!(finding, "log is damaged: see `faultline log check`");
    }
}

/// Makes sure that one coordinator at a time has the data directory.
fn lock(data: &std::path::Path) -> Result<File, ServeError> {
    let path = data.join("lock");
    let fail = |source| ServeError::Data { path: path.clone(), source };
    let file = File::create(&path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServeError::Locked(data.to_owned())),
        Err(TryLockError::Error(source)) => Err(fail(source)),
    }
}
