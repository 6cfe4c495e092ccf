//! A UDP socket for one QUIC connection that reports when the network refuses its datagrams.
//!
//! Quinn's own socket is not connected, so the kernel tells it nothing of ICMP, and it retries every receive error.
//! This one is connected to the peer and hands the first refusal to whoever waits for it.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState},
};
use tokio::{io::Interest, net::UdpSocket, sync::mpsc};

#[derive(Debug)]
pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    refused: mpsc::Sender<io::Error>,
}

/// Where the first refusal arrives. One place: when it is taken, later refusals say nothing new and are dropped.
pub(super) struct Refusal(mpsc::Receiver<io::Error>);

impl Refusal {
    /// Waits for the first refusal; for ever when there is none.
    pub(super) async fn heard(mut self) -> io::Error {
        match self.0.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }
}

impl Socket {
    /// A socket connected to the peer, from `source` when its family is the peer's.
    pub(super) fn open(peer: SocketAddr, source: Option<IpAddr>) -> io::Result<(Self, Refusal)> {
        let local: SocketAddr = match source {
            Some(source) if source.is_ipv4() == peer.is_ipv4() => (source, 0).into(),
            _ if peer.is_ipv4() => ([0, 0, 0, 0], 0).into(),
            _ => ([0u16; 8], 0).into(),
        };
        let socket = std::net::UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        socket.connect(peer)?;
        let (refused, heard) = mpsc::channel(1);
        Ok((Self { io: UdpSocket::from_std(socket)?, state, refused }, Refusal(heard)))
    }

    fn report(&self, error: io::Error) {
        self.refused.try_send(error).ok();
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.io.try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.io), transmit)) {
            Err(error) if is_refusal(&error) => {
                self.report(error);
                Ok(())
            }
            // As quinn does: QUIC sends again what a transient error has lost.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(()),
            sent => sent,
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(context))?;
            let receive = || self.state.recv(UdpSockRef::from(&self.io), buffers, meta);
            match self.io.try_io(Interest::READABLE, receive) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(error) if is_refusal(&error) => self.report(error),
                Err(_) => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

/// One socket serves one connection, so the socket's single waker is enough.
#[derive(Debug)]
struct Writable(Arc<Socket>);

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.io.poll_send_ready(context)
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
    )
}
