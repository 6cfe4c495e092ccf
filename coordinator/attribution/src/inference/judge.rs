//! What each member of the explanation weighs: what else could stand in its place, who supports it, and what is left of it
//! when the loudest are not believed.

use super::{Doubt, Hypothesis, Member, Severities, ln_sum, search::Search};
use crate::{
    assumption::Assumption,
    element::ElementKind,
    evidence::Evidence,
    settings::Settings,
    vocabulary::{Layer, Verdict},
};

/// The best explanation of the evidence.
pub(crate) fn explain(evidence: &Evidence, settings: &Settings, doubt: Doubt<'_>) -> Hypothesis {
    let mut search = Search::new(evidence, settings);
    search.grow();
    search.swap();
    let score = search.score();
    let mut chosen: Vec<usize> = search.members.iter().map(|(element, _)| *element).collect();
    chosen.sort_unstable();
    let members = chosen.into_iter().filter_map(|element| judge(&mut search, element, doubt)).collect();
    Hypothesis { score, members }
}

/// The member's weight. Leaves the search as it was.
fn judge(search: &mut Search<'_>, element: usize, doubt: Doubt<'_>) -> Option<Member> {
    let found = search.found_in_place_of(element);
    let taken = search.take(element)?;
    let member = weigh(search, (element, taken.severities), found, doubt);
    search.put_back(element, taken);
    Some(member)
}

fn weigh(
    search: &mut Search<'_>,
    (element, severities): (usize, Severities),
    found: Option<Vec<(usize, f64)>>,
    doubt: Doubt<'_>,
) -> Member {
    let evidence = search.evidence;
    let own = &evidence.elements()[element];
    let support = search.support(element, severities);
    let is_consequence =
        matches!(own.kind, ElementKind::Endpoint | ElementKind::Owner) && search.holds_a_dependency(element);
    let mut member = Member {
        element,
        severities,
        gain: support.iter().sum::<f64>() + search.ln_prior(element),
        alternatives: Vec::new(),
        support,
        robust_margin: f64::NEG_INFINITY,
        domain_margin: f64::NEG_INFINITY,
        is_consequence,
        disagreement: None,
        liars: doubt.liars_at(own),
    };
    // One group's own trouble is a state of that vantage; nobody is ever accused of it.
    if own.kind.is_vantage_side() && member.support.iter().filter(|nats| **nats > 0.5).count() < 2 {
        return member;
    }
    let values = found.unwrap_or_else(|| search.related_values(element));
    member.gain = search.value(element);
    member.alternatives = alternatives(&values);
    let prior = search.ln_prior(element);
    let verdict = own.verdict();
    let rival = values
        .iter()
        .filter(|(other, value)| value.is_finite() && evidence.elements()[*other].verdict() != verdict)
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    let nothing = vec![0.0; member.support.len()];
    let margins = |theirs: &[f64], its_prior: f64| {
        let ahead: Vec<f64> = member.support.iter().zip(theirs).map(|(ours, theirs)| ours - theirs).collect();
        let prior = prior - its_prior;
        (without_loudest(&ahead, member.liars) + prior, without_domain(&ahead, doubt.domains) + prior)
    };
    let (mut robust, mut domain) = margins(&nothing, 0.0);
    if let Some((rival, _)) = rival.copied() {
        let its_severities = search.gain(rival).1;
        let over_rival = margins(&search.support(rival, its_severities), search.ln_prior(rival));
        (robust, domain) = (robust.min(over_rival.0), domain.min(over_rival.1));
    }
    (member.robust_margin, member.domain_margin) = (robust, domain);
    member.disagreement = disagreement(evidence, &member);
    member
}

/// Likeliest first; what is next to impossible is left out.
fn alternatives(values: &[(usize, f64)]) -> Vec<(Option<usize>, f64)> {
    let total = values.iter().fold(0.0, |total, (_, value)| ln_sum(total, *value));
    let others = values.iter().map(|(other, value)| (Some(*other), (value - total).exp()));
    let mut alternatives: Vec<_> = others.filter(|(_, probability)| *probability > 1e-6).collect();
    alternatives.push((None, (-total).exp()));
    alternatives.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    alternatives
}

/// What is left of the advantage without the groups that give most of it.
pub(crate) fn without_loudest(ahead: &[f64], liars: usize) -> f64 {
    let mut ahead = ahead.to_vec();
    ahead.sort_by(|a, b| b.total_cmp(a));
    ahead.iter().skip(liars).sum()
}

/// What is left of the advantage without the network whose groups give most of it.
pub(crate) fn without_domain(ahead: &[f64], domains: &[u32]) -> f64 {
    let mut of_domain = vec![0.0; domains.iter().max().map_or(0, |most| *most as usize + 1)];
    for (ahead, domain) in ahead.iter().zip(domains) {
        of_domain[*domain as usize] += ahead;
    }
    ahead.iter().sum::<f64>() - of_domain.iter().copied().fold(0.0, f64::max)
}

/// Nats by which "some groups see it and the others do not" must explain better than "all see it alike". Calibrated:
/// `faultline-lab calibrate disagree-nats`.
pub(crate) static DISAGREE_NATS: Assumption = Assumption::new("disagree-nats", 5.0);

/// Failing shares of those groups that see it, tried one by one. Source: as for severities (design notes 4.3),
/// none of them grey.
const SEEN_SHARES: [f64; 6] = [0.2, 0.4, 0.6, 0.8, 0.95, 0.995];

/// Failing share of those that do not. Source: the typical rate of a cell, and half as much again.
const UNSEEN_SHARE: f64 = 0.003;

/// Groups that see the member fail, of those that look, when some see it plainly and the others not at all.
///
/// What fails at a provider fails for everybody who looks, give or take chance. What only a minority sees, without
/// anything that they share, is what that minority says.
pub(super) fn disagreement(evidence: &Evidence, member: &Member) -> Option<(usize, usize)> {
    let layer = member.layer();
    let mut counts: Vec<(f64, f64)> =
        evidence.passes(member.element, layer).iter().map(|passed| (0.0, f64::from(*passed))).collect();
    for fail in evidence.fails_at(member.element, layer) {
        counts[fail.group as usize].0 += fail.failed;
    }
    counts.retain(|(failed, passed)| failed + passed > 0.0);
    let (failed, passed) = counts.iter().fold((0.0, 0.0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let fits = |count: &(f64, f64), share: f64| count.0 * share.ln() + count.1 * (-share).ln_1p();
    let share = (failed / (failed + passed)).clamp(0.001, 0.999);
    let alike: f64 = counts.iter().map(|count| fits(count, share)).sum();
    let mut best = (f64::NEG_INFINITY, 0.5, 0.5);
    for seen in SEEN_SHARES {
        for tenth in 1..=9 {
            let part = f64::from(tenth) / 10.0;
            let split = |count: &(f64, f64)| {
                ln_sum(part.ln() + fits(count, seen), (1.0 - part).ln() + fits(count, UNSEEN_SHARE))
            };
            let sum: f64 = counts.iter().map(split).sum();
            if sum > best.0 {
                best = (sum, seen, part);
            }
        }
    }
    let (nats, seen, part) = best;
    if nats - alike < DISAGREE_NATS.get() {
        return None;
    }
    let does_see = |count: &&(f64, f64)| part.ln() + fits(count, seen) > (1.0 - part).ln() + fits(count, UNSEEN_SHARE);
    Some((counts.iter().filter(does_see).count(), counts.len()))
}

/// Chance that the model itself is wrong, shared evenly by the answers: no answer is ever certain. Calibrated: `faultline-lab
/// calibrate model-error`.
pub(crate) static MODEL_ERROR: Assumption = Assumption::new("model-error", 0.002);

/// Probability of each verdict, and of nothing, in the member's place: aws, azure, neither, none.
pub(crate) fn verdicts(evidence: &Evidence, member: &Member) -> [f64; 4] {
    let mut sums = [0.0; 4];
    for (element, probability) in &member.alternatives {
        let place = match element.map(|element| evidence.elements()[element].verdict()) {
            Some(Verdict::Aws) => 0,
            Some(Verdict::Azure) => 1,
            Some(_) => 2,
            None => 3,
        };
        sums[place] += probability;
    }
    let total: f64 = sums.iter().sum();
    let error = MODEL_ERROR.get();
    sums.map(|sum| if total > 0.0 { (1.0 - error) * sum / total + error / 4.0 } else { 0.25 })
}

/// Whether the member is what makes these failures: without it, they would be twice as surprising.
pub(crate) fn explains(members: &[Member], member: &Member, fail: &crate::evidence::Fail) -> bool {
    let layer: Layer = fail.layer;
    if !fail.implicates(member.element) {
        return false;
    }
    let others: f64 = members
        .iter()
        .filter(|other| other.element != member.element && fail.implicates(other.element))
        .map(|other| 1.0 - other.severities[layer as usize])
        .product();
    let severity = member.severities[layer as usize];
    fail.chance(others * (1.0 - severity)) > 2.0 * fail.chance(others) || (others < 1.0 && severity >= 1.0 - others)
}
