//! Claims are no input: the same script with and without them comes to the same verdicts.

use super::*;
use crate::claims::{Intake, Sighting, Stance, intake::Seen};

const STANCES: [Stance; 4] = [Stance::ReportsProblem, Stance::NothingPosted, Stance::Unreachable, Stance::Unparseable];

/// What the feed says of the verdict: every change but claims.
fn verdicts(entries: &[Entry]) -> Vec<String> {
    let ours = entries.iter().filter(|entry| !matches!(entry.published, Published::Claim(_)));
    ours.map(|entry| {
        format!("{:?} {} {}", entry.tick, entry.published_at, serde_json::to_string(&entry.published).expect("json"))
    })
    .collect()
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
            ticks += 1;
            if ticks % 97 == 0 {
                // A restart, and the board has the claims again.
                let told =
                    |run: &Run| run.hub.board().claims.all().map(|told| told.newest().clone()).collect::<Vec<_>>();
                let before = told(&run);
                run.restart().await;
                assert_eq!(told(&run), before);
            }
        }
        run.take(step, &mut epochs).await;
    }
    let entries = run.entries().await;
    let claims = entries.len() - verdicts(&entries).len();
    assert!(claims > 100, "only {claims} claims");
    assert!(entries.iter().any(|entry| matches!(entry.published, Published::Incident(_))), "nothing to change");
    assert_eq!(verdicts(&entries), verdicts(&alone.entries().await));
    assert!(entries.iter().map(|entry| entry.sequence).eq(1..=entries.len() as u64), "one sequence");
    let state = |run: &Run| Snapshot { feed_id: String::new(), sequence: 0, ..run.fold.snapshot().expect("a tick") };
    assert_eq!(state(&run), state(&alone));
}
