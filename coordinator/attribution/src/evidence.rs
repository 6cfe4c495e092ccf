//! Evidence: what the windows hold, laid out for the search.
//!
//! A pass speaks for every element that it exercises alike, so passes are summed: one number for each candidate, layer
//! and group ([`Evidence::passes`]). Failures are kept one by one with the set that they implicate ([`Fail`]). Candidates
//! are elements that at least one failure implicates.

mod frame;
mod pour;
mod tally;

use std::{rc::Rc, sync::LazyLock};

pub(crate) use self::{
    pour::{WINDOWS, gather},
    tally::SLOW_WEIGHT,
};
use crate::{
    element::Element,
    known::Place,
    time::Timestamp,
    vocabulary::{Cause, Layer},
};

/// No row, no candidate.
const NONE: u32 = u32::MAX;

/// Failures of one cell at one layer that implicate the same elements.
#[derive(Clone, Debug)]
pub(crate) struct Fail {
    pub(crate) place: Place,
    pub(crate) layer: Layer,
    pub(crate) group: u32,
    pub(crate) failed: f64,
    /// How many of them only were slow, each of which is [`SLOW_WEIGHT`] of a failure.
    pub(crate) slow: f64,
    /// Runs of the cell at the layer.
    pub(crate) runs: f64,
    /// Chance of a failure without any fault.
    pub(crate) rate: f64,
    /// Candidates implicated, ascending.
    pub(crate) set: Rc<[u32]>,
    /// The commonest; `None` where runs were only slow.
    pub(crate) cause: Option<Cause>,
}

impl Fail {
    /// Chance of a failure if the elements that it implicates let through a share `healthy` of runs.
    pub(crate) fn chance(&self, healthy: f64) -> f64 {
        (1.0 - (1.0 - self.rate) * healthy).clamp(1e-9, 1.0 - 1e-9)
    }

    /// Runs that failed or were slow, and all runs.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are small whole numbers")]
    pub(crate) fn counts(&self) -> (u32, u32) {
        let halves = self.slow * SLOW_WEIGHT.get();
        ((self.failed - halves + self.slow) as u32, (self.runs - halves + self.slow) as u32)
    }

    /// Whether it implicates the candidate.
    pub(crate) fn implicates(&self, element: usize) -> bool {
        u32::try_from(element).is_ok_and(|element| self.set.binary_search(&element).is_ok())
    }
}

/// The candidates, shared by all windows.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// In order of name: ties are settled the same way every time.
    pub(crate) elements: Vec<Element>,
    /// For each candidate and layer, the row of its passes; none where it fails nowhere.
    rows: Vec<[u32; 4]>,
    /// Names of vantage groups, in order.
    pub(crate) groups: Vec<String>,
}

impl Frame {
    fn row_count(&self) -> usize {
        self.rows.iter().flatten().filter(|row| **row != NONE).count()
    }
}

/// What one window holds.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) frame: Rc<Frame>,
    pub(crate) from: Timestamp,
    pub(crate) fails: Vec<Fail>,
    /// The failures that implicate each candidate at each layer: `starts[element * 4 + layer]` into `numbers`.
    starts: Vec<u32>,
    numbers: Vec<u32>,
    /// Rows of passes, a number for each group: whole numbers, which `f32` holds exactly up to 16 million.
    passes: Vec<f32>,
    /// The sum of each row.
    passed: Vec<f64>,
    /// Per group: log likelihood of all counts relative to no fault, if it reports anything whatever.
    pub(crate) liar: Vec<f64>,
}

impl Evidence {
    fn new(frame: Rc<Frame>, from: Timestamp) -> Self {
        let (rows, groups) = (frame.row_count(), frame.groups.len());
        Self {
            starts: vec![0; frame.elements.len() * 4 + 1],
            numbers: Vec::new(),
            passes: vec![0.0; rows * groups],
            passed: vec![0.0; rows],
            liar: vec![0.0; groups],
            fails: Vec::new(),
            frame,
            from,
        }
    }

    /// Passes of each group that speak for the candidate at the layer; empty where it fails nowhere.
    pub(crate) fn passes(&self, element: usize, layer: Layer) -> &[f32] {
        let groups = self.frame.groups.len();
        match self.frame.rows[element][layer as usize] {
            NONE => &[],
            row => &self.passes[row as usize * groups..(row as usize + 1) * groups],
        }
    }

    /// Passes of all groups that speak for the candidate at the layer.
    pub(crate) fn passed(&self, element: usize, layer: Layer) -> f64 {
        match self.frame.rows[element][layer as usize] {
            NONE => 0.0,
            row => self.passed[row as usize],
        }
    }

    /// Numbers of the failures that implicate the candidate at the layer, ascending.
    pub(crate) fn numbers_at(&self, element: usize, layer: Layer) -> &[u32] {
        let place = element * 4 + layer as usize;
        &self.numbers[self.starts[place] as usize..self.starts[place + 1] as usize]
    }

    /// Numbers of the failures that implicate the candidate, by layer.
    pub(crate) fn numbers_of(&self, element: usize) -> &[u32] {
        &self.numbers[self.starts[element * 4] as usize..self.starts[element * 4 + 4] as usize]
    }

    /// The failures that implicate the candidate at the layer.
    pub(crate) fn fails_at(&self, element: usize, layer: Layer) -> impl Iterator<Item = &Fail> {
        self.numbers_at(element, layer).iter().map(|number| &self.fails[*number as usize])
    }

    /// The failures that implicate the candidate.
    pub(crate) fn fails_of(&self, element: usize) -> impl Iterator<Item = &Fail> {
        self.numbers_of(element).iter().map(|number| &self.fails[*number as usize])
    }

    /// The layers at which something fails that implicates the candidate.
    pub(crate) fn failing_layers(&self, element: usize) -> impl Iterator<Item = Layer> {
        Layer::ALL.iter().copied().filter(move |layer| !self.numbers_at(element, *layer).is_empty())
    }

    pub(crate) fn elements(&self) -> &[Element] {
        &self.frame.elements
    }

    /// Finds the failures of each candidate, once all are there.
    fn index(&mut self) {
        let place = |fail: &Fail, element: u32| element as usize * 4 + fail.layer as usize;
        self.starts.fill(0);
        for fail in &self.fails {
            for element in &*fail.set {
                self.starts[place(fail, *element) + 1] += 1;
            }
        }
        for next in 1..self.starts.len() {
            self.starts[next] += self.starts[next - 1];
        }
        let mut next = self.starts.clone();
        self.numbers = vec![0; self.starts.last().map_or(0, |end| *end as usize)];
        for (number, fail) in (0..).zip(&self.fails) {
            for element in &*fail.set {
                let next = &mut next[place(fail, *element)];
                self.numbers[*next as usize] = number;
                *next += 1;
            }
        }
    }
}

/// Log probability of a sequence with so many failures and passes from somebody who may report anything whatever:
/// beta-binomial with both parameters 1/2 (Jeffreys), without the binomial coefficient. A liar who could fit each count
/// for nothing would outdo every honest account of a partial fault, the more so the more there is to see.
///
/// Source: Jeffreys 1946; design notes 4.4.
pub(crate) fn ln_any(failed: f64, passed: f64) -> f64 {
    /// Sums of ln(k + 1/2) and of ln(k + 1) over k below each number.
    static SUMS: LazyLock<[Vec<f64>; 2]> = LazyLock::new(|| {
        [0.5, 1.0].map(|more| {
            let terms = (0..TABLED).scan(0.0, |sum, k| {
                let before = *sum;
                *sum += (f64::from(k) + more).ln();
                Some(before)
            });
            terms.collect()
        })
    });
    const TABLED: u32 = 4096;
    let sum = |which: usize, count: u32| {
        let known = count.min(TABLED - 1);
        let more = [0.5, 1.0][which];
        SUMS[which][known as usize] + (known..count).map(|k| (f64::from(k) + more).ln()).sum::<f64>()
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are small and not negative")]
    let (failed, passed) = (failed.ceil() as u32, passed.ceil() as u32);
    sum(0, failed) + sum(0, passed) - sum(1, failed + passed)
}

#[cfg(test)]
pub(crate) mod testing {
    //! Evidence made by hand.
    use super::*;

    /// Each row: group, failed, passed, candidates; all at the layer `connect`.
    pub(crate) fn evidence(elements: Vec<Element>, groups: usize, rows: &[(usize, f64, f64, &[usize])]) -> Evidence {
        let count = elements.len();
        let frame = Frame {
            elements,
            rows: (0..).take(count).map(|row| [NONE, row, NONE, NONE]).collect(),
            groups: (0..groups).map(|group| format!("g{group}")).collect(),
        };
        let mut evidence = Evidence::new(Rc::new(frame), Timestamp::default());
        let rate: f64 = 0.002;
        for (place, (group, failed, passed, set)) in (0..).zip(rows) {
            evidence.liar[*group] += ln_any(*failed, *passed) - failed * rate.ln() - passed * (-rate).ln_1p();
            for element in *set {
                #[expect(clippy::cast_possible_truncation, reason = "small")]
                let more = *passed as f32;
                evidence.passes[element * groups + group] += more;
                evidence.passed[*element] += passed;
            }
            let fail = Fail {
                place,
                layer: Layer::Connect,
                group: u32::try_from(*group).expect("small"),
                failed: *failed,
                slow: 0.0,
                runs: failed + passed,
                rate,
                set: set.iter().map(|element| u32::try_from(*element).expect("small")).collect(),
                cause: Some(Cause::ConnectTimeout),
            };
            if *failed > 0.0 {
                evidence.fails.push(fail);
            }
        }
        evidence.index();
        evidence
    }
}
