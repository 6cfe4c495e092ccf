//! The agent behind the port: runs modules with its own settings and policy, and tells how it is doing.
//!
//! Rules: what may be probed is what local policy allows, whoever asks; modules that ask the same of TLS share their roots; a silence
//! during which the agent was starved is the agent's and no failure of the target.

use std::{
    collections::BTreeMap,
    future::pending,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use faultline_proto::types::v1::Reason;
use tokio::sync::watch;

use super::{
    exposition::Exposition,
    listener::{Listener, ListenerError, Probing},
    metrics::{Failure, Measured, Of, TcpMeasured},
    modules::{Module, Modules},
    own,
    run::{Runner, runners},
};
use crate::{
    probe::{ProbeSettings, RootsError},
    run::Shared,
    selfcheck::{self, SelfCheck},
};

/// Where Prometheus asks, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// The address of the port.
    pub listen: SocketAddr,
    /// The module file; without one there are no modules.
    pub modules: Option<PathBuf>,
}

/// An open port.
pub(crate) struct Exporter(Listener<Agent>);

struct Agent {
    settings: ProbeSettings,
    /// Of an agent that runs a schedule too.
    shared: Option<Arc<Shared>>,
    check: SelfCheck,
    runners: Mutex<Arc<BTreeMap<String, Runner>>>,
}

impl Exporter {
    pub(crate) async fn open(
        prometheus: Prometheus,
        settings: ProbeSettings,
        check: SelfCheck,
        shared: Option<Arc<Shared>>,
    ) -> Result<Self, ListenerError> {
        let clock = settings.clock;
        let agent = Agent { settings, shared, check, runners: Mutex::default() };
        Listener::bind(prometheus.listen, prometheus.modules, clock, agent).await.map(Self)
    }

    /// Where it listens: the port in place of 0.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.0.address()
    }

    /// Answers for ever.
    pub(crate) async fn run(self) {
        let (_never, never) = watch::channel(false);
        self.0.run(never).await;
        pending::<()>().await;
    }
}

impl Probing for Agent {
    fn prepare(&self, modules: &Modules) -> Result<(), RootsError> {
        let ready = runners(modules, &self.settings)?;
        *self.runners.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(ready);
        Ok(())
    }

    async fn probe(&self, module: &Module, target: &str, hostname: Option<&str>, timeout: Duration) -> Measured {
        let runners = Arc::clone(&self.runners.lock().unwrap_or_else(PoisonError::into_inner));
        match runners.get(&module.name) {
            Some(runner) => {
                let began = self.check.stamp();
                let mut measured = runner.probe(target, hostname, timeout).await;
                if measured.failure.is_some_and(is_silence) && self.check.was_starved(began) {
                    measured.failure = Some(Failure::Unmeasured(Reason::Overloaded));
                }
                measured
            }
            // A reload took it away between the question and its answer.
            None => Measured {
                failure: Some(Failure::Unmeasured(Reason::PolicyRefused)),
                duration: Duration::ZERO,
                timeout,
                lookup: None,
                presented: None,
                session: None,
                of: Of::Tcp(TcpMeasured::default()),
            },
        }
    }

    fn own(&self, page: &mut Exposition) {
        own::build(page);
        if let Some(shared) = &self.shared {
            own::doing(&shared.doing(), page);
        }
        own::process(page);
    }
}

/// Whether it is that nothing came in time.
fn is_silence(failure: Failure) -> bool {
    match failure {
        Failure::Layer(_, cause) => selfcheck::is_silence(cause),
        failure => failure == Failure::Silence,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        task::JoinSet,
    };

    use faultline_proto::clock::Clock;

    use super::*;
    use crate::{
        config::Starvation,
        probe::testing::{Authority, settings, tcp_server},
    };

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn prometheus_asks_and_the_agent_looks() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("blackbox.yml");
        fs::write(&file, "modules: {http_2xx: {prober: http}, open: {prober: tcp}}").expect("written");
        let prometheus = Prometheus { listen: ([127, 0, 0, 1], 0).into(), modules: Some(file) };
        let check = SelfCheck::new(Clock::system(), Starvation::Disowns);
        let exporter = Exporter::open(prometheus, settings(&Authority::new()), check, None).await.expect("open");
        let address = exporter.address().expect("bound");
        let mut tasks = JoinSet::new();
        tasks.spawn(exporter.run());
        let server = tcp_server(|mut stream| async move {
            let Ok(1..) = stream.read(&mut [0; 1024]).await else { return };
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok();
        })
        .await;
        let answer = get(address, &format!("/probe?target={}", server.address)).await;
        assert!(
            answer.contains("\nprobe_success 1\n") && answer.contains("\nprobe_http_status_code 204\n"),
            "{answer}"
        );
        let answer = get(address, &format!("/probe?target={}&module=open", server.address)).await;
        assert!(answer.contains("\nprobe_success 1\n") && !answer.contains("probe_http"), "{answer}");
        let answer = get(address, "/probe?target=10.0.0.1:80&module=open").await;
        let refused = "probe_failure_info{cause=\"policy_refused\",layer=\"unmeasured\"} 1";
        assert!(answer.contains(refused), "policy is asked: {answer}");
        assert!(get(address, "/metrics").await.contains("\nfaultline_agent_build_info{version="));
    }
}
