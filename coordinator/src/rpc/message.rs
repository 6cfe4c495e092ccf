//! A request's body, watched for a peer that begins a message and does not go on.
//!
//! The body of a gRPC call is a row of messages, each behind five bytes: a flag and its length (gRPC over HTTP/2,
//! "Length-Prefixed-Message"). The first message must begin at once and each that was begun must go on: by
//! [`STEP`](super::STEP) bytes, or to its end, in each [`PROGRESS`](super::PROGRESS) of waiting. Between messages a peer may
//! say nothing for as long as it likes. Rule: only the time in which the coordinator waits for the peer counts. Other bodies
//! are one message of at most [`MAX_PLAIN`] bytes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::BoxError;
use bytes::{Buf as _, Bytes};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Code, Status};

use super::{MAX_DECODING, PROGRESS, STEP, life::Life};
use crate::refusal;

/// Largest body of a request that is no gRPC call. The page takes none at all; what operators push in may be as large as a
/// message.
const MAX_PLAIN: usize = MAX_DECODING;

/// The body of a request.
pub(super) struct Watched<B = Incoming> {
    body: B,
    life: Arc<Life>,
    row: Row,
    /// What is left of this step's time.
    left: Duration,
    /// Bytes of this step.
    step: usize,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// Where in a row of messages a body is.
#[derive(Debug)]
enum Row {
    /// Bytes of the prefix that are there, and the length that they say so far.
    Prefix {
        /// How many.
        bytes: u8,
        /// Their length field.
        length: u32,
        /// Whether a message came before.
        is_first: bool,
    },
    /// Bytes of the message that are still to come.
    Message(u32),
    /// Not a row: bytes that may still come.
    Plain(usize),
}

impl Row {
    /// Whether the peer owes more.
    fn is_begun(&self) -> bool {
        match self {
            Self::Prefix { bytes, is_first, .. } => *bytes > 0 || *is_first,
            Self::Message(_) | Self::Plain(_) => true,
        }
    }

    /// Moves past the bytes; `true` when a message ended among them, `None` when they are too many.
    fn pass(&mut self, mut data: &[u8]) -> Option<bool> {
        let mut has_ended = false;
        while !data.is_empty() {
            match self {
                Self::Prefix { bytes, length, .. } => {
                    if *bytes > 0 {
                        *length = *length << 8 | u32::from(data[0]);
                    }
                    data.advance(1);
                    *bytes += 1;
                    if *bytes == PREFIX {
                        *self = Self::Message(*length);
                    }
                }
                Self::Message(rest) => {
                    let here = usize::try_from(*rest).unwrap_or(usize::MAX).min(data.len());
                    data.advance(here);
                    *rest = rest.saturating_sub(u32::try_from(here).unwrap_or(u32::MAX));
                }
                Self::Plain(room) => {
                    *room = room.checked_sub(data.len())?;
                    return Some(false);
                }
            }
            if matches!(self, Self::Message(0)) {
                has_ended = true;
                *self = Self::Prefix { bytes: 0, length: 0, is_first: false };
            }
        }
        Some(has_ended)
    }
}

/// Bytes before each message.
const PREFIX: u8 = 5;

impl<B> Watched<B> {
    pub(super) fn new(body: B, is_grpc: bool, life: Arc<Life>) -> Self {
        let row = if is_grpc { Row::Prefix { bytes: 0, length: 0, is_first: true } } else { Row::Plain(MAX_PLAIN) };
        Self { body, life, row, left: PROGRESS, step: 0, waiting: None }
    }

    /// Takes note of bytes that came.
    fn came(&mut self, data: &Bytes) -> Result<(), Status> {
        if let Some((since, _)) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        self.step += data.len();
        let Some(has_ended) = self.row.pass(data) else {
            return Err(refusal::status(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", "the body is too large"));
        };
        if has_ended || self.step >= STEP {
            (self.left, self.step) = (PROGRESS, 0);
        }
        Ok(())
    }

    /// Waits for the peer, if it owes something.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if !self.row.is_begun() {
            self.waiting = None;
            return Poll::Pending;
        }
        let left = self.left;
        let (_, end) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        std::task::ready!(end.as_mut().poll(cx));
        self.life.condemn("a message was begun and did not go on");
        Poll::Ready(refusal::status(Code::DeadlineExceeded, "MESSAGE_STALLED", "a message must go on once begun"))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let noted = frame.data_ref().map_or(Ok(()), |data| self.came(data));
                Poll::Ready(Some(noted.map(|()| frame).map_err(Into::into)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.wait(cx).map(|status| Some(Err(status.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::{advance, timeout};

    use super::*;

    type Parts = Vec<(Duration, &'static [u8])>;

    /// A body whose parts come after these pauses and which then says nothing, read to its end.
    async fn read(parts: Parts, is_grpc: bool) -> Result<usize, String> {
        let parts = stream::unfold((parts.into_iter(), ()), async |(mut parts, ())| {
            let Some((pause, part)) = parts.next() else { return std::future::pending().await };
            sleep(pause).await;
            Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(part))), (parts, ())))
        });
        let mut body = Watched::new(StreamBody::new(Box::pin(parts)), is_grpc, Life::new());
        let mut bytes = 0;
        loop {
            match timeout(PROGRESS * 4, body.frame()).await {
                Err(_) => return Ok(bytes),
                Ok(None) => return Err("ended".into()),
                Ok(Some(Ok(frame))) => bytes += frame.into_data().map_or(0, |data| data.len()),
                Ok(Some(Err(error))) => return Err(error.to_string()),
            }
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    static BLOCK: [u8; STEP] = [0; STEP];

    #[tokio::test(start_paused = true)]
    async fn silence_between_messages_is_allowed_and_silence_within_one_is_not() {
        let whole: &[u8] = b"\0\0\0\0\x03abc";
        assert_eq!(read(vec![(SECOND, whole), (PROGRESS * 3, whole)], true).await, Ok(16));
        assert_eq!(read(vec![(SECOND, b"\0\0\0\0\0")], true).await, Ok(5), "an empty message");
        for begun in [&b""[..], b"\0", b"\0\0\0\0\x03ab", b"\0\0\0\0\x03abc\0"] {
            let error = read(vec![(SECOND, begun)], true).await.expect_err("stalled");
            assert!(error.contains("must go on"), "{begun:?}: {error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_drop_by_drop_is_ended_and_a_slow_one_is_not() {
        let mut drops: Parts = vec![(SECOND, b"\0\0\x01\0\0")];
        drops.extend((0..60).map(|_| (SECOND, &b"x"[..])));
        assert!(read(drops, true).await.is_err());
        let mut slow: Parts = vec![(SECOND, b"\0\0\x01\0\0")];
        slow.extend((0..4).map(|_| (SECOND * 14, &BLOCK[..])));
        assert_eq!(read(slow, true).await, Ok(5 + (64 << 10)));
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_the_reader_takes_is_not_held_against_the_peer() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, BoxError>>(4);
        let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let mut body = Watched::new(body, true, Life::new());
        sender.send(Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\x03a")))).await.expect("room");
        assert!(body.frame().await.expect("a part").is_ok());
        advance(PROGRESS * 3).await;
        let end = async {
            sleep(SECOND).await;
            sender.send(Ok(Frame::data(Bytes::from_static(b"bc")))).await.expect("room");
        };
        let (read, ()) = tokio::join!(body.frame(), end);
        assert!(read.expect("a part").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_no_row_of_messages_is_bounded() {
        let mut parts: Parts = (0..MAX_PLAIN / STEP).map(|_| (SECOND, &BLOCK[..])).collect();
        let error = read(parts.clone(), false).await.expect_err("it has no end");
        assert!(error.contains("must go on"), "{error}");
        parts.push((SECOND, b"x"));
        let error = read(parts, false).await.expect_err("too large");
        assert!(error.contains("too large"), "{error}");
    }
}
