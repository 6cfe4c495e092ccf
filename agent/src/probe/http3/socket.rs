//! A UDP socket for one QUIC connection that reports when the network refuses its datagrams.
//!
//! Quinn's own socket is not connected, so the kernel tells it nothing of ICMP, and it retries every receive error.
//! This one is connected to the peer and hands the first refusal to whoever waits for it. It takes one datagram at a
//! time: what quinn sets aside for merged ones (3 MiB) is more than a run may take. Datagrams are not fragmented, as
//! Linux does by default (ip(7), `IP_MTU_DISCOVER`).

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use tokio::{
    io::{Interest, ReadBuf},
    net::UdpSocket,
    sync::mpsc,
};

use crate::probe::connect::hear_refusals;

#[derive(Debug)]
pub(super) struct Socket {
    io: UdpSocket,
    peer: SocketAddr,
    refused: mpsc::Sender<io::Error>,
}

/// Where the first refusal arrives. One place: when it is taken, later refusals say nothing new and are dropped.
pub(super) struct Refusal {
    socket: Arc<Socket>,
    heard: mpsc::Receiver<io::Error>,
}

impl Refusal {
    /// Waits for the first refusal; for ever when there is none. What comes between two datagrams wakes no reader: it is an error
    /// of the socket, and nothing to read.
    pub(super) async fn heard(mut self) -> io::Error {
        tokio::select! {
            Some(error) = self.heard.recv() => error,
            error = self.socket.refused() => error,
        }
    }
}

impl Socket {
    /// A socket connected to the peer, from `source` when its family is the peer's.
    pub(super) fn open(peer: SocketAddr, source: Option<IpAddr>) -> io::Result<(Arc<Self>, Refusal)> {
        let local: SocketAddr = match source {
            Some(source) if source.is_ipv4() == peer.is_ipv4() => (source, 0).into(),
            _ if peer.is_ipv4() => ([0, 0, 0, 0], 0).into(),
            _ => ([0u16; 8], 0).into(),
        };
        let socket = std::net::UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        hear_refusals(&socket, peer.ip());
        socket.connect(peer)?;
        let (refused, heard) = mpsc::channel(1);
        let socket = Arc::new(Self { io: UdpSocket::from_std(socket)?, peer, refused });
        Ok((Arc::clone(&socket), Refusal { socket, heard }))
    }

    async fn refused(&self) -> io::Error {
        loop {
            let take = || self.io.take_error()?.ok_or(io::ErrorKind::WouldBlock.into());
            match self.io.async_io(Interest::ERROR, take).await {
                Ok(error) if is_refusal(&error) => return error,
                Ok(_) => {}
                Err(_) => std::future::pending().await,
            }
        }
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
        match self.io.try_send(transmit.contents) {
            Err(error) if is_refusal(&error) => {
                self.report(error);
                Ok(())
            }
            // As quinn does: QUIC sends again what a transient error has lost.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(|_| ()),
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), meta.first_mut()) else { return Poll::Ready(Ok(0)) };
        let mut buffer = ReadBuf::new(buffer);
        loop {
            match ready!(self.io.poll_recv(context, &mut buffer)) {
                Ok(()) => {
                    let len = buffer.filled().len();
                    *meta = RecvMeta { addr: self.peer, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                Err(error) if is_refusal(&error) => self.report(error),
                Err(_) => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
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
