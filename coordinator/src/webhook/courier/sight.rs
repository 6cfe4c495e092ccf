//! Sight: tells that we cannot see, and that we can again.
//!
//! Rules: a loss is told once it lasts for [`BLIND`]; a loss that may have been told is followed by its return. So that it is
//! told is stored before it is sent: killed between the receiver's answer and its record, the courier tells of the loss
//! again, or of the return (`lost_sight_is_told_once_it_lasts_and_so_is_its_return`,
//! `a_loss_of_sight_that_was_perhaps_told_is_told_again_or_taken_back`).

use std::time::Duration;

use faultline_attribution::{Timestamp, Visibility};

use super::{Courier, Held, Line};
use crate::webhook::event::Event;

/// We cannot see for so long before it is told: a restart takes less.
const BLIND: Duration = Duration::from_mins(1);

/// What the receiver of a loss of sight waits for.
const SIGHT: &str = "sight";

/// What the receiver of a loss of sight perhaps waits for: it may have been told.
const INTENDED: &str = "sight-intended";

impl Courier {
    pub(super) async fn look_at_sight(&self, line: &mut Line, sight: &Visibility, at: Timestamp) {
        let (is_told, is_intended) = (line.told.contains_key(SIGHT), line.told.contains_key(INTENDED));
        if sight.below_quorum {
            let blind_since = *line.blind_since.get_or_insert(at);
            if is_told || !is_intended && at.since(blind_since) < BLIND {
                return;
            }
            if !is_intended && !self.intend(line).await {
                return;
            }
            self.tell(line, &Event::Sight { sight, blind_since, at }, SIGHT, None).await;
        } else {
            let blind_since = line.blind_since.take().unwrap_or(at);
            if is_told || is_intended {
                self.tell(line, &Event::Sight { sight, blind_since, at }, SIGHT, None).await;
                if !line.told.contains_key(SIGHT) && line.stand.disabled.is_none() {
                    self.drop_intention(line).await;
                }
            }
        }
    }

    /// Whether it is stored that the receiver is told: where not, nothing is sent yet.
    async fn intend(&self, line: &mut Line) -> bool {
        let name = self.name.clone();
        let is_stored =
            self.stored(move |store| store.hold(&name, INTENDED, &Held::Open(String::new()))).await.is_some();
        if is_stored {
            line.told.insert(INTENDED.to_owned(), String::new());
        }
        is_stored
    }

    async fn drop_intention(&self, line: &mut Line) {
        let name = self.name.clone();
        // Where it is not dropped, a restart says once more that we can see.
        self.stored(move |store| store.hold(&name, INTENDED, &Held::Nothing)).await;
        line.told.remove(INTENDED);
    }
}
