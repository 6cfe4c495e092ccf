//! Spells without sight: when there was no quorum, as published. Silence in them says nothing.

use std::collections::VecDeque;

use faultline_attribution::Timestamp;

/// Spells that are kept; the oldest go.
const KEPT: usize = 500;

/// When sight was lost, and when it came back; `None` while it has not.
pub type Spell = (Timestamp, Option<Timestamp>);

/// Spells without sight, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spells {
    began: Option<Timestamp>,
    spells: VecDeque<Spell>,
}

impl Spells {
    /// Notes that something was published at all.
    pub(super) fn begin(&mut self, at: Timestamp) {
        self.began.get_or_insert(at);
    }

    /// Takes in what was published of the sight.
    pub(super) fn take(&mut self, at: Timestamp, below_quorum: bool) {
        match (self.spells.back_mut(), below_quorum) {
            (Some((_, end @ None)), false) => *end = Some(at),
            (Some((_, None)), true) | (_, false) => {}
            (_, true) => {
                self.spells.push_back((at, None));
                if self.spells.len() > KEPT {
                    self.spells.pop_front();
                }
            }
        }
    }

    /// When the first change was published; `None` before that.
    pub fn began(&self) -> Option<Timestamp> {
        self.began
    }

    /// The spells, oldest first; at most 500.
    pub fn iter(&self) -> impl Iterator<Item = Spell> {
        self.spells.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spell_lasts_from_the_first_word_of_it_to_the_first_of_sight() {
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let mut spells = Spells::default();
        for (second, is_blind) in [(1, false), (2, true), (3, true), (5, false), (6, false), (9, true)] {
            spells.begin(at(second));
            spells.take(at(second), is_blind);
        }
        assert_eq!(spells.iter().collect::<Vec<_>>(), [(at(2), Some(at(5))), (at(9), None)]);
        assert_eq!(spells.began(), Some(at(1)));
    }

    #[test]
    fn the_oldest_spells_go() {
        let mut spells = Spells::default();
        for second in 0..2000 {
            spells.take(Timestamp::from_micros(second), second % 2 == 0);
        }
        assert_eq!(spells.iter().count(), KEPT);
        assert_eq!(spells.iter().last(), Some((Timestamp::from_micros(1998), Some(Timestamp::from_micros(1999)))));
    }
}
