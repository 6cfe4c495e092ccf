//! The story of an incident: the moments and the facts that all parts of a report rest on, and its first sentences.

use std::time::Duration;

use faultline_attribution::{Alibi, Cause, Change, ElementKind, State, Timestamp, Verdict, element::brand};

use super::{
    Material,
    words::{capital, date, listed, span, time},
};
use crate::{feed::page::words as page, history::History};

/// An incident, and where the telling facts of it stand.
pub(super) struct Story<'a> {
    pub(super) material: &'a Material,
    pub(super) last: &'a Change,
    /// The revision of its height.
    pub(super) telling: &'a Change,
    /// When failures had fallen back, for good: the first revision of the last unbroken recovery.
    pub(super) quiet_at: Option<Timestamp>,
}

impl<'a> Story<'a> {
    /// `None` without a revision.
    pub(super) fn of(material: &'a Material) -> Option<Self> {
        let revisions = &material.revisions;
        let last = revisions.last()?;
        let telling = telling(revisions)?;
        let is_quiet = |change: &&Change| matches!(change.state, State::Recovering | State::Resolved);
        let quiet_at = revisions.iter().rev().take_while(is_quiet).last().map(|change| change.at);
        Some(Self { material, last, telling, quiet_at })
    }

    pub(super) fn history(&self) -> Option<&History> {
        self.material.history.as_ref()
    }

    pub(super) fn onset(&self) -> Timestamp {
        self.last.onset_at
    }

    pub(super) fn is_open(&self) -> bool {
        self.last.state.is_open()
    }

    /// Who failed, as people say it; `None` while nobody is accused.
    pub(super) fn culprit(&self) -> Option<String> {
        page::culprit(self.last)
    }

    pub(super) fn title(&self) -> String {
        let Some(culprit) = self.culprit() else {
            return if self.is_open() {
                "Something is failing".into()
            } else {
                "Something failed, and nobody was accused".into()
            };
        };
        let culprit = capital(&culprit);
        match (self.last.state, self.last.verdict) {
            (State::Retracted, _) => format!("Retracted: {culprit} did not fail"),
            (_, Verdict::Neither) if self.is_open() => format!("{culprit} is failing: neither AWS nor Azure"),
            (_, Verdict::Neither) => format!("{culprit} failed: neither AWS nor Azure"),
            _ if self.is_open() => format!("{culprit} is failing"),
            _ => format!("{culprit} failed"),
        }
    }

    /// "Resolved. Verdict: Azure. 29 October 2025".
    pub(super) fn standing(&self) -> String {
        let state = if self.is_open() { format!("goes on ({})", self.last.state) } else { self.last.state.to_string() };
        let verdict = page::verdict(self.last.verdict);
        format!("{}. Verdict: {verdict}. {}.", capital(&state), date(self.onset()))
    }

    pub(super) const fn class(&self) -> &'static str {
        match (self.last.state, self.last.verdict) {
            (State::Retracted, _) => "retracted",
            (State::Resolved, _) => "resolved",
            (_, Verdict::Undetermined) => "suspected",
            (_, Verdict::Neither) => "neither",
            _ => "accused",
        }
    }

    /// Three sentences for somebody who reads no more.
    pub(super) fn summary(&self) -> Vec<String> {
        if self.last.state == State::Retracted {
            return self.apology();
        }
        vec![self.what_happened(), self.how_fast(), self.who_is_cleared()]
    }

    fn apology(&self) -> Vec<String> {
        let culprit = self.culprit().unwrap_or_else(|| "somebody".into());
        let named = self.last.attributed_at.unwrap_or(self.last.opened_at);
        vec![
            format!("We were wrong: on {} at {} Faultline named {culprit}, and took it back after {}.",
                date(named), time(named, named), span(self.last.at.since(named))),
            format!("What it said when it took it back: {}", sentence(&self.last.headline)),
            "Whoever acted on the first verdict should look at what they did; the evidence that misled us stands below.".into(),
        ]
    }

    fn what_happened(&self) -> String {
        let onset = self.onset();
        let who = self.culprit().unwrap_or_else(|| "something that we cannot name".into());
        let regions: Vec<String> = self.telling.regions.iter().map(|region| region.replace('/', " ")).collect();
        // Its name may say where.
        let place =
            if regions.is_empty() || regions.iter().any(|region| who.to_lowercase().contains(&region.to_lowercase())) {
                String::new()
            } else {
                format!(" in {}", listed(&regions))
            };
        format!(
            "On {} at {} (give or take {} s) {who} broke{place}: {} from {} of the {} that looked.",
            date(onset),
            time(onset, onset),
            self.last.onset_uncertainty_s,
            self.symptom(),
            self.telling.failing_groups,
            page::count(self.telling.total_groups as usize, "independent vantage"),
        )
    }

    /// What fails, in words: "connections time out".
    pub(super) fn symptom(&self) -> &'static str {
        // The strongest row speaks for the layer that the incident is told by.
        let row = self.telling.evidence.iter().find(|row| row.layer == self.telling.layer);
        row.map_or_else(|| "checks fail", |row| row.cause.map_or_else(|| row.layer.slow_phrase(), Cause::phrase))
    }

    /// How long it lasted: up to when failures had fallen back, or to now.
    pub(super) fn lasted(&self) -> Duration {
        self.quiet_at.or(self.last.resolved_at).unwrap_or(self.material.made_at).since(self.onset())
    }

    fn how_fast(&self) -> String {
        let since = |at: Timestamp| {
            if at < self.onset() {
                "before the estimated onset".into()
            } else {
                format!("{} after it began", span(at.since(self.onset())))
            }
        };
        let length = if self.is_open() {
            format!("It has lasted {} and goes on", span(self.lasted()))
        } else {
            format!("It lasted {}", span(self.lasted()))
        };
        let seen = since(self.last.opened_at);
        match self.last.attributed_at {
            Some(named) => format!(
                "{length}; Faultline noticed it {seen} and named the culprit {}, with a confidence of {} ({}).",
                since(named),
                page::probability(self.telling.confidence),
                page::band(self.telling.confidence)
            ),
            None => format!(
                "{length}; Faultline noticed it {seen} and accused nobody: the evidence could not say who it was."
            ),
        }
    }

    fn who_is_cleared(&self) -> String {
        let cleared: Vec<&Alibi> =
            self.telling.alibis.iter().filter(|alibi| ["aws", "azure"].contains(&alibi.party.as_str())).collect();
        let open: Vec<String> = self.uncleared().iter().map(|cloud| page::verdict(*cloud).to_owned()).collect();
        let (was, were) = if self.is_open() { ("is", "are") } else { ("was", "were") };
        if self.last.verdict == Verdict::Undetermined {
            return "Until somebody is accused nobody is cleared: read nothing into a name that stands below.".into();
        }
        if cleared.is_empty() {
            return format!(
                "{} {was} not accused, and not cleared either: too few checks speak for it.",
                listed(&open)
            );
        }
        let names: Vec<String> = cleared.iter().map(|alibi| brand(&alibi.party)).collect();
        let proof: Vec<String> = cleared
            .iter()
            .map(|alibi| format!("{} of {}", alibi.passed, page::count(alibi.runs as usize, "check")))
            .collect();
        let verb = if names.len() == 1 { was } else { were };
        let whose = if self.is_vantage_side() { "other" } else { "same" };
        let rest = if open.is_empty() { String::new() } else { format!(" ({} could not be cleared)", listed(&open)) };
        format!(
            "{} {verb} not affected: {} passed there from the {whose} vantages in the same minutes{rest}.",
            listed(&names),
            listed(&proof)
        )
    }

    /// Whether the culprit lies on the side of those who look.
    pub(super) fn is_vantage_side(&self) -> bool {
        self.last.element_kind.is_some_and(ElementKind::is_vantage_side)
    }

    /// Clouds that are neither accused nor cleared; none while nobody is accused.
    pub(super) fn uncleared(&self) -> Vec<Verdict> {
        let is_open = |cloud: &Verdict| {
            let verdict = self.last.verdict;
            let is_cleared = self.telling.alibis.iter().any(|alibi| alibi.party == cloud.as_str());
            verdict != Verdict::Undetermined && verdict != *cloud && !is_cleared
        };
        [Verdict::Aws, Verdict::Azure].into_iter().filter(is_open).collect()
    }

    /// By how much our attribution came before the first word of the accused themselves; negative where they were first.
    pub(super) fn lead(&self) -> Option<String> {
        let official = self.material.said.iter().flatten().find(|said| said.is_official)?;
        let named = self.last.attributed_at?;
        Some(if named <= official.at {
            format!("{} before {}", span(official.at.since(named)), official.who)
        } else {
            format!("{} after {}", span(named.since(official.at)), official.who)
        })
    }

    /// A moment beside the onset's day.
    pub(super) fn time(&self, at: Timestamp) -> String {
        time(at, self.onset())
    }
}

/// The revision that tells it best: of those that accuse whom the last one accuses, the newest of the widest. Later ones
/// speak of what was left of it.
pub(super) fn telling<'a>(revisions: impl IntoIterator<Item = &'a Change>) -> Option<&'a Change> {
    let revisions: Vec<&Change> = revisions.into_iter().collect();
    let last = *revisions.last()?;
    let is_of_the_verdict = |change: &&Change| change.verdict == last.verdict && change.element == last.element;
    let is_at_its_height = |change: &&Change| matches!(change.state, State::Attributed | State::Suspected);
    let of_height = revisions.into_iter().filter(is_of_the_verdict).filter(is_at_its_height);
    Some(of_height.max_by_key(|change| (change.failing_groups, change.revision)).unwrap_or(last))
}

/// With a full stop.
fn sentence(words: &str) -> String {
    if words.ends_with(['.', '!', '?']) { words.to_owned() } else { format!("{words}.") }
}
