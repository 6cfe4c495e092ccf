//! What the search keeps up to date step by step, against what is worked out from nothing.

use super::{super::tests::small_world::SmallWorld, *};
use crate::dice::Dice;

/// Equal, but for rounding.
const ROUNDING: f64 = 1e-6;

/// Healthy endpoints of a world from which no group is taken for a liar, whatever fails in it.
const CERTAIN: usize = 500;

/// The score, the likelihood of each group and the chance of each failure hold in every world. Cached gains hold where
/// no group's honesty is in doubt: a change of members forgets the gains of candidates that share a failure with it, not
/// of those that only share a group, and how much such a group is believed changes with the members too.
#[test]
fn incremental_equals_recomputed() {
    for seed in 0..400 {
        // Every other world is one in which no group's honesty is in doubt.
        let (healthy, is_certain) = if seed % 2 == 0 { (10, false) } else { (CERTAIN, true) };
        let evidence = SmallWorld::new(seed, healthy).evidence();
        let dice = &mut Dice::new(seed);
        let mut search = Search::new(&evidence, &Settings::default());
        for step in 0..30 {
            let done = random_step(&mut search, dice);
            assert_equals_rebuilt(&search, is_certain, &format!("seed {seed}, step {step}: {done}"));
        }
    }
}

/// Does one of the things that change a search, and says which.
fn random_step(search: &mut Search<'_>, dice: &mut Dice) -> &'static str {
    let element = dice.below(search.gains.len());
    let severities = if dice.happens(0.5) { search.gain(element).1 } else { [0.0, dice.pick(&SEVERITIES), 0.0, 0.0] };
    match dice.below(8) {
        0..3 if !search.is_member(element) => {
            search.add(element, severities);
            "add"
        }
        3 => {
            if let Some(taken) = search.take(element) {
                search.put_back(element, taken);
            }
            "take and put back"
        }
        4 => {
            search.take(element);
            "take"
        }
        5 => {
            search.swap();
            "swap"
        }
        6 => {
            search.grow();
            "grow"
        }
        _ => {
            for element in 0..search.gains.len() {
                search.value(element);
            }
            "value"
        }
    }
}

fn assert_equals_rebuilt(search: &Search<'_>, is_certain: bool, context: &str) {
    let mut rebuilt = Search::new(search.evidence, &Settings::default());
    for (element, severities) in &search.members {
        rebuilt.add(*element, *severities);
    }
    let is_close = |a: f64, b: f64| a.total_cmp(&b).is_eq() || (a - b).abs() <= ROUNDING * a.abs().max(1.0);
    assert!(is_close(search.score(), rebuilt.score()), "{context}: {} against {}", search.score(), rebuilt.score());
    for (group, (kept, anew)) in search.likelihood.iter().zip(&rebuilt.likelihood).enumerate() {
        assert!(is_close(*kept, *anew), "{context}: group {group}: {kept} against {anew}");
    }
    for (number, (kept, anew)) in search.chances.iter().zip(&rebuilt.chances).enumerate() {
        assert!(is_close(kept.ln, anew.ln), "{context}: failure {number}: {} against {}", kept.ln, anew.ln);
    }
    for (element, kept) in search.gains.iter().enumerate() {
        let Some((kept, _)) = kept.filter(|_| is_certain) else { continue };
        let (anew, _) = rebuilt.gain(element);
        assert!(is_close(kept, anew), "{context}: gain of {element}: {kept} against {anew}");
    }
}
