//! The matrix: provider x region x layer, from each group's newest look at each target. A layer that the newest looks did
//! not reach has no data, however well it did before.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    change::CellState,
    element::Element,
    settings::Settings,
    time::Timestamp,
    visibility::count,
    vocabulary::Layer,
    window::Cell,
    world::{Learned, Target},
};

/// Names a cell: provider, region (or what has none), layer.
pub(crate) type Key = (String, String, Layer);

/// What a cell shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) state: CellState,
    pub(crate) failing_groups: u32,
    pub(crate) total_groups: u32,
}

/// The row that a target counts for; `None` for what no cloud serves.
pub(crate) fn row(target: &Target, learned: Option<&Learned>) -> Option<(String, String)> {
    let cdn = learned.and_then(|learned| learned.cdn.as_ref()).or(target.cdn.as_ref());
    if let Some(cdn) = cdn {
        // Behind somebody else's CDN a target says little of the cloud underneath.
        let (provider, name) = Element::cdn(cdn).name.split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
        return matches!(provider.as_str(), "aws" | "azure").then_some((provider, name));
    }
    let provider = target.hosted_on.as_str();
    if !matches!(provider, "aws" | "azure") {
        return None;
    }
    let place = target.region.as_ref().or(target.service.as_ref()).map_or("global", String::as_str);
    Some((provider.to_owned(), place.to_owned()))
}

#[derive(Default)]
struct Looks {
    /// Per group and target: whether the newest look failed.
    pairs: BTreeMap<(String, u32), bool>,
}

/// Builds the matrix.
#[derive(Default)]
pub(crate) struct Matrix {
    cells: BTreeMap<Key, Looks>,
}

impl Matrix {
    /// Adds the newest look of one group at one target, if it began at or after `from`.
    pub(crate) fn add(
        &mut self,
        row: &(String, String),
        group: &str,
        target: u32,
        cell: &Cell,
        layers: &[Layer],
        from: Timestamp,
    ) {
        let newest = cell.samples().next_back().filter(|sample| sample.at >= from);
        for layer in layers {
            let looks = self.cells.entry((row.0.clone(), row.1.clone(), *layer)).or_default();
            if let Some(failed) = newest.and_then(|sample| Some(sample.failed_at(*layer)? && !sample.own_fault)) {
                looks.pairs.insert((group.to_owned(), target), failed);
            }
        }
    }

    /// What each cell shows.
    pub(crate) fn shown(&self, settings: &Settings) -> BTreeMap<Key, Shown> {
        self.cells.iter().map(|(key, looks)| (key.clone(), looks.shown(settings))).collect()
    }
}

impl Looks {
    fn shown(&self, settings: &Settings) -> Shown {
        let groups: BTreeSet<&String> = self.pairs.keys().map(|(group, _)| group).collect();
        let failing: BTreeSet<&String> =
            self.pairs.iter().filter(|(_, failed)| **failed).map(|((group, _), _)| group).collect();
        let failing_pairs = self.pairs.values().filter(|failed| **failed).count();
        let state = if groups.len() < settings.quorum_groups {
            CellState::NoData
        } else if failing_pairs * 2 >= self.pairs.len() {
            CellState::Failing
        } else if failing.len() * 5 >= groups.len() && failing.len() > 1 {
            CellState::Degraded
        } else {
            CellState::Ok
        };
        Shown { state, failing_groups: count(failing.len()), total_groups: count(groups.len()) }
    }
}
