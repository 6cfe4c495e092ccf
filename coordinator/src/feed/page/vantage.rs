//! The page of a vantage group, or of one agent: where it looks from, how it is, and the open incidents that it speaks in.
//!
//! Rule: it shows of an agent what the front page shows, and no address or host name of it.

use maud::{Markup, html};

use super::{View, banner, sight};
use crate::ingest::AgentView;

/// The sections of the page; `None` where there is no such group and no such agent.
pub(super) fn vantage(name: &str, view: &View<'_>) -> Option<Markup> {
    let group_of = |agent: &AgentView| agent.vantage.as_ref().map(|vantage| vantage.group.clone());
    let named = view.agents.iter().find(|agent| agent.agent.as_str() == name);
    let is_group = view.agents.iter().any(|agent| group_of(agent).as_deref() == Some(name));
    let group = if is_group { name.to_owned() } else { named.and_then(group_of).unwrap_or_else(|| name.to_owned()) };
    let agents: Vec<&AgentView> = view
        .agents
        .iter()
        .filter(|agent| agent.agent.as_str() == name || group_of(agent).as_deref() == Some(group.as_str()))
        .collect();
    let evidence = banner::evidence_of(view, |row| row.group == group);
    if agents.is_empty() && evidence.is_empty() {
        return None;
    }
    Some(html! {
        section #vantage aria-labelledby="vantage-title" {
            h2 #vantage-title { "Vantage group " (group) }
            p { "Agents of one group share an address, a network or a machine: they are one witness." }
            @if agents.is_empty() {
                p { "None of its agents is known any more." }
            } @else {
                (sight::table(&agents, view))
            }
        }
        (banner::spoken(&evidence, "vantage-incidents", view))
    })
}
