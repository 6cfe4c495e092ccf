//! `blameit`: elimination from the cloud outwards. Of the agents that look at a provider's region, are nearly all bad?
//! Then the region; else the same for edges, then for networks on the way, then for each agent.
//!
//! Source: Jin et al., "Zooming in on Wide-area Latencies to a Global Cloud Provider", SIGCOMM 2019: quartets, share
//! tau = 0.8 (0.7 here, by calibration), each agent counts once whatever its volume. Added, since the paper knows only
//! regions: the shared DNS and sign-in of a provider stand with the edges, and single services and endpoints come last;
//! without that it could never say that an application is down.

use std::collections::{BTreeSet, HashSet};

use faultline_attribution::ElementKind;

use super::{
    Accused, Peer, Rule, Seen,
    cell::{Pair, Tally},
    gated,
};

/// Its parameters.
#[derive(Clone, Debug)]
pub(super) struct BlameIt {
    /// Share of the quartets that must be bad.
    tau: f64,
    /// Share of failing runs from which a quartet is bad.
    bad: f64,
    /// Quartets that must be there at all.
    quartets: usize,
}

impl Default for BlameIt {
    /// Objective in calibration: 0.629.
    fn default() -> Self {
        Self { tau: 0.7, bad: 0.5, quartets: 3 }
    }
}

/// What is eliminated at a stage, and what its quartets are. A network on the way is seen by more than one agent.
const STAGES: &[(&[ElementKind], Quartet)] = &[
    (&[ElementKind::Region, ElementKind::OtherCloud], Quartet::Agent),
    (&[ElementKind::Cdn, ElementKind::Dns, ElementKind::Identity], Quartet::Agent),
    (&[ElementKind::Carrier, ElementKind::Isp], Quartet::Both),
    (&[ElementKind::Agent], Quartet::Location),
    (&[ElementKind::Service, ElementKind::Endpoint], Quartet::Agent),
];

#[derive(Clone, Copy, Debug)]
enum Quartet {
    /// An agent.
    Agent,
    /// A place that an agent looks at.
    Location,
    /// An agent and a place that it looks at.
    Both,
}

impl Quartet {
    fn of(self, pair: &Pair) -> (u32, u32) {
        match self {
            Self::Agent => (pair.agent, 0),
            Self::Location => (0, pair.location),
            Self::Both => (pair.agent, pair.location),
        }
    }
}

/// A component, a quartet of it, a pair of that.
type Line = (u32, (u32, u32), u32);

impl BlameIt {
    pub(super) fn grid() -> Vec<Peer<Self>> {
        let mut rules = Vec::new();
        for tau in [0.7, 0.8, 0.9] {
            for bad in [0.5, 0.8] {
                rules.extend([3, 6].map(|quartets| Self { tau, bad, quartets }));
            }
        }
        gated(rules)
    }

    /// Components of these kinds of which nearly all quartets are bad.
    fn stage(&self, seen: &Seen<'_>, (kinds, by): (&[ElementKind], Quartet), explained: &BTreeSet<u32>) -> Vec<u32> {
        let candidates = self.candidates(seen, (kinds, by), explained);
        // One line for each component, quartet and pair: the runs that got as far, and those that failed there.
        let mut lines: Vec<(Line, Tally)> = Vec::new();
        for cell in seen.cells.active().filter(|cell| !explained.contains(&cell.pair)) {
            let quartet = by.of(&seen.cells.pairs()[cell.pair as usize]);
            let components = seen.cells.components_of(cell).iter().filter(|component| candidates[**component as usize]);
            lines.extend(components.map(|component| ((*component, quartet, cell.pair), cell.tally)));
        }
        lines.sort_unstable_by_key(|(key, _)| *key);
        let mut guilty = Vec::new();
        for component in lines.chunk_by(|left, right| left.0.0 == right.0.0) {
            let quartets = component.chunk_by(|left, right| left.0.1 == right.0.1);
            let (mut bad, mut all) = (0usize, 0usize);
            for quartet in quartets {
                let (mut runs, mut failures) = (0, 0);
                for pair in quartet.chunk_by(|left, right| left.0.2 == right.0.2) {
                    runs += pair.iter().map(|(_, tally)| tally.runs()).max().unwrap_or(0);
                    failures += pair.iter().map(|(_, tally)| tally.failures).sum::<u32>();
                }
                all += 1;
                bad += usize::from(failures > 0 && f64::from(failures) >= self.bad * f64::from(runs));
            }
            let is_shared =
                !matches!(by, Quartet::Both) || component.iter().any(|line| line.0.1.0 != component[0].0.1.0);
            if self.is_enough(bad, all) && is_shared {
                guilty.push(component[0].0.0);
            }
        }
        guilty
    }

    /// Whether so many of these quartets are enough, were they bad.
    fn is_enough(&self, bad: usize, all: usize) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "agents and places are few")]
        let is_share = bad as f64 >= self.tau * all as f64;
        bad >= self.quartets && is_share
    }

    /// By number of component: whether enough of its quartets have any failure on it, which spares the rest a closer look.
    fn candidates(
        &self,
        seen: &Seen<'_>,
        (kinds, by): (&[ElementKind], Quartet),
        explained: &BTreeSet<u32>,
    ) -> Vec<bool> {
        type Quartets = HashSet<(u32, u32)>;
        let elements = seen.cells.components().all();
        let mut quartets: Vec<(Quartets, Quartets)> = vec![Default::default(); elements.len()];
        let open = || seen.cells.active().filter(|cell| !explained.contains(&cell.pair));
        for cell in open().filter(|cell| cell.tally.failures > 0) {
            for component in
                seen.cells.components_of(cell).iter().filter(|id| kinds.contains(&elements[**id as usize].kind))
            {
                quartets[*component as usize].0.insert(by.of(&seen.cells.pairs()[cell.pair as usize]));
            }
        }
        let failing: Vec<bool> = quartets.iter().map(|(failing, _)| failing.len() >= self.quartets).collect();
        for cell in open() {
            for component in seen.cells.components_of(cell).iter().filter(|id| failing[**id as usize]) {
                quartets[*component as usize].1.insert(by.of(&seen.cells.pairs()[cell.pair as usize]));
            }
        }
        quartets.iter().map(|(failing, all)| self.is_enough(failing.len(), all.len())).collect()
    }
}

impl Rule for BlameIt {
    type Memory = ();

    fn name(&self) -> &'static str {
        "blameit"
    }

    fn accuse(&self, seen: &Seen<'_>, (): &mut ()) -> Vec<Accused> {
        let mut explained: BTreeSet<u32> = BTreeSet::new();
        let mut accused = Vec::new();
        for stage in STAGES {
            let guilty = self.stage(seen, *stage, &explained);
            if guilty.is_empty() {
                continue;
            }
            for cell in seen.cells.active() {
                if seen.cells.components_of(cell).iter().any(|component| guilty.contains(component)) {
                    explained.insert(cell.pair);
                }
            }
            let components = seen.cells.components();
            accused.extend(guilty.into_iter().map(|number| Accused::Component(components.element(number).clone())));
        }
        accused
    }
}
