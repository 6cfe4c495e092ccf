//! A QUIC connection of which h3 holds no more than it may.
//!
//! Rules: h3 0.0.8 holds a frame of any declared length until it is whole, so a stream hands out no more than
//! [`MAX_HELD`] bytes that nobody has let go of; work that waits while one of its streams is full waits for a frame
//! that is longer, for ever, and is stopped. What is handed out is a copy: a byte keeps no datagram in memory.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h3::{
    error::Code,
    quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf},
};
use tokio::task::coop;

/// A connection or an opener of streams, each stream of which is bounded.
#[derive(Clone)]
pub(crate) struct Bounded<T> {
    inner: T,
    full: Full,
}

/// How many streams of a connection were full when they were last asked.
#[derive(Clone, Default)]
pub(crate) struct Full(Arc<AtomicUsize>);

/// A peer's frame is longer than what is held of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overfull;

impl<T> Bounded<T> {
    /// The connection, and what tells that one of its streams is full.
    pub(crate) fn new(inner: T) -> (Self, Full) {
        let full = Full::default();
        (Self { inner, full: full.clone() }, full)
    }

    fn stream<S>(&self, inner: S) -> Stream<S> {
        Stream { inner, held: Arc::default(), is_full: false, full: self.full.clone() }
    }
}

impl Full {
    /// The work's value. Rule: it must ask each stream again before it waits, as reading a stream to its end does.
    pub(crate) async fn guard<W: Future>(&self, work: W) -> Result<W::Output, Overfull> {
        let mut work = pin!(work);
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Pending if self.0.load(Ordering::Relaxed) > 0 => Poll::Ready(Err(Overfull)),
            polled => polled.map(Ok),
        })
        .await
    }
}

/// A stream that hands out nothing while too much of it is held.
pub(crate) struct Stream<S> {
    inner: S,
    held: Arc<AtomicUsize>,
    is_full: bool,
    full: Full,
}

impl<S> Stream<S> {
    fn set_full(&mut self, is_full: bool) {
        match (self.is_full, is_full) {
            (false, true) => self.full.0.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.full.0.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        self.is_full = is_full;
    }
}

impl<S> Drop for Stream<S> {
    fn drop(&mut self) {
        self.set_full(false);
    }
}

/// Bytes that count until they are dropped.
struct Held {
    bytes: Box<[u8]>,
    of: Arc<AtomicUsize>,
}

impl Held {
    fn keep(mut chunk: impl Buf, of: &Arc<AtomicUsize>) -> Bytes {
        let mut bytes = vec![0; chunk.remaining()].into_boxed_slice();
        chunk.copy_to_slice(&mut bytes);
        of.fetch_add(bytes.len() + OVERHEAD, Ordering::Relaxed);
        Bytes::from_owner(Self { bytes, of: of.clone() })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes.len() + OVERHEAD, Ordering::Relaxed);
    }
}

impl<S: quic::RecvStream> quic::RecvStream for Stream<S> {
    type Buf = Bytes;

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.set_full(self.held.load(Ordering::Relaxed) >= MAX_HELD);
        if self.is_full {
            return Poll::Pending;
        }
        // A peer that never pauses must not keep the run from its deadline.
        let turn = ready!(coop::poll_proceed(context));
        let chunk = ready!(self.inner.poll_data(context))?;
        turn.made_progress();
        Poll::Ready(Ok(chunk.map(|chunk| Held::keep(chunk, &self.held))))
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.inner.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.inner.recv_id()
    }
}

impl<B: Buf, S: quic::SendStream<B>> quic::SendStream<B> for Stream<S> {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_ready(context)
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.inner.send_data(data)
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_finish(context)
    }

    fn reset(&mut self, reset_code: u64) {
        self.inner.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.inner.send_id()
    }
}

impl<B: Buf, T: quic::OpenStreams<B>> quic::OpenStreams<B> for Bounded<T> {
    type BidiStream = Stream<T::BidiStream>;
    type SendStream = T::SendStream;

    fn poll_open_bidi(&mut self, context: &mut Context<'_>) -> Poll<Result<Self::BidiStream, StreamErrorIncoming>> {
        self.inner.poll_open_bidi(context).map_ok(|stream| self.stream(stream))
    }

    fn poll_open_send(&mut self, context: &mut Context<'_>) -> Poll<Result<Self::SendStream, StreamErrorIncoming>> {
        self.inner.poll_open_send(context)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.inner.close(code, reason);
    }
}

impl<B: Buf, C: quic::Connection<B>> quic::Connection<B> for Bounded<C> {
    type RecvStream = Stream<C::RecvStream>;
    type OpenStreams = Bounded<C::OpenStreams>;

    fn poll_accept_recv(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::RecvStream, ConnectionErrorIncoming>> {
        self.inner.poll_accept_recv(context).map_ok(|stream| self.stream(stream))
    }

    fn poll_accept_bidi(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::BidiStream, ConnectionErrorIncoming>> {
        self.inner.poll_accept_bidi(context).map_ok(|stream| self.stream(stream))
    }

    fn opener(&self) -> Self::OpenStreams {
        Bounded { inner: self.inner.opener(), full: self.full.clone() }
    }
}

/// Bytes of a stream that may be held at once, beyond the chunk that exceeds them: twice the headers that are read.
const MAX_HELD: usize = 2 * super::MAX_HEADERS;
/// What each chunk takes besides its bytes: its owner, its counts and its place in a list. Larger than it is.
const OVERHEAD: usize = 128;
