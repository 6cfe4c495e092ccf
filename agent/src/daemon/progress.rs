//! From a new identity to a first batch that the coordinator has stored, told as it happens.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use crate::{
    control::{End, NO_BATCH, PENDING, Reply},
    enroll::Step,
    run::Shared,
    status::Progress,
};

/// What is told only once.
#[derive(Default)]
struct Told {
    session: bool,
    quic: bool,
    batch: bool,
}

/// Tells how it goes until a batch is stored, and how that ends.
pub(super) async fn first_batch(shared: Arc<Shared>, agent: String, wait: Duration, replies: mpsc::Sender<Reply>) {
    let began = Instant::now();
    let mut by = began + wait;
    let mut changes = shared.board().watch();
    let mut told = Told::default();
    loop {
        changes.mark_unchanged();
        let progress = shared.board().progress();
        for step in told.news(&progress, began.elapsed()) {
            replies.try_send(Reply::Step(step)).ok();
        }
        if progress.standing == "pending" {
            let value = "an operator has to approve it before what it measures counts";
            let fix = format!("At the coordinator: faultline agent approve {agent}");
            replies.try_send(Reply::Step(Step::warn("session", value, &fix))).ok();
            let end = End::failed(PENDING, format!("joined as {agent}, and waits for approval"));
            replies.try_send(Reply::End(end)).ok();
            return;
        }
        if told.batch {
            if told.quic || !progress.has_http3 {
                break;
            }
            by = by.min(Instant::now() + QUIC_WAIT);
        }
        if tokio::time::timeout_at(by, changes.changed()).await.is_err() {
            break;
        }
    }
    let end = if told.batch {
        End::done(format!("joined as {agent}: `faultline-agent status` tells how it is"))
    } else {
        for step in missing(&shared.board().progress(), &told, wait) {
            replies.try_send(Reply::Step(step)).ok();
        }
        End::failed(NO_BATCH, format!("joined as {agent}, but no batch was stored within {} s", wait.as_secs()))
    };
    replies.try_send(Reply::End(end)).ok();
}

impl Told {
    /// What has come since.
    fn news(&mut self, progress: &Progress, after: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        let assignments = &progress.assignments;
        if !self.session && assignments.version > 0 {
            self.session = true;
            let (accepted, refused) = (assignments.in_force, assignments.refused);
            let value = format!("{accepted} assignments accepted, {refused} refused by local policy");
            steps.push(if accepted == 0 && refused > 0 {
                Step::warn(
                    "session",
                    value,
                    "Look at [policy] of its configuration: `faultline-agent status` says what it refuses.",
                )
            } else {
                Step::ok("session", value)
            });
        }
        if let Some(quic) = progress.first_quic.as_ref().filter(|_| !self.quic) {
            self.quic = true;
            steps.push(match quic {
                Ok(()) => Step::ok("udp/443", "QUIC is answered"),
                Err(cause) => Step::warn(
                    "udp/443",
                    format!("the first QUIC handshake ended with {cause}"),
                    "Let UDP port 443 out: where none gets through anywhere, HTTP/3 is told as udp_blocked and not as failed.",
                ),
            });
        }
        if let Some(batch) = progress.first_batch.as_ref().filter(|_| !self.batch) {
            self.batch = true;
            let value = format!("stored by the coordinator as {batch} after {:.1} s", after.as_secs_f64());
            steps.push(Step::ok("first batch", value));
        }
        steps
    }
}

/// What did not come in time.
fn missing(progress: &Progress, told: &Told, wait: Duration) -> Vec<Step> {
    let mut steps = Vec::new();
    if !told.session {
        let why = progress.error.as_ref().map_or_else(|| "no assignments yet".to_owned(), Clone::clone);
        steps.push(Step::fail(
            "session",
            why,
            "Ask `faultline agent list` at the coordinator; it is tried again all the time.",
        ));
    }
    let value = format!("none was stored within {} s", wait.as_secs());
    steps.push(Step::fail(
        "first batch",
        value,
        "Ask `faultline-agent status` again in a while, and `faultline-agent doctor`.",
    ));
    steps
}

/// How long a first HTTP/3 run is waited for once a batch is stored.
const QUIC_WAIT: Duration = Duration::from_secs(5);
