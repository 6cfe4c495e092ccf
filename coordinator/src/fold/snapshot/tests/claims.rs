//! Claims and planned work are no input: the same script with and without them comes to the same verdicts.

use std::time::Duration;

use super::*;
use crate::{
    claims::{Intake, Sighting, Stance, intake::Seen},
    work::PlannedWork,
};

const STANCES: [Stance; 4] = [Stance::ReportsProblem, Stance::NothingPosted, Stance::Unreachable, Stance::Unparseable];

/// What the feed says of the verdict: every change but claims and planned work.
fn verdicts(entries: &[Entry]) -> Vec<String> {
    let ours = entries.iter().filter(|entry| !matches!(entry.published, Published::Claim(_) | Published::Work(_)));
    ours.map(|entry| {
        format!("{:?} {} {}", entry.tick, entry.published_at, serde_json::to_string(&entry.published).expect("json"))
    })
    .collect()
}

/// Announces work on everything that the script breaks.
async fn announce(hub: &Hub, now: Timestamp) {
    let elements = ["aws", "azure"].map(str::to_owned).into();
    let work = PlannedWork {
        id: hub.board().work.next_id(now),
        announced_at: now,
        starts_at: now,
        ends_at: now.after(Duration::from_mins(10)),
        text: "Everything is switched off".into(),
        link: String::new(),
        elements,
        cancelled_at: None,
        cancel_reason: String::new(),
    };
    let turn = hub.turn().await;
    hub.publish_in_turn(&turn, vec![Published::Work(Box::new(work))], now).await.expect("published");
}

#[tokio::test]
async fn no_claim_changes_a_verdict() {
    let script = Script::new(7);
    let alone = straight(&script).await;
    let mut run = Run::new().await;
    let (mut epochs, mut dice, mut ticks) = (std::collections::BTreeMap::new(), Dice::new(9), 0);
    for step in &script.steps {
        if let Step::Tick(now) = step {
            // Each second both clouds' pages and the crowd say something else, and not what is measured.
            let seen = |(source, about): (&str, &str)| {
                let mut sighting = Sighting::bare(STANCES[dice.below(4)]);
                sighting.text = format!("{about} is on fire since second {}", dice.below(1000));
                sighting.regions = vec![format!("{about}/us-east-1")];
                Seen { source: source.into(), about: about.into(), at: *now, sighting }
            };
            let parties = [("aws-status", "aws"), ("azure-status", "azure"), ("crowd", "aws"), ("crowd", "zoom")];
            Intake::new(Arc::clone(&run.hub)).take(parties.map(seen).into()).await.expect("taken");
            announce(&run.hub, *now).await;
            ticks += 1;
            if ticks % 97 == 0 {
                // A restart, and the board has the claims again.
                let told = |run: &Run| {
                    let board = run.hub.board();
                    (board.claims.all().map(|told| told.newest().clone()).collect::<Vec<_>>(), board.work.clone())
                };
                let before = told(&run);
                run.restart().await;
                assert_eq!(told(&run), before);
            }
        }
        run.take(step, &mut epochs).await;
    }
    let entries = run.entries().await;
    let claims = entries.len() - verdicts(&entries).len();
    assert!(claims > 200, "only {claims} claims and works");
    assert!(entries.iter().any(|entry| matches!(entry.published, Published::Incident(_))), "nothing to change");
    assert_eq!(verdicts(&entries), verdicts(&alone.entries().await));
    assert!(entries.iter().map(|entry| entry.sequence).eq(1..=entries.len() as u64), "one sequence");
    let state = |run: &Run| Snapshot { feed_id: String::new(), sequence: 0, ..run.fold.snapshot().expect("a tick") };
    assert_eq!(state(&run), state(&alone));
}
