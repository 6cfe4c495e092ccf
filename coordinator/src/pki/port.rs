//! TLS of the agent port: TLS 1.3 and HTTP/2, with two sides chosen by the server name that is asked for.
//!
//! Rule: only [`ENROLL_NAME`] gets the side that asks for no certificate. What it shows ends with
//! the root, so that whoever knows no more than the root's digest can check the chain.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use faultline_proto::{clock::Clock, join::ENROLL_NAME};
use rustls::{
    ConfigBuilder, RootCertStore, ServerConfig,
    server::{NoServerSessionStorage, WantsServerCert, WebPkiClientVerifier},
    time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};
use tokio_util::sync::CancellationToken;

use super::{Authority, PkiError, read, rotation::Bundle, server};

/// How often it is looked whether the certificate is due.
const LOOK: Duration = Duration::from_hours(1);

/// The port. What it shows is renewed while it is open; connections that are open keep what they have.
pub struct AgentPort {
    data: PathBuf,
    clock: Clock,
    sides: RwLock<Sides>,
}

/// What time it is, where it is looked whether an agent's certificate is over: as the coordinator stamps everything else.
#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        u64::try_from(self.0.now_micros()).ok().map(|micros| UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}

/// Both sides.
#[derive(Debug)]
struct Sides {
    /// For agents: nobody without a certificate of this authority gets past the handshake.
    sessions: Arc<ServerConfig>,
    /// For machines that have none yet.
    enrolment: Arc<ServerConfig>,
}

/// Which side a connection is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// That of agents.
    Sessions,
    /// That of machines that would be agents.
    Enrolment,
}

impl Side {
    /// The side that a `ClientHello` asks for.
    pub fn of(server_name: Option<&str>) -> Self {
        if server_name == Some(ENROLL_NAME) { Self::Enrolment } else { Self::Sessions }
    }
}

impl AgentPort {
    /// Reads what a data directory has; a certificate that is due is renewed first.
    ///
    /// # Errors
    ///
    /// Where a file of it cannot be read or does not fit the others.
    pub fn open(data: &Path, clock: Clock) -> Result<Self, PkiError> {
        // Where there is none, it says what to do.
        Authority::open(data)?;
        server::renew(data, clock.now_micros())?;
        Ok(Self { data: data.to_owned(), clock, sides: RwLock::new(Sides::read(data, clock)?) })
    }

    /// What speaks on this side.
    pub fn on(&self, side: Side) -> Arc<ServerConfig> {
        let sides = self.sides.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(match side {
            Side::Sessions => &sides.sessions,
            Side::Enrolment => &sides.enrolment,
        })
    }

    /// Renews the certificate when it is due, and shows it from then on. Returns whether it was due. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// As [`server::renew`]; what is shown stays.
    pub fn renew(&self) -> Result<bool, PkiError> {
        let is_due = server::renew(&self.data, self.clock.now_micros())?;
        if is_due {
            self.reload()?;
        }
        Ok(is_due)
    }

    /// Shows and trusts what the data directory has by now. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// Where a file of it cannot be read or does not fit the others; what is shown and trusted stays.
    pub fn reload(&self) -> Result<(), PkiError> {
        let sides = Sides::read(&self.data, self.clock)?;
        *self.sides.write().unwrap_or_else(PoisonError::into_inner) = sides;
        Ok(())
    }

    /// Renews it whenever it is due, until shutdown.
    pub async fn keep_fresh(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.clock.sleep(LOOK) => {}
            }
            let port = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || port.renew()).await {
                Ok(Ok(true)) => tracing::info!("certificate of the agent port renewed"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::error!(%error, "certificate of the agent port not renewed"),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }
}

impl Sides {
    fn read(data: &Path, clock: Clock) -> Result<Self, PkiError> {
        let folder = data.join("ca");
        let certificates = |name: &str| {
            let path = folder.join(name);
            let found = CertificateDer::pem_slice_iter(read(&path)?.as_bytes()).collect::<Result<Vec<_>, _>>();
            found.ok().filter(|found| !found.is_empty()).ok_or(PkiError::Pem(path))
        };
        let key = || {
            let path = folder.join("server.key");
            PrivateKeyDer::from_pem_slice(read(&path)?.as_bytes()).map_err(|_| PkiError::Pem(path))
        };
        let (root, server) = (certificates("root.pem")?, certificates("server.pem")?);
        let trusted = Bundle::of(data)?.roots;
        let mut roots = RootCertStore::empty();
        trusted.iter().try_for_each(|root| roots.add(root.clone()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build()?;
        let builder = || {
            ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(Time(clock)))
                .with_protocol_versions(&[&rustls::version::TLS13])
        };
        let side = |builder: ConfigBuilder<ServerConfig, WantsServerCert>, chain| {
            let mut config = builder.with_single_cert(chain, key()?)?;
            config.alpn_protocols = vec![b"h2".to_vec()];
            // A resumed session would skip the look at the agent's certificate, and thousands of tickets would be held for
            // nothing.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok::<_, PkiError>(Arc::new(config))
        };
        let sessions = side(builder()?.with_client_cert_verifier(verifier), server.clone())?;
        let enrolment = side(builder()?.with_no_client_auth(), [server, root].concat())?;
        Ok(Self { sessions, enrolment })
    }
}
