//! The life of one connection as its requests see it: how many are under way, which of their answers the peer does not
//! take, and whether the connection is to end.
//!
//! Rules: a request is under way until its answer has been handed over in full or its peer has left; an answer is handed
//! out in pieces of `PIECE` bytes, so that what waits for a slow peer is bounded and its slowness is seen;
//! one request too many of a connection is refused, and nothing of it is read.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::{sync::watch, time::Instant};

use super::{PIECE, REQUESTS};

/// What the requests of a connection share with whoever serves it.
#[derive(Debug)]
pub(super) struct Life {
    answers: Mutex<Answers>,
    requests: watch::Sender<Requests>,
    /// Why the connection must end at once.
    condemned: watch::Sender<Option<&'static str>>,
    leaving: watch::Sender<bool>,
}

/// How many requests there were and are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requests {
    /// Whether there was one yet.
    pub(super) has_begun: bool,
    /// Under way.
    pub(super) open: usize,
}

#[derive(Debug, Default)]
struct Answers {
    next: u64,
    /// Since when the peer has had a piece to take, for each request under way.
    offered: HashMap<u64, Option<Instant>>,
}

/// Tells a request's service that the connection is about to end.
#[derive(Clone, Debug)]
pub struct Leaving(watch::Receiver<bool>);

impl Leaving {
    /// Waits until the connection is about to end. One that has ended already waits for ever: nobody is there to be told.
    pub async fn begun(leaving: &mut Option<Self>) {
        if let Some(Self(leaving)) = leaving
            && leaving.wait_for(|leaving| *leaving).await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

impl Life {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::default(),
            requests: watch::Sender::default(),
            condemned: watch::Sender::default(),
            leaving: watch::Sender::default(),
        })
    }

    /// A request begins; `None` when too many are under way.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Open> {
        let mut answers = self.answers();
        if answers.offered.len() >= REQUESTS {
            return None;
        }
        let id = answers.next;
        answers.next += 1;
        answers.offered.insert(id, None);
        let open = answers.offered.len();
        drop(answers);
        self.requests.send_replace(Requests { has_begun: true, open });
        Some(Open { life: Arc::clone(self), id })
    }

    /// How many requests there are, and every change of it.
    pub(super) fn requests(&self) -> watch::Receiver<Requests> {
        self.requests.subscribe()
    }

    /// The connection must end.
    pub(super) fn condemn(&self, why: &'static str) {
        self.condemned.send_if_modified(|condemned| condemned.is_none() && condemned.replace(why).is_none());
    }

    /// Waits until the connection must end, and returns why.
    pub(super) async fn condemned(&self) -> &'static str {
        let mut condemned = self.condemned.subscribe();
        let why = condemned.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        why.unwrap_or("the connection is gone")
    }

    /// Tells the services that the connection is about to end.
    pub(super) fn leave(&self) {
        self.leaving.send_replace(true);
    }

    pub(super) fn leaving(&self) -> Leaving {
        Leaving(self.leaving.subscribe())
    }

    /// Whether an answer has waited this long for the peer to take it.
    pub(super) fn is_untaken(&self, limit: Duration, now: Instant) -> bool {
        self.answers().offered.values().flatten().any(|since| now.saturating_duration_since(*since) > limit)
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way, until dropped.
pub(super) struct Open {
    life: Arc<Life>,
    id: u64,
}

impl Open {
    fn offered(&self, since: Option<Instant>) {
        if let Some(offered) = self.life.answers().offered.get_mut(&self.id) {
            *offered = since;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut answers = self.life.answers();
        answers.offered.remove(&self.id);
        let open = answers.offered.len();
        drop(answers);
        self.life.requests.send_replace(Requests { has_begun: true, open });
    }
}

/// An answer, handed out in pieces.
pub(super) struct Answer {
    body: Body,
    rest: Bytes,
    /// None for the refusal of one too many.
    open: Option<Open>,
}

impl Answer {
    pub(super) fn new(body: Body, open: Option<Open>) -> Self {
        Self { body, rest: Bytes::new(), open }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.offered(Some(Instant::now()));
        Frame::data(piece)
    }

    fn offered(&self, since: Option<Instant>) {
        if let Some(open) = &self.open {
            open.offered(since);
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Whoever asks for more has taken what was offered before.
        self.offered(None);
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    Poll::Ready(Some(Ok(self.piece())))
                }
                Err(trailers) => Poll::Ready(Some(Ok(trailers))),
            },
            other => Poll::Ready(other),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_handed_out_and_not_asked_beyond_is_untaken() {
        let life = Life::new();
        let content = Bytes::from(vec![7; PIECE + 1]);
        let mut answer = Answer::new(Body::from(content.clone()), Some(life.begin().expect("room")));
        let later = Instant::now() + Duration::from_mins(1);
        assert!(!life.is_untaken(Duration::from_secs(30), later), "nothing is offered yet");
        let first = answer.frame().await.expect("a piece").expect("whole").into_data().expect("data");
        assert_eq!(first.len(), PIECE);
        assert!(life.is_untaken(Duration::from_secs(30), later));
        let rest = answer.collect().await.expect("whole").to_bytes();
        assert_eq!([first, rest].concat(), content);
        assert!(!life.is_untaken(Duration::from_secs(30), later), "it has ended");
        assert_eq!(life.requests().borrow().open, 0);
    }

    #[test]
    fn one_connection_has_no_more_requests_than_its_share() {
        let life = Life::new();
        let mut open: Vec<_> = (0..REQUESTS).map(|_| life.begin().expect("room")).collect();
        assert!(life.begin().is_none());
        open.pop();
        assert!(life.begin().is_some());
    }
}
