//! The feed: what people and programs see. The hub publishes changes in order to subscribers; gRPC and the page stand on
//! it.
//!
//! Rules: one sequence over everything published; a subscriber takes its snapshot and its place in the queue at the same
//! moment, so that nothing falls between; the queue is bounded, and who reads too slowly is told so and may resume; who
//! publishes takes a turn, from making a change durable until it is sent, so that changes go out in their order.

pub mod archive;
pub mod convert;
#[cfg(test)]
pub(crate) mod examples;
pub mod filter;
pub mod formats;
pub mod grpc;
pub mod page;
pub mod plot;
pub mod port;
pub mod web;

pub(crate) use page::LATE;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use faultline_attribution::{CellChange, Change, Learned, TargetId, Timestamp, Visibility};
use faultline_proto::clock::Clock;
use serde::{Deserialize, Serialize};
use tokio::sync::{self, broadcast};

use crate::{
    board::Board,
    claims::Claim,
    log::{ChangeLog, Cursor, Entry, LogError},
    work::PlannedWork,
};

/// Changes that a subscriber may lie behind before it is cut off.
const QUEUE: usize = 4096;

/// Something published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Published {
    /// A revision of an incident.
    Incident(Box<Change>),
    /// A cell of the matrix.
    Cell(CellChange),
    /// Sight lost or regained.
    Visibility(Visibility),
    /// What somebody else says; no tick makes it, and none reads it.
    Claim(Box<Claim>),
    /// What an operator plans to work on; no tick makes it, and none reads it.
    Work(Box<PlannedWork>),
}

/// What healthy probes saw of targets.
pub type LearnedTargets = BTreeMap<TargetId, Learned>;

/// Where changes go out.
pub struct Hub {
    board: Mutex<Board>,
    learned: Mutex<Arc<LearnedTargets>>,
    sender: broadcast::Sender<Arc<Entry>>,
    changes: Arc<dyn ChangeLog>,
    clock: Clock,
    turns: sync::Mutex<()>,
}

/// A turn at publishing. Others wait until it is dropped.
pub struct Turn<'a>(#[expect(dead_code, reason = "held, not read")] sync::MutexGuard<'a, ()>);

impl Hub {
    /// A hub that shows this board.
    pub fn new(board: Board, changes: Arc<dyn ChangeLog>, clock: Clock) -> Self {
        let (sender, _) = broadcast::channel(QUEUE);
        let turns = sync::Mutex::default();
        Self { board: Mutex::new(board), learned: Mutex::default(), sender, changes, clock, turns }
    }

    /// The current picture.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn at publishing.
    pub async fn turn(&self) -> Turn<'_> {
        Turn(self.turns.lock().await)
    }

    /// Makes changes durable that no tick made, shows and sends them.
    pub async fn publish_in_turn(
        &self,
        _turn: &Turn<'_>,
        changes: Vec<Published>,
        at: Timestamp,
    ) -> Result<(), LogError> {
        self.publish(self.changes.publish(Cursor::START, at, changes).await?);
        Ok(())
    }

    /// Shows and sends durable changes; whoever made them durable has had the turn since before.
    pub fn publish(&self, entries: Vec<Entry>) {
        let mut board = self.board();
        for entry in entries {
            board.apply(&entry);
            // An error means that nobody is listening.
            drop(self.sender.send(Arc::new(entry)));
        }
    }

    /// The picture as `look` takes it, and everything that comes after it.
    pub fn subscribe<T>(&self, look: impl FnOnce(&Board) -> T) -> (T, broadcast::Receiver<Arc<Entry>>) {
        let board = self.board();
        (look(&board), self.sender.subscribe())
    }

    /// Streams that are open.
    pub fn readers(&self) -> usize {
        self.sender.receiver_count()
    }

    /// What healthy probes saw of targets, when it was last shown.
    pub fn learned(&self) -> Arc<LearnedTargets> {
        Arc::clone(&self.learned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows what healthy probes saw of targets.
    pub fn show_learned(&self, learned: LearnedTargets) {
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(learned);
    }

    /// The durable changes.
    pub fn changes(&self) -> &Arc<dyn ChangeLog> {
        &self.changes
    }

    /// The coordinator's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }
}
