//! Numbers for names, so that a case's cells are small.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use faultline_attribution::Element;

/// Elements by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Components {
    all: Vec<Element>,
    numbers: BTreeMap<Element, u32>,
}

impl Components {
    /// The element of that number.
    pub(crate) fn element(&self, number: u32) -> &Element {
        &self.all[number as usize]
    }

    /// The number of that element; a new one for a new element.
    pub(crate) fn number(&mut self, element: Element) -> u32 {
        if let Some(number) = self.numbers.get(&element) {
            return *number;
        }
        let number = index(self.all.len());
        self.all.push(element.clone());
        self.numbers.insert(element, number);
        number
    }

    /// All elements, in the order of their numbers.
    pub(crate) fn all(&self) -> &[Element] {
        &self.all
    }
}

/// The number of a name; the next one for a new name.
pub(super) fn number<T: Clone + Eq + Hash>(numbers: &mut HashMap<T, u32>, name: &T) -> u32 {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    let next = index(numbers.len());
    numbers.insert(name.clone(), next);
    next
}

/// A place as a number.
pub(super) fn index(length: usize) -> u32 {
    u32::try_from(length).expect("a case has far fewer cells than 2^32")
}
