//! What the lab's own fleet and catalog can tell apart: a scenario can only be judged where its truth can be seen.

use std::collections::BTreeMap;

use faultline_attribution::{
    Learned, TargetId, Way,
    identifiability::{self, Lack, Pair, Report},
};
use faultline_coordinator::observe::run;
use faultline_lab::world::{Probe, Target, World};

#[test]
fn the_lab_tells_every_pair_of_different_verdicts_apart_by_what_it_is_told() {
    let report = report(&World::standard(), &BTreeMap::new());
    assert!(report.serious.is_empty(), "{}", listed(&report));
}

#[test]
fn the_lab_tells_every_pair_of_different_verdicts_apart_by_what_probes_see_too() {
    let world = World::standard();
    let report = report(&world, &seen(&world));
    assert!(report.serious.is_empty(), "{}", listed(&report));
}

#[test]
fn the_lab_has_a_quorum_and_reaches_whatever_its_catalog_names() {
    let report = report(&World::standard(), &BTreeMap::new());
    let unobserved: Vec<_> = report.gaps.iter().filter(|gap| gap.lack == Lack::Unobserved).collect();
    assert_eq!(report.below_quorum, None);
    assert!(unobserved.is_empty(), "{unobserved:?}");
}

fn report(world: &World, learned: &BTreeMap<TargetId, Learned>) -> Report {
    let told = world.told();
    let way = |id: &TargetId| match world.target(id.as_str()) {
        // The operator's own server is asked by its address, as the lab's catalog says; a coordinator makes this of it.
        Some(target @ Target { probe: Probe::Dns { is_direct: true, .. }, .. }) => {
            let server = target.dns_operator().and_then(|operator| world.operator(operator)).expect("an operator");
            run::way(&format!("{}:20443", server.address), told.targets.get(id))
        }
        _ => Way::System,
    };
    identifiability::report_where(&told, learned, |_, target| Some(way(target)))
}

/// The CDN of each target, told or not.
fn seen(world: &World) -> BTreeMap<TargetId, Learned> {
    let seen = |target: &Target| Learned { cdn: target.cdn.clone(), ..Learned::default() };
    world.targets.iter().map(|target| (target.id.as_str().into(), seen(target))).collect()
}

fn listed(report: &Report) -> String {
    let row = |pair: &Pair| {
        let add = pair.separated_by.iter().map(|n| report.additions[*n].text.as_str()).collect::<Vec<_>>().join(", ");
        format!("{} = {} at {:?}: add {add}", pair.one.name, pair.other.name, pair.layers)
    };
    report.serious.iter().map(row).collect::<Vec<_>>().join("\n")
}
