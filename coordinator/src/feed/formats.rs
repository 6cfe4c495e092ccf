//! What programs read of the feed, beside gRPC and server-sent events.
//!
//! | path | what | room |
//! |---|---|---|
//! | `/api/v1/...` | the picture and the incidents as JSON, with its `OpenAPI` description | `api` |
//! | `/api/v2/*.json` | the same in the shape of Statuspage's API, version 2 | `statuspage` |
//! | `/history.atom`, `/history.rss` | incidents for feed readers | `syndication` |
//! | `/badge/{provider}.svg`, `/badge/{provider}/{region}.svg` | one word for a README | `badge` |
//! | `/proto/` | the gRPC contracts as text | `contracts` |
//!
//! Rules: each answer is a pure function of one board at one moment, so that no part of it contradicts another and its tests
//! need no server; blindness is said in every format, and never as well-being; all text is escaped for the format that it
//! stands in; an answer says when it may be asked for again, and one that did not change since is not sent again.

mod answer;
mod api;
mod badge;
mod base;
mod contracts;
mod rows;
mod statuspage;
mod syndication;

use std::sync::Arc;

use axum::Router;
use faultline_attribution::Timestamp;

use super::{Hub, LATE};
use crate::board::{Board, Standing};

/// All of them, on a port that speaks this scheme.
pub fn router<S: Clone + Send + Sync + 'static>(hub: &Arc<Hub>, scheme: &'static str) -> Router<S> {
    Router::new()
        .merge(api::router(Arc::clone(hub)))
        .merge(statuspage::router(Arc::clone(hub), scheme))
        .merge(syndication::router(Arc::clone(hub), scheme))
        .merge(badge::router(Arc::clone(hub)))
        .merge(contracts::router())
}

/// One board at one moment.
struct Picture<'a> {
    board: &'a Board,
    now: Timestamp,
}

impl Hub {
    /// The picture as it is: nothing is published while `look` looks.
    fn picture<T>(&self, look: impl FnOnce(&Picture<'_>) -> T) -> T {
        let now = Timestamp::from_micros(self.clock().now_micros());
        look(&Picture { board: &self.board(), now })
    }
}

impl Picture<'_> {
    /// Why we cannot see, if we cannot: no quorum, a log that cannot be written, or a picture that has stopped.
    fn blindness(&self) -> Option<String> {
        let sight = self.board.sight();
        if sight.below_quorum {
            return Some(if sight.reason.is_empty() { "too few vantages".into() } else { sight.reason });
        }
        let last = sight.evaluated_through;
        (self.now.since(last) > LATE).then(|| format!("nothing was evaluated since {last}: the coordinator is behind"))
    }

    /// What it all comes to. Rule: a picture that has stopped is blind, whatever it showed last (test
    /// `a_picture_that_has_stopped_is_blind`).
    fn standing(&self) -> Standing {
        match self.board.standing() {
            Standing::Attributed => Standing::Attributed,
            standing if self.blindness().is_none() => standing,
            _ => Standing::Blind,
        }
    }
}

#[cfg(test)]
mod examples;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        examples::{self, NOW},
        *,
    };

    #[test]
    fn a_picture_that_has_stopped_is_blind() {
        let board = examples::board(Vec::new());
        let standing = |now| Picture { board: &board, now }.standing();
        assert_eq!(standing(NOW), Standing::Quiet);
        assert_eq!(standing(NOW.after(Duration::from_mins(5))), Standing::Blind);
    }
}
