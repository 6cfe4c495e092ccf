//! Follows a feed: connects, resumes, and hands out what it says, one thing at a time.
//!
//! Rules: `prev_sequence` must be the place held, else something was lost and a snapshot makes it whole again; three bookmarks
//! late is dead; after a failure it waits, longer each time; a place that means nothing any more leads to a snapshot, but one
//! that the user named is an error.

use std::{str::FromStr, time::Duration};

use faultline_proto::{
    convert,
    feed::v1::{
        Bookmark, FeedEvent, FromNow, FromSnapshot, ResumeAfter, Snapshot, SubscribeRequest, SubscribeResponse,
        subscribe_request::Start, subscribe_response::Message,
    },
};
use tokio::time;
use tonic::{Code, Status, Streaming};

use super::{
    Usage,
    subscriber::{self, Client, Source},
};

/// Pauses between attempts: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A coordinator that closes may ask for a pause of so much at most.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// With the state, then every change.
    Snapshot,
    /// With what happens from now on.
    Now,
    /// With the changes after this place.
    After(u64),
}

impl FromStr for Begin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "snapshot" => Ok(Self::Snapshot),
            "now" => Ok(Self::Now),
            place => {
                place.parse().map(Self::After).map_err(|_| "neither snapshot, now nor a sequence, as in 8117".into())
            }
        }
    }
}

/// What there is to tell.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// The whole state; replaces what is held.
    Snapshot(Snapshot),
    /// A change, and its place.
    Event(Box<FeedEvent>, u64),
    /// Nothing new up to here.
    Bookmark(Bookmark),
    /// The stream broke; it comes back after the pause.
    Trouble {
        /// What happened.
        why: String,
        /// The pause.
        again_in: Duration,
    },
}

/// A subscriber and where it stands.
pub(super) struct Follower {
    source: Source,
    name: &'static str,
    bookmarks: Duration,
    begin: Begin,
    feed_id: String,
    held: Option<u64>,
    stream: Option<Streaming<SubscribeResponse>>,
    pause: Duration,
    wait: Option<Duration>,
}

impl Follower {
    /// A subscriber of this name that wants a bookmark so often.
    pub(super) fn new(source: Source, name: &'static str, begin: Begin, bookmarks: Duration) -> Self {
        Self {
            source,
            name,
            bookmarks,
            begin,
            feed_id: String::new(),
            held: None,
            stream: None,
            pause: BACKOFF.0,
            wait: None,
        }
    }

    /// Identity of the feed; empty before anything came.
    pub(super) fn feed_id(&self) -> &str {
        &self.feed_id
    }

    /// The next thing, however long it takes. An error ends it all: the place that the user named is none of this feed.
    pub(super) async fn next(&mut self) -> anyhow::Result<News> {
        loop {
            if let Some(wait) = self.wait {
                time::sleep(wait).await;
                self.wait = None;
            }
            match self.step().await {
                Ok(Some(news)) => return Ok(news),
                Ok(None) => {}
                Err(error) if error.downcast_ref::<Usage>().is_some() => return Err(error),
                Err(error) => {
                    let again_in = self.pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
                    self.pause = (self.pause * 2).min(BACKOFF.1);
                    self.come_back_after(again_in);
                    return Ok(News::Trouble { why: format!("{error:#}"), again_in });
                }
            }
        }
    }

    /// Connects, or reads one message.
    async fn step(&mut self) -> anyhow::Result<Option<News>> {
        let Some(stream) = &mut self.stream else {
            self.open().await?;
            return Ok(None);
        };
        let dead_after = 3 * self.bookmarks;
        let Ok(answer) = time::timeout(dead_after, stream.message()).await else {
            anyhow::bail!("no word from the coordinator for {} s", dead_after.as_secs());
        };
        let answer = answer.map_err(|status| anyhow::anyhow!("{}", subscriber::said(&status)))?;
        let Some(answer) = answer else {
            self.come_back_after(BACKOFF.0);
            return Ok(None);
        };
        self.pause = BACKOFF.0;
        let is_snapshot = matches!(answer.message, Some(Message::Snapshot(_)));
        if !is_snapshot && self.held.is_some_and(|held| held != answer.prev_sequence) {
            self.start_over();
            anyhow::bail!("a change was lost on the way: starting over with a snapshot");
        }
        self.held = Some(answer.sequence);
        Ok(match answer.message {
            Some(Message::Snapshot(snapshot)) => {
                self.feed_id.clone_from(&snapshot.feed_id);
                Some(News::Snapshot(snapshot))
            }
            Some(Message::Event(event)) => Some(News::Event(Box::new(event), answer.sequence)),
            Some(Message::Bookmark(bookmark)) => {
                self.feed_id.clone_from(&bookmark.feed_id);
                Some(News::Bookmark(bookmark))
            }
            Some(Message::Closing(closing)) => {
                let asked = convert::std_duration(closing.retry_after.as_ref()).unwrap_or(BACKOFF.0);
                self.come_back_after(asked.clamp(BACKOFF.0, LONGEST_PAUSE));
                None
            }
            // Comes only to who asks for less than everything.
            Some(Message::Gap(_)) | None => None,
        })
    }

    async fn open(&mut self) -> anyhow::Result<()> {
        let mut client = self.source.connect().await?;
        let is_first = self.held.is_none();
        let start = match (self.held, self.begin) {
            (Some(sequence), _) => Start::ResumeAfter(ResumeAfter { feed_id: self.feed_id.clone(), sequence }),
            (None, Begin::Snapshot) => Start::FromSnapshot(FromSnapshot {}),
            (None, Begin::Now) => Start::FromNow(FromNow {}),
            (None, Begin::After(sequence)) => {
                self.feed_id = self.identity(&mut client).await?;
                Start::ResumeAfter(ResumeAfter { feed_id: self.feed_id.clone(), sequence })
            }
        };
        match client.subscribe(self.request(start)).await {
            Ok(answer) => self.stream = Some(answer.into_inner()),
            Err(status) if must_start_over(&status) => match (is_first, self.begin) {
                (true, Begin::After(sequence)) => {
                    let message = format!("--from {sequence}: {}; --from snapshot begins anew", status.message());
                    return Err(Usage(message).into());
                }
                _ => self.start_over(),
            },
            Err(status) => anyhow::bail!("{}", subscriber::said(&status)),
        }
        if let (None, Begin::After(sequence), Some(_)) = (self.held, self.begin, &self.stream) {
            self.held = Some(sequence);
        }
        Ok(())
    }

    /// Which feed this is: the first bookmark says so.
    async fn identity(&self, client: &mut Client) -> anyhow::Result<String> {
        let mut stream = client.subscribe(self.request(Start::FromNow(FromNow {}))).await?.into_inner();
        let first = time::timeout(3 * self.bookmarks, stream.message()).await;
        match first.map_err(|_| anyhow::anyhow!("no word from the coordinator"))?? {
            Some(SubscribeResponse { message: Some(Message::Bookmark(bookmark)), .. }) => Ok(bookmark.feed_id),
            _ => anyhow::bail!("the coordinator does not say which feed this is"),
        }
    }

    fn request(&self, start: Start) -> SubscribeRequest {
        let mut request = SubscribeRequest { start: Some(start), ..SubscribeRequest::default() };
        request.bookmark_interval = Some(convert::duration(self.bookmarks));
        request.client_name = format!("{}/{}", self.name, env!("CARGO_PKG_VERSION"));
        request
    }

    fn come_back_after(&mut self, wait: Duration) {
        self.stream = None;
        self.wait = Some(wait);
    }

    /// Forgets the place held: it means nothing any more.
    fn start_over(&mut self) {
        (self.held, self.begin, self.stream) = (None, Begin::Snapshot, None);
        self.wait = Some(BACKOFF.0);
    }
}

/// Whether the place held means nothing any more.
fn must_start_over(status: &Status) -> bool {
    matches!(status.code(), Code::OutOfRange | Code::FailedPrecondition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_word_or_a_place() {
        assert_eq!("snapshot".parse(), Ok(Begin::Snapshot));
        assert_eq!("now".parse(), Ok(Begin::Now));
        assert_eq!("8117".parse(), Ok(Begin::After(8117)));
        for wrong in ["", "-1", "yesterday", "1.5"] {
            assert!(wrong.parse::<Begin>().is_err(), "{wrong:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_longer_after_each_failure_but_never_gives_up() {
        // Port 1 of the loopback takes no connection.
        let source = Source::at("http://127.0.0.1:1").expect("an address");
        let mut follower = Follower::new(source, "test", Begin::Snapshot, Duration::from_secs(15));
        let mut longest = Duration::ZERO;
        for _ in 0..10 {
            let News::Trouble { why, again_in } = follower.next().await.expect("no end") else { panic!("connected") };
            assert!(why.contains("no coordinator at http://127.0.0.1:1"), "{why}");
            longest = longest.max(again_in);
        }
        assert!(longest > BACKOFF.0 * 8 && longest <= BACKOFF.1, "{longest:?}");
    }
}
