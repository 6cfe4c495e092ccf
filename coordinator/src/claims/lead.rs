//! Lead: who said it first, we or others.
//!
//! Rules. A claim speaks of an incident if it reports a problem from [`AROUND`] before the onset until as long after its end,
//! and if the regions of both, where both name any, have one in common. Its moment is when it says that it was posted, or
//! when it was seen. A source that reported a problem before that time already counts from its first post within it that
//! shares a region. Nothing here is an input to anything but what people read.

use std::time::Duration;

use faultline_attribution::{Change, Timestamp};
use serde::Serialize;

use super::{Claim, Claims, Stance, Told};

/// What others say this long before an onset, or after an end, may be about the same.
pub const AROUND: Duration = Duration::from_hours(2);

/// What one source said of the time of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lead {
    /// Who said it.
    pub source: String,
    /// Of whom.
    pub about: String,
    /// When.
    pub says_at: Timestamp,
    /// Seconds after our onset; negative before it.
    pub after_onset_s: i64,
    /// Seconds after we named a culprit: how long we were first. Negative where they were; `None` while nobody is named.
    pub after_verdict_s: Option<i64>,
    /// Whether it is the word of the provider itself.
    pub is_official: bool,
    /// Whether it names whom we name.
    pub agrees: bool,
}

/// What the accused cloud's own status page said of an incident; the first, where it has several. `None` where no cloud is
/// accused, and where its page said nothing.
pub fn lead(change: &Change, claims: &Claims) -> Option<Lead> {
    leads(change, claims).into_iter().find(|lead| lead.is_official && lead.agrees)
}

/// What each source said of an incident, the first to say so first.
pub fn leads(change: &Change, claims: &Claims) -> Vec<Lead> {
    let mut leads: Vec<Lead> = claims.all().filter_map(|told| of(change, told)).collect();
    leads.sort_by_key(|lead| lead.says_at);
    leads
}

fn of(change: &Change, told: &Told) -> Option<Lead> {
    let end = change.resolved_at.map_or(Timestamp::from_micros(i64::MAX), |end| end.after(AROUND));
    let window = change.onset_at.before(AROUND)..=end;
    let shares = |claim: &Claim| {
        let both = !claim.regions.is_empty() && !change.regions.is_empty();
        (!both, both && claim.regions.iter().any(|region| change.regions.contains(region)))
    };
    let mut said = told.history().filter(|claim| claim.stance == Stance::ReportsProblem).filter_map(|claim| {
        let (is_open, is_shared) = shares(claim);
        if window.contains(&claim.since) {
            return (is_open || is_shared).then_some((claim.since, claim));
        }
        let posted_at = claim.posted_at.unwrap_or(claim.observed_at);
        (is_shared && window.contains(&posted_at)).then_some((posted_at, claim))
    });
    let (says_at, claim) = said.next()?;
    Some(Lead {
        source: claim.source.clone(),
        about: claim.about.clone(),
        says_at,
        after_onset_s: seconds(says_at, change.onset_at),
        after_verdict_s: change.attributed_at.map(|at| seconds(says_at, at)),
        is_official: claim.is_official(),
        agrees: claim.about == change.verdict.as_str(),
    })
}

/// Whole seconds from `from` to `to`.
fn seconds(to: Timestamp, from: Timestamp) -> i64 {
    to.micros().saturating_sub(from.micros()) / 1_000_000
}
