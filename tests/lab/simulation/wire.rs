//! Connections of a simulation: those of turmoil, that stop when their process is dead, and may be slow to read.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
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
}

impl Wire {
    /// One end of it, that of the gate's process.
    pub fn new(stream: TcpStream, gate: Arc<Gate>) -> Self {
        Self { stream, gate }
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
