//! Planned work, to the wire and back.

use faultline_attribution::Timestamp;
use faultline_proto::{convert, types::v1 as wire};

use crate::{claims::text, work::PlannedWork};

/// Planned work.
pub fn work(work: &PlannedWork) -> wire::PlannedWork {
    let at = |at: Timestamp| convert::timestamp(at.micros());
    wire::PlannedWork {
        id: work.id.clone(),
        announced_at: Some(at(work.announced_at)),
        starts_at: Some(at(work.starts_at)),
        ends_at: Some(at(work.ends_at)),
        text: work.text.clone(),
        link: work.link.clone(),
        elements: work.elements.clone(),
        cancelled_at: work.cancelled_at.map(at),
        cancel_reason: work.cancel_reason.clone(),
    }
}

/// Planned work as the coordinator has it. `None` when a time is missing.
pub fn planned(work: &wire::PlannedWork) -> Option<PlannedWork> {
    let at = |at: Option<&prost_types::Timestamp>| convert::micros(at).map(Timestamp::from_micros);
    Some(PlannedWork {
        id: work.id.clone(),
        announced_at: at(work.announced_at.as_ref())?,
        starts_at: at(work.starts_at.as_ref())?,
        ends_at: at(work.ends_at.as_ref())?,
        text: work.text.clone(),
        link: text::link(&work.link),
        elements: work.elements.clone(),
        cancelled_at: at(work.cancelled_at.as_ref()),
        cancel_reason: work.cancel_reason.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_another_coordinator_leads_to_the_web_or_nowhere() {
        let told = |link: &str| {
            let at = Some(convert::timestamp(1));
            let told = wire::PlannedWork {
                link: link.into(),
                announced_at: at,
                starts_at: at,
                ends_at: at,
                ..Default::default()
            };
            planned(&told).expect("work").link
        };
        assert_eq!(told("https://example.org/17"), "https://example.org/17");
        assert_eq!(told("javascript:alert(1)"), "");
    }
}
