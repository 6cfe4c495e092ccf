//! Heart: says so often that we can see, so that its silence is an alarm.
//!
//! Rules: it does not beat while we cannot see, while the log is full, or for an old picture, and says which. A beat that is
//! not taken is not sent again: the next one comes.

use std::{sync::atomic::Ordering, time::Duration};

use faultline_attribution::Timestamp;

use super::{Answer, Courier, Event, Repeated};
use crate::board::Board;

/// How old a picture may be that a heart beats for. Source: the coordinator concludes each second.
const STALE: Duration = Duration::from_mins(1);

impl Courier {
    /// Beats while we can see.
    pub(super) async fn beat(&self) {
        let Some(heartbeat) = self.webhook.heartbeat else { return };
        let (mut held_back, mut outcome) = (None, Repeated::default());
        loop {
            if !self.is_disabled.load(Ordering::Relaxed) {
                let obstacle = self.beat_once(&mut outcome).await;
                if obstacle != held_back {
                    if let Some(why) = &obstacle {
                        tracing::warn!(webhook = self.name, why, "no heartbeat");
                    } else {
                        tracing::info!(webhook = self.name, "heartbeat");
                    }
                    held_back = obstacle;
                }
            }
            self.hub.clock().sleep(heartbeat.interval()).await;
        }
    }

    /// Beats, or returns why not.
    async fn beat_once(&self, outcome: &mut Repeated) -> Option<String> {
        let at = self.now();
        let (obstacle, sight, sequence, open) = {
            let board = self.hub.board();
            (obstacle(&board, at), board.sight(), board.sequence, board.open().len())
        };
        let event = Event::Heartbeat { sight: &sight, sequence, open, at };
        let (scene, _) = self.scene();
        let message = event.telling(&self.webhook, &scene, None).message?;
        let id = message.id.clone();
        let answer = match &obstacle {
            Some(why) => Answer { error: format!("not sent: {why}"), ..Answer::default() },
            None => self.send(message).await,
        };
        if outcome.differs(&answer) {
            self.record(self.attempted(id, 1, &answer), None, None).await;
        }
        obstacle
    }
}

/// Why no heart may beat: what a receiver must not take for sight.
fn obstacle(board: &Board, now: Timestamp) -> Option<String> {
    let sight = board.sight();
    if sight.below_quorum {
        return Some(if sight.reason.is_empty() { "below quorum".into() } else { sight.reason });
    }
    let age = now.since(sight.evaluated_through);
    (age > STALE).then(|| format!("the picture is {} s old", age.as_secs()))
}
