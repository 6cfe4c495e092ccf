//! What passes a filter and what touches an element, as rows; and which filters are refused.

use faultline_attribution::{CellChange, CellState, Layer, State, Suspect, Timestamp, Visibility};

use super::*;

const LINE: &str = r#"{"type":"incident","at":"2025-10-29T15:42:20Z","incident":"inc-20251029T154113Z-1","revision":1,
    "state":"attributed","verdict":"aws","kind":"","element":"aws/us-east-1","element_kind":"region","confidence":0.981,
    "probabilities":{"aws":0.981,"azure":0.0,"neither":0.01,"none":0.009},"onset_at":"2025-10-29T15:41:04Z",
    "onset_uncertainty_s":20.5,"regions":[],"layer":"connect","failing_groups":4,"total_groups":4,
    "control_failing_groups":0,"headline":"","suspects":[],"evidence":[],"alibis":[],"undetermined_reason":"",
    "superseded_by":"","caveats":[],"opened_at":"2025-10-29T15:42:00Z","attributed_at":null,"resolved_at":null,
    "engine":1}"#;

pub(in crate::feed) fn incident(revision: u64, state: State) -> Change {
    Change { revision, state, ..serde_json::from_str(LINE).expect("a change") }
}

fn asked(change: impl FnOnce(&mut wire::FeedFilter)) -> wire::FeedFilter {
    let mut filter = wire::FeedFilter::default();
    change(&mut filter);
    filter
}

fn filter(change: impl FnOnce(&mut wire::FeedFilter)) -> Filter {
    Filter::of(Some(&asked(change))).expect("a filter")
}

fn cell(provider: &str, region: &str) -> Published {
    Published::Cell(CellChange {
        provider: provider.into(),
        region: region.into(),
        layer: Layer::Dns,
        state: CellState::Ok,
        failing_groups: 0,
        total_groups: 3,
        changed_at: Timestamp::default(),
    })
}

#[test]
fn an_element_touches_itself_its_parts_and_what_it_is_part_of() {
    let rows = [
        ("aws/us-east-1", "aws/us-east-1", true),
        ("aws/us-east-1", "aws/us-east-1/dynamodb", true),
        ("aws/us-east-1/dynamodb", "aws/us-east-1", true),
        ("aws", "aws/us-east-1", true),
        ("aws/*", "aws/us-east-1", true),
        ("aws/us-east-1", "aws/*/s3", true),
        ("aws/us-east-1/s3", "aws/*/dynamodb", false),
        ("aws/us-east-1", "aws/us-east-2", false),
        ("aws/us-east-1", "aws/us-east-10", false),
        ("aws", "azure/eastus", false),
        ("aws/us-east-1", "as3356~aws/us-east-1", true),
        ("as3356", "as3356~aws/us-east-1", true),
        ("as3356~aws/us-east-1", "as3356~aws/us-east-1", true),
        ("as3356~aws/us-east-1", "as1299~aws/us-east-1", false),
        ("as3356~aws/us-east-1", "aws/us-east-1", false),
    ];
    for (wanted, element, overlaps) in rows {
        assert_eq!(overlap(wanted, element), overlaps, "{wanted} and {element}");
    }
}

#[test]
fn an_incident_is_touched_by_its_culprit_its_regions_its_suspects_and_its_network() {
    let mut change = incident(1, State::Attributed);
    change.element = "azure/front-door".into();
    assert!(touches("azure/front-door", &change) && !touches("azure/eastus", &change));
    change.regions = vec!["azure/eastus".into()];
    assert!(touches("azure/eastus", &change) && !touches("azure/westus", &change));
    change.regions.clear();
    (change.element, change.element_kind) = ("azure/network/eu".into(), Some(ElementKind::Network));
    assert!(touches("azure/westeurope", &change) && !touches("aws/eu-west-1", &change));
    (change.element, change.element_kind) = (String::new(), None);
    change.suspects = vec![Suspect { element: "cdn/fastly".into(), probability: 0.5 }];
    assert!(touches("cdn/fastly", &change) && !touches("azure/eastus", &change));
}

#[test]
fn an_incident_that_passed_once_is_told_to_its_end() {
    let mut sieve = Sieve::new(filter(|filter| filter.verdicts = vec![types::Verdict::Aws as i32]));
    let mut change = incident(1, State::Suspected);
    change.verdict = Verdict::Undetermined;
    let publish = |change: &Change| Published::Incident(Box::new(change.clone()));
    assert!(!sieve.passes(&publish(&change), |_| false), "not accused yet");
    (change.revision, change.verdict) = (2, Verdict::Aws);
    assert!(sieve.passes(&publish(&change), |_| false));
    (change.revision, change.verdict, change.state) = (3, Verdict::Neither, State::Retracted);
    assert!(sieve.passes(&publish(&change), |_| false), "who heard the accusation hears that it was wrong");
    let mut resumed = Sieve::new(sieve.filter().clone());
    assert!(resumed.passes(&publish(&change), |_| true), "also on a stream that was not there");
    let mut other = Sieve::new(sieve.filter().clone());
    assert!(!other.passes(&publish(&change), |_| false));
}

#[test]
fn a_field_holds_back_only_what_it_speaks_of() {
    let aws = filter(|filter| filter.verdicts = vec![types::Verdict::Aws as i32]);
    let mut sieve = Sieve::new(aws);
    assert!(sieve.passes(&cell("aws", "us-east-1"), |_| false));
    assert!(!sieve.passes(&cell("azure", "eastus"), |_| false));
    assert!(sieve.passes(&Published::Visibility(Visibility::default()), |_| false), "sight is for all");
    let sure = filter(|filter| filter.min_band = wire::ConfidenceBand::High as i32);
    let mut change = incident(1, State::Attributed);
    change.confidence = 0.949;
    assert!(!sure.passes_incident(&change));
    change.confidence = 0.95;
    assert!(sure.passes_incident(&change));
    assert!(sure.passes_cell("aws", "us-east-1"), "a cell has no confidence");
    let cells = filter(|filter| filter.kinds = vec![wire::ChangeKind::Cell as i32]);
    assert!(!cells.passes_incident(&change) && cells.passes_cell("aws", "us-east-1"));
    let region = filter(|filter| filter.elements = vec!["aws/us-east-1/dynamodb".into(), "azure/*".into()]);
    let passes = ["aws/us-east-1", "aws/us-east-2", "azure/eastus"].map(|cell| {
        let (provider, region_name) = cell.split_once('/').expect("two parts");
        region.passes_cell(provider, region_name)
    });
    assert_eq!(passes, [true, false, true]);
}

#[test]
fn a_filter_that_means_nothing_is_refused_with_its_field() {
    let rows = [
        (asked(|filter| filter.verdicts = vec![0]), "filter.verdicts[0]: 0 is no verdict"),
        (asked(|filter| filter.verdicts = vec![1, 99]), "filter.verdicts[1]: 99 is no verdict"),
        (asked(|filter| filter.kinds = vec![0]), "filter.kinds[0]: 0 is no kind of change"),
        (asked(|filter| filter.min_band = 7), "filter.min_band: 7 is no band"),
        (asked(|filter| filter.elements = vec!["aws".into(); 101]), "filter.elements: more than 100 values"),
        (asked(|filter| filter.elements = vec!["aws//s3".into()]), "filter.elements[0]: an element has no empty part"),
        (asked(|filter| filter.elements = vec!["a".repeat(201)]), "filter.elements[0]: longer than 200 bytes"),
        (asked(|filter| filter.elements = vec!["aws\n".into()]), "filter.elements[0]: an element has no control"),
    ];
    for (asked, why) in rows {
        let error = Filter::of(Some(&asked)).expect_err(why).to_string();
        assert!(error.starts_with(why), "{error}");
    }
    let spaced = filter(|filter| filter.elements = vec!["ca/Amazon RSA 2048 M02".into()]);
    assert!(!spaced.is_open(), "a certificate authority's name may have spaces");
    assert!(Filter::of(None).expect("open").is_open());
}
