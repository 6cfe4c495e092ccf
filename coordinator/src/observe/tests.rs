//! Records in, inputs out.

use super::*;

#[test]
fn the_contract_and_the_core_have_the_same_words() {
    let all = |count: i32, word_of: fn(i32) -> Option<String>| (1..count).filter_map(word_of).collect::<Vec<_>>();
    let causes = all(100, |n| wire::Cause::try_from(n).ok().map(word));
    assert_eq!(causes, Cause::ALL.iter().map(|cause| cause.as_str().to_owned()).collect::<Vec<_>>());
    let layers = all(100, |n| wire::Layer::try_from(n).ok().map(word));
    assert_eq!(layers, Layer::ALL.iter().map(|layer| layer.as_str().to_owned()).collect::<Vec<_>>());
    let reasons = all(100, |n| wire::Reason::try_from(n).ok().map(word));
    assert_eq!(reasons, Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect::<Vec<_>>());
}

fn result(slot: u32, outcome: wire::Outcome, facts: u32) -> wire::ProbeResult {
    wire::ProbeResult {
        slot,
        started_at: Some(convert::timestamp(1_000_000)),
        outcome: outcome as i32,
        facts,
        ..wire::ProbeResult::default()
    }
}

fn batch(results: Vec<wire::ProbeResult>, facts: Vec<wire::Facts>) -> Record {
    let batch = ResultBatch { lane: 1, number: 1, facts, results, ..ResultBatch::default() };
    Record {
        kind: RecordKind::Batch,
        received_at: Timestamp::from_micros(3_000_000),
        agent: "fra-1".into(),
        incarnation: vec![1; 16],
        epoch: 1,
        lane: 1,
        number: 1,
        payload: batch.encode_to_vec().into(),
    }
}

fn observer() -> Observer {
    let mut observer = Observer::default();
    let table = SlotTable { version: 1, digest: 0, slots: BTreeMap::from([(7, TargetId::from("shop"))]) };
    let record = Record::own(RecordKind::Assignment, Timestamp::default(), "fra-1", &table);
    observer.observe(&record).expect("reads");
    observer
}

#[test]
fn a_result_names_its_target_by_slot_and_teaches_its_cdn() {
    let facts = wire::Facts { number: 3, cnames: vec!["x.azurefd.net".into()], ..wire::Facts::default() };
    let record = batch(vec![result(7, wire::Outcome::Passed, 3), result(9, wire::Outcome::Passed, 3)], vec![facts]);
    let inputs = observer().observe(&record).expect("reads");
    let [Input::World(WorldChange::Learned(target, learned)), Input::Observation(observation)] = inputs.as_slice()
    else {
        panic!("{inputs:?}")
    };
    assert_eq!((target.as_str(), learned.cdn.as_deref()), ("shop", Some("azure/front-door")));
    assert_eq!(observation.target.as_str(), "shop");
}

#[test]
fn a_batch_that_was_sealed_after_it_arrived_comes_from_a_suspect_clock() {
    for (sealed_s, expected) in [(None, false), (Some(1), false), (Some(4), false), (Some(6), true)] {
        let sealed_at = sealed_s.map(|seconds| convert::timestamp(seconds * 1_000_000));
        let results = vec![result(7, wire::Outcome::Passed, 0)];
        let sealed = ResultBatch { lane: 1, number: 1, results, sealed_at, ..ResultBatch::default() };
        let record = Record { payload: sealed.encode_to_vec().into(), ..batch(Vec::new(), Vec::new()) };
        let inputs = observer().observe(&record).expect("reads");
        let [Input::Observation(observation)] = inputs.as_slice() else { panic!("{inputs:?}") };
        assert_eq!(observation.is_clock_suspect, expected, "sealed at {sealed_s:?} s, arrived at 3 s");
    }
}

#[test]
fn facts_of_another_incarnation_mean_nothing() {
    let mut observer = observer();
    let facts = wire::Facts { number: 3, cnames: vec!["x.azurefd.net".into()], ..wire::Facts::default() };
    observer.observe(&batch(Vec::new(), vec![facts])).expect("reads");
    let mut later = batch(vec![result(7, wire::Outcome::Passed, 3)], Vec::new());
    later.incarnation = vec![2; 16];
    let inputs = observer.observe(&later).expect("reads");
    assert!(matches!(inputs.as_slice(), [Input::Observation(_)]), "{inputs:?}");
}

#[test]
fn a_result_that_contradicts_itself_has_no_outcome() {
    let mut failed = result(7, wire::Outcome::Failed, 0);
    assert_eq!(outcome(&failed), None, "failed without a layer");
    failed.layer = wire::Layer::Dns as i32;
    failed.cause = wire::Cause::DnsTimeout as i32;
    assert_eq!(outcome(&failed), Some(Outcome::Failed { layer: Layer::Dns, cause: Cause::DnsTimeout }));
    failed.outcome = wire::Outcome::Passed as i32;
    assert_eq!(outcome(&failed), None, "passed with a cause");
}

#[test]
fn a_question_to_the_operators_own_server_is_of_one_way_however_it_ends() {
    let mut observer = observer();
    let text = "[[target]]\nid = \"shop\"\nprobe = \"dns\"\nurl = \"dns://ns-300.awsdns-37.com/amazonaws.com?type=SOA\"\n\
                hosted_on = \"aws\"\nservice = \"route53\"\ndns_operator = \"route53\"\nowner = \"amazon\"\n";
    observer.catalog(crate::catalog::Catalog::parse("c", text).expect("catalog").world());
    let server = "ns-300.awsdns-37.com";
    let facts = wire::Facts { number: 3, resolver: server.into(), ..wire::Facts::default() };
    let failed = wire::ProbeResult {
        layer: wire::Layer::Dns as i32,
        cause: wire::Cause::DnsTimeout as i32,
        ..result(7, wire::Outcome::Failed, 3)
    };
    let record = batch(vec![failed, result(7, wire::Outcome::Passed, 3)], vec![facts]);
    let inputs = observer.observe(&record).expect("reads");
    let ways: Vec<_> = inputs
        .iter()
        .filter_map(|input| if let Input::Observation(seen) = input { Some(&seen.way) } else { None })
        .collect();
    let authority = faultline_attribution::Way::Authority(server.into());
    assert_eq!(ways, [&authority, &authority]);
}

#[test]
fn published_ranges_tell_where_the_answering_address_is_hosted() {
    let list =
        r#"{"createDate": "1", "prefixes": [{"ip_prefix": "3.0.0.0/15", "region": "us-east-1", "service": "EC2"}]}"#;
    let ranges = Ranges::parse([(crate::ranges::Document::Aws, "", list)]).expect("ranges");
    let from = wire::ProbeResult { address: vec![3, 0, 1, 1], ..result(7, wire::Outcome::Passed, 0) };
    let mut observer = observer();
    let first = observer.observe(&batch(vec![from.clone()], Vec::new())).expect("reads");
    assert!(matches!(first.as_slice(), [Input::Observation(_)]), "no ranges are in force: {first:?}");

    let record = Record::ranges(Timestamp::default(), ranges.to_bytes());
    let inputs = observer.observe(&record).expect("reads");
    let [Input::World(WorldChange::Learned(target, learned))] = inputs.as_slice() else { panic!("{inputs:?}") };
    assert_eq!((target.as_str(), learned.hosted_on.as_deref()), ("shop", Some("aws")));
    assert_eq!(learned.region.as_deref(), Some("us-east-1"));
    let again = observer.observe(&batch(vec![from], Vec::new())).expect("reads");
    assert!(matches!(again.as_slice(), [Input::Observation(_)]), "{again:?}");
    assert!(observer.observe(&Record::ranges(Timestamp::default(), vec![1])).is_err());
}
