//! `faultline ca`: how the certificate authority is, and another one in its place without losing an agent.

use std::process::ExitCode;

use super::{DataDir, Format, admin, colour::clean, say};
use crate::{
    admin::{Ca, Call, Done, Rotation},
    pki::rotation::Phase,
};

/// Some agent is not ready for the next step.
const WAITING: u8 = 3;

#[derive(Debug, clap::Subcommand)]
pub(super) enum CaCommand {
    /// Tell how far a rotation is, and for whom it waits
    Status(Status),
    /// Begin a rotation, or take its next step when every agent is ready for it
    Rotate(Rotate),
}

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline ca status\n  faultline ca status -o json | jq '.waiting'",
    after_help = "Exit codes: 0 every agent is ready for what comes next; 1 it did not work; 2 wrong usage; 3 some are not"
)]
pub(super) struct Status {
    #[command(flatten)]
    data: DataDir,
    /// text, json or ndjson
    #[arg(short, long, default_value = "text")]
    output: Format,
}

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline ca rotate    # prepares the next authority; agents learn to trust it\n  faultline ca rotate    # when they do, it signs from then on; agents renew\n  faultline ca rotate    # when they have, the former is forgotten",
    after_help = "Join strings from before the second step pin the former root: make new ones after it.\n\nExit codes: 0 a step was taken; 1 it did not work; 2 wrong usage; 3 some agents are not ready for it"
)]
pub(super) struct Rotate {
    #[command(flatten)]
    data: DataDir,
    /// Take the step although some agents are not ready: they may have to join again
    #[arg(long)]
    force: bool,
    /// text, json or ndjson
    #[arg(short, long, default_value = "text")]
    output: Format,
}

impl CaCommand {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (rotation, output, is_done) = match self {
            Self::Status(Status { data, output }) => {
                let rotation = ask(&data, Ca::default())?;
                let is_done = rotation.waiting.is_empty();
                (rotation, output, is_done)
            }
            Self::Rotate(Rotate { data, force, output }) => {
                let rotation = ask(&data, Ca { go_on: true, force })?;
                let is_done = rotation.has_gone_on;
                (rotation, output, is_done)
            }
        };
        match output {
            Format::Text => lines(&rotation).iter().try_for_each(|line| say(line))?,
            Format::Json | Format::Ndjson => say(&serde_json::to_string(&rotation)?)?,
        }
        Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(WAITING) })
    }
}

fn ask(data: &DataDir, asked: Ca) -> anyhow::Result<Rotation> {
    match admin::ask(&data.data_dir, &Call::Ca(asked))? {
        Done::Ca(rotation) => Ok(rotation),
        done => Err(admin::another(&done)),
    }
}

fn lines(Rotation { phase, has_gone_on, ready, waiting }: &Rotation) -> Vec<String> {
    let (is, next) = match phase {
        Phase::Steady if *has_gone_on => ("the former authority is forgotten: the rotation is over", ""),
        Phase::Steady => ("one authority, no rotation", "`faultline ca rotate` begins one"),
        Phase::Prepared => ("the next authority is prepared: agents learn to trust it", "then it signs"),
        Phase::Switched => ("the next authority signs: agents renew", "then the former is forgotten"),
    };
    let mut lines = vec![is.to_owned()];
    if *phase != Phase::Steady {
        let all = ready.len() + waiting.len();
        lines.push(format!("{} of {all} agents are ready: `faultline ca rotate` when all are, {next}", ready.len()));
    } else if !next.is_empty() {
        lines.push(next.to_owned());
    }
    lines.extend(waiting.iter().map(|(agent, why)| format!("  ▲ {}: {why}", clean(agent))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for_is_named_with_why() {
        let waiting = vec![("fra-1".to_owned(), "it does not trust the next root yet".to_owned())];
        let rotation = Rotation { phase: Phase::Prepared, has_gone_on: true, ready: vec!["mad-1".into()], waiting };
        let lines = lines(&rotation);
        assert!(lines[1].starts_with("1 of 2 agents are ready"), "{lines:?}");
        assert_eq!(lines[2], "  ▲ fra-1: it does not trust the next root yet");
    }
}
