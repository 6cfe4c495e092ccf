//! TLS of the feed port: a certificate from files, which are looked at again while the port is open.
//!
//! Rule: what cannot be read, or whose key does not fit, is said and changes nothing; connections that are open keep theirs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::ring::sign::any_supported_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::time;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain.
    #[error("--tls-cert {}: {why}", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key.
    #[error("--tls-key {}: {why}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The certificate of the feed port.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// When either file cannot be read, or they do not belong together.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(load(chain, key)?));
        Ok(Self { chain: chain.to_owned(), key: key.to_owned(), current })
    }

    /// This side of TLS, for gRPC and for browsers.
    pub fn config(self: Arc<Self>) -> ServerConfig {
        let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(self);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }

    /// Looks at the files again whenever they changed, until shutdown.
    pub async fn keep_fresh(self: Arc<Self>, shutdown: CancellationToken) {
        let mut seen = self.stamps();
        while time::timeout(LOOK, shutdown.cancelled()).await.is_err() {
            let stamps = self.stamps();
            if stamps == seen {
                continue;
            }
            seen = stamps;
            match load(&self.chain, &self.key) {
                Ok(fresh) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                    tracing::info!(certificate = %self.chain.display(), "the feed has a new certificate");
                }
                Err(error) => tracing::error!(%error, "the feed keeps its old certificate"),
            }
        }
    }

    fn stamps(&self) -> [Option<(SystemTime, u64)>; 2] {
        let stamp = |path: &Path| fs::metadata(path).and_then(|file| Ok((file.modified()?, file.len()))).ok();
        [stamp(&self.chain), stamp(&self.key)]
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn load(chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let no_chain = |why: String| TlsError::Certificate { path: chain.to_owned(), why };
    let no_key = |why: String| TlsError::Key { path: key.to_owned(), why };
    let text = |path: &Path| -> io::Result<Vec<u8>> { fs::read(path) };
    let pem = text(chain).map_err(|error| no_chain(error.to_string()))?;
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| no_chain(format!("no PEM certificates: {error}")))?;
    if certificates.is_empty() {
        return Err(no_chain("holds no PEM certificate".into()));
    }
    let pem = text(key).map_err(|error| no_key(error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| no_key(format!("no PEM private key: {error}")))?;
    let signing = any_supported_type(&secret).map_err(|error| no_key(error.to_string()))?;
    let certified = CertifiedKey::new(certificates, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => Err(no_key(format!("does not belong to {}: {error}", chain.display()))),
    }
}
