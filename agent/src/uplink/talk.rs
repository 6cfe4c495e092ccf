//! One session: what is heard is taken up at once, what is due is sent as the coordinator has room for it.
//!
//! Rules: nothing is sent before the spool knows how far the coordinator is, in both lanes, and what waited long is in the
//! backfill lane; a live batch that turns out to be old is moved there too, once nothing of its lane is on its way; batches
//! are fetched while others are written, and only those that are durable are there to be fetched.

use std::{pin::Pin, sync::Arc, time::Duration};

use faultline_proto::{
    agent::v1::{
        AssignmentAck, AssignmentPush, BatchAck, HeartbeatAck, Lane, LaneCursor, SessionRequest, Welcome,
        session_request, session_response,
    },
    convert,
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    End, Responses, Uplink, error::SessionError, looks::TheirClock, outgoing, request, say_goodbye, session::Session,
};
use crate::{
    selfcheck::Exchange,
    spool::{Fetched, View},
};

/// What the talk waits for.
enum Event {
    Room,
    Heard(Option<session_response::Message>),
    Fetched(Option<Fetched>),
    Changed,
    Beat,
    Leaving,
    /// The identity is another, which the coordinator waits to see.
    Turned,
    Silent,
    Late,
}

type Fetching<'a> = Pin<Box<dyn Future<Output = Option<Fetched>> + Send + 'a>>;

/// A session and what waits to be sent in it, beside batches that are still in the spool.
struct Talk<'a> {
    uplink: &'a Uplink,
    session: Session,
    their_clock: TheirClock,
    /// Spacing of heartbeats, in real time.
    beat: Duration,
    answer: Option<AssignmentAck>,
    is_beating: bool,
    batch: Option<Fetched>,
    /// A live batch was fetched and not sent, since it is old: before any other goes out, what is old moves.
    is_move_due: bool,
    /// The last heartbeat: what it said, and when.
    asked: Option<(i64, Instant)>,
    /// When silence ends the session. Known once heartbeats are answered: who does not is watched by HTTP/2 alone.
    silent_at: Option<Instant>,
    /// When the spool is asked again.
    fetch_after: Instant,
    leave_by: Option<Instant>,
}

impl Uplink {
    pub(super) async fn talk(
        &self,
        outgoing: mpsc::Sender<SessionRequest>,
        mut responses: Responses,
        welcome: &Welcome,
    ) -> Result<End, SessionError> {
        let spool = &self.shared.spool;
        let mut talk = Talk::begin(self, welcome).await?;
        let incarnation = spool.view().incarnation;
        let mut heartbeats = tokio::time::interval(talk.beat);
        heartbeats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut fetching: Option<Fetching<'_>> = None;
        let mut leaving = self.leaving.clone();
        loop {
            let view = spool.view();
            if view.incarnation != incarnation {
                return Err(SessionError::Renewed);
            }
            if talk.leave_by.is_some_and(|by| view.is_empty() || Instant::now() >= by) {
                say_goodbye("shutdown", outgoing, responses).await;
                return Ok(End::Left);
            }
            let next = talk.session.next(&view).filter(|_| talk.batch.is_none() && fetching.is_none());
            let is_early = Instant::now() < talk.fetch_after;
            if let Some((lane, number)) = next.filter(|_| !is_early) {
                fetching = Some(Box::pin(spool.fetch(lane, number)));
            }
            let event = tokio::select! {
                biased;
                room = outgoing.reserve(), if talk.has_words() => {
                    room.map(|_| Event::Room).map_err(|_| SessionError::Closed)?
                }
                response = responses.message() => Event::Heard(response?.ok_or(SessionError::Closed)?.message),
                fetched = or_never(fetching.as_mut()) => Event::Fetched(fetched),
                () = spool.changed() => Event::Changed,
                () = self.shared.identity.turned() => Event::Turned,
                _ = heartbeats.tick() => Event::Beat,
                _ = leaving.wait_for(|leaving| *leaving), if talk.leave_by.is_none() => Event::Leaving,
                () = until(talk.silent_at) => Event::Silent,
                () = until(talk.leave_by) => Event::Late,
                () = until(Some(talk.fetch_after)), if next.is_some() && is_early => Event::Late,
            };
            match event {
                // There is room, and nobody else sends.
                Event::Room => {
                    if let Some(words) = talk.words(&view) {
                        faultline_proto::failpoint::reach("uplink.send.before");
                        outgoing.try_send(request(words)).ok();
                        faultline_proto::failpoint::reach("uplink.send.after");
                    }
                }
                Event::Fetched(fetched) => {
                    fetching = None;
                    talk.take_batch(fetched).await;
                }
                Event::Heard(heard) => {
                    if let Some(jitter) = talk.hear(heard)? {
                        say_goodbye("drain", outgoing, responses).await;
                        return Ok(End::Drained(jitter));
                    }
                }
                Event::Turned => {
                    say_goodbye("drain", outgoing, responses).await;
                    return Ok(End::Drained(Duration::ZERO));
                }
                Event::Beat => talk.is_beating = true,
                Event::Leaving => talk.leave_by = Some(Instant::now() + LAST_SENDING),
                Event::Silent => return Err(SessionError::Silent(SILENCE)),
                Event::Changed | Event::Late => {}
            }
        }
    }

    /// What was sealed before this is old.
    fn old(&self) -> i64 {
        // By a fast clock, every hiccup of the machine is a long one.
        let age = LIVE_AGE.max(LEAST_LIVE_AGE.mul_f64(self.clock.speed()));
        self.clock.now_micros().saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))
    }

    fn take_time(&self, ack: HeartbeatAck, asked: Option<(i64, Instant)>) {
        let Some((agent_time, asked)) = asked else { return };
        if convert::micros(ack.agent_time.as_ref()) != Some(agent_time) {
            return;
        }
        if let Some(their_micros) = convert::micros(ack.server_time.as_ref()) {
            self.shared.check.heard_time(Exchange { asked, heard: Instant::now(), their_micros });
        }
    }

    fn take_push(&self, push: AssignmentPush) -> AssignmentAck {
        let AssignmentPush { version, nonce, assignments } = push;
        let (accepted, refused) = self.config.policy.judge(assignments);
        tracing::info!(version, accepted = accepted.len(), refused = refused.len(), "assignments");
        for refusal in &refused {
            tracing::debug!(slot = refusal.slot, reason = refusal.reason, "assignment refused");
        }
        self.shared.board().assigned(&accepted);
        self.shared.board().pushed(version, accepted.len(), &refused);
        self.orders.send_modify(|orders| {
            orders.version = version;
            orders.assignments = Arc::new(accepted);
        });
        AssignmentAck { version, nonce, refused }
    }
}

impl<'a> Talk<'a> {
    /// Takes up how far the coordinator is, and what it allows.
    async fn begin(uplink: &'a Uplink, welcome: &Welcome) -> Result<Self, SessionError> {
        let limits = welcome.limits.unwrap_or_default();
        let durable = |lane| durable(&welcome.durable, lane).unwrap_or(0);
        let (live, backfill) = (durable(Lane::Live), durable(Lane::Backfill));
        if !uplink.shared.spool.resume(live, backfill, uplink.old()).await {
            return Err(SessionError::Spool);
        }
        uplink.orders.send_modify(|orders| orders.limits = (&limits).into());
        uplink.shared.board().up();
        let endpoint = &uplink.config.coordinator.endpoint;
        tracing::info!(%endpoint, epoch = welcome.epoch, live, backfill, "uplink up");
        let beat = convert::std_duration(limits.heartbeat_interval.as_ref()).filter(|beat| !beat.is_zero());
        Ok(Self {
            uplink,
            session: Session::new(live, backfill, limits.max_inflight_batches),
            their_clock: TheirClock::new(welcome, uplink.clock),
            beat: uplink.clock.real(beat.unwrap_or(DEFAULT_HEARTBEAT)),
            answer: None,
            is_beating: false,
            batch: None,
            is_move_due: false,
            asked: None,
            silent_at: None,
            fetch_after: Instant::now(),
            leave_by: None,
        })
    }

    fn has_words(&self) -> bool {
        let has_batch = self.batch.as_ref().is_some_and(|batch| self.session.has_room(batch.lane));
        self.answer.is_some() || self.is_beating || has_batch
    }

    /// What to say next.
    fn words(&mut self, view: &View) -> Option<session_request::Message> {
        if let Some(answer) = self.answer.take() {
            return Some(session_request::Message::AssignmentAck(answer));
        }
        if std::mem::take(&mut self.is_beating) {
            let now = self.uplink.clock.now_micros();
            self.asked = Some((now, Instant::now()));
            return Some(session_request::Message::Heartbeat(self.uplink.heartbeat(now)));
        }
        let batch = outgoing::batch(self.batch.take()?, &mut self.session, view);
        batch.map(session_request::Message::ResultBatch)
    }

    /// Takes a batch from the spool. A live one that is old is moved with all like it, as soon as that may be.
    async fn take_batch(&mut self, fetched: Option<Fetched>) {
        let spool = &self.uplink.shared.spool;
        match fetched {
            None => self.fetch_after = Instant::now() + FETCH_PAUSE,
            Some(batch)
                if batch.lane == Lane::Live && (self.is_move_due || batch.row.sealed_at < self.uplink.old()) =>
            {
                self.is_move_due = !self.session.settle();
                if !self.is_move_due {
                    spool.move_old(self.uplink.old()).await;
                    // The next that is still there: where it could not be moved, this one.
                    self.batch = spool.fetch(Lane::Live, batch.number).await;
                }
            }
            Some(batch) => self.batch = Some(batch),
        }
    }

    /// Takes up what the coordinator says; returns when to come back, if it is leaving.
    fn hear(&mut self, heard: Option<session_response::Message>) -> Result<Option<Duration>, SessionError> {
        let silent_at = Instant::now() + self.uplink.patience(SILENCE).max(self.beat * 2);
        self.silent_at = self.silent_at.map(|_| silent_at);
        match heard {
            Some(session_response::Message::BatchAck(ack)) => self.take_ack(&ack),
            Some(session_response::Message::AssignmentPush(push)) => self.answer = Some(self.uplink.take_push(push)),
            Some(session_response::Message::HeartbeatAck(ack)) => {
                self.silent_at = Some(silent_at);
                self.uplink.take_time(ack, self.asked);
            }
            Some(session_response::Message::Drain(drain)) => {
                let jitter = convert::std_duration(drain.reconnect_jitter.as_ref()).unwrap_or_default();
                tracing::info!(jitter_s = jitter.as_secs(), "uplink drained");
                return Ok(Some(jitter));
            }
            Some(session_response::Message::Welcome(_)) => return Err(SessionError::Unexpected("a second welcome")),
            Some(session_response::Message::RunNow(run_now)) => self.uplink.take_run_now(run_now, &self.their_clock),
            Some(session_response::Message::TrustBundle(told)) => self.uplink.take_trust(&told),
            Some(session_response::Message::StandingNotice(notice)) => self.uplink.take_standing(&notice),
            // A later coordinator may say more than this build knows.
            None => {}
        }
        Ok(None)
    }

    fn take_ack(&mut self, ack: &BatchAck) {
        faultline_proto::failpoint::reach("uplink.ack.before");
        for rejection in &ack.rejections {
            let cursor = rejection.cursor.unwrap_or_default();
            let reason = rejection.status.as_ref().map_or("", |status| status.message.as_str());
            let results = rejection.rejected_results;
            tracing::warn!(
                lane = cursor.lane().as_str_name(),
                number = cursor.number,
                results,
                reason,
                "batch refused"
            );
        }
        if let Some(max_in_flight) = ack.max_inflight_batches {
            self.session.set_credit(max_in_flight);
        }
        for lane in [Lane::Live, Lane::Backfill] {
            if let Some(number) = durable(&ack.durable, lane) {
                self.session.acked(lane, number);
                self.uplink.shared.spool.ack(lane, number);
                self.uplink.shared.board().acked(lane, number);
            }
        }
        faultline_proto::failpoint::reach("uplink.ack.after");
    }
}

fn durable(cursors: &[LaneCursor], lane: Lane) -> Option<u64> {
    cursors.iter().find(|cursor| cursor.lane() == lane).map(|cursor| cursor.number)
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn or_never<T>(future: Option<impl Future<Output = T> + Unpin>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);
/// Without a word from a coordinator that answers heartbeats, the link is dead: two of them were not answered.
const SILENCE: Duration = Duration::from_secs(30);
/// What waited longer is no news.
const LIVE_AGE: Duration = Duration::from_secs(10);
/// Real time.
const LEAST_LIVE_AGE: Duration = Duration::from_secs(1);
/// How long a spool that holds less than it said, or cannot be read, is left alone.
const FETCH_PAUSE: Duration = Duration::from_secs(1);
/// Real time: what is in the spool at shutdown may take this long.
const LAST_SENDING: Duration = Duration::from_secs(2);
