//! What tests of the feed and of reports look at: 29 October 2025 as it was published.

use std::time::Duration;

use faultline_attribution::{
    Alibi, Cause, Change, ElementKind, EvidenceRow, IncidentId, Layer, Probabilities, State, Timestamp, Verdict,
    change::RecordType,
};

/// When Front Door broke: 2025-10-29T15:41:04Z.
pub(crate) const ONSET: Timestamp = Timestamp::from_micros(1_761_752_464_000_000);

/// The moment at which tests look: 2025-10-29T15:44:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_761_752_640_000_000);

/// The accusation: Azure Front Door.
pub(crate) fn front_door() -> Change {
    Change {
        r#type: RecordType::Incident,
        at: NOW,
        incident: IncidentId::from("inc-20251029T154113Z-1".to_owned()),
        revision: 2,
        state: State::Attributed,
        verdict: Verdict::Azure,
        kind: None,
        element: "azure/front-door".into(),
        element_kind: Some(ElementKind::Cdn),
        confidence: 0.981,
        probabilities: Probabilities { aws: 0.001, azure: 0.981, neither: 0.012, none: 0.006 },
        onset_at: ONSET,
        onset_uncertainty_s: 20.0,
        regions: Vec::new(),
        layer: Layer::Connect,
        failing_groups: 16,
        total_groups: 16,
        control_failing_groups: 0,
        headline:
            "Azure Front Door is failing: connections time out from 16 of 16 vantage groups. AWS is not affected."
                .into(),
        suspects: Vec::new(),
        evidence: vec![EvidenceRow {
            group: "mad-1".into(),
            target: "azure/front-door/portal".into(),
            layer: Layer::Connect,
            cause: Some(Cause::ConnectTimeout),
            failed: 8,
            runs: 8,
            weight: 14.2,
        }],
        alibis: vec![Alibi {
            party: "aws".into(),
            layer: Layer::Connect,
            passed: 121,
            runs: 121,
            groups: 16,
            nats: 96.24,
        }],
        undetermined_reason: String::new(),
        superseded_by: String::new(),
        caveats: vec!["it could also be Azure eastus (3 %)".into()],
        opened_at: ONSET.after(Duration::from_secs(9)),
        attributed_at: Some(ONSET.after(Duration::from_secs(12))),
        resolved_at: None,
        engine: 1,
        notes: Vec::new(),
        retraction_reason: String::new(),
    }
}
