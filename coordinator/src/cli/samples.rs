//! What the tests of commands show: one incident of the field, in the wire's form and in the core's.

use faultline_attribution::Change;
use faultline_proto::types::v1 as wire;

use crate::feed::convert;

const CHANGE: &str = r#"{"type":"incident","at":"2025-10-29T15:42:20Z","incident":"inc-20251029T154113Z-1","revision":2,
    "state":"attributed","verdict":"azure","kind":"","element":"azure/front-door","element_kind":"cdn",
    "confidence":0.981,"probabilities":{"aws":0.001,"azure":0.981,"neither":0.012,"none":0.006},
    "onset_at":"2025-10-29T15:41:04Z","onset_uncertainty_s":20.5,"regions":[],"layer":"connect","failing_groups":41,
    "total_groups":44,"control_failing_groups":0,"headline":"Azure Front Door is failing for 41 of 44 vantage groups",
    "suspects":[],"evidence":[{"group":"hetzner-de","target":"air","layer":"connect","cause":"connect_timeout","failed":9,
    "runs":10,"weight":6.1}],"alibis":[{"party":"aws","layer":"connect","passed":90,"runs":90,"groups":30,"nats":112.5}],
    "undetermined_reason":"","superseded_by":"","caveats":["Nobody looks from South America."],
    "opened_at":"2025-10-29T15:41:13Z","attributed_at":"2025-10-29T15:42:20Z","resolved_at":null,"engine":1}"#;

/// An attributed incident.
pub(super) fn change() -> Change {
    serde_json::from_str(CHANGE).expect("a change")
}

/// The same as it comes over the wire.
pub(super) fn incident() -> wire::Incident {
    convert::incident(&change())
}
