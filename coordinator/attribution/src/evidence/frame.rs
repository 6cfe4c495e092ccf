//! The frame of a search: its candidates, and where each agent, slot and pair of the two adds its passes.

use super::{Frame, NONE};
use crate::{
    known::{Known, Place},
    time::Timestamp,
    vocabulary::Layer,
};

/// The candidates, and the number of each element among them. `None` when nothing fails.
pub(super) fn frame(
    known: &Known,
    troubled: &[Place],
    candidates: &[bool],
    earliest: Timestamp,
    refuses_many: &[bool],
) -> Option<(Frame, Vec<u32>)> {
    let map = known.map();
    let mut fails_at = vec![[false; 4]; map.elements.len()];
    let mut any = false;
    for place in troubled {
        let entry = known.entry(*place);
        let far = &map.far[entry.slot as usize];
        let mut layers = [false; 4];
        let mut own = [false; 4];
        for sample in entry.cell.since(earliest) {
            if let Some((layer, _)) = sample.failed {
                own[layer as usize] |= sample.own_fault && refuses_many[entry.slot as usize];
                layers[layer as usize] |= !sample.own_fault;
            } else if let Some(layer) = sample.slow {
                layers[layer as usize] = true;
            }
        }
        for layer in Layer::ALL {
            if own[*layer as usize] {
                any = true;
                for number in map.near[entry.agent as usize].all.first().into_iter().chain(&far.own) {
                    fails_at[*number as usize][*layer as usize] = true;
                }
            }
            if layers[*layer as usize] {
                any = true;
                map.each(entry, *layer, |number| fails_at[number as usize][*layer as usize] = true);
                for number in known.access(entry.agent) {
                    fails_at[*number as usize][*layer as usize] = true;
                }
            }
        }
    }
    if !any {
        return None;
    }
    let mut frame = Frame { groups: map.groups.clone(), ..Frame::default() };
    let mut local = vec![NONE; map.elements.len()];
    let mut rows = 0;
    let found = fails_at.iter().enumerate().filter(|(number, layers)| candidates[*number] && layers.contains(&true));
    for (number, layers) in found {
        local[number] = u32::try_from(frame.elements.len()).unwrap_or(NONE);
        frame.elements.push(map.elements[number].clone());
        frame.rows.push(layers.map(|fails| {
            if fails {
                rows += 1;
                rows - 1
            } else {
                NONE
            }
        }));
    }
    Some((frame, local))
}

/// The row of an element's passes at a layer.
pub(super) fn row(frame: &Frame, local: &[u32], number: u32, layer: Layer) -> Option<u32> {
    let candidate = local[number as usize];
    (candidate != NONE).then(|| frame.rows[candidate as usize][layer as usize]).filter(|row| *row != NONE)
}

/// Rows by place and layer, one after the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    ends: Vec<u32>,
    rows: Vec<u32>,
}

impl Rows {
    /// The rows of the sets of so many places.
    pub(super) fn new<'a>(
        (frame, local): (&Frame, &[u32]),
        places: usize,
        set: impl Fn(usize, Layer) -> Option<&'a [u32]>,
    ) -> Self {
        let mut rows = Self::default();
        for place in 0..places {
            for layer in Layer::ALL {
                let found = set(place, *layer).unwrap_or_default();
                rows.rows.extend(found.iter().filter_map(|number| row(frame, local, *number, *layer)));
                rows.ends.push(u32::try_from(rows.rows.len()).unwrap_or(NONE));
            }
        }
        rows
    }

    /// The rows of this place at the layer.
    pub(super) fn of(&self, place: usize, layer: Layer) -> &[u32] {
        let at = place * 4 + layer as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.rows[start as usize..self.ends[at] as usize]
    }
}
