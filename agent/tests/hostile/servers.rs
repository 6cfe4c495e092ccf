//! What the hostile servers share: an authority, identities, and listeners that live as long as their value.

use std::{future::Future, net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// A hostile server for as long as this value lives.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) _tasks: JoinSet<()>,
}

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Authority::self_signed(params, KeyPair::generate().expect("a key")).expect("a root")
}

/// A configuration with a good certificate and so many others behind it.
pub(crate) fn config(authority: &Authority, alpn: &[u8], others: usize) -> ServerConfig {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let leaf = params.signed_by(&key, authority).expect("a leaf");
    let mut chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
    chain.extend((0..others).map(|_| authority.der().clone()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .expect("an identity");
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

/// A server that accepts one connection after the other.
pub(crate) async fn tcp<F, S>(serve: F) -> Server
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await;
        }
    });
    Server { address, _tasks: tasks }
}

/// A server that has done the handshake.
pub(crate) async fn tls<F, S>(config: ServerConfig, serve: F) -> Server
where
    F: Fn(TlsStream<TcpStream>) -> S + Send + Sync + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let (acceptor, serve) = (TlsAcceptor::from(Arc::new(config)), Arc::new(serve));
    tcp(move |stream| {
        let (acceptor, serve) = (acceptor.clone(), serve.clone());
        async move {
            if let Ok(session) = acceptor.accept(stream).await {
                serve(session).await;
            }
        }
    })
    .await
}
