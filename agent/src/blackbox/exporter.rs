//! The agent behind the port: runs modules with its own settings and policy, and tells how it is doing.
//!
//! Rules: what may be probed is what local policy allows, whoever asks; modules that ask the same of TLS share their roots; a silence
//! during which the agent was starved is the agent's and no failure of the target.

use std::{collections::BTreeMap, future::pending, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use faultline_proto::types::v1::Reason;
use tokio::sync::watch;

use super::{
    exposition::Exposition,
    listener::{Listener, ListenerError, Probing},
    metrics::{Failure, Measured},
    modules::{Module, Modules},
    own,
    run::{Runner, runners},
};
use crate::{
    config::Starvation,
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
pub struct Exporter {
    listener: Listener<Agent>,
    /// Of an agent that runs nothing else, and so nobody else watches.
    watched: Option<SelfCheck>,
}

struct Agent {
    settings: ProbeSettings,
    /// Of an agent that runs a schedule too.
    shared: Option<Arc<Shared>>,
    check: SelfCheck,
}

impl Exporter {
    /// The port of an agent without a coordinator and without a schedule.
    pub async fn alone(
        prometheus: Prometheus,
        settings: ProbeSettings,
        starvation: Starvation,
    ) -> Result<Self, ListenerError> {
        let check = SelfCheck::new(settings.clock, starvation);
        let agent = Agent { settings, shared: None, check: check.clone() };
        Ok(Self { listener: agent.listen(prometheus).await?, watched: Some(check) })
    }

    /// The port of an agent that runs a schedule too.
    pub(crate) async fn beside(
        shared: Arc<Shared>,
        prometheus: Prometheus,
        settings: ProbeSettings,
    ) -> Result<Self, ListenerError> {
        let agent = Agent { settings, check: shared.check.clone(), shared: Some(shared) };
        Ok(Self { listener: agent.listen(prometheus).await?, watched: None })
    }

    /// Where it listens: the port in place of 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.address()
    }

    /// Answers for ever.
    pub async fn run(self) {
        let (_never, never) = watch::channel(false);
        let watching = async {
            match self.watched {
                Some(check) => check.watch().await,
                None => pending().await,
            }
        };
        tokio::join!(self.listener.run(never), watching);
    }
}

impl Agent {
    async fn listen(self, prometheus: Prometheus) -> Result<Listener<Self>, ListenerError> {
        let clock = self.settings.clock;
        Listener::bind(prometheus.listen, prometheus.modules, clock, self).await
    }
}

impl Probing for Agent {
    type Ready = BTreeMap<String, Runner>;

    fn prepare(&self, modules: &Modules) -> Result<Self::Ready, RootsError> {
        runners(modules, &self.settings)
    }

    async fn probe(
        &self,
        ready: &Self::Ready,
        module: &Module,
        target: &str,
        hostname: Option<&str>,
        timeout: Duration,
    ) -> Measured {
        let began = self.check.stamp();
        let runner = ready.get(&module.name).expect("each supported module has been made ready");
        let mut measured = runner.probe(target, hostname, timeout).await;
        if measured.failure.is_some_and(is_silence) && self.check.was_starved(began) {
            measured.failure = Some(Failure::Unmeasured(Reason::Overloaded));
        }
        measured
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

    use super::*;
    use crate::probe::testing::{Authority, settings, tcp_server};

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
        let settings = settings(&Authority::new());
        let exporter = Exporter::alone(prometheus, settings, Starvation::Disowns).await.expect("open");
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
