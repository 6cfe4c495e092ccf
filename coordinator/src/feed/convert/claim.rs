//! Claims, to the wire and back.

use faultline_attribution::Timestamp;
use faultline_proto::{convert, types::v1 as wire};

use crate::claims::{Claim, Crowd, Stance, Told, text};

/// A claim.
pub fn claim(claim: &Claim) -> wire::Claim {
    let at = |at: Timestamp| convert::timestamp(at.micros());
    let stance = match claim.stance {
        Stance::ReportsProblem => wire::Stance::ReportsProblem,
        Stance::NothingPosted => wire::Stance::NothingPosted,
        Stance::Unreachable => wire::Stance::Unreachable,
        Stance::Unparseable => wire::Stance::Unparseable,
    };
    wire::Claim {
        source: claim.source.clone(),
        about: claim.about.clone(),
        stance: stance as i32,
        since: Some(at(claim.since)),
        observed_at: Some(at(claim.observed_at)),
        posted_at: claim.posted_at.map(at),
        text: claim.text.clone(),
        link: claim.link.clone(),
        regions: claim.regions.clone(),
        reason: claim.reason.clone(),
        crowd: claim.crowd.map(crowd),
        checked_at: None,
    }
}

/// What a source says, how large its crowd is by now, and when it was last checked.
pub fn told(told: &Told) -> wire::Claim {
    wire::Claim {
        checked_at: told.checked_at.map(|at| convert::timestamp(at.micros())),
        crowd: told.crowd.map(crowd),
        ..claim(told.newest())
    }
}

fn crowd(crowd: Crowd) -> wire::Crowd {
    wire::Crowd { count: crowd.count, baseline: crowd.baseline, window_s: crowd.window_s.unwrap_or_default() }
}

/// The claim as the coordinator has it. `None` when a value is missing or of a later build.
pub fn claimed(claim: &wire::Claim) -> Option<Claim> {
    let at = |at: Option<&prost_types::Timestamp>| convert::micros(at).map(Timestamp::from_micros);
    let stance = match claim.stance() {
        wire::Stance::ReportsProblem => Stance::ReportsProblem,
        wire::Stance::NothingPosted => Stance::NothingPosted,
        wire::Stance::Unreachable => Stance::Unreachable,
        wire::Stance::Unparseable => Stance::Unparseable,
        wire::Stance::Unspecified => return None,
    };
    let crowd = claim.crowd.as_ref().map(|crowd| Crowd {
        count: crowd.count,
        baseline: crowd.baseline,
        window_s: (crowd.window_s > 0).then_some(crowd.window_s),
    });
    Some(Claim {
        source: claim.source.clone(),
        about: claim.about.clone(),
        stance,
        since: at(claim.since.as_ref())?,
        observed_at: at(claim.observed_at.as_ref())?,
        posted_at: at(claim.posted_at.as_ref()),
        text: claim.text.clone(),
        link: text::link(&claim.link),
        regions: claim.regions.clone(),
        reason: claim.reason.clone(),
        crowd,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_survives_the_wire_whatever_its_stance() {
        let at = Timestamp::from_micros(1_761_752_640_000_000);
        for stance in [Stance::ReportsProblem, Stance::NothingPosted, Stance::Unreachable, Stance::Unparseable] {
            let before = Claim {
                source: "crowd".into(),
                about: "aws".into(),
                stance,
                since: at,
                observed_at: Timestamp::from_micros(at.micros() + 5),
                posted_at: Some(at),
                text: "text".into(),
                link: "https://example.org/".into(),
                regions: vec!["aws/us-east-1".into()],
                reason: "why".into(),
                crowd: Some(Crowd { count: 6025, baseline: 8, window_s: Some(900) }),
            };
            let wire = claim(&before);
            assert_eq!(convert::word(wire.stance()), stance.as_str());
            assert_eq!(claimed(&wire), Some(before));
        }
        assert_eq!(claimed(&wire::Claim::default()), None);
    }
}
