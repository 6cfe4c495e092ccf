//! What people say of incidents: told, and no input to a verdict; what is taken back stays so.

use super::*;
use crate::MAX_NOTES;

fn front_door(
    _: &AgentId,
    _: &crate::Vantage,
    id: &TargetId,
    target: &crate::Target,
    at: u64,
) -> Option<(Layer, Cause)> {
    let is_hit = cdn_of(id, target).as_deref() == Some("azure/front-door") && !at.is_multiple_of(20);
    is_hit.then_some((Layer::Connect, Cause::ConnectTimeout))
}

fn say(sim: &mut Sim, of: &Change, saying: Saying) {
    sim.engine.apply(&Input::Remark(Box::new(Remark { of: of.clone(), saying })));
}

fn retraction() -> Saying {
    Saying::Retraction { reason: "Our own firewall dropped it.".into() }
}

fn note(text: &str) -> Saying {
    Saying::Note { text: text.into(), link: "https://example.org/".into() }
}

/// Front Door fails, and is named.
fn named() -> (Sim, Change) {
    let mut sim = Sim::new();
    sim.healthy(90).run(40, &front_door);
    assert_eq!(sim.accusations(), [(Verdict::Azure, None, "azure/front-door".into())], "{:#?}", sim.changes);
    let newest = sim.changes.last().expect("a change").clone();
    (sim, newest)
}

/// The life of incidents, without their numbers.
fn lives(sim: &Sim) -> Vec<(IncidentId, State, Verdict, String, Timestamp)> {
    let of = |change: &Change| (change.incident.clone(), change.state, change.verdict, change.element.clone());
    let mut lives: Vec<_> = sim.changes.iter().map(|change| (of(change), change.at)).collect();
    lives.dedup_by(|later, before| later.0 == before.0);
    lives.into_iter().map(|((incident, state, verdict, element), at)| (incident, state, verdict, element, at)).collect()
}

#[test]
fn a_note_changes_nothing_but_what_is_told() {
    let (mut plain, _) = named();
    let (mut noted, newest) = named();
    for n in 0..MAX_NOTES + 3 {
        say(&mut noted, &newest, note(&format!("note {n}")));
        noted.run(2, &front_door);
        plain.run(2, &front_door);
    }
    for sim in [&mut plain, &mut noted] {
        sim.healthy(200);
    }
    let last = noted.changes.last().expect("a change");
    assert_eq!((last.state, last.notes.len()), (State::Resolved, MAX_NOTES));
    assert!(last.notes.iter().enumerate().all(|(n, note)| note.text == format!("note {n}")), "{:?}", last.notes);
    assert_eq!(lives(&noted), lives(&plain));
    assert_eq!((noted.cells, noted.visibility), (plain.cells, plain.visibility));
    // It is told of what is over too, and lays nothing aside.
    let over = noted.changes.last().expect("a change").clone();
    let revisions: Vec<u64> = noted.changes.iter().map(|change| change.revision).collect();
    assert!(revisions.iter().copied().eq(1..=over.revision), "{revisions:?}");
}

#[test]
fn what_is_taken_back_stays_so_while_its_evidence_lasts_and_may_come_again() {
    let (mut sim, newest) = named();
    let before = sim.changes.len();
    say(&mut sim, &newest, retraction());
    sim.run(600, &front_door);
    let told = &sim.changes[before..];
    assert_eq!(told.len(), 1, "{told:#?}");
    let Change { state, revision, retraction_reason, headline, resolved_at, .. } = &told[0];
    assert_eq!(
        (*state, *revision, retraction_reason.as_str()),
        (State::Retracted, newest.revision + 1, "Our own firewall dropped it.")
    );
    assert_eq!(headline, "A person says that Azure Front Door was not at fault: Our own firewall dropped it.");
    assert!(resolved_at.is_some());

    sim.healthy(240);
    assert_eq!(sim.changes.len(), before + 1, "{:#?}", sim.changes.last());

    sim.run(60, &front_door);
    let last = sim.changes.last().expect("a change");
    assert_eq!((last.state, last.element.as_str()), (State::Attributed, "azure/front-door"), "{last:#?}");
    assert_ne!(last.incident, newest.incident);
}

#[test]
fn while_one_is_taken_back_others_are_still_told() {
    let (mut sim, newest) = named();
    say(&mut sim, &newest, retraction());
    sim.run(90, &front_door);
    sim.run(90, &|agent, vantage, id, target, at| {
        let fastly = target.cdn.as_deref() == Some("fastly") && at % 7 != 0;
        front_door(agent, vantage, id, target, at).or_else(|| fastly.then_some((Layer::Http, Cause::HttpStatus)))
    });
    let last = sim.changes.last().expect("a change");
    assert_eq!((last.verdict, last.element.as_str()), (Verdict::Neither, "cdn/fastly"), "{last:#?}");
    let again = |change: &&Change| change.element == "azure/front-door" && change.incident != newest.incident;
    assert_eq!(sim.changes.iter().find(again), None);
}

#[test]
fn a_withdrawal_survives_a_snapshot() {
    let (mut sim, newest) = named();
    say(&mut sim, &newest, retraction());
    sim.run(30, &front_door);
    let before = sim.changes.len();
    sim.engine = Engine::restore(&sim.engine.snapshot(), Settings::default()).expect("restores");
    sim.run(200, &front_door);
    assert_eq!(sim.changes.len(), before, "{:#?}", sim.changes.last());
}

#[test]
fn an_incident_of_long_ago_is_taken_back_from_what_was_published() {
    let (mut sim, _) = named();
    sim.healthy(200);
    let over = sim.changes.last().expect("a change").clone();
    assert_eq!(over.state, State::Resolved);
    // An engine that never knew it.
    let mut later = Sim::new();
    later.healthy(30);
    say(&mut later, &over, note("first"));
    say(&mut later, &over, retraction());
    later.healthy(2);
    let told: Vec<_> = later.changes.iter().map(|change| (change.revision, change.state, change.notes.len())).collect();
    assert_eq!(told, [(over.revision + 1, State::Resolved, 1), (over.revision + 2, State::Retracted, 1)]);
    assert_eq!(later.changes[1].resolved_at, over.resolved_at);
    later.run(60, &front_door);
    assert_eq!(later.accusations().len(), 1, "its element may fail at any time");
    assert!(later.changes.last().is_some_and(|change| change.state == State::Attributed), "{:#?}", later.changes);
}
