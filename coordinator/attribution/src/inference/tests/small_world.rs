//! Small random worlds: at most eight elements, six groups, and up to two faults.

use crate::{
    dice::Dice,
    element::{Element, ElementKind as Kind},
    evidence::{Evidence, testing},
};

/// What targets may bring: a world has some of these.
const FAR: [(Kind, &str); 11] = [
    (Kind::Region, "aws/us-east-1"),
    (Kind::Region, "azure/eastus"),
    (Kind::Service, "aws/us-east-1/dynamodb"),
    (Kind::Service, "azure/eastus/blob"),
    (Kind::Cdn, "azure/front-door"),
    (Kind::Cdn, "cdn/fastly"),
    (Kind::Dns, "aws/route53"),
    (Kind::Network, "azure/network"),
    (Kind::Owner, "owner/shop"),
    (Kind::Endpoint, "endpoint/app"),
    (Kind::Endpoint, "endpoint/site"),
];

/// What agents may bring, and how many groups bring it.
const NEAR: [(Kind, &str, usize); 4] = [
    (Kind::Agent, "agent/a", 1),
    (Kind::Agent, "agent/b", 1),
    (Kind::Isp, "isp/a", 2),
    (Kind::Country, "country/de", 3),
];

/// Group, failed, passed, elements.
type Row = (usize, f64, f64, Vec<usize>);

/// What a world consists of, and what happened in it.
#[derive(Clone, Debug)]
pub(in crate::inference) struct SmallWorld {
    elements: Vec<Element>,
    groups: usize,
    rows: Vec<Row>,
    /// Looks of each group at each of so many endpoints that nothing is wrong with.
    healthy: (usize, f64),
}

impl SmallWorld {
    /// The world of a seed, beside so many endpoints that nothing is wrong with.
    pub(in crate::inference) fn new(seed: u64, healthy: usize) -> Self {
        let dice = &mut Dice::new(seed);
        let groups = 3 + dice.below(4);
        let (mut far, mut near) = (FAR.to_vec(), NEAR.to_vec());
        dice.shuffle(&mut far);
        dice.shuffle(&mut near);
        far.truncate(2 + dice.below(5));
        near.truncate(dice.below(3));
        let far = far.into_iter().map(|(kind, name)| (Element::new(kind, name), 0));
        let near = near.into_iter().map(|(kind, name, spread)| (Element::new(kind, name), spread));
        let mut elements: Vec<(Element, usize)> = far.chain(near).collect();
        elements.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        // A group holds a near element if it is one of the few, drawn anew for each, that do.
        let holders: Vec<Vec<usize>> = elements
            .iter()
            .map(|(_, spread)| {
                let mut all: Vec<usize> = (0..groups).collect();
                dice.shuffle(&mut all);
                all.truncate(*spread);
                all
            })
            .collect();
        let far: Vec<usize> = (0..elements.len()).filter(|element| elements[*element].1 == 0).collect();
        let targets: Vec<Vec<usize>> = (0..2 + dice.below(4))
            .map(|_| {
                let mut set = far.clone();
                dice.shuffle(&mut set);
                set.truncate(1 + dice.below(3));
                set
            })
            .collect();
        let mut faults: Vec<(usize, f64)> = Vec::new();
        for _ in 0..dice.below(3) {
            let element = dice.below(elements.len());
            if faults.iter().all(|(held, _)| *held != element) {
                faults.push((element, dice.pick(&[0.2, 0.5, 0.8, 0.95, 1.0])));
            }
        }
        let noise = dice.pick(&[0.0, 0.002, 0.01]);
        let mut rows = Vec::new();
        for group in 0..groups {
            for target in &targets {
                let near = (0..elements.len()).filter(|element| holders[*element].contains(&group));
                let mut set: Vec<usize> = target.iter().copied().chain(near).collect();
                set.sort_unstable();
                let mut healthy: f64 = 1.0 - noise;
                for (element, severity) in &faults {
                    healthy *= if set.contains(element) { 1.0 - severity } else { 1.0 };
                }
                let (mut failed, mut passed) = (0.0, 0.0);
                for _ in 0..=dice.below(8) {
                    if dice.happens(1.0 - healthy) { failed += 1.0 } else { passed += 1.0 }
                }
                rows.push((group, failed, passed, set));
            }
        }
        Self {
            elements: elements.into_iter().map(|(element, _)| element).collect(),
            groups,
            rows,
            healthy: (healthy, f64::from(3 + u8::try_from(dice.below(8)).expect("small"))),
        }
    }

    /// What was seen of it.
    pub(in crate::inference) fn evidence(&self) -> Evidence {
        const NOTHING: &[usize] = &[];
        let rows = self.rows.iter().map(|row| (row.0, row.1, row.2, &*row.3));
        let (endpoints, looks) = self.healthy;
        let healthy = (0..self.groups * endpoints).map(|place| (place % self.groups, 0.0, looks, NOTHING));
        let rows: Vec<(usize, f64, f64, &[usize])> = rows.chain(healthy).collect();
        testing::evidence(self.elements.clone(), self.groups, &rows)
    }
}
