//! Planned work as Statuspage's scheduled maintenances.
//!
//! Rule: what was called off is `completed`, since Statuspage has no word for it, and its last update says so.

use serde_json::{Value, json};

use super::{Base, Change, Picture, Row, component};
use crate::{
    feed::filter,
    work::{PlannedWork, Stage},
};

/// Maintenances that are listed, those that begin last.
const SHOWN: usize = 50;

/// Which of them a document lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    All,
    Upcoming,
    Active,
    /// Those to come, and those that go on.
    Near,
}

impl Which {
    const fn has(self, stage: Stage) -> bool {
        match self {
            Self::All => true,
            Self::Upcoming => matches!(stage, Stage::Scheduled),
            Self::Active => matches!(stage, Stage::InProgress),
            Self::Near => matches!(stage, Stage::Scheduled | Stage::InProgress),
        }
    }
}

/// The list, the last to begin first.
pub(super) fn maintenances(picture: &Picture<'_>, base: &Base, which: Which) -> Value {
    let (rows, open) = (picture.rows(), picture.board.open());
    let all = picture.board.work.all();
    let listed = all.into_iter().rev().filter(|work| which.has(work.stage(picture.now))).take(SHOWN);
    listed.map(|work| maintenance(picture, base, &rows, &open, work)).collect()
}

fn maintenance(picture: &Picture<'_>, base: &Base, rows: &[Row<'_>], open: &[&Change], work: &PlannedWork) -> Value {
    let (stage, page_id) = (work.stage(picture.now), &picture.board.feed_id);
    let status = if stage == Stage::Cancelled { Stage::Completed } else { stage };
    let names = |name: &str| work.elements.iter().any(|element| filter::overlap(element, name));
    let touched: Vec<_> = rows.iter().filter(|row| names(&format!("{}/{}", row.provider, row.region))).collect();
    let components: Vec<_> =
        touched.into_iter().zip(1..).map(|(row, position)| component(row, open, rows, page_id, position)).collect();
    let link = if work.link.is_empty() { format!("{base}/") } else { work.link.clone() };
    json!({
        "id": work.id,
        "name": work.text,
        "status": status,
        "created_at": work.announced_at,
        "updated_at": work.cancelled_at.unwrap_or(work.announced_at),
        "monitoring_at": null,
        "resolved_at": matches!(stage, Stage::Completed | Stage::Cancelled).then(|| work.over_at()),
        "impact": "maintenance",
        "shortlink": link,
        "started_at": work.starts_at,
        "page_id": page_id,
        "incident_updates": updates(work),
        "components": components,
        "scheduled_for": work.starts_at,
        "scheduled_until": work.ends_at,
        "reminder_intervals": null,
        "faultline": {"stage": stage, "elements": work.elements},
    })
}

/// What was said of it, the newest first.
fn updates(work: &PlannedWork) -> Vec<Value> {
    let update = |n: u32, status: Stage, body: String, at| {
        json!({
            "id": format!("{}.{n}", work.id),
            "status": status,
            "body": body,
            "incident_id": work.id,
            "created_at": at,
            "updated_at": at,
            "display_at": at,
            "affected_components": null,
            "deliver_notifications": false,
            "custom_tweet": null,
            "tweet_id": null,
        })
    };
    let off =
        work.cancelled_at.map(|at| update(2, Stage::Completed, format!("Called off: {}", work.cancel_reason), at));
    off.into_iter().chain([update(1, Stage::Scheduled, work.text.clone(), work.announced_at)]).collect()
}
