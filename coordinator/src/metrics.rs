//! Metrics: what Prometheus reads of the coordinator, on a port of its own.
//!
//! | metric | labels |
//! |---|---|
//! | `faultline_build_info` | `version` |
//! | `faultline_standing` (0 nothing attributed, 1 suspected, 2 attributed, 3 blind), `faultline_below_quorum` | |
//! | `faultline_cell_state` (0 ok, 1 degraded, 2 failing, -1 no data) | `provider region layer` |
//! | `faultline_incident_open` | `verdict band` |
//! | `faultline_evaluated_through_timestamp_seconds faultline_evaluated_through_age_seconds` | |
//! | `faultline_live_groups faultline_total_groups faultline_live_groups_outside_clouds faultline_live_networks` | |
//! | `faultline_agents`, `faultline_agents_put_aside`, `faultline_agents_impaired` | `session`; `standing`; `reason` |
//! | `faultline_sessions_open faultline_assignments_refused` | |
//! | `faultline_batches_taken_total faultline_batches_repeated_total` | |
//! | `faultline_results_taken_total faultline_results_refused_total` | |
//! | `faultline_results_lost` (since the log begins), `faultline_looks_total` | `reason`; `fate` |
//! | `faultline_feed_sequence faultline_feed_readers faultline_notices` | |
//! | `faultline_log_bytes faultline_log_limit_bytes faultline_log_full faultline_log_damaged_records` | |
//! | `process_...` | |
//!
//! Rules: labels are words of closed lists and rows of the matrix, never agents, so that series are bounded; what may be asked
//! for by a name is there from the start, as 0; a cell that is ok while we cannot see is no data, as on the page; a total
//! counts since the process began.

mod page;
#[cfg(test)]
mod tests;

use std::{fs, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use faultline_attribution::{CellState, Change, Layer, Reason, SessionState, Timestamp, Verdict};
use faultline_proto::convert::word;

use self::page::Page;
use crate::{
    board::{Board, Standing},
    feed::{Hub, LATE},
    ingest::{AgentView, Ingest, LookCounts, TakenCounts},
    observe::lost::LostTo,
    registry::standing,
};

/// Cells that are shown, at most: more than both clouds have regions and services, times layers.
const CELLS: usize = 4000;

/// Where metrics come from.
#[derive(Clone)]
pub struct Sources {
    /// The feed.
    pub hub: Arc<Hub>,
    /// The agent port.
    pub ingest: Arc<Ingest>,
    /// The data directory.
    pub data: PathBuf,
    /// Bytes beyond which the oldest results leave the log.
    pub log_limit_bytes: u64,
}

/// `/metrics`.
pub fn router(sources: Sources) -> Router {
    Router::new().route("/metrics", get(async |State(sources): State<Sources>| sources.answer())).with_state(sources)
}

impl Sources {
    fn answer(&self) -> Response {
        let (agents, log_bytes) = (self.ingest.agents(), self.log_bytes());
        let now = Timestamp::from_micros(self.hub.clock().now_micros());
        let text = Seen {
            board: &self.hub.board(),
            now,
            agents: &agents,
            sessions_open: self.ingest.sessions_open(),
            taken: self.ingest.taken(),
            looks: self.ingest.look_counts(),
            readers: self.hub.readers(),
            log_bytes,
            log_limit_bytes: self.log_limit_bytes,
        }
        .text();
        match text {
            Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written: see the log\n").into_response()
            }
        }
    }

    /// The log and what waits to be moved into it; a file that is not there has no bytes.
    fn log_bytes(&self) -> u64 {
        let files = ["log.sqlite", "log.sqlite-wal"].map(|file| fs::metadata(self.data.join(file)));
        files.iter().flatten().map(fs::Metadata::len).sum()
    }
}

/// All that the metrics of one moment are made of.
struct Seen<'a> {
    board: &'a Board,
    now: Timestamp,
    agents: &'a [AgentView],
    sessions_open: usize,
    taken: TakenCounts,
    looks: LookCounts,
    readers: usize,
    log_bytes: u64,
    log_limit_bytes: u64,
}

impl Seen<'_> {
    /// Prometheus' text.
    fn text(&self) -> Result<String, prometheus::Error> {
        let page = Page::default();
        page.gauges(
            "faultline_build_info",
            "Version of the coordinator",
            ["version"],
            [([env!("CARGO_PKG_VERSION")], 1.0)],
        )?;
        self.picture(&page)?;
        self.incidents(&page)?;
        self.fleet(&page)?;
        self.intake(&page)?;
        self.stores(&page)?;
        page.process()?;
        page.text()
    }

    fn is_blind(&self) -> bool {
        self.board.sight().below_quorum || self.now.since(self.board.visibility.evaluated_through) > LATE
    }

    fn picture(&self, page: &Page) -> Result<(), prometheus::Error> {
        let (sight, is_blind) = (self.board.sight(), self.is_blind());
        let standing = match self.board.standing() {
            Standing::Attributed => Standing::Attributed,
            _ if is_blind => Standing::Blind,
            standing => standing,
        };
        let help = "What it comes to: 0 nothing attributed, 1 suspected, 2 attributed, 3 blind";
        page.gauge("faultline_standing", help, f64::from(standing as u8))?;
        let help = "Whether too few vantages see for a verdict, or the log cannot be written: silence means nothing";
        page.gauge("faultline_below_quorum", help, flag(sight.below_quorum))?;
        let through = seconds(sight.evaluated_through);
        let help = "Every result that had arrived by then is in the picture; 0 before the first";
        page.gauge("faultline_evaluated_through_timestamp_seconds", help, through)?;
        let age = self.now.since(sight.evaluated_through).as_secs_f64();
        page.gauge("faultline_evaluated_through_age_seconds", "Age of the picture", age)?;
        let help = "Vantage groups with fresh results that reach a control";
        page.gauge("faultline_live_groups", help, f64::from(sight.live_groups))?;
        page.gauge("faultline_total_groups", "Vantage groups known", f64::from(sight.total_groups))?;
        let outside = f64::from(sight.live_groups_outside_clouds);
        page.gauge("faultline_live_groups_outside_clouds", "Live vantage groups outside both clouds", outside)?;
        page.gauge("faultline_live_networks", "Networks of live vantage groups", f64::from(sight.live_networks))?;
        let cells = self.board.cells().take(CELLS).map(|cell| {
            let state = match cell.state {
                CellState::Ok if is_blind => -1.0,
                CellState::Ok => 0.0,
                CellState::Degraded => 1.0,
                CellState::Failing => 2.0,
                CellState::NoData => -1.0,
            };
            ([cell.provider.as_str(), &cell.region, Layer::as_str(cell.layer)], state)
        });
        let help = "0 ok, 1 degraded, 2 failing, -1 no data";
        page.gauges("faultline_cell_state", help, ["provider", "region", "layer"], cells)
    }

    fn incidents(&self, page: &Page) -> Result<(), prometheus::Error> {
        let open = self.board.open();
        let all = Verdict::ALL.iter().flat_map(|verdict| BANDS.iter().map(move |(band, _)| (*verdict, *band)));
        let series = all.map(|(verdict, word)| {
            let is_one = |change: &&&Change| change.verdict == verdict && band(change.confidence) == word;
            ([verdict.as_str(), word], whole(open.iter().filter(is_one).count() as u64))
        });
        let help = "Incidents that go on, by verdict and confidence: high from 0.95, medium from 0.8";
        page.gauges("faultline_incident_open", help, ["verdict", "band"], series)
    }

    fn fleet(&self, page: &Page) -> Result<(), prometheus::Error> {
        let count = |state| whole(self.agents.iter().filter(|agent| agent.state == state).count() as u64);
        let sessions = [("up", SessionState::Up), ("silent", SessionState::Silent), ("goodbye", SessionState::Goodbye)];
        let sessions = sessions.map(|(word, state)| ([word], count(state)));
        let help = "Agents that ever said hello, by session: silent ones did not say goodbye";
        page.gauges("faultline_agents", help, ["session"], sessions)?;
        let put_aside = [
            standing::State::Pending,
            standing::State::Quarantined,
            standing::State::Revoked,
            standing::State::Deleted,
        ];
        let put_aside = put_aside.map(|state| {
            let stands = |agent: &&AgentView| agent.standing.state == state;
            ([state.word()], whole(self.agents.iter().filter(stands).count() as u64))
        });
        let help = "Agents that ever said hello and do not count, by how they stand";
        page.gauges("faultline_agents_put_aside", help, ["standing"], put_aside)?;
        let impaired = Reason::ALL.iter().map(|reason| {
            let has = |agent: &&AgentView| agent.told.impairments.iter().any(|told| word(*told) == reason.as_str());
            ([reason.as_str()], whole(self.agents.iter().filter(has).count() as u64))
        });
        let help = "Connected agents that find something wrong with themselves";
        page.gauges("faultline_agents_impaired", help, ["reason"], impaired)?;
        page.gauge("faultline_sessions_open", "Sessions of agents", whole(self.sessions_open as u64))?;
        let refused = self.agents.iter().map(|agent| agent.told.refused_assignments).sum();
        let help = "Assignments that agents refuse by their own policy";
        page.gauge("faultline_assignments_refused", help, whole(refused))
    }

    fn intake(&self, page: &Page) -> Result<(), prometheus::Error> {
        let TakenCounts { batches, repeated_batches, results, refused_results } = self.taken;
        page.counter("faultline_batches_taken_total", "Batches stored and acknowledged", batches)?;
        let help = "Batches that came again after they were stored";
        page.counter("faultline_batches_repeated_total", help, repeated_batches)?;
        page.counter("faultline_results_taken_total", "Results stored", results)?;
        let help = "Results of stored batches that could not be understood";
        page.counter("faultline_results_refused_total", help, refused_results)?;
        let lost = LOST.map(|(word, to)| {
            let lost = self.agents.iter().filter_map(|agent| agent.lost.results.get(&to).copied());
            ([word], whole(lost.fold(0, u64::saturating_add)))
        });
        let help = "Results that agents made and lost, since the log begins";
        page.gauges("faultline_results_lost", help, ["reason"], lost)?;
        let LookCounts { asked, no_session, not_assigned, queue_full, over_limit } = self.looks;
        let looks = [
            (["asked"], asked),
            (["no_session"], no_session),
            (["not_assigned"], not_assigned),
            (["queue_full"], queue_full),
            (["over_limit"], over_limit),
        ];
        page.counters(
            "faultline_looks_total",
            "Looks that the engine asked for, by what became of them",
            ["fate"],
            looks,
        )
    }

    fn stores(&self, page: &Page) -> Result<(), prometheus::Error> {
        page.gauge("faultline_feed_sequence", "Place of the newest change of the feed", whole(self.board.sequence))?;
        page.gauge("faultline_feed_readers", "Streams of the feed, gRPC and events", whole(self.readers as u64))?;
        let notices = self.board.all_notices().len() as u64;
        page.gauge("faultline_notices", "Things that whoever runs this should know: see the page", whole(notices))?;
        page.gauge("faultline_log_bytes", "Size of the log", whole(self.log_bytes))?;
        let help = "Size beyond which the oldest results leave the log";
        page.gauge("faultline_log_limit_bytes", help, whole(self.log_limit_bytes))?;
        let help = "Whether the log cannot be written: nothing is acknowledged or evaluated";
        page.gauge("faultline_log_full", help, flag(self.board.full_since.is_some()))?;
        let damaged = self.board.damage.records;
        page.gauge("faultline_log_damaged_records", "Records that are damaged and left out", whole(damaged))
    }
}

/// Confidence bands, the same as everywhere, by the least confidence of each.
const BANDS: [(&str, f64); 3] = [("high", 0.95), ("medium", 0.8), ("low", 0.0)];

fn band(confidence: f64) -> &'static str {
    BANDS.iter().find(|(_, least)| confidence >= *least).map_or("low", |(band, _)| band)
}

const LOST: [(&str, LostTo); 4] = [
    ("spool_full", LostTo::FullSpool),
    ("process_died", LostTo::DeadProcess),
    ("spool_damaged", LostTo::DamagedSpool),
    ("unknown", LostTo::Unknown),
];

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

fn seconds(at: Timestamp) -> f64 {
    at.since(Timestamp::default()).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes are below 2^53")]
fn whole(count: u64) -> f64 {
    count as f64
}
