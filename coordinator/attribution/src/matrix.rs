//! The matrix: provider x region x layer, from each group's newest look at each target. A layer that the newest looks did
//! not reach has no data, however well it did before.

use std::collections::BTreeMap;

use crate::{
    change::CellState,
    element::Element,
    known::Known,
    settings::Settings,
    time::Timestamp,
    visibility::{Sight, count},
    vocabulary::Layer,
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

/// Looks at one row and layer.
#[derive(Clone, Debug, Default)]
struct Looks {
    pairs: u32,
    failing_pairs: u32,
    /// By group: whether something failed for it, if it looked.
    groups: Vec<Option<bool>>,
}

/// What every cell of the matrix shows, from looks that began at or after `from`. Agents most of whose controls fail say
/// nothing.
pub(crate) fn paint(known: &Known, sights: &[Sight], settings: &Settings, from: Timestamp) -> BTreeMap<Key, Shown> {
    let map = known.map();
    let rows: Vec<Option<(String, String)>> = (0..)
        .take(known.target_count())
        .map(|target| known.target(target).and_then(|seen| row(seen, known.learned(target))))
        .collect();
    let mut place_of: BTreeMap<&(String, String), usize> = BTreeMap::new();
    for row in rows.iter().flatten() {
        let next = place_of.len();
        place_of.entry(row).or_insert(next);
    }
    let places: Vec<Option<usize>> = rows.iter().map(|row| row.as_ref().map(|row| place_of[row])).collect();
    let layers: Vec<Vec<Layer>> = known.slots.iter().map(|slot| known.layers(slot)).collect();
    let mut looks: Vec<[Option<Looks>; 4]> = vec![Default::default(); place_of.len()];
    for (entry, target) in known.looks() {
        let Some(place) = places[target as usize] else { continue };
        let near = &map.near[entry.agent as usize];
        if !near.is_there || sights[entry.agent as usize].controls_fail() {
            continue;
        }
        let newest = entry.cell.newest().filter(|sample| sample.at >= from);
        for layer in &layers[entry.slot as usize] {
            let looks = looks[place][*layer as usize].get_or_insert_with(|| Looks::of(map.groups.len()));
            if let Some(failed) = newest.and_then(|sample| Some(sample.failed_at(*layer)? && !sample.own_fault)) {
                looks.pairs += 1;
                looks.failing_pairs += u32::from(failed);
                let group = &mut looks.groups[near.group as usize];
                *group = Some(group.unwrap_or_default() || failed);
            }
        }
    }
    let cells = place_of.into_iter().flat_map(|(row, place)| {
        let looks = &looks[place];
        Layer::ALL.iter().filter_map(move |layer| {
            let looks = looks[*layer as usize].as_ref()?;
            Some(((row.0.clone(), row.1.clone(), *layer), looks.shown(settings)))
        })
    });
    cells.collect()
}

impl Looks {
    fn of(groups: usize) -> Self {
        Self { groups: vec![None; groups], ..Self::default() }
    }

    fn shown(&self, settings: &Settings) -> Shown {
        let failing = self.groups.iter().filter(|group| **group == Some(true)).count();
        let looking = self.groups.iter().flatten().count();
        let state = if looking < settings.quorum_groups {
            CellState::NoData
        } else if self.failing_pairs * 2 >= self.pairs {
            CellState::Failing
        } else if failing * 5 >= looking && failing > 1 {
            CellState::Degraded
        } else {
            CellState::Ok
        };
        Shown { state, failing_groups: count(failing), total_groups: count(looking) }
    }
}
