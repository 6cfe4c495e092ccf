//! Connections of a simulation: those of turmoil, that stop when their process is dead, and may be slow to read.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use faultline_coordinator::ingest::listener::AgentPeer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use turmoil::net::TcpStream;

/// What stops the connections of one process.
pub struct Gate {
    is_dead: Box<dyn Fn() -> bool + Send + Sync>,
    is_stalled: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Gate {
    /// A gate that lets nothing out of a dead process.
    pub fn new(is_dead: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { is_dead: Box::new(is_dead), is_stalled: AtomicBool::new(false), waiting: Mutex::default() }
    }

    /// Stops reading, or goes on.
    pub fn stall(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
        if !is_stalled {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

/// One connection.
pub struct Wire {
    stream: TcpStream,
    gate: Arc<Gate>,
    peer: Option<AgentPeer>,
}

impl Wire {
    /// The agent's end.
    pub fn of_agent(stream: TcpStream, gate: Arc<Gate>) -> Self {
        Self { stream, gate, peer: None }
    }

    /// The coordinator's end; `agent` is who its certificate would name.
    pub fn of_coordinator(stream: TcpStream, gate: Arc<Gate>, agent: &str, address: SocketAddr) -> Self {
        Self { stream, gate, peer: Some(AgentPeer { agent: agent.into(), address }) }
    }
}

impl Connected for Wire {
    type ConnectInfo = AgentPeer;

    fn connect_info(&self) -> AgentPeer {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        self.peer.clone().unwrap_or_else(|| AgentPeer { agent: "nobody".into(), address: nowhere })
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.gate.is_stalled.load(Ordering::Relaxed) {
            self.gate.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if (self.gate.is_dead)() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
