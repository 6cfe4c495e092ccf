//! What people say is an input: told once, at its place, through restarts and by a full rebuild.

use faultline_attribution::{Change, Remark, Saying};

use super::*;

/// Ticks from when somebody is accused until the note, and until the retraction.
const NOTED: usize = 3;
const RETRACTED: usize = 6;

/// Plays the script; a person speaks of the first that is accused. With `restarts`, everything that is not on disk is lost
/// every few ticks, and right after each remark.
async fn spoken(script: &Script, restarts: bool) -> Run {
    let mut run = Run::new().await;
    let (mut epochs, mut ticks, mut accused_for) = (std::collections::BTreeMap::new(), 0, 0);
    let mut first = None;
    for step in &script.steps {
        run.take(step, &mut epochs).await;
        let Step::Tick(now) = step else { continue };
        ticks += 1;
        let accused = run.hub.board().incidents().find(|change| change.attributed_at.is_some()).cloned();
        first = first.or(accused.map(|change| change.incident));
        let of = first.as_ref().and_then(|first| run.hub.board().revisions(first)?.back().cloned());
        accused_for += usize::from(of.is_some());
        let saying = match accused_for {
            NOTED => Some(Saying::Note { text: "A person looks.".into(), link: String::new() }),
            RETRACTED => Some(Saying::Retraction { reason: "It was us.".into() }),
            _ => None,
        };
        let is_told = of.is_some() && saying.is_some();
        if let Some((of, saying)) = of.zip(saying) {
            run.append(Admission::Own, Record::remark(*now, &Remark { of, saying })).await;
        }
        if restarts && (is_told || ticks % 11 == 0) {
            if ticks % 2 == 0 {
                run.snapshots().write(&run.fold.snapshot().expect("a tick was folded")).expect("written");
            }
            run.restart().await;
        }
    }
    run
}

#[tokio::test]
async fn what_a_person_says_is_told_once_through_restarts_and_rebuilds() {
    let script = Script::new(5);
    let live = spoken(&script, false).await;
    let (changes, state) = live.outcome().await;
    let entries = live.entries().await;
    let told: Vec<&Change> = entries
        .iter()
        .filter_map(|entry| match &entry.published {
            Published::Incident(change) => Some(&**change),
            _ => None,
        })
        .collect();
    let retracted: Vec<&&Change> = told.iter().filter(|change| !change.retraction_reason.is_empty()).collect();
    let [retracted] = retracted.as_slice() else { panic!("{told:#?}") };
    assert_eq!((retracted.retraction_reason.as_str(), retracted.notes.len()), ("It was us.", 1));
    let later = |change: &&&Change| change.at > retracted.at && change.element == retracted.element;
    assert_eq!(told.iter().find(later), None, "its evidence went on for a while");

    let (told, came_to) = spoken(&script, true).await.outcome().await;
    assert_eq!(told, changes, "published with restarts, and without");
    assert!(came_to == state, "the state with restarts is another");
    let (told, came_to) = rebuilt(&live).await.outcome().await;
    assert_eq!(told, changes, "published by a full rebuild, and live");
    assert!(came_to == state, "the state of a full rebuild is another");
}
