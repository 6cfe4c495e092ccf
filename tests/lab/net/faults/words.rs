//! A fault in words, for the story that the lab tells.

use std::fmt;

use super::{Effect, Fault, ShareOf};

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = match &self.effect {
            Effect::Dns(effect) => format!("dns {effect:?}"),
            Effect::Connect(effect) => format!("connect {effect:?}"),
            Effect::Tls(effect) => format!("tls {effect:?}"),
            Effect::Http(effect) => format!("http {effect:?}"),
        };
        let said = |words: Vec<(&'static str, &str)>| {
            let words: Vec<String> = words.iter().map(|(list, word)| format!("{list} {word}")).collect();
            words.join(", ")
        };
        let targets = said(self.targets.words().map(|(list, word, _)| (list, word)).collect());
        let agents = said(self.agents.words().map(|(list, word, _)| (list, word)).collect());
        let targets = if targets.is_empty() { "every target".to_owned() } else { targets };
        let share_of = match self.share_of {
            ShareOf::Runs => "looks at",
            ShareOf::Targets => "targets among",
            ShareOf::Agents => "agents looking at",
            ShareOf::Pairs => "agents' pairs with",
        };
        write!(f, "{layer} for {:.0} % of {share_of} {targets}", self.share * 100.0)?;
        if !agents.is_empty() {
            write!(f, " from {agents}")?;
        }
        if self.path { f.write_str(", their whole path with it") } else { Ok(()) }
    }
}
