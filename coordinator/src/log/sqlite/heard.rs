//! Heard: what a log tells of each agent without its batches being read: the newest session, the newest place, and when its newest
//! record came.

use std::collections::BTreeMap;

use faultline_attribution::{SessionState, Timestamp, Vantage};
use rusqlite::Connection;

use super::read::{COLUMNS, record};
use crate::record::{RecordKind, SessionRecord};

/// What a log tells of an agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// What became of its newest session, and since when; `None` if it never had one.
    pub session: Option<(SessionState, Timestamp)>,
    /// When its newest record came that is still there.
    pub at: Option<Timestamp>,
    /// Where it looks from.
    pub vantage: Option<Vantage>,
}

/// What the log tells of each agent, by name. Records that are damaged tell nothing.
pub(super) fn heard(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Heard>> {
    let mut heard: BTreeMap<String, Heard> = BTreeMap::new();
    let (session, vantage) = (RecordKind::Session as u8, RecordKind::Vantage as u8);
    // Said as the index says it, or it would not be used.
    let sql = format!(
        "SELECT {COLUMNS} FROM record WHERE kind NOT IN (1, 5) AND kind IN ({session}, {vantage}) ORDER BY cursor"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let record = record(row);
        match record.kind {
            RecordKind::Session => {
                let Ok(SessionRecord { state, since }) = record.content() else { continue };
                let agent = heard.entry(record.agent).or_default();
                agent.session = Some((state, since));
                // For silence that is when it was last heard of.
                let spoke_at = if state == SessionState::Silent { since } else { record.received_at };
                agent.at = agent.at.max(Some(spoke_at));
            }
            RecordKind::Vantage => {
                let Ok(vantage) = record.vantage() else { continue };
                heard.entry(record.agent).or_default().vantage = Some(vantage);
            }
            _ => {}
        }
    }
    let sql =
        "SELECT admitted.agent, MAX(record.received_at) FROM admitted JOIN record ON record.cursor = admitted.last
               GROUP BY admitted.agent";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (agent, at): (String, i64) = (row.get(0)?, row.get(1)?);
        let agent = heard.entry(agent).or_default();
        agent.at = agent.at.max(Some(Timestamp::from_micros(at)));
    }
    Ok(heard)
}
