//! From a stored batch to what goes out. Rule: what is no business of a reader's is not copied: agents, addresses, resolvers,
//! routers on the way.

use faultline_attribution::{Timestamp, Vantage};
use faultline_proto::{agent::v1::ResultBatch, convert, measure::v1alpha1::Measurement, types::v1::ProbeResult};
use prost::Message as _;

use super::Batch;
use crate::{
    catalog::Catalog,
    observe::{run::LATE, stamps::Stamps},
};

/// Characters of a vantage's words that go out: an agent may have claimed them itself.
const WORD: usize = 100;

/// The results of a batch, in their order. What cannot be read is left out.
pub(super) fn unpack(batch: &Batch, catalog: &Catalog) -> Vec<Measurement> {
    let Ok(read) = ResultBatch::decode(batch.payload.clone()) else { return Vec::new() };
    let stamps = Stamps::of(&read, batch.received_at);
    let from = seen_from(&batch.vantage);
    let of = |result: &ProbeResult| {
        let id = batch.table.slots.get(&result.slot)?;
        let target = catalog.targets.get(id).map(|held| &held.target);
        let started_at = stamps.began(result).min(batch.received_at);
        let took = result.timings.map_or(0, |timings| timings.total_us);
        let ended_at = Timestamp::from_micros(started_at.micros().saturating_add(took.into()));
        Some(Measurement {
            target: id.to_string(),
            probe: target.map_or("", |target| target.probe.as_str()).to_owned(),
            region: target.map(|target| region(&target.hosted_on, target.region.as_deref())).unwrap_or_default(),
            started_at: Some(convert::timestamp(started_at.micros())),
            received_at: Some(convert::timestamp(batch.received_at.micros())),
            outcome: result.outcome,
            layer: result.layer,
            cause: result.cause,
            reason: result.reason,
            timings: result.timings,
            protocol: result.protocol,
            status: result.status,
            rcode_plus_one: result.rcode_plus_one,
            family: match result.address.len() {
                4 => 4,
                16 => 6,
                _ => 0,
            },
            attempt: result.attempt.max(1),
            on_demand: result.on_demand,
            late: batch.is_backlog || batch.received_at.since(ended_at) > LATE,
            clock_suspect: stamps.is_clock_suspect,
            ..from.clone()
        })
    };
    read.results.iter().filter_map(of).collect()
}

/// Where a target runs: the canonical name of its region, or its cloud alone.
pub(super) fn region(hosted_on: &str, region: Option<&str>) -> String {
    region.map_or_else(|| hosted_on.to_owned(), |region| format!("{hosted_on}/{region}"))
}

/// Who looked, as the page shows it.
fn seen_from(vantage: &Vantage) -> Measurement {
    let cut = |text: &str| text.chars().take(WORD).collect::<String>();
    Measurement {
        vantage_group: cut(&vantage.group),
        vantage_network: cut(&vantage.network()),
        vantage_country: vantage.country.as_deref().map(cut).unwrap_or_default(),
        ..Measurement::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use faultline_proto::types::v1::{Facts, Outcome, Timings};

    use super::*;
    use crate::record::SlotTable;

    #[test]
    fn a_result_goes_out_with_its_target_and_group_and_without_any_address() {
        let row = "[[target]]\nid = \"shop\"\nprobe = \"https\"\nurl = \"https://shop.example/\"\nhosted_on = \"aws\"\nregion = \"us-east-1\"\n";
        let catalog = Catalog::parse("test", row).expect("catalog");
        let result = ProbeResult {
            slot: 7,
            started_at: Some(convert::timestamp(1_000_000)),
            outcome: Outcome::Passed as i32,
            timings: Some(Timings { total_us: 9, ..Timings::default() }),
            address: vec![203, 0, 113, 9],
            last_hop: vec![203, 0, 113, 1],
            facts: 1,
            ..ProbeResult::default()
        };
        let facts = Facts { number: 1, resolver: "203.0.113.53".into(), ..Facts::default() };
        let stranger = ProbeResult { slot: 8, ..result.clone() };
        let read = ResultBatch { facts: vec![facts], results: vec![result, stranger], ..ResultBatch::default() };
        let table = SlotTable { slots: [(7, "shop".into())].into(), ..SlotTable::default() };
        let batch = Batch {
            received_at: Timestamp::from_micros(2_000_000),
            vantage: Vantage { group: "network-1".into(), asn: Some(64_500), ..Vantage::default() },
            table: Arc::new(table),
            is_backlog: false,
            payload: read.encode_to_vec().into(),
        };
        let unpacked = unpack(&batch, &catalog);
        let [one] = unpacked.as_slice() else { panic!("{unpacked:?}") };
        assert_eq!((one.target.as_str(), one.probe.as_str(), one.region.as_str()), ("shop", "https", "aws/us-east-1"));
        assert_eq!((one.vantage_group.as_str(), one.vantage_network.as_str()), ("network-1", "as64500"));
        assert_eq!((one.family, one.attempt, one.late), (4, 1, false));
        let encoded = one.encode_to_vec();
        for kept_back in [&[203, 0, 113][..], b"203.0.113"] {
            assert!(!encoded.windows(kept_back.len()).any(|part| part == kept_back), "{one:?}");
        }
        let backlog = Batch { is_backlog: true, ..batch };
        assert!(unpack(&backlog, &Catalog::default()).iter().all(|one| one.late && one.region.is_empty()));
    }
}
