//! The search against brute force: every set of elements of a small world is tried.

use super::{
    super::{search::Search, *},
    small_world::SmallWorld,
};
use crate::{evidence::Evidence, settings::Settings, vocabulary::Verdict};

/// Each group also looks at so many endpoints that nothing is wrong with, as groups do: without them, an explanation that
/// leaves half of the failures open is no better than a liar, and a greedy search does not take the first step.
const HEALTHY: usize = 100;

const WORLDS: u64 = 1000;

/// Sets of members within so many nats of the best are as good as it.
const NEAR_BEST: f64 = 3.0;

/// Gain from which a member is an accusation.
const ACCUSED: f64 = 20.0;

/// What a verdict needs to be left of the gain: [`Settings::robust_nats`].
const ROBUST: f64 = 4.6;

/// Compared is the score of what `explain` (grow, swap) finds with the best score of all sets of elements. A set is scored
/// by a search to which its elements are added one by one, what gains most first, with the severities that `gain` gives;
/// then each severity is moved in turn, to those of `gain` beside the others or to one of [`SEVERITIES`], while that
/// raises the score. A set counts if each of its members is worth its place, [`MIN_GAIN`], as for the search.
///
/// The search is greedy and swaps one for one: an element that all failing cells have in common stays where two others
/// explain them better. So it is not held to "never", but to a share of worlds: 3 % fall short of the best by a nat or
/// more; 1 % find an element of a cloud without which the best sets do; 0.2 % would accuse a cloud that no good
/// explanation names.
#[test]
fn small_worlds_equal_brute_force() {
    let (mut short, mut needless, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 0..WORLDS {
        let world = SmallWorld::new(seed, HEALTHY);
        let evidence = world.evidence();
        let domains: Vec<u32> = (0..6).collect();
        let found = explain(
            &evidence,
            &Settings::default(),
            Doubt { liars: 1, groups: domains.len(), exercise: &|_| domains.len(), domains: &domains },
        );
        let sets: Vec<Set> = every_set(&evidence).into_iter().filter(|set| set.least > MIN_GAIN.get()).collect();
        let best = sets.iter().map(|set| set.score).fold(0.0, f64::max);
        if best - found.score > 1.0 {
            short.push((seed, best - found.score));
        }
        let near_best: Vec<&Set> = sets.iter().filter(|set| set.score >= best - NEAR_BEST).collect();
        let verdict = |element: usize| evidence.elements()[element].verdict();
        for member in found.members.iter().filter(|member| member.gain >= ACCUSED) {
            let accused = verdict(member.element);
            let is_good = near_best.iter().any(|set| set.members.contains(&member.element));
            if accused == Verdict::Neither || is_good {
                continue;
            }
            needless.push(seed);
            let is_robust = member.robust_margin.min(member.domain_margin) >= ROBUST && member.disagreement.is_none();
            let is_named = near_best.iter().any(|set| set.members.iter().any(|element| verdict(*element) == accused));
            if is_robust && !is_named {
                wrong.push(seed);
            }
        }
    }
    assert!(short.len() as u64 * 100 <= WORLDS * 3, "seeds, and nats short of the best: {short:?}");
    assert!(needless.len() as u64 * 100 <= WORLDS, "seeds with an element that no good explanation has: {needless:?}");
    assert!(wrong.len() as u64 * 500 <= WORLDS, "seeds with a cloud that no good explanation has: {wrong:?}");
}

/// A set of members, as good as it gets.
struct Set {
    members: Vec<usize>,
    score: f64,
    /// What the member that is worth least is worth.
    least: f64,
}

/// Every set of elements that failures implicate.
fn every_set(evidence: &Evidence) -> Vec<Set> {
    let count = evidence.elements().len();
    let usable: Vec<usize> = (0..count).filter(|element| !evidence.numbers_of(*element).is_empty()).collect();
    let chosen = |bits: usize| {
        let has = |place: &usize| (bits >> place) & 1 == 1;
        (0..usable.len()).filter(has).map(|place| usable[place]).collect()
    };
    (0..1 << usable.len()).map(|bits| scored(evidence, chosen(bits))).collect()
}

/// The set, grown in the best order, its severities moved one by one while that raises the score.
fn scored(evidence: &Evidence, members: Vec<usize>) -> Set {
    let mut search = Search::new(evidence, &Settings::default());
    let mut left = members.clone();
    while !left.is_empty() {
        let values: Vec<f64> = left.iter().map(|element| search.value(*element)).collect();
        let best = (0..left.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).expect("not empty");
        let element = left.remove(best);
        let severities = search.gain(element).1;
        search.add(element, severities);
    }
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        let before = search.score();
        least = f64::INFINITY;
        for element in &members {
            let taken = search.take(*element).expect("a member");
            least = least.min(search.value(*element));
            let grid = SEVERITIES.map(|severity| [0.0, severity, 0.0, 0.0]);
            let tried: Vec<Severities> = [taken.severities, search.gain(*element).1].into_iter().chain(grid).collect();
            let mut best = (f64::NEG_INFINITY, taken.severities);
            for severities in tried {
                search.add(*element, severities);
                best = if search.score() > best.0 { (search.score(), severities) } else { best };
                search.take(*element).expect("a member");
            }
            search.add(*element, best.1);
        }
        if search.score() < before + 0.01 {
            break;
        }
    }
    Set { score: search.score(), members, least }
}
