//! Connections of a simulation: those of turmoil, that stop when their process is dead, and may be slow to read.
//!
//! Rule: when a process ends, its connections close in the order in which they were opened. The runtime drops tasks in an
//! order that depends on what other threads of the test do, and each close draws from the network's luck.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
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
    is_ending: AtomicBool,
    open: Mutex<Vec<Weak<Stream>>>,
}

/// Nothing once it is closed.
type Stream = Mutex<Option<TcpStream>>;

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// A gate that lets nothing out of a dead process.
    pub fn new(is_dead: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            is_dead: Box::new(is_dead),
            is_stalled: AtomicBool::new(false),
            waiting: Mutex::default(),
            is_ending: AtomicBool::new(false),
            open: Mutex::default(),
        }
    }

    /// Stops reading, or goes on.
    pub fn stall(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
        if !is_stalled {
            let waiting = std::mem::take(&mut *held(&self.waiting));
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// The process ends in what `end` does.
    pub fn ends(&self, end: impl FnOnce()) {
        self.is_ending.store(true, Ordering::Relaxed);
        end();
        self.is_ending.store(false, Ordering::Relaxed);
    }

    fn close_all(&self) {
        let open = std::mem::take(&mut *held(&self.open));
        for stream in open.iter().filter_map(Weak::upgrade) {
            drop(held(&stream).take());
        }
    }
}

/// One connection.
pub struct Wire {
    stream: Arc<Stream>,
    gate: Arc<Gate>,
}

impl Wire {
    /// One end of it, that of the gate's process.
    pub fn new(stream: TcpStream, gate: Arc<Gate>) -> Self {
        let stream = Arc::new(Mutex::new(Some(stream)));
        let mut open = held(&gate.open);
        open.retain(|stream| stream.strong_count() > 0);
        open.push(Arc::downgrade(&stream));
        drop(open);
        Self { stream, gate }
    }
}

impl Wire {
    fn with<T>(&self, poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *held(&self.stream) {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.gate.is_ending.load(Ordering::Relaxed) {
            self.gate.close_all();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.gate.is_stalled.load(Ordering::Relaxed) {
            held(&self.gate.waiting).push(cx.waker().clone());
            return Poll::Pending;
        }
        self.with(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if (self.gate.is_dead)() {
            return Poll::Pending;
        }
        self.with(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}
