//! Who can see: which vantage groups are live, and whether they are enough for a verdict.
//!
//! A group is live while it has fresh results and reaches at least one control (any target, where the catalog has no
//! control). One that fails on everything is broken, not a witness.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{change::Visibility, settings::Settings, time::Timestamp, vocabulary::Reason, world::Vantage};

/// What the last minutes say of one agent as a witness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sight {
    /// Runs with a result.
    pub(crate) runs: u32,
    /// Runs that passed.
    pub(crate) passed: u32,
    /// Runs at controls.
    pub(crate) control_runs: u32,
    /// Runs at controls that passed.
    pub(crate) control_passed: u32,
    /// Why it could not look, when it could not.
    pub(crate) blocked: Option<Reason>,
}

impl Sight {
    fn sees(self, has_controls: bool) -> bool {
        if has_controls { self.control_passed > 0 } else { self.passed > 0 }
    }

    /// Whether most of its controls fail.
    pub(crate) fn controls_fail(self) -> bool {
        self.control_runs > 0 && self.control_passed * 2 < self.control_runs
    }
}

/// A group as a witness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) live: bool,
    pub(crate) networks: BTreeSet<String>,
    pub(crate) in_aws: bool,
    pub(crate) in_azure: bool,
}

/// Groups by name, with what a verdict needs to know of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Groups(pub(crate) BTreeMap<String, Group>);

impl Groups {
    /// Gathers groups from agents and what each saw.
    pub(crate) fn gather<'a>(agents: impl Iterator<Item = (&'a Vantage, Sight)>, has_controls: bool) -> Self {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for (vantage, sight) in agents {
            let group = groups.entry(vantage.group.clone()).or_default();
            group.live |= sight.sees(has_controls);
            group.networks.insert(vantage.network());
            group.in_aws |= vantage.is_in("aws");
            group.in_azure |= vantage.is_in("azure");
        }
        Self(groups)
    }

    /// Live groups.
    pub(crate) fn live(&self) -> impl Iterator<Item = (&String, &Group)> {
        self.0.iter().filter(|(_, group)| group.live)
    }

    /// Networks of these groups.
    pub(crate) fn networks<'a>(&'a self, names: impl Iterator<Item = &'a String>) -> BTreeSet<&'a String> {
        names.filter_map(|name| self.0.get(name)).flat_map(|group| &group.networks).collect()
    }

    /// Why these groups are no quorum against the accused cloud (`None`: against anybody).
    pub(crate) fn shortfall<'a>(
        &self,
        groups: impl Iterator<Item = &'a String>,
        accused: Option<&str>,
        settings: &Settings,
    ) -> Option<String> {
        let found: Vec<&Group> = groups.filter_map(|name| self.0.get(name)).collect();
        let networks: BTreeSet<&String> = found.iter().flat_map(|group| &group.networks).collect();
        let outside = found
            .iter()
            .filter(|group| match accused {
                Some("aws") => !group.in_aws,
                Some("azure") => !group.in_azure,
                _ => true,
            })
            .count();
        if found.len() < settings.quorum_groups {
            return Some(format!("{} of {} vantage groups that a verdict needs", found.len(), settings.quorum_groups));
        }
        if networks.len() < settings.quorum_networks {
            return Some(format!("{} of {} networks that a verdict needs", networks.len(), settings.quorum_networks));
        }
        (outside == 0).then(|| format!("every vantage group is inside {}", accused.unwrap_or("one cloud")))
    }

    /// How well we see, in numbers and words.
    pub(crate) fn visibility(&self, now: Timestamp, sights: &[Sight], settings: &Settings) -> Visibility {
        let any_result = sights.iter().any(|sight| sight.runs > 0);
        let blocked = sights.iter().find_map(|sight| sight.blocked);
        let live: Vec<&Group> = self.live().map(|(_, group)| group).collect();
        let networks: BTreeSet<&String> = live.iter().flat_map(|group| &group.networks).collect();
        let shortfall = self.shortfall(self.live().map(|(name, _)| name), None, settings);
        let total = self.0.len();
        let who = if total == 1 { "the only vantage".into() } else { format!("all {total} vantage groups") };
        let reason = match shortfall {
            None => String::new(),
            Some(_) if total == 0 => {
                "no agent has ever reported: issue one with `faultline agent issue NAME`, or start with --with-agent"
                    .into()
            }
            Some(_) if live.is_empty() && any_result => {
                format!(
                    "every control fails from {who}: no way out from where we look, which says nothing of any cloud"
                )
            }
            Some(_)
                if live.is_empty()
                    && let Some(reason) = blocked =>
            {
                format!("no control can be tried from {who} ({reason}): no way out from where we look")
            }
            Some(_) if live.is_empty() => "no agent has reported for a while: check their machines and networks".into(),
            Some(shortfall) => {
                format!("only {shortfall}: add agents in other networks, one outside both clouds at least")
            }
        };
        Visibility {
            evaluated_through: now,
            live_groups: count(live.len()),
            total_groups: count(total),
            live_groups_outside_clouds: count(live.iter().filter(|group| !group.in_aws && !group.in_azure).count()),
            live_networks: count(networks.len()),
            below_quorum: !reason.is_empty(),
            reason,
        }
    }
}

/// A count for the wire; saturates.
pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
