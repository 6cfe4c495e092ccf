//! TLS of the agent port: TLS 1.3 and HTTP/2, with two sides chosen by the server name that is asked for.
//!
//! Rule: only [`ENROLL_NAME`](faultline_proto::join::ENROLL_NAME) gets the side that asks for no certificate. What it shows ends with
//! the root, so that whoever knows no more than the root's digest can check the chain.

use std::{path::Path, sync::Arc};

use faultline_proto::join::ENROLL_NAME;
use rustls::{
    ConfigBuilder, RootCertStore, ServerConfig,
    server::{NoServerSessionStorage, WantsServerCert, WebPkiClientVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::{PkiError, read};

/// Both sides.
#[derive(Clone, Debug)]
pub struct AgentPort {
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
    /// Reads what a data directory has.
    ///
    /// # Errors
    ///
    /// Where a file of it cannot be read or does not fit the others.
    pub fn open(data: &Path) -> Result<Self, PkiError> {
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
        let mut roots = RootCertStore::empty();
        root.iter().try_for_each(|root| roots.add(root.clone()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build()?;
        let builder = || {
            ServerConfig::builder_with_provider(Arc::clone(&provider))
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

    /// What speaks on this side.
    pub fn on(&self, side: Side) -> Arc<ServerConfig> {
        Arc::clone(match side {
            Side::Sessions => &self.sessions,
            Side::Enrolment => &self.enrolment,
        })
    }
}
