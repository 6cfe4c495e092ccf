//! The spool as others see it: the lanes, what is lost, a batch to be sent.

use faultline_proto::agent::v1::Lane;

use super::{Losses, Row};

/// A batch to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its lane.
    pub lane: Lane,
    /// Its number there.
    pub number: u64,
    /// The batch.
    pub row: Row,
}

/// The spool as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// What the numbers are counted in.
    pub incarnation: [u8; 16],
    /// The live lane.
    pub live: LaneView,
    /// The backfill lane.
    pub backfill: LaneView,
    /// Bytes that the store takes.
    pub bytes: u64,
    /// Batches that wait in memory to be stored.
    pub line: usize,
    /// When the oldest unconfirmed batch was sealed, in microseconds since the Unix epoch.
    pub oldest_sealed_at: Option<i64>,
    /// Results lost since the incarnation began.
    pub lost: Losses,
    /// Results lost for want of room in the line, which the ledger does not know yet.
    pub lost_in_line: u64,
    /// The highest number of facts that was ever referred to.
    pub last_facts: u32,
    /// Why the store cannot be written; `None` when it can.
    pub trouble: Option<String>,
}

/// A lane as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneView {
    /// The lowest number held and not confirmed; the next to be made when none is.
    pub first: u64,
    /// The next to be made.
    pub next: u64,
}

impl LaneView {
    /// Batches that wait for the coordinator, at most.
    pub fn waiting(&self) -> u64 {
        self.next - self.first
    }
}

impl View {
    /// The lane.
    pub fn lane(&self, lane: Lane) -> LaneView {
        if lane == Lane::Backfill { self.backfill } else { self.live }
    }

    /// Whether everything is confirmed.
    pub fn is_empty(&self) -> bool {
        self.line == 0 && self.live.waiting() == 0 && self.backfill.waiting() == 0
    }

    /// Results lost for want of room, since the incarnation began.
    pub fn dropped_results(&self) -> u64 {
        self.lost.spool_full + self.lost_in_line
    }
}
