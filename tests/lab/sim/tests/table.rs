//! Every scenario, played as observations on one seed.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use faultline_attribution::{Engine, Output, Settings, State, Verdict as Told};

use super::*;
use crate::scenario::{Way, built_in};

/// From the last onset of a scenario, what is played here: verdicts come in that time or not at all.
const PATIENCE: Duration = Duration::from_mins(1);

/// Prints who is accused of what in each scenario, and how soon. Only one thing is asserted here: no cloud is accused that
/// the truth does not name. How good the answers are is for the bench to say.
#[test]
fn no_cloud_is_wrongly_accused_in_any_scenario() {
    let scenarios = built_in(&World::standard()).expect("all read");
    let scenarios: Vec<Scenario> =
        scenarios.into_iter().filter(|scenario| scenario.can_be_played_as(Way::Observations)).map(cut).collect();
    let (next, played) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = row(scenario);
                    say(&row.1);
                    played.lock().expect("no thread has panicked").push(row);
                }
            });
        }
    });
    let rows = played.into_inner().expect("no thread has panicked");
    let wrong: Vec<&String> = rows.iter().flat_map(|(.., wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[expect(clippy::print_stdout, reason = "the table is what this test is run by hand for")]
fn say(row: &str) {
    print!("{row}");
}

/// The scenario until a while after the last thing that happens in it, in the standard world, and without the usual noise:
/// what a minute of an unoptimised build can judge. The bench plays the whole of it.
fn cut(scenario: Scenario) -> Scenario {
    let breaks = scenario.breaks.iter().map(|broken| broken.at);
    let silences = scenario.silences.iter().map(|silence| silence.at);
    let last = breaks.chain(silences).max().unwrap_or_default();
    let noise = if scenario.noise == Noise::Typical { Noise::Calm } else { scenario.noise };
    let agents = scenario.agents.min(World::standard().agents.len());
    Scenario { run: scenario.run.min(last + PATIENCE), noise, agents, targets: 0, ..scenario }
}

/// Id, what was said of it, and clouds that were accused wrongly.
fn row(scenario: &Scenario) -> (String, String, Vec<String>) {
    let began = std::time::Instant::now();
    let case = case(&scenario.world(1), scenario, 1);
    let made = began.elapsed();
    let said = drive(&case, Engine::new(case.world.clone(), Settings::default()));
    let driven = began.elapsed().saturating_sub(made);
    let truth: Vec<String> = case
        .truth
        .iter()
        .map(|truth| {
            let words = [truth.kinds.first(), truth.elements.first()];
            let words = words.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
            format!("{} {words}", truth.verdict.word())
        })
        .collect();
    let truth = if truth.is_empty() { "nothing".into() } else { truth.join("; ") };
    let mut row = format!("{:40} {truth}  ({made:.1?} made, {driven:.1?} judged)\n", scenario.id);
    let (mut accused, mut wrong) = (BTreeSet::new(), Vec::new());
    for (now, output) in &said {
        let Output::Change(change) = output else { continue };
        let is_accusation = change.verdict != Told::Undetermined && change.state != State::Retracted;
        if !is_accusation || !accused.insert((change.verdict.as_str(), change.element.clone())) {
            continue;
        }
        let onset = case.truth.first().map_or(case.start.after(WARM_UP), |truth| truth.onset);
        let kind = change.kind.map_or("", |kind| kind.as_str());
        let (verdict, element, after) = (change.verdict.as_str(), &change.element, now.since(onset).as_secs());
        writeln!(row, "{:44}{verdict} {kind} {element} +{after} s", "").expect("a string takes all");
        if verdict != "neither" && !case.truth.iter().any(|truth| truth.verdict.word() == verdict) {
            wrong.push(format!("{}: {verdict} {element}", scenario.id));
        }
    }
    (scenario.id.clone(), row, wrong)
}
