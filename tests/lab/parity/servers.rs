//! The servers that misbehave, each under a name that targets have in braces.
//!
//! | name | what |
//! |---|---|
//! | `pages` | HTTP/1.1 without TLS; the path says how it misbehaves ([`pages`]) |
//! | `good` | the same pages over TLS, with a good certificate for 127.0.0.1, localhost and *.parity.test |
//! | `intermediate` | the same, with a certificate below an intermediate one that is sent along |
//! | `expired early other-name stranger self-signed` | the same, with a certificate that is not good |
//! | `tls12` | the same, TLS 1.2 at most |
//! | `wants-client` | the same, for clients with a certificate of the root alone |
//! | `alert tls-silent tls-garbage` | no TLS session: an alert, nothing, or no TLS in answer to a `ClientHello` |
//! | `h2` | HTTP/2 where the client can, over TLS |
//! | `closed silent` | a TCP port at which nobody listens; one whose queue is full |
//! | `mute chatty` | a connection on which nothing is said; a line without end |
//! | `bye curt reset` | one that the server ends at once; that it ends, or resets, when something was said |
//! | `mail mail-no-tls` | a talk up to `STARTTLS`, and what is said instead |
//! | `dns dot` | a name server over UDP and TCP, and over TLS; the name says how it misbehaves ([`dns`]) |
//! | `dns-silent` | a UDP port, and a TCP one, that do not answer |
//! | `udp-closed` | a UDP port that ICMP says is closed |
//! | `h3 h3-expired h3-other-name` | HTTP/3 |
//!
//! `ca` in braces is the file of the root. Rule: all stop when this is dropped.

mod certificates;
mod dns;
mod mail;
mod pages;
mod quic;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use self::certificates::Certificates;
use super::ParityError;

pub(super) struct Servers {
    places: BTreeMap<&'static str, SocketAddr>,
    root: PathBuf,
    tasks: JoinSet<()>,
    /// Ports that answer nobody, and what fills their queues.
    held: Vec<Socket>,
}

impl Servers {
    /// Starts all; the root is put into this directory.
    pub(super) async fn start(directory: &Path) -> Result<Self, ParityError> {
        let certificates = Certificates::new()?;
        let root = directory.join("ca.pem");
        std::fs::write(&root, certificates.root_pem())?;
        let mut servers = Self { places: BTreeMap::new(), root, tasks: JoinSet::new(), held: Vec::new() };
        servers.of_tcp(&certificates).await?;
        servers.of_tls(&certificates).await?;
        servers.of_dns(&certificates).await?;
        for (name, identity) in [
            ("h3", certificates.good()?),
            ("h3-expired", certificates.expired()?),
            ("h3-other-name", certificates.other_name()?),
        ] {
            let address = quic::serve(identity.server(&[b"h3"]), &mut servers.tasks)?;
            servers.places.insert(name, address);
        }
        Ok(servers)
    }

    /// The text, with servers in place of their names in braces.
    pub(super) fn fill(&self, text: &str) -> String {
        let text = text.replace("{ca}", &self.root.display().to_string());
        let port = |text: String, (name, address): (&&str, &SocketAddr)| {
            text.replace(&format!("{{{name}}}"), &address.to_string())
                .replace(&format!("{{{name}.port}}"), &address.port().to_string())
        };
        self.places.iter().fold(text, port)
    }

    async fn of_tcp(&mut self, certificates: &Certificates) -> Result<(), ParityError> {
        self.tcp("pages", pages::serve).await?;
        self.tcp("mute", drain).await?;
        self.tcp("bye", |stream| async move { drop(stream) }).await?;
        self.tcp("reset", reset).await?;
        self.tcp("curt", curt).await?;
        self.tcp("chatty", |mut stream| async move { while stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {} })
            .await?;
        let config = Arc::new(certificates.good()?.server(&[]));
        self.tcp("mail", move |stream| mail::serve(stream, TlsAcceptor::from(Arc::clone(&config)))).await?;
        self.tcp("mail-no-tls", mail::serve_clear).await?;
        let closed = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        closed.bind(&LOOPBACK.into())?;
        self.hold("closed", closed)?;
        self.full_queue("silent")?;
        Ok(())
    }

    async fn of_tls(&mut self, certificates: &Certificates) -> Result<(), ParityError> {
        for (name, identity) in [
            ("good", certificates.good()?),
            ("intermediate", certificates.intermediate()?),
            ("expired", certificates.expired()?),
            ("early", certificates.early()?),
            ("other-name", certificates.other_name()?),
            ("stranger", certificates.stranger()?),
            ("self-signed", certificates.self_signed()?),
        ] {
            self.tls(name, identity.server(&[b"http/1.1"]), pages::serve).await?;
        }
        self.tls("tls12", certificates.good()?.server_of(&[&rustls::version::TLS12], &[b"http/1.1"]), pages::serve)
            .await?;
        self.tls("h2", certificates.good()?.server(&[b"h2", b"http/1.1"]), pages::serve_h2).await?;
        self.tls("wants-client", certificates.good()?.server_wanting(certificates.root()), pages::serve).await?;
        self.tcp("alert", |stream| after_hello(stream, HANDSHAKE_FAILURE)).await?;
        self.tcp("tls-garbage", |stream| after_hello(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")).await?;
        self.tcp("tls-silent", drain).await?;
        Ok(())
    }

    async fn of_dns(&mut self, certificates: &Certificates) -> Result<(), ParityError> {
        let (udp, tcp) = both().await?;
        self.places.insert("dns", udp.local_addr()?);
        self.tasks.spawn(dns::serve_udp(udp));
        self.accept(tcp, dns::serve_stream);
        self.tls("dot", certificates.good()?.server(&[]), dns::serve_stream).await?;
        let (udp, tcp) = both().await?;
        self.places.insert("dns-silent", udp.local_addr()?);
        self.accept(tcp, drain);
        self.held.push(udp.into_std()?.into());
        // A socket that is connected takes nothing from others: the kernel answers them as it does for a port that is closed.
        let closed = std::net::UdpSocket::bind(LOOPBACK)?;
        closed.connect((Ipv4Addr::LOCALHOST, 9))?;
        self.hold("udp-closed", closed.into())
    }

    async fn tcp<S>(
        &mut self,
        name: &'static str,
        serve: impl Fn(TcpStream) -> S + Send + 'static,
    ) -> Result<(), ParityError>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(LOOPBACK).await?;
        self.places.insert(name, listener.local_addr()?);
        self.accept(listener, serve);
        Ok(())
    }

    /// Serves each TLS session; handshakes that fail are the client's business.
    async fn tls<S>(
        &mut self,
        name: &'static str,
        config: ServerConfig,
        serve: impl Fn(TlsStream<TcpStream>) -> S + Clone + Send + 'static,
    ) -> Result<(), ParityError>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        self.tcp(name, move |stream| {
            let (acceptor, serve) = (acceptor.clone(), serve.clone());
            async move {
                if let Ok(session) = acceptor.accept(stream).await {
                    serve(session).await;
                }
            }
        })
        .await
    }

    fn accept<S>(&mut self, listener: TcpListener, serve: impl Fn(TcpStream) -> S + Send + 'static)
    where
        S: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                serving.spawn(serve(stream));
            }
        });
    }

    fn hold(&mut self, name: &'static str, socket: Socket) -> Result<(), ParityError> {
        let address =
            socket.local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        self.places.insert(name, address);
        self.held.push(socket);
        Ok(())
    }

    /// A listener whose queue is full, so that nobody answers another connection.
    fn full_queue(&mut self, name: &'static str) -> Result<(), ParityError> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.bind(&LOOPBACK.into())?;
        listener.listen(0)?;
        let address = listener.local_addr()?;
        self.hold(name, listener)?;
        for _ in 0..QUEUED {
            let waiting = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            waiting.set_nonblocking(true)?;
            // It is under way, or waits for ever.
            waiting.connect(&address).ok();
            self.held.push(waiting);
        }
        Ok(())
    }
}

/// A UDP and a TCP socket of one port.
async fn both() -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_ATTEMPTS {
        let udp = UdpSocket::bind(LOOPBACK).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads until the client goes, and says nothing.
async fn drain(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

async fn after_hello(mut stream: TcpStream, answer: &'static [u8]) {
    let Ok(1..) = stream.read(&mut [0; 4096]).await else { return };
    if stream.write_all(answer).await.is_ok() && stream.shutdown().await.is_ok() {
        drain(stream).await;
    }
}

/// Reads something, and ends.
async fn curt(mut stream: TcpStream) {
    if let Ok(1..) = stream.read(&mut [0; 4096]).await {
        stream.shutdown().await.ok();
    }
}

/// Reads something, and resets the connection.
async fn reset(mut stream: TcpStream) {
    if let Ok(1..) = stream.read(&mut [0; 64]).await {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok();
    }
}

const LOOPBACK: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
const PORT_ATTEMPTS: usize = 64;
/// Connections that fill a queue. Source: Linux accepts one more than the backlog, which is 0; the rest are dropped.
const QUEUED: usize = 4;
/// A fatal alert. Source: RFC 8446, section 6.
const HANDSHAKE_FAILURE: &[u8] = &[21, 3, 3, 0, 2, 2, 40];
