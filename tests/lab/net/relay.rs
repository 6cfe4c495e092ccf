//! One agent's path to the coordinator: a TCP relay that can be cut.
//!
//! Rules: a cut path keeps its sockets open and moves nothing, both ways; new connections are accepted and meet
//! silence; what was on the way when it was cut arrives when it heals, as TCP would have it. Towards the coordinator
//! the relay sends from the agent's own address, so that fleets look as they would from many networks.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use faultline_proto::clock::Clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};
use tracing::{debug, warn};

/// Relays until the net stops.
pub(super) async fn keep(
    listener: TcpListener,
    agent: Ipv4Addr,
    coordinator: watch::Receiver<Option<SocketAddr>>,
    is_cut: watch::Receiver<bool>,
    clock: Clock,
) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (coordinator, is_cut) = (coordinator.clone(), is_cut.clone());
                    sessions.spawn(async move {
                        if let Err(error) = relay(stream, agent, coordinator, is_cut).await {
                            debug!(%agent, %error, "relayed session ended");
                        }
                    });
                }
                Err(error) => {
                    warn!(%agent, %error, "accept failed");
                    clock.sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(ended) = sessions.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }
}

const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

async fn relay(
    near: TcpStream,
    agent: Ipv4Addr,
    mut coordinator: watch::Receiver<Option<SocketAddr>>,
    mut is_cut: watch::Receiver<bool>,
) -> io::Result<()> {
    whole(&mut is_cut).await?;
    let address = *coordinator.wait_for(Option::is_some).await.map_err(|_| stopped())?;
    let address = address.ok_or_else(stopped)?;
    let socket = TcpSocket::new_v4()?;
    // Any free port of the agent's own address.
    socket.bind((IpAddr::V4(agent), 0).into())?;
    let far = socket.connect(address).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::try_join!(pump(near_read, far_write, is_cut.clone()), pump(far_read, near_write, is_cut))?;
    Ok(())
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_cut: watch::Receiver<bool>) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        whole(&mut is_cut).await?;
        let read = tokio::select! {
            biased;
            _ = is_cut.wait_for(|is_cut| *is_cut) => continue,
            read = from.read(&mut buffer) => read?,
        };
        // What was read as the path was cut waits with the rest.
        whole(&mut is_cut).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// Returns once the path is whole.
async fn whole(is_cut: &mut watch::Receiver<bool>) -> io::Result<()> {
    is_cut.wait_for(|is_cut| !*is_cut).await.map(drop).map_err(|_| stopped())
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the net has stopped")
}
