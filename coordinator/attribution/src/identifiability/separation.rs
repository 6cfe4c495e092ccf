//! Separation: which additions would split the pairs that look alike, found by trying them.
//!
//! Candidates are a question for the same name at its authority, endpoints that need one element of a pair and as little
//! else as possible, a site's own origin, agents on a network and in a country of their own, and agents that share one
//! attribute and nothing else. Names stand under `.invalid` (RFC 6761), which no target uses. The greedy choice is the
//! candidate that splits the most (pair, layer) units still open; ties go to what is easier to come by, in the order
//! above and endpoints of others before those of the cloud itself, then to the first by its words.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Addition, Form, Pair, Trial,
    columns::{Columns, exercised},
};
use crate::{
    element::{Element, ElementKind},
    engine::Way,
    vocabulary::{Layer, ProbeKind, Verdict},
    world::{AgentId, Learned, Target, TargetId, Vantage},
};

/// Pairs for which additions are sought; a report with more of them needs another fleet, not a list. Source: as many as
/// people read at most.
const PAIRS: usize = 1000;

/// A target or an agent to try.
struct Candidate {
    text: String,
    /// Lower is easier to come by.
    effort: u8,
    trial: Trial,
    /// Id of the target that it is a variant of, whose learned facts hold for it.
    like: Option<TargetId>,
}

/// The additions, and in each pair which of them separate it.
pub(super) fn of(columns: &Columns<'_>, pairs: &mut [Pair]) -> Vec<Addition> {
    let sought = pairs.len().min(PAIRS);
    let pairs = &mut pairs[..sought];
    let mut candidates: BTreeMap<String, Candidate> = BTreeMap::new();
    for pair in pairs.iter() {
        for candidate in for_pair(columns, pair) {
            candidates.entry(candidate.text.clone()).or_insert(candidate);
        }
    }
    let wanted: BTreeSet<Element> = pairs.iter().flat_map(|pair| [pair.one.clone(), pair.other.clone()]).collect();
    let mut splits: Vec<(Candidate, BTreeSet<(usize, Layer)>)> = candidates
        .into_values()
        .map(|candidate| {
            let shadows = shadows(columns, &candidate, &wanted);
            let units = units(pairs).filter(|(pair, layer)| {
                let shadow = |element: &Element| shadows.get(&(*layer, element.clone()));
                shadow(&pairs[*pair].one) != shadow(&pairs[*pair].other)
            });
            let units = units.collect();
            (candidate, units)
        })
        .collect();
    let mut open: BTreeSet<(usize, Layer)> = units(pairs).collect();
    let mut additions = Vec::new();
    while let Some(best) = best(&splits, &open) {
        let (candidate, units) = splits.swap_remove(best);
        let separated: BTreeSet<usize> = units.intersection(&open).map(|(pair, _)| *pair).collect();
        for pair in &separated {
            pairs[*pair].separated_by.push(additions.len());
        }
        open.retain(|unit| !units.contains(unit));
        let form = if matches!(candidate.trial, Trial::Target(..)) { Form::Target } else { Form::Agent };
        let (text, trial) = (candidate.text, Some(candidate.trial));
        additions.push(Addition { form, text, separates: separated.len(), closes: 0, trial });
    }
    // A pair that stays alike at one layer is not separated.
    for (pair, _) in open {
        pairs[pair].separated_by.clear();
    }
    additions
}

fn units(pairs: &[Pair]) -> impl Iterator<Item = (usize, Layer)> {
    pairs.iter().enumerate().flat_map(|(number, pair)| pair.layers.iter().map(move |layer| (number, *layer)))
}

fn best(splits: &[(Candidate, BTreeSet<(usize, Layer)>)], open: &BTreeSet<(usize, Layer)>) -> Option<usize> {
    let gains = splits.iter().enumerate().map(|(position, (candidate, units))| {
        let gain = units.intersection(open).count();
        (gain, std::cmp::Reverse((candidate.effort, &candidate.text)), position)
    });
    gains.filter(|(gain, ..)| *gain > 0).max().map(|(_, _, position)| position)
}

/// Which of the wanted elements the candidate's cells exercise, by layer: positions of agents or of targets.
fn shadows(
    columns: &Columns<'_>,
    candidate: &Candidate,
    wanted: &BTreeSet<Element>,
) -> BTreeMap<(Layer, Element), Vec<usize>> {
    let mut shadows: BTreeMap<(Layer, Element), Vec<usize>> = BTreeMap::new();
    let mut add = |place: usize,
                   viewer: (&AgentId, &Vantage),
                   seen: (&TargetId, &Target),
                   learned: Option<&Learned>,
                   way: &Way| {
        for layer in seen.1.layers() {
            for element in exercised(viewer, seen, learned, (layer, way)) {
                if wanted.contains(&element) {
                    shadows.entry((layer, element)).or_default().push(place);
                }
            }
        }
    };
    match &candidate.trial {
        Trial::Target(target, way) => {
            let learned = candidate.like.as_ref().and_then(|id| columns.learned(id)).cloned();
            let learned =
                learned.map(|learned| Learned { cdn: learned.cdn.filter(|_| target.cdn.is_some()), ..learned });
            for (place, (id, vantage)) in columns.agents.iter().enumerate() {
                add(place, (id, vantage), (&"added".into(), target), learned.as_ref(), way);
            }
        }
        Trial::Vantage(vantage) => {
            for (place, (id, target)) in columns.targets.iter().enumerate() {
                add(place, (&"added".into(), vantage), (id, target), columns.learned(id), &columns.ways[place]);
            }
        }
    }
    shadows
}

fn for_pair(columns: &Columns<'_>, pair: &Pair) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = [&pair.one, &pair.other].into_iter().filter_map(alone).collect();
    let cells = || pair.layers.iter().flat_map(|layer| columns.column_of(&pair.one, *layer));
    let behind_cdn = cells().find_map(|cell| {
        let (id, target) = columns.targets[columns.target_of(*cell)];
        let learned = columns.learned(id).and_then(|learned| learned.cdn.as_ref());
        (learned.is_some() || target.cdn.is_some()).then_some((id, target))
    });
    candidates.extend(behind_cdn.map(|(id, target)| Candidate {
        text: format!("the origin of {id}, without the CDN"),
        effort: 3,
        trial: Trial::Target(Box::new(Target { cdn: None, ..target.clone() }), Way::System),
        like: Some(id.clone()),
    }));
    if pair.layers.contains(&Layer::Dns)
        && let Some(cell) = columns.column_of(&pair.one, Layer::Dns).first()
        && let (id, target) = columns.targets[columns.target_of(*cell)]
        && let Some(host) = &target.host
    {
        candidates.push(Candidate {
            text: format!("the name {host} asked at its authority"),
            effort: 0,
            trial: Trial::Target(
                Box::new(Target { probe: ProbeKind::Dns, ..target.clone() }),
                Way::Authority(String::new()),
            ),
            like: Some(id.clone()),
        });
    }
    let geographies: BTreeSet<&str> =
        cells().filter_map(|cell| columns.agents[columns.agent_of(*cell)].1.geography.as_deref()).collect();
    candidates.extend(geographies.into_iter().map(|geography| Candidate {
        text: format!("an agent outside both clouds in {geography}, on another network and in another country"),
        effort: 4,
        trial: Trial::Vantage(Box::new(Vantage {
            group: "added".into(),
            isp: Some("added".into()),
            country: Some("zz".into()),
            geography: Some(geography.to_owned()),
            ..Vantage::default()
        })),
        like: None,
    }));
    candidates
}

/// A target or an agent that needs this element and as little else as possible.
fn alone(element: &Element) -> Option<Candidate> {
    use ElementKind as Kind;
    let name = element.name.as_str();
    let parts: Vec<&str> = name.split('/').collect();
    let last = || parts.last().copied().unwrap_or_default().to_owned();
    let owned = |word: &str| Some(word.to_owned());
    let site = site();
    let (text, target) = match (element.kind, parts.as_slice()) {
        (Kind::Cdn, _) => (format!("a site of another owner behind {name}"), Target { cdn: owned(name), ..site }),
        (Kind::CdnSite, [.., _]) => {
            let cdn = name.rsplit_once('/').map_or(name, |(cdn, _)| cdn);
            (format!("a site of another owner behind {cdn}"), Target { cdn: owned(cdn), ..site })
        }
        (Kind::Dns, _) => (
            format!("a name of another owner at {name}, hosted elsewhere"),
            Target { dns_operator: owned(name), ..site },
        ),
        (Kind::Tld, [_, tld]) => (
            format!("a name of another service or owner under .{tld}"),
            Target { host: Some(format!("added.{tld}")), ..site },
        ),
        (Kind::Ca, [_, ..]) => {
            let issuer = name.strip_prefix("ca/").unwrap_or(name);
            (
                format!("a site of another owner with a certificate of {issuer}"),
                Target { issuer: owned(issuer), ..site },
            )
        }
        (Kind::Identity, _) => {
            (format!("an application elsewhere that signs in with {name}"), Target { identity: owned(name), ..site })
        }
        (Kind::OtherCloud, [_, cloud]) => {
            (format!("an endpoint of another owner on {cloud}"), Target { hosted_on: (*cloud).to_owned(), ..site })
        }
        (Kind::Region, [cloud, region]) => {
            (format!("a customer's endpoint in {name}"), Target { region: owned(region), ..on(cloud) })
        }
        (Kind::Zone, [cloud, region, zone]) => (
            format!("a customer's endpoint in zone {name}"),
            Target { region: owned(region), zone: owned(zone), ..on(cloud) },
        ),
        (Kind::Network, [cloud, _]) => (format!("a customer's endpoint in another region of {cloud}"), on(cloud)),
        (Kind::Network, [cloud, _, geography]) => (
            format!("a customer's endpoint in another region of {cloud} in {geography}"),
            Target { geography: owned(geography), ..on(cloud) },
        ),
        (Kind::Api, [cloud, region, _]) => (
            format!("a second control-plane API in {cloud}/{region}"),
            Target { region: owned(region), plane: owned("api"), ..on(cloud) },
        ),
        (Kind::Service, [cloud, region, service]) => (
            format!("a second endpoint of {service} in {cloud}/{region}, under another domain"),
            Target { region: owned(region), service: owned(service), owner: owned(owner(cloud)), ..on(cloud) },
        ),
        (Kind::ServiceEverywhere, [cloud, _, service]) => (
            format!("a second endpoint of {cloud}'s {service}, under another domain"),
            Target { service: owned(service), owner: owned(owner(cloud)), ..on(cloud) },
        ),
        (Kind::Owner, _) => {
            (format!("another endpoint of {}, hosted elsewhere", last()), Target { owner: Some(last()), ..site })
        }
        (Kind::Stack, _) => {
            ("an HTTP/3 endpoint of another owner".to_owned(), Target { probe: ProbeKind::Http3, ..site })
        }
        _ => return vantage(element),
    };
    let effort = 1 + u8::from(element.verdict() != Verdict::Neither);
    Some(Candidate { text, effort, trial: Trial::Target(Box::new(target), Way::System), like: None })
}

fn vantage(element: &Element) -> Option<Candidate> {
    let near = element.ends().map_or(element.name.as_str(), |(near, _)| near);
    let word = || near.split_once('/').map(|(_, word)| word.to_owned());
    let nowhere = Vantage { group: "added".into(), ..Vantage::default() };
    let (text, vantage) = match element.kind {
        ElementKind::Isp => (format!("a second agent at {}, elsewhere", word()?), Vantage { isp: word(), ..nowhere }),
        ElementKind::Country => {
            (format!("an agent in {} on another network", word()?), Vantage { country: word(), ..nowhere })
        }
        ElementKind::Resolver => {
            (format!("an agent elsewhere that uses the resolver {}", word()?), Vantage { resolver: word(), ..nowhere })
        }
        ElementKind::Carrier | ElementKind::Interconnect => (
            format!("an agent at another access network behind {near}"),
            Vantage { carriers: vec![near.to_owned()], ..nowhere },
        ),
        _ => return None,
    };
    Some(Candidate { text, effort: 5, trial: Trial::Vantage(Box::new(vantage)), like: None })
}

fn owner(cloud: &str) -> &'static str {
    if cloud == "aws" { "amazon" } else { "microsoft" }
}

/// A customer's endpoint on a cloud.
fn on(cloud: &str) -> Target {
    Target { hosted_on: cloud.to_owned(), ..site() }
}

/// A site that shares nothing with anybody.
fn site() -> Target {
    Target {
        probe: ProbeKind::Https,
        host: Some("added.invalid".into()),
        hosted_on: "other".into(),
        region: None,
        zone: None,
        service: None,
        plane: None,
        geography: None,
        cdn: None,
        dns_operator: None,
        identity: None,
        issuer: None,
        depends_on: Vec::new(),
        owner: Some("added".into()),
        verified: true,
    }
}
