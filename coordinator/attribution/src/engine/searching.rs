//! Searching: when it is worth the while, and what explains what was seen.

use std::{cell::OnceCell, collections::BTreeMap, rc::Rc, time::Duration};

use super::{CALM, Engine, FRESH_ONSET, Fold, SAME_ONSET, YOUNG};
use crate::{
    assessment::{self, Assessment, Scene},
    element::{Element, ElementKind},
    evidence::{self, Evidence},
    inference::{self, Doubt, Hypothesis, Member},
    known::{Known, Suspicions},
    time::Timestamp,
    visibility::Groups,
};

/// Onsets that are searched from, at most. Source: two causes at once.
const ONSETS: usize = 2;

/// Windows that are searched beside those that begin at onsets: those in which some element stands out most.
const SEARCHED: usize = evidence::WINDOWS - ONSETS;

/// After how long what a search made nothing of is searched again where it is about endpoints, agents and their ways: no cloud
/// waits for them. Source: half an interval.
const CALM_LOCAL: Duration = Duration::from_secs(15);

/// Nats, and their share, by which a suspicion must have grown to be searched again before that. Source: as close as change
/// points are believed (design notes 4.6); a tenth more where much is known.
const GREW: (f64, f64) = (2.0, 1.1);

/// How often a fault that nothing is new of is searched. Source: how often numbers that moved are published.
const DUE: Duration = Duration::from_secs(30);

impl Engine {
    /// What is to be found out; `None` when nothing is.
    pub(super) fn is_worth_a_search(&mut self, now: Timestamp) -> Option<Suspicions> {
        let Fold { known, incidents, groups, searched, searched_at, .. } = &mut self.state;
        if known.troubled.is_empty() {
            return None;
        }
        let live = u32::try_from(groups.live().count()).unwrap_or(u32::MAX);
        let quorum = u32::try_from(self.settings.quorum_groups).unwrap_or(u32::MAX);
        let suspicions = known.suspicions(now, &self.settings, quorum.min(live.max(1)));
        let elements = &known.map().elements;
        let is_new = |(number, nats): &(u32, f64)| {
            let element = &elements[*number as usize];
            let calm = if element.kind.is_local() { CALM_LOCAL } else { CALM };
            searched
                .get(&element.name)
                .is_none_or(|(before, at)| now.since(*at) >= calm || *nats >= (before + GREW.0).max(before * GREW.1))
        };
        let is_due = now.since(*searched_at) >= DUE;
        let goes_on = incidents.any_open() && (is_due || incidents.any_young(now, YOUNG));
        let is_worth_it = goes_on || incidents.any_pending() || suspicions.elements.iter().any(is_new);
        if is_worth_it {
            searched.retain(|_, (_, at)| now.since(*at) < CALM_LOCAL);
            for (number, nats) in &suspicions.elements {
                searched.insert(elements[*number as usize].name.clone(), (*nats, now));
            }
        }
        is_worth_it.then_some(suspicions)
    }

    /// Explains what fails in the window that shows most; empty when nothing does.
    pub(super) fn infer(&mut self, now: Timestamp, suspicions: &Suspicions) -> Vec<Assessment> {
        let onsets = std::mem::take(&mut self.state.onsets);
        if now.since(self.state.saw_at) > Duration::ZERO {
            self.state.sights = self.state.known.sights(now.before(self.settings.fresh));
            self.state.groups = self.state.known.groups(&self.state.sights);
        }
        let Fold { known, groups, sights, .. } = &self.state;
        let liars = groups.live().count().saturating_sub(1) / 5;
        let domains = domains(known, groups);
        let exercise = |element: &Element| known.groups_at(std::iter::once(element));
        let doubt = Doubt { liars, groups: groups.live().count(), exercise: &exercise, domains: &domains };
        let with_uplinks = self.state.cut_off_at.is_none_or(|at| now.since(at) > self.settings.horizon);
        let candidates = known.candidates(now, &self.settings);
        let mut ranked: Vec<(f64, Timestamp)> = self
            .settings
            .windows
            .iter()
            .map(|window| now.before(*window))
            .enumerate()
            .map(|(place, from)| (suspicions.promise[place], from))
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        let mut from: Vec<Timestamp> = ranked.into_iter().take(SEARCHED).map(|(_, from)| from).chain(onsets).collect();
        from.sort_unstable_by(|a, b| b.cmp(a));
        from.dedup();
        let windows = evidence::gather(known, &from, &candidates, with_uplinks, &self.settings);
        let mut best: Option<((f64, f64), usize, Hypothesis)> = None;
        for (place, window) in windows.iter().enumerate() {
            let hypothesis = inference::explain(window, &self.settings, doubt);
            let worth = (news(known, window, &hypothesis), hypothesis.score);
            if best.as_ref().is_none_or(|(held, ..)| worth > *held) {
                best = Some((worth, place, hypothesis));
            }
        }
        let Some((_, place, hypothesis)) = best else { return Vec::new() };
        let is_fresh = |at: &Timestamp| now.since(*at) <= FRESH_ONSET;
        let lately = self.state.parties.iter().filter(|(_, at)| is_fresh(at)).map(|(party, _)| *party).collect();
        let scene = Scene {
            known,
            evidence: &windows[place],
            hypothesis: &hypothesis,
            groups,
            sights,
            settings: &self.settings,
            clouds: assessment::clouds(known),
            spells: &self.state.spells,
            shaken: self.state.incidents.shaken(),
            lately,
            liars,
            domains: &domains,
            now,
            seen: OnceCell::new(),
            troubles: OnceCell::new(),
        };
        let mut assessments = scene.assess();
        if !assessments.is_empty() {
            let survey = Rc::new(scene.survey(&assessments));
            for assessment in &mut assessments {
                assessment.survey = survey.clone();
            }
        }
        let (in_trouble, in_fault) = (scene.in_trouble(), scene.parties_in_fault());
        let horizon = now.before(self.settings.horizon);
        // A window that begins with what is long known shows nothing new.
        let is_new = |assessment: &&Assessment| {
            assessment.onset.at > horizon
                && assessment.is_public()
                && (now.since(assessment.onset.at) <= FRESH_ONSET
                    || assessment.footprint.iter().filter(|(place, _)| !known.cell(*place).is_frozen).count() * 5
                        >= assessment.footprint.len())
        };
        let mut onsets: Vec<Timestamp> =
            assessments.iter().filter(is_new).map(|assessment| assessment.onset.at).collect();
        onsets.dedup_by(|a, b| a.since(*b).max(b.since(*a)) < SAME_ONSET);
        onsets.truncate(ONSETS);
        self.state.onsets = onsets;
        self.state.spells.note(&in_trouble, now);
        self.state.parties.extend(in_fault.into_iter().map(|party| (party, now)));
        self.state.parties.retain(|_, at| now.since(*at) <= FRESH_ONSET);
        assessments
    }
}

/// Nats of an explanation that no open incident holds yet: what long goes on must not hide in a long window what is new.
fn news(known: &Known, evidence: &Evidence, hypothesis: &Hypothesis) -> f64 {
    let of = |member: &Member| {
        let (mut new, mut all) = (0.0, 0.0);
        for fail in evidence.fails_of(member.element) {
            all += fail.failed;
            new += if known.cell(fail.place).is_frozen { 0.0 } else { fail.failed };
        }
        member.gain.max(0.0) * new / f64::max(all, 1.0)
    };
    let is_shared = |member: &&Member| {
        let kind = evidence.elements()[member.element].kind;
        kind != ElementKind::Agent && (!kind.is_local() || member.severity() >= 0.5)
    };
    hypothesis.members.iter().filter(is_shared).map(of).sum()
}

/// The network of each group, as a number: groups of one network fail and lie together.
fn domains(known: &Known, groups: &Groups) -> Vec<u32> {
    let mut numbers: BTreeMap<&String, u32> = BTreeMap::new();
    let none = String::new();
    let networks: Vec<&String> = known
        .map()
        .groups
        .iter()
        .map(|name| groups.0.get(name).and_then(|group| group.networks.first()).unwrap_or(&none))
        .collect();
    for network in &networks {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        numbers.entry(network).or_insert(next);
    }
    networks.iter().map(|network| numbers[network]).collect()
}
