//! Gaps: elements that can hardly be accused or not at all, and what would close that.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Addition, Form, Gap, Lack,
    columns::{Columns, Number},
    plural,
};
use crate::{
    element::{Element, ElementKind},
    exercise,
    settings::Settings,
    vocabulary::{Layer, ProbeKind, Verdict},
};

/// Every gap by element, and why the fleet as a whole is below quorum.
pub(super) fn find(columns: &Columns<'_>, settings: &Settings) -> (Vec<Gap>, Option<String>) {
    let networks: BTreeSet<String> = columns.agents.iter().map(|(_, vantage)| vantage.network()).collect();
    let below_quorum = (columns.group_count < settings.quorum_groups || networks.len() < settings.quorum_networks)
        .then(|| {
            let (has, needs) = (plural(columns.group_count, "vantage group"), settings.quorum_groups);
            format!(
                "{has} in {}: a verdict needs {needs} in {}",
                plural(networks.len(), "network"),
                settings.quorum_networks
            )
        });
    let mut gaps: BTreeSet<Gap> = unobserved(columns);
    for number in columns.observed() {
        gaps.extend(
            lacks(columns, number, settings)
                .into_iter()
                .map(|lack| Gap { element: columns.element(number).clone(), lack }),
        );
    }
    (gaps.into_iter().collect(), below_quorum)
}

/// Elements that the catalog names and that no layer of any probe exercises: as if every target were fetched.
fn unobserved(columns: &Columns<'_>) -> BTreeSet<Gap> {
    let nobody = (&"".into(), &crate::world::Vantage::default());
    let mut gaps = BTreeSet::new();
    for (id, target) in &columns.targets {
        let mut whole = (*target).clone();
        whole.probe = ProbeKind::Https;
        for layer in Layer::ALL {
            for element in exercise::exercised(nobody, (id, &whole), columns.learned(id), *layer) {
                if !element.kind.is_vantage_side() && !columns.is_observed(&element) {
                    gaps.insert(Gap { element, lack: Lack::Unobserved });
                }
            }
        }
    }
    gaps
}

fn lacks(columns: &Columns<'_>, number: Number, settings: &Settings) -> Vec<Lack> {
    let element = columns.element(number);
    let mut lacks = Vec::new();
    if element.kind.is_vantage_side() {
        return lacks;
    }
    if matches!(element.kind, ElementKind::Region | ElementKind::Zone)
        && let [target] = columns.first_targets(number).into_iter().collect::<Vec<_>>().as_slice()
    {
        lacks.push(Lack::OneTarget(columns.targets[*target].0.clone()));
    }
    let witnesses = columns.witnesses(number);
    let groups: BTreeSet<u32> = witnesses.iter().map(|agent| columns.groups[*agent]).collect();
    let networks: BTreeSet<String> = witnesses.iter().map(|agent| columns.agents[*agent].1.network()).collect();
    if groups.len() < settings.quorum_groups || networks.len() < settings.quorum_networks {
        lacks.push(Lack::FewWitnesses { groups: groups.len(), networks: networks.len() });
    }
    let cloud = match element.verdict() {
        Verdict::Aws => "aws",
        Verdict::Azure => "azure",
        _ => return lacks,
    };
    if witnesses.iter().all(|agent| columns.agents[*agent].1.is_in(cloud)) {
        lacks.push(Lack::InsideOnly);
    }
    if element.kind == ElementKind::Network
        && let [_, _, geography] = element.name.split('/').collect::<Vec<_>>().as_slice()
        && !has_outside(columns, geography)
    {
        lacks.push(Lack::NoOutsideVantage((*geography).to_owned()));
    }
    lacks
}

fn has_outside(columns: &Columns<'_>, geography: &str) -> bool {
    columns
        .agents
        .iter()
        .any(|(_, vantage)| vantage.is_outside_clouds() && vantage.geography.as_deref() == Some(geography))
}

/// What would close the gaps; for a fleet below quorum, agents alone.
pub(super) fn additions(
    gaps: &[Gap],
    is_below_quorum: bool,
    columns: &Columns<'_>,
    settings: &Settings,
) -> Vec<Addition> {
    let mut agents: BTreeMap<Option<&str>, (usize, usize)> = BTreeMap::new();
    let mut targets: BTreeMap<String, usize> = BTreeMap::new();
    for Gap { element, lack } in gaps {
        let (place, wanted) = match lack {
            Lack::FewWitnesses { groups, .. } => {
                let missing = settings.quorum_groups.saturating_sub(*groups).max(1);
                (geography(element).filter(|_| columns.group_count > *groups), missing)
            }
            Lack::NoOutsideVantage(geography) => (Some(geography.as_str()), 1),
            Lack::InsideOnly => (None, 1),
            Lack::OneTarget(_) => {
                *targets
                    .entry(format!("a second target in {}, of another owner or service", element.name))
                    .or_default() += 1;
                continue;
            }
            Lack::Unobserved => continue,
        };
        let (most, closes) = agents.entry(place).or_default();
        *most = wanted.max(*most);
        *closes += 1;
    }
    let agents = agents.into_iter().map(|(place, (n, closes))| {
        let place = place.map(|geography| format!(" in {geography}")).unwrap_or_default();
        let text = match n {
            1 => format!("an agent outside both clouds{place}, on another network"),
            n => format!("{n} agents outside both clouds{place}, each on another network"),
        };
        Addition { form: Form::Agent, text, separates: 0, closes, trial: None }
    });
    let targets = targets.into_iter().filter(|_| !is_below_quorum).map(|(text, closes)| Addition {
        form: Form::Target,
        text,
        separates: 0,
        closes,
        trial: None,
    });
    let mut all: Vec<Addition> = agents.chain(targets).collect();
    all.sort_by(|a, b| b.closes.cmp(&a.closes).then_with(|| a.text.cmp(&b.text)));
    all
}

/// The geography that only agents of it see: that of a CDN's site.
fn geography(element: &Element) -> Option<&str> {
    let is_site = element.kind == ElementKind::CdnSite;
    is_site.then(|| element.name.rsplit_once('/')).flatten().map(|(_, geography)| geography)
}
