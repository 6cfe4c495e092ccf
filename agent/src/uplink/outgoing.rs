//! What goes out: the batch as it is sent now, the heartbeat, the state of the lanes.
//!
//! Rules: a batch is what the spool holds of it, with what depends on the session: where it is, which numbers below it will
//! not come, and the facts that this session has not announced yet.

use faultline_proto::{
    agent::v1::{Heartbeat, Lane, ResultBatch, SpoolState},
    convert,
    types::v1::Facts,
};
use prost::Message;

use super::{Uplink, session::Session};
use crate::{
    selfcheck::signed_duration,
    spool::{Fetched, View},
    trust,
};

/// The batch as it is sent; `None` when it cannot be read though its checksum is right.
pub(super) fn batch(fetched: Fetched, session: &mut Session, spool: &View) -> Option<ResultBatch> {
    let Fetched { lane, number, row } = fetched;
    let mut batch = ResultBatch::decode(row.payload).ok()?;
    let facts = row.facts.into_iter().filter(|facts| session.announce(facts.number));
    batch.facts = facts.filter_map(|facts| Facts::decode(facts.encoded).ok()).collect();
    batch.lane = lane.into();
    batch.number = number;
    batch.first_number = session.sent(lane, number);
    batch.dropped_results = spool.dropped_results();
    batch.losses = row.losses.into_iter().map(Into::into).collect();
    Some(batch)
}

/// The lanes as hello and heartbeats tell them.
pub(super) fn states(spool: &View) -> Vec<SpoolState> {
    let state = |lane| {
        let view = spool.lane(lane);
        // What is lost is lost before there is a lane for it: all is told with the live one.
        let dropped_results = if lane == Lane::Live { spool.dropped_results() } else { 0 };
        SpoolState { lane: lane.into(), first_number: view.first, next_number: view.next, dropped_results }
    };
    [Lane::Live, Lane::Backfill].map(state).into()
}

impl Uplink {
    pub(super) fn heartbeat(&self, now: i64) -> Heartbeat {
        let pulse = self.shared.take_pulse();
        let clock_error = self.shared.check.clock_error();
        Heartbeat {
            agent_time: Some(convert::timestamp(now)),
            scheduler_lag: Some(convert::duration(pulse.worst_lag)),
            probes_in_flight: u32::try_from(pulse.in_flight).unwrap_or(u32::MAX),
            skipped_runs: pulse.skipped_runs,
            spool: states(&self.shared.spool.view()),
            refused_looks: pulse.refused_looks.to_wire(),
            impairments: self.shared.check.snapshot().1.into_iter().map(Into::into).collect(),
            clock_offset: clock_error.map(|error| signed_duration(error.offset_us)),
            clock_bound: clock_error.map(|error| signed_duration(error.bound_us)),
            is_spool_durable: self.shared.spool.is_durable(),
            trust_bundle: trust::digest(&self.config.coordinator.ca),
        }
    }
}
