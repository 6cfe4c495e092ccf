//! First thoughts: what gains most is added, until nothing does.

use super::Search;
use crate::inference::{MAX_FAR, MAX_LOCAL, MAX_NEAR, MIN_GAIN, Severities};

impl Search<'_> {
    /// Adds what gains most, until nothing does. Elements on the agents' side that share no group are added together.
    pub(in crate::inference) fn grow(&mut self) {
        loop {
            let near = self.near_members();
            let local = self.members.iter().filter(|(element, _)| self.is_own(*element)).count();
            let mut ranked: Vec<(usize, f64)> = Vec::new();
            for element in 0..self.gains.len() {
                let is_full = if self.is_near(element) {
                    near >= MAX_NEAR
                } else if self.is_own(element) {
                    local >= MAX_LOCAL
                } else {
                    self.members.len() - near - local >= MAX_FAR
                };
                if is_full || self.is_member(element) || self.barred == Some(element) {
                    continue;
                }
                let value = self.value(element);
                if value > MIN_GAIN.get() {
                    ranked.push((element, value));
                }
            }
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let Some((best, _)) = ranked.first().copied() else { break };
            if !self.is_near(best) {
                let severities = self.gain(best).1;
                self.add(best, severities);
                continue;
            }
            let run: Vec<(usize, Severities)> = ranked
                .into_iter()
                .take_while(|(element, _)| self.is_near(*element))
                .take(MAX_NEAR - near)
                .filter_map(|(element, _)| Some((element, self.gains[element]?.1)))
                .collect();
            let mut taken = vec![false; self.likelihood.len()];
            for (element, severities) in run {
                let groups: Vec<usize> = self.evidence.fails_of(element).map(|fail| fail.group as usize).collect();
                if groups.iter().any(|group| taken[*group]) {
                    continue;
                }
                for group in groups {
                    taken[group] = true;
                }
                self.add(element, severities);
            }
        }
    }
}
