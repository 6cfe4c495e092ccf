//! The desk: takes calls of operators, one at a time, and says what became of each.

mod again;
mod ca;
mod stand;
mod work;

use std::{path::PathBuf, sync::Arc, time::Duration};

use faultline_attribution::{Change, IncidentId, MAX_NOTES, Remark, Saying, State, Timestamp};
use tokio::{
    sync::{
        Mutex,
        broadcast::{Receiver, error::RecvError},
    },
    time,
};

use super::{Annotate, Answer, Call, Done, Refused, Retract, RevokeToken, Why, audit::Audit, tokens, words};
use crate::{
    enroll::Enrolment,
    feed::{Hub, Published},
    ingest::Ingest,
    log::{Admission, Appended, Entry, RecordLog},
    pki::port::AgentPort,
    record::Record,
};

/// An act is durable and published within this, in real time. Source: ten ticks, and a slow disk.
const DEADLINE: Duration = Duration::from_secs(15);

/// Bytes of a call that cannot be read, as the audit record keeps it.
const MAX_UNREADABLE: usize = 300;

/// Whoever signs, or shows what was signed.
pub(crate) struct Signers {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// TLS of the agent port.
    pub(crate) port: Arc<AgentPort>,
    /// Where agents join and renew.
    pub(crate) enrolment: Arc<Enrolment>,
}

/// Where calls are taken.
pub(crate) struct Desk {
    hub: Arc<Hub>,
    records: Arc<dyn RecordLog>,
    audit: Arc<Audit>,
    signers: Signers,
    ingest: Arc<Ingest>,
    again: again::Asked,
    /// Acts are one at a time: each sees what the one before it published.
    turn: Mutex<()>,
}

impl Desk {
    /// The desk of a coordinator.
    pub(crate) fn new(
        hub: Arc<Hub>,
        records: Arc<dyn RecordLog>,
        audit: Arc<Audit>,
        signers: Signers,
        ingest: Arc<Ingest>,
    ) -> Arc<Self> {
        Arc::new(Self { hub, records, audit, signers, ingest, again: again::Asked::default(), turn: Mutex::default() })
    }

    /// What becomes of a call of this user.
    pub(super) async fn answer(self: &Arc<Self>, uid: u32, call: serde_json::Result<Call>) -> Answer {
        let (word, asked) = match &call {
            Ok(call) => (call.word(), serde_json::to_string(call).unwrap_or_default()),
            Err(error) => ("unreadable", error.to_string().chars().take(MAX_UNREADABLE).collect()),
        };
        let turn = self.turn.lock().await;
        let entry = match self.audit.begin(self.now(), Some(uid), word, &asked) {
            Ok(entry) => entry,
            Err(error) => {
                let message = format!("nothing was done, since it could not be put on the audit record: {error}");
                return Answer::Refused(Refused::new(Why::Failed, message));
            }
        };
        let answer = match call {
            Ok(call) => self.act(call).await,
            Err(error) => {
                let message =
                    format!("a call that this coordinator does not know: {error}: is the command of its version?");
                Err(Refused::new(Why::Malformed, message))
            }
        };
        drop(turn);
        let outcome = match &answer {
            Ok(done) => format!("done: {done}"),
            Err(refused) => format!("refused: {refused}"),
        };
        if let Err(error) = self.audit.end(entry, &outcome) {
            tracing::error!(entry, outcome, %error, "audit record not completed");
        }
        tracing::info!(uid, call = word, outcome, "admin call");
        answer.map_or_else(Answer::Refused, Answer::Done)
    }

    async fn act(self: &Arc<Self>, call: Call) -> Result<Done, Refused> {
        match call {
            Call::Annotate(Annotate { incident, text, link }) => {
                let saying = Saying::Note { text: words::plain(&text, "text")?, link: words::link(&link)? };
                self.say(&incident, saying, |of| {
                    let is_full = of.notes.len() >= MAX_NOTES;
                    let message = || format!("{} has {MAX_NOTES} notes, which is all that one may have", of.incident);
                    if is_full { Err(Refused::new(Why::State, message())) } else { Ok(()) }
                })
                .await
            }
            Call::Retract(Retract { incident, reason }) => {
                let saying = Saying::Retraction { reason: words::plain(&reason, "reason")? };
                self.say(&incident, saying, |of| {
                    let why_not = if of.state == State::Retracted {
                        format!("{} is retracted already", of.incident)
                    } else if !of.superseded_by.is_empty() {
                        format!("{} was folded into {}: retract that one", of.incident, of.superseded_by)
                    } else {
                        return Ok(());
                    };
                    Err(Refused::new(Why::State, why_not))
                })
                .await
            }
            Call::AddWork(asked) => self.add_work(asked).await,
            Call::CancelWork(asked) => self.cancel_work(asked).await,
            Call::CreateToken(wanted) => tokens::create(&self.signers.enrolment, &wanted, self.now()),
            Call::ListTokens {} => Ok(tokens::list(&self.signers.enrolment, self.now())),
            Call::RevokeToken(RevokeToken { id, with_agents }) => {
                let revoked = tokens::revoke(&self.signers.enrolment, &id, self.now())?;
                if with_agents { self.revoke_with(revoked).await } else { Ok(revoked) }
            }
            Call::Stand(asked) => self.stand(asked).await,
            Call::Ca(asked) => self.rotate(asked).await,
        }
    }

    /// Puts what a person says of an incident into the log, and waits until it is published.
    async fn say(
        &self,
        incident: &str,
        saying: Saying,
        may: impl Fn(&Change) -> Result<(), Refused>,
    ) -> Result<Done, Refused> {
        let id = IncidentId::from(incident.to_owned());
        let newest = |board: &crate::board::Board| board.revisions(&id).and_then(|all| all.back()).cloned();
        let (of, changes) = self.hub.subscribe(newest);
        let Some(of) = of else {
            let shown: String = incident.chars().take(60).collect();
            let message = format!("no incident {shown:?}: `faultline incident list` has all");
            return Err(Refused::new(Why::Unknown, message));
        };
        may(&of)?;
        let remark = Remark { of, saying };
        let told = async {
            match self.records.append(Admission::Own, Record::remark(self.now(), &remark)).await {
                Ok(Appended::At(_)) => {}
                Ok(refused) => return Err(Refused::new(Why::Failed, format!("the log refused it: {refused:?}"))),
                Err(error) => return Err(Refused::new(Why::Failed, error.to_string())),
            }
            self.published(changes, &remark).await.ok_or_else(|| Refused::new(Why::Failed, "the coordinator is ending"))
        };
        let told = time::timeout(DEADLINE, told).await.map_err(|_| {
            let message = format!(
                "not published within {} s: is the log's disk full? It may still be: `faultline incident get {id}` says",
                DEADLINE.as_secs()
            );
            Refused::new(Why::Failed, message)
        })?;
        told.map(|revision| Done::Published { incident: remark.of.incident.to_string(), revision })
    }

    /// The revision that says it.
    async fn published(&self, mut changes: Receiver<Arc<Entry>>, remark: &Remark) -> Option<u64> {
        let says_it = |change: &Change| {
            change.incident == remark.of.incident
                && match remark.saying {
                    Saying::Note { .. } => change.notes.len() > remark.of.notes.len(),
                    Saying::Retraction { .. } => change.state == State::Retracted,
                }
        };
        loop {
            match changes.recv().await {
                Ok(entry) => {
                    if let Published::Incident(change) = &entry.published
                        && says_it(change)
                    {
                        return Some(change.revision);
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    let board = self.hub.board();
                    let newest = board.revisions(&remark.of.incident).and_then(|all| all.back());
                    if let Some(change) = newest.filter(|change| says_it(change)) {
                        return Some(change.revision);
                    }
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.hub.clock().now_micros())
    }
}
