//! A meter between the socket and HTTP/2: it reads the heads of frames as they pass, and ends a connection whose frames
//! carry nothing, or which begins a frame and does not go on.
//!
//! A frame of HTTP/2 has a head of nine bytes: length (3), type, flags, stream (4) (RFC 9113, 4.1). Pings, settings, resets,
//! priorities and empty or tiny data cost a peer next to nothing and the coordinator some work each, and h2 bounds the memory
//! that they take but not their number. So each costs a token, the head of a request several, and full data none; tokens
//! come back with time. Rules: HTTP/1 passes unread, since hyper has deadlines and bounds of its own for it; the meter changes no
//! byte.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::PROGRESS;

/// How many frames that carry nothing a peer may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// At once.
    pub(super) burst: u32,
    /// In the long run.
    pub(super) a_second: u32,
}

/// Tokens that the head of a request costs: what a request that is reset at once makes the coordinator do.
const REQUEST: u32 = 4;

/// Data frames below this count as empty.
const TINY: usize = 32;

/// Source: RFC 9113, section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head.
const HEAD: usize = 9;

/// A stream with a meter.
pub(super) struct Metered<I> {
    stream: I,
    frames: Frames,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<I> Metered<I> {
    pub(super) fn new(stream: I, budget: Budget) -> Self {
        Self { stream, frames: Frames::new(budget, Instant::now()), deadline: None }
    }
}

/// What is known of the frames so far.
struct Frames {
    at: At,
    /// Whether a request's head is still to be continued.
    is_head_open: bool,
    /// Since when a frame, or a head over several, has been incomplete.
    begun: Option<Instant>,
    budget: Budget,
    /// Thousandths of a token.
    tokens: u64,
    filled: Instant,
}

enum At {
    /// In the preface: bytes of it seen.
    Preface(usize),
    /// In a frame's head.
    Head([u8; HEAD], usize),
    /// In a frame's content: bytes to come.
    Content(usize),
    /// Not HTTP/2.
    Elsewhere,
}

impl Frames {
    fn new(budget: Budget, now: Instant) -> Self {
        let tokens = u64::from(budget.burst) * 1000;
        Self { at: At::Preface(0), is_head_open: false, begun: None, budget, tokens, filled: now }
    }

    /// Follows the bytes; `false` when the budget is spent.
    fn pass(&mut self, mut data: &[u8], now: Instant) -> bool {
        self.fill(now);
        while !data.is_empty() {
            match &mut self.at {
                At::Elsewhere => return true,
                At::Preface(seen) => {
                    let here = data.len().min(PREFACE.len() - *seen);
                    if data[..here] != PREFACE[*seen..*seen + here] {
                        self.at = At::Elsewhere;
                        return true;
                    }
                    *seen += here;
                    data = &data[here..];
                    if *seen == PREFACE.len() {
                        self.at = At::Head([0; HEAD], 0);
                    }
                }
                At::Head(head, seen) => {
                    self.begun.get_or_insert(now);
                    let here = data.len().min(HEAD - *seen);
                    head[*seen..*seen + here].copy_from_slice(&data[..here]);
                    *seen += here;
                    data = &data[here..];
                    if *seen == HEAD {
                        let head = *head;
                        if !self.begin(head) {
                            return false;
                        }
                    }
                }
                At::Content(rest) => {
                    let here = data.len().min(*rest);
                    *rest -= here;
                    data = &data[here..];
                }
            }
            if matches!(self.at, At::Content(0)) {
                self.at = At::Head([0; HEAD], 0);
                if !self.is_head_open {
                    self.begun = None;
                }
            }
        }
        true
    }

    /// A frame begins; `false` when there is no token for it.
    fn begin(&mut self, [high, middle, low, kind, flags, ..]: [u8; HEAD]) -> bool {
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.at = At::Content(length);
        let cost = match kind {
            DATA if length >= TINY => 0,
            HEADERS => REQUEST,
            _ => 1,
        };
        if matches!(kind, HEADERS | CONTINUATION) {
            self.is_head_open = flags & END_HEADERS == 0;
        }
        let left = self.tokens.checked_sub(u64::from(cost) * 1000);
        left.map(|left| self.tokens = left).is_some()
    }

    fn fill(&mut self, now: Instant) {
        let passed = u64::try_from(now.saturating_duration_since(self.filled).as_millis()).unwrap_or(u64::MAX);
        if passed > 0 {
            self.filled += Duration::from_millis(passed);
            let more = passed.saturating_mul(self.budget.a_second.into());
            self.tokens = self.tokens.saturating_add(more).min(u64::from(self.budget.burst) * 1000);
        }
    }
}

/// Source: RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

impl<I: AsyncRead + Unpin> AsyncRead for Metered<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        let before = buf.filled().len();
        match Pin::new(&mut me.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let began = me.frames.begun;
                if !me.frames.pass(&buf.filled()[before..], Instant::now()) {
                    return Poll::Ready(Err(io::Error::other("too many frames that carry nothing")));
                }
                if me.frames.begun != began {
                    me.deadline = None;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                let Some(begun) = me.frames.begun else { return Poll::Pending };
                let deadline = me.deadline.get_or_insert_with(|| Box::pin(sleep_until(begun + PROGRESS)));
                std::task::ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a frame was begun and did not go on")))
            }
            ended @ Poll::Ready(Err(_)) => ended,
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Metered<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const BUDGET: Budget = Budget { burst: 10, a_second: 2 };

    fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(content.len()).expect("small").to_be_bytes();
        [&[high, middle, low, kind, flags, 0, 0, 0, 1], content].concat()
    }

    fn after_preface(budget: Budget) -> Frames {
        let mut frames = Frames::new(budget, Instant::now());
        assert!(frames.pass(PREFACE, Instant::now()));
        frames
    }

    #[test]
    fn frames_that_carry_nothing_are_counted_however_they_are_cut_and_tokens_come_back() {
        for cut in [1, 2, 7, 1000] {
            let (mut frames, now) = (after_preface(BUDGET), Instant::now());
            let ten = frame(6, 0, &[0; 8]).repeat(10);
            assert!(ten.chunks(cut).all(|part| frames.pass(part, now)), "{cut}");
            assert!(frames.begun.is_none());
            assert!(frames.pass(&frame(6, 0, &[0; 8]), now + Duration::from_millis(500)));
            assert!(!frames.pass(&frame(4, 0, &[]), now + Duration::from_millis(600)));
        }
    }

    #[test]
    fn data_is_free_and_a_request_costs_more_than_a_ping() {
        let (mut frames, now) = (after_preface(BUDGET), Instant::now());
        let full = frame(DATA, 0, &[0; 1000]);
        assert!((0..1000).all(|_| frames.pass(&full, now)));
        let request = frame(HEADERS, END_HEADERS, b"head");
        assert!(frames.pass(&request, now) && frames.pass(&request, now) && !frames.pass(&request, now));
    }

    #[test]
    fn a_head_over_several_frames_is_one_thing_that_was_begun() {
        let (mut frames, now) = (after_preface(BUDGET), Instant::now());
        assert!(frames.pass(&frame(HEADERS, 0, b"he"), now));
        assert_eq!(frames.begun, Some(now));
        let later = now + Duration::from_secs(1);
        assert!(frames.pass(&frame(CONTINUATION, 0, b"a"), later));
        assert_eq!(frames.begun, Some(now));
        assert!(frames.pass(&frame(CONTINUATION, END_HEADERS, b"d"), later));
        assert_eq!(frames.begun, None);
    }

    #[test]
    fn what_is_not_http2_passes() {
        let mut frames = Frames::new(Budget { burst: 0, a_second: 0 }, Instant::now());
        assert!(frames.pass(b"POST / HTTP/1.1\r\n\r\n", Instant::now()));
        assert!(frames.begun.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_was_begun_must_end_and_silence_between_frames_is_allowed() {
        let (mut peer, here) = tokio::io::duplex(1024);
        let mut metered = Metered::new(here, BUDGET);
        let mut read = [0; 256];
        peer.write_all(PREFACE).await.expect("written");
        peer.write_all(&frame(6, 0, &[0; 8])).await.expect("written");
        assert!(metered.read(&mut read).await.is_ok());
        let idle = tokio::time::timeout(PROGRESS * 10, metered.read(&mut read)).await;
        assert!(idle.is_err(), "between frames");
        let drip = async {
            for byte in frame(DATA, 0, &[0; 100]) {
                peer.write_all(&[byte]).await.expect("written");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let ended = async {
            loop {
                if let Err(error) = metered.read(&mut read).await {
                    return error.kind();
                }
            }
        };
        let (kind, ()) = tokio::join!(ended, drip);
        assert_eq!(kind, io::ErrorKind::TimedOut);
    }
}
