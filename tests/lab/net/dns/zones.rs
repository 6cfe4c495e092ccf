//! Which names exist, who answers for them, and where their zones begin.
//!
//! Rules: the zone of a name begins one label above it, unless that leaves fewer than two labels or is another
//! operator's; then at the name itself. What nobody serves is the root's to deny.

use std::collections::HashMap;

use hickory_server::proto::rr::{LowerName, Name};

use crate::world::World;

pub(in crate::net) struct Zones {
    links: HashMap<LowerName, Link>,
    apexes: HashMap<LowerName, usize>,
    /// Every name at or above a link, and who answers for it.
    served: HashMap<LowerName, usize>,
    root: usize,
}

/// One name of a target's chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) target: usize,
    pub(super) position: usize,
    pub(super) operator: usize,
}

impl Zones {
    pub(in crate::net) fn new(world: &World) -> Self {
        let operator_at = |id: &str| world.operators.iter().position(|operator| operator.id == id).unwrap_or_default();
        let mut zones =
            Self { links: HashMap::new(), apexes: HashMap::new(), served: HashMap::new(), root: operator_at("root") };
        for (target, facts) in world.targets.iter().enumerate() {
            for (position, alias) in facts.names.iter().enumerate() {
                let operator = operator_at(&alias.operator);
                zones.add(lower(&alias.name), Link { target, position, operator });
            }
        }
        zones.apexes.insert(LowerName::new(&Name::root()), zones.root);
        zones
    }

    fn add(&mut self, name: LowerName, link: Link) {
        let parent = name.base_name();
        let is_own = self.served.get(&parent).is_none_or(|operator| *operator == link.operator);
        let apex = if parent.num_labels() >= 2 && is_own { parent.clone() } else { name.clone() };
        self.apexes.insert(apex, link.operator);
        self.served.insert(name.clone(), link.operator);
        let mut above = parent;
        while above.num_labels() >= 2 {
            self.served.entry(above.clone()).or_insert(link.operator);
            above = above.base_name();
        }
        self.links.insert(name, link);
    }

    /// The link of that very name.
    pub(super) fn link(&self, name: &LowerName) -> Option<Link> {
        self.links.get(name).copied()
    }

    /// Who answers for the name; the root for what nobody serves.
    pub(super) fn operator(&self, name: &LowerName) -> usize {
        let mut at = name.clone();
        while at.num_labels() >= 2 {
            if let Some(operator) = self.served.get(&at) {
                return *operator;
            }
            at = at.base_name();
        }
        self.root
    }

    /// Where the name's zone begins.
    pub(super) fn apex(&self, name: &LowerName) -> LowerName {
        let mut at = name.clone();
        while !self.apexes.contains_key(&at) && !at.is_root() {
            at = at.base_name();
        }
        at
    }

    /// Whether the name exists, with or without records.
    pub(super) fn exists(&self, name: &LowerName) -> bool {
        self.served.contains_key(name) || self.apexes.contains_key(name)
    }
}

fn lower(name: &str) -> LowerName {
    let mut name = Name::from_ascii(name).expect("names of a sound world are host names");
    name.set_fqdn(true);
    LowerName::new(&name)
}
