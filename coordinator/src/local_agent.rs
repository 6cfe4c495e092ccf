//! `serve --with-agent`: an agent beside the coordinator, as a child process with an identity of its own.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::{
    process::{Child, Command},
    time,
};

use crate::{
    pki::{
        Authority, PkiError,
        rotation::{Bundle, signer_of},
    },
    registry::{Place, Registry, bundle},
};

/// Name of the agent that runs beside its coordinator.
const NAME: &str = "local";

/// After SIGTERM the agent has this long to say goodbye.
const GOODBYE: Duration = Duration::from_secs(4);

/// Why the local agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum LocalAgentError {
    /// Its program is not where it should be.
    #[error("no agent program at {}: build it with `cargo build --release --workspace`", .0.display())]
    Missing(PathBuf),
    /// It could not be given an identity.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// It could not be started.
    #[error("{}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Whether the authority that signs now signed the identity in that folder.
fn is_of_present_authority(data: &Path, folder: &Path) -> bool {
    let shown = CertificateDer::pem_file_iter(folder.join("agent.pem"))
        .ok()
        .and_then(|all| all.collect::<Result<Vec<_>, _>>().ok());
    shown.is_some_and(|chain| Bundle::of(data).is_ok_and(|bundle| bundle.signer == signer_of(&chain)))
}

/// A running agent.
pub(crate) struct LocalAgent {
    child: Child,
}

impl LocalAgent {
    /// Issues an identity if there is none of the authority that signs, and starts the program beside this one.
    pub(crate) fn start(data: &Path, coordinator: SocketAddr, now_micros: i64) -> Result<Self, LocalAgentError> {
        let program = std::env::current_exe()
            .ok()
            .and_then(|own| Some(own.parent()?.join("faultline-agent")))
            .unwrap_or_else(|| PathBuf::from("faultline-agent"));
        if !program.is_file() {
            return Err(LocalAgentError::Missing(program));
        }
        let folder = data.join("local-agent");
        let (config, place) = (folder.join("agent.toml"), Place::default());
        // The port may be another one at each start.
        let endpoint = format!("https://{coordinator}");
        if config.exists() && is_of_present_authority(data, &folder) {
            bundle::write_config(&folder, &endpoint, &place)?;
        } else {
            let authority = Authority::open(data)?;
            let identity = Registry::of(data).issue(&authority, NAME, &place, now_micros)?;
            bundle::write(&folder, &authority, &identity, &endpoint, &place)?;
        }
        let child = Command::new(&program)
            .arg("run")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| LocalAgentError::Start { program, source })?;
        Ok(Self { child })
    }

    /// Waits until the program ends by itself, which it should not.
    pub(crate) async fn ended(&mut self) -> io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end, and waits.
    pub(crate) async fn stop(mut self) {
        if let Some(pid) = self.child.id() {
            let mut kill = Command::new("kill");
            drop(kill.arg("-TERM").arg(pid.to_string()).status().await);
        }
        if time::timeout(GOODBYE, self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }
}
