//! `faultline agent get`: all that the data directory tells of one agent.

use std::process::ExitCode;

use faultline_attribution::Timestamp;
use faultline_proto::clock::Clock;
use serde::Serialize;
use serde_json::{Map, Value};

use super::list::{Fleet, Row};
use crate::{
    cli::{DataDir, colour::clean, say},
    registry::{Place, Registry, standing::Standing},
};

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline agent get fra-1\n  faultline agent get fra-1 -o json | jq .said",
    after_help = "Exit codes: 0 there is such an agent; 1 there is none, or the data directory cannot be read; 2 wrong usage"
)]
pub(in crate::cli) struct Get {
    /// Which
    name: String,
    #[command(flatten)]
    data: DataDir,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

/// How an agent is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
}

/// All of an agent.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    row: Row,
    /// What was said of how it stands.
    said: Standing,
    /// What the operator says of its place.
    place: Option<Place>,
}

impl Get {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let data = &self.data.data_dir;
        let now = Timestamp::from_micros(Clock::system().now_micros());
        let found = Fleet::of(data, now)?.agents.into_iter().find(|row| row.agent == self.name);
        let shown = clean(&self.name);
        let row = found.ok_or_else(|| anyhow::anyhow!("no agent {shown}: `faultline agent list` has all"))?;
        let registry = Registry::of(data);
        let told = Told { said: registry.standing(&self.name)?, place: registry.place(&self.name), row };
        let told = serde_json::to_value(&told)?;
        match (self.output, &told) {
            (Form::Text, Value::Object(fields)) => lines("", fields).iter().try_for_each(|line| say(line))?,
            _ => say(&serde_json::to_string_pretty(&told)?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line for each thing that is known.
fn lines(under: &str, fields: &Map<String, Value>) -> Vec<String> {
    let mut known = Vec::new();
    for (name, value) in fields {
        let name = format!("{under}{name}");
        match value {
            Value::Null => {}
            Value::Object(inner) => known.extend(lines(&format!("{name}."), inner)),
            Value::Array(all) => known.extend(all.iter().map(|one| line(&name, one))),
            value => known.push(line(&name, value)),
        }
    }
    known
}

fn line(name: &str, value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), clean);
    format!("{name:18} {text}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_has_a_line_and_what_a_terminal_would_act_on_none() {
        let told = serde_json::json!({
            "agent": "fra-1", "asn": null, "trouble": ["one", "two"], "said": {"state": "revoked", "reason": "a\u{1b}[2Jb"}
        });
        let lines = lines("", told.as_object().expect("an object"));
        assert_eq!(lines.len(), 5, "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:?}");
        assert!(lines.contains(&"said.state         revoked".to_owned()), "{lines:?}");
    }
}
