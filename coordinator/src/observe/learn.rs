//! Learn: from what healthy probes saw of a target to what it is put together from, when most agents see it the same way.
//!
//! An agent's newest sighting of a target is its vote. Rules:
//! * Field by field: CDN or host, region, issuer, DNS operator. A field is learned when more than half of the agents that
//!   saw something of it agree; the region needs nine of ten, since name servers answer each place with its own.
//! * A target that moves is followed at once: a changed sighting wins as soon as half of the agents have it.
//! * An agent that sees now this and now that (a site on two CDNs in turn) has no vote on the field until it settles.
//! * What nobody saw stays empty, and the catalog's hint stands. A sighting without an issuer says nothing of the issuer.
//! * A published range that is a CDN's wins over names and headers; a region's range says where a target is hosted only
//!   when nothing shows a CDN in front.
//! * The same sighting again costs two look-ups and allocates nothing; another one costs no more with a thousand agents than
//!   with one: votes are counted as they change, never anew.

mod counts;

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use faultline_attribution::{AgentId, Learned, TargetId};
use faultline_proto::types::v1::Facts;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use self::counts::{Counts, Share, elect};
use super::{edges, kept, operators, word::Word};
use crate::ranges::{Provider, Ranges, Says};

/// What one healthy run saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// CNAME chain in order, without the name that was asked for.
    pub cnames: Vec<String>,
    /// Name servers of the zone.
    pub name_servers: Vec<String>,
    /// Headers that edges set, by lower-case name.
    pub edge: HashMap<String, String>,
    /// Common name or organisation of the certificate's issuer; empty when none was seen.
    pub issuer: String,
    /// Address that answered.
    pub address: Option<IpAddr>,
}

impl Sighting {
    /// What an agent's facts say. The address is not one of them: it comes with each result.
    pub fn of(facts: &Facts) -> Self {
        Self {
            cnames: facts.cnames.clone(),
            name_servers: facts.resolver.strip_prefix("authority:").map(str::to_owned).into_iter().collect(),
            edge: facts.edge.clone(),
            issuer: facts.issuer.clone(),
            address: None,
        }
    }
}

/// What a look at a field showed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Shown<T> {
    /// Nothing that is known.
    Unknown,
    /// This.
    Known(T),
}

impl<T> Shown<T> {
    fn known(&self) -> Option<&T> {
        if let Self::Known(value) = self { Some(value) } else { None }
    }
}

impl<T> From<Option<T>> for Shown<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Self::Known)
    }
}

/// A sighting without its address, read once and used for every result that refers to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    has_front: bool,
    cdn: Option<Word>,
    operator: Option<Shown<Word>>,
    issuer: Option<Arc<str>>,
}

impl Reading {
    /// Reads a sighting.
    pub fn of(sighting: &Sighting) -> Self {
        let servers = &sighting.name_servers;
        Self {
            has_front: !sighting.cnames.is_empty() || !sighting.edge.is_empty(),
            cdn: edges::cdn(sighting).map(Word::from),
            operator: (!servers.is_empty())
                .then(|| operators::operator(servers.iter().map(String::as_str)).map(Word::from).into()),
            issuer: (!sighting.issuer.is_empty()).then(|| sighting.issuer.as_str().into()),
        }
    }
}

/// What answers: one vote, since a target behind a CDN shows nothing of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Front {
    /// Nothing that is known.
    Unknown,
    Cdn(Word),
    Host(Provider),
}

/// An agent's vote; the outer `None` of a field says that the agent saw nothing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Vote {
    front: Option<Front>,
    region: Option<Shown<Arc<str>>>,
    operator: Option<Shown<Word>>,
    issuer: Option<Arc<str>>,
}

/// What an agent last saw of a target.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seen {
    /// CDN by names and headers, to vote again when ranges change.
    cdn: Option<Word>,
    address: Option<IpAddr>,
    vote: Vote,
    /// For each field, how much it changes: a change adds [`CHANGE`], a sighting without one takes one off.
    unsteady: [u8; FIELD_COUNT],
}

const FIELD_COUNT: usize = 4;
const FRONT: usize = 0;
const REGION: usize = 1;
const OPERATOR: usize = 2;
const ISSUER: usize = 3;

/// What a change adds. A move and a move back in short order leave the agent its vote; a third change takes it.
const CHANGE: u8 = 8;
const UNSTEADY: u8 = 2 * CHANGE;
const MOST_UNSTEADY: u8 = 4 * CHANGE;

/// What is known of a target.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    #[serde(serialize_with = "kept::in_order")]
    seen: FxHashMap<AgentId, Seen>,
    #[serde(skip)]
    counts: Counts,
    front: Option<Front>,
    region: Option<Shown<Arc<str>>>,
    operator: Option<Shown<Word>>,
    issuer: Option<Arc<str>>,
    learned: Learned,
}

/// Remembers what each agent last saw of each target.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Learner {
    /// Kept by the observer, as their record.
    #[serde(skip)]
    ranges: Arc<Ranges>,
    #[serde(serialize_with = "kept::in_order")]
    targets: FxHashMap<TargetId, Known>,
}

impl Learner {
    /// A learner that knows published ranges. `default()` knows none.
    pub fn new(ranges: Arc<Ranges>) -> Self {
        Self { ranges, targets: FxHashMap::default() }
    }

    /// The ranges in use.
    pub fn ranges(&self) -> &Arc<Ranges> {
        &self.ranges
    }

    /// What is learned of each target of which anything is.
    pub fn learned(&self) -> impl Iterator<Item = (&TargetId, &Learned)> {
        let all = self.targets.iter().map(|(target, known)| (target, &known.learned));
        all.filter(|(_, learned)| **learned != Learned::default())
    }

    /// What is newly known of the target, if this sighting changes what most agents see.
    pub fn learn(&mut self, agent: &AgentId, target: &TargetId, sighting: &Sighting) -> Option<Learned> {
        self.learn_from(agent, target, &Reading::of(sighting), sighting.address)
    }

    /// The same for a sighting that is read already, and the address that answered this time.
    pub fn learn_from(
        &mut self,
        agent: &AgentId,
        target: &TargetId,
        reading: &Reading,
        address: Option<IpAddr>,
    ) -> Option<Learned> {
        if !self.targets.contains_key(target.as_str()) {
            self.targets.insert(target.clone(), Known::default());
        }
        let known = self.targets.get_mut(target.as_str())?;
        let Some(seen) = known.seen.get_mut(agent.as_str()) else {
            let mut seen = Seen::default();
            seen.take(&self.ranges, reading, address);
            known.counts.add(&seen.votes());
            known.seen.insert(agent.clone(), seen);
            return known.settle(&Vote::default());
        };
        if seen.is_settled_on(reading, address) {
            return None;
        }
        let before = seen.votes();
        let changed = seen.take(&self.ranges, reading, address)?;
        known.counts.remove(&before);
        known.counts.add(&seen.votes());
        known.settle(&changed)
    }

    /// Makes anew what is not kept of a learner: the ranges that are in force, and the counts.
    pub(super) fn come_back(&mut self, ranges: Arc<Ranges>) {
        self.ranges = ranges;
        for known in self.targets.values_mut() {
            known.counts = Counts::default();
            known.seen.values().for_each(|seen| known.counts.add(&seen.votes()));
        }
    }

    /// Takes new ranges in force. What they change of what is learned, in order of targets.
    pub fn set_ranges(&mut self, ranges: Arc<Ranges>) -> Vec<(TargetId, Learned)> {
        self.ranges = ranges;
        let mut changes = Vec::new();
        for (target, known) in &mut self.targets {
            for seen in known.seen.values_mut().filter(|seen| seen.vote.front.is_some()) {
                known.counts.remove(&seen.votes());
                seen.look(&self.ranges);
                known.counts.add(&seen.votes());
            }
            changes.extend(known.settle(&Vote::default()).map(|learned| (target.clone(), learned)));
        }
        changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        changes
    }

    /// Forgets what an agent saw: it is gone, and would outvote those that look. What is learned stands until somebody sees
    /// something else.
    pub fn forget_agent(&mut self, agent: &AgentId) {
        for known in self.targets.values_mut() {
            if let Some(seen) = known.seen.remove(agent) {
                known.counts.remove(&seen.votes());
            }
        }
    }

    /// Forgets a target that is gone or another.
    pub fn forget_target(&mut self, target: &TargetId) {
        self.targets.remove(target);
    }
}

impl Seen {
    /// Whether taking this in would change nothing: it is what was seen last, and no field is on the move.
    fn is_settled_on(&self, reading: &Reading, address: Option<IpAddr>) -> bool {
        self.unsteady == [0; FIELD_COUNT]
            && self.vote.front.is_some()
            && reading.cdn == self.cdn
            && (address.is_none() || address == self.address)
            && (reading.operator.is_none() || reading.operator == self.vote.operator)
            && (reading.issuer.is_none() || reading.issuer == self.vote.issuer)
    }

    /// Takes a sighting in. Returns the fields whose vote is another than before, or `None` when all count as they did.
    fn take(&mut self, ranges: &Ranges, reading: &Reading, address: Option<IpAddr>) -> Option<Vote> {
        let before = self.vote.clone();
        self.vote.operator = reading.operator.clone().or_else(|| before.operator.clone());
        if reading.issuer.is_some() {
            self.vote.issuer.clone_from(&reading.issuer);
        }
        let address = address.or(self.address);
        let has_looked = reading.has_front || address.is_some();
        let is_elsewhere = self.vote.front.is_none() || reading.cdn != self.cdn || address != self.address;
        if has_looked && is_elsewhere {
            (self.cdn, self.address) = (reading.cdn, address);
            self.look(ranges);
        }
        let is_new = [
            before.front != self.vote.front,
            before.region != self.vote.region,
            before.operator != self.vote.operator,
            before.issuer != self.vote.issuer,
        ];
        let was_silent =
            [before.front.is_none(), before.region.is_none(), before.operator.is_none(), before.issuer.is_none()];
        let mut settles = is_new.contains(&true);
        for field in 0..FIELD_COUNT {
            let unsteady = &mut self.unsteady[field];
            let was_unsteady = *unsteady > UNSTEADY;
            *unsteady = match (is_new[field], was_silent[field]) {
                (true, false) => unsteady.saturating_add(CHANGE).min(MOST_UNSTEADY),
                (true, true) => *unsteady,
                (false, _) => unsteady.saturating_sub(1),
            };
            settles |= was_unsteady != (*unsteady > UNSTEADY);
        }
        settles.then(|| {
            let vote = &self.vote;
            let moved = |field: usize| is_new[field] && !was_silent[field] && self.unsteady[field] <= UNSTEADY;
            Vote {
                front: vote.front.filter(|_| moved(FRONT)),
                region: vote.region.clone().filter(|_| moved(REGION)),
                operator: vote.operator.clone().filter(|_| moved(OPERATOR)),
                issuer: vote.issuer.clone().filter(|_| moved(ISSUER)),
            }
        })
    }

    /// What stands in front, and the region where nothing does.
    fn look(&mut self, ranges: &Ranges) {
        let says = self.address.and_then(|address| ranges.says(address));
        if let Some(Says::Dns(operator)) = says {
            self.vote.operator.get_or_insert(Shown::Known(operator.into()));
        }
        let (front, region) = match (says, self.cdn) {
            (Some(Says::Cdn(cdn)), _) => (Front::Cdn(cdn.into()), None),
            (_, Some(cdn)) => (Front::Cdn(cdn), None),
            (Some(Says::Hosted(provider, region)), None) => (Front::Host(provider), region.cloned()),
            (Some(Says::Dns(_)) | None, None) => (Front::Unknown, None),
        };
        (self.vote.front, self.vote.region) = (Some(front), Some(region.into()));
    }

    /// What counts of the vote: fields that keep changing have none.
    fn votes(&self) -> Vote {
        let is_steady = |field: usize| self.unsteady[field] <= UNSTEADY;
        let vote = &self.vote;
        Vote {
            front: vote.front.filter(|_| is_steady(FRONT)),
            region: vote.region.clone().filter(|_| is_steady(REGION)),
            operator: vote.operator.clone().filter(|_| is_steady(OPERATOR)),
            issuer: vote.issuer.clone().filter(|_| is_steady(ISSUER)),
        }
    }
}

impl Known {
    /// Elects by the votes. Returns what is learned if it is another than before.
    fn settle(&mut self, changed: &Vote) -> Option<Learned> {
        let Counts { fronts, regions, operators, issuers } = &self.counts;
        self.front = elect(fronts, self.front.as_ref(), changed.front.as_ref(), Share::Half);
        self.region = elect(regions, self.region.as_ref(), changed.region.as_ref(), Share::NineTenths);
        self.operator = elect(operators, self.operator.as_ref(), changed.operator.as_ref(), Share::Half);
        self.issuer = elect(issuers, self.issuer.as_ref(), changed.issuer.as_ref(), Share::Half);

        let (cdn, hosted_on) = match self.front {
            Some(Front::Cdn(cdn)) => (Some(cdn.to_string()), None),
            Some(Front::Host(provider)) => (None, Some(provider.as_str().to_owned())),
            Some(Front::Unknown) | None => (None, None),
        };
        let region = self.region.as_ref().and_then(Shown::known).filter(|_| hosted_on.is_some());
        let learned = Learned {
            cdn,
            dns_operator: self.operator.as_ref().and_then(Shown::known).map(|operator| operator.to_string()),
            issuer: self.issuer.as_deref().map(str::to_owned),
            hosted_on,
            region: region.map(ToString::to_string),
        };
        if learned == self.learned {
            return None;
        }
        self.learned.clone_from(&learned);
        Some(learned)
    }
}

#[cfg(test)]
mod tests;
