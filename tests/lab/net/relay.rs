//! One agent's path to the coordinator: a TCP relay that can be cut, and worse.
//!
//! Rules: what a [`Link`] says holds for connections that are up and for new ones; what was on the way when a path stopped
//! arrives when it heals, as TCP would have it, unless the link says otherwise. Towards the coordinator the relay sends
//! from the agent's own address, so that fleets look as they would from many networks.

mod connection;
mod link;

use std::{
    future, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use faultline_proto::clock::Clock;
pub use link::{End, Ending, Link, Way};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tracing::{debug, warn};

use self::connection::Connection;
use super::tcp;

/// One agent's path, as its relay sees it.
#[derive(Clone)]
pub(super) struct Path {
    /// Whose it is.
    pub(super) agent: Ipv4Addr,
    /// Where it begins.
    pub(super) address: SocketAddr,
    /// Where it ends; connections wait until that is known.
    pub(super) coordinator: watch::Receiver<Option<SocketAddr>>,
    /// How it stands.
    pub(super) link: watch::Receiver<Link>,
    pub(super) clock: Clock,
}

/// Relays until the net stops.
pub(super) async fn keep(listener: TcpListener, mut path: Path) {
    let mut listener = Some(listener);
    let mut sessions = JoinSet::new();
    // The newest connection that is up, by its place; older ones may wait for it.
    let (newest, _) = watch::channel(0);
    let mut place = 0;
    loop {
        if *path.link.borrow_and_update() == Link::Refused {
            listener = None;
        } else if listener.is_none() {
            listener = open(path.address);
        }
        tokio::select! {
            accepted = accept(listener.as_ref()) => match accepted {
                Ok(near) => {
                    place += 1;
                    let (path, newest) = (path.clone(), newest.clone());
                    sessions.spawn(async move {
                        let agent = path.agent;
                        if let Err(error) = relay(near, path, place, newest).await {
                            debug!(%agent, %error, "relayed session ended");
                        }
                    });
                }
                Err(error) => {
                    warn!(agent = %path.agent, %error, "accept failed");
                    path.clock.sleep(AGAIN).await;
                }
            },
            changed = path.link.changed() => if changed.is_err() { return },
            () = path.clock.sleep(AGAIN), if listener.is_none() => {}
            Some(ended) = sessions.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }
}

const AGAIN: Duration = Duration::from_secs(1);

fn open(address: SocketAddr) -> Option<TcpListener> {
    tcp::listen(address).inspect_err(|error| warn!(%address, %error, "relay cannot listen")).ok()
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => future::pending().await,
    }
}

async fn relay(near: TcpStream, mut path: Path, place: u64, newest: watch::Sender<u64>) -> io::Result<()> {
    let begins = *path.link.wait_for(|link| link.opens() || *link == Link::Refused).await.map_err(|_| stopped())?;
    if begins == Link::Refused {
        tcp::reset_on_close(&near);
        return Ok(());
    }
    let address = *path.coordinator.wait_for(Option::is_some).await.map_err(|_| stopped())?;
    let address = address.ok_or_else(stopped)?;
    let socket = TcpSocket::new_v4()?;
    // Any free port of the agent's own address.
    socket.bind((IpAddr::V4(path.agent), 0).into())?;
    let far = match socket.connect(address).await {
        Ok(far) => far,
        Err(error) => {
            // What the agent would have met without a relay between.
            tcp::reset_on_close(&near);
            return Err(error);
        }
    };
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Connection::new(near, far, path, place, newest).run().await
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the net has stopped")
}

#[cfg(test)]
mod tests;
