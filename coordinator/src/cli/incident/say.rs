//! `faultline incident annotate` and `faultline incident retract`: what a person says of an incident, in public.

use std::process::ExitCode;

use crate::{
    admin::{Annotate as AnnotateCall, Call, Done, Retract as RetractCall},
    cli::{DataDir, admin, say},
};

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline incident annotate inc-20251029T154113Z-1 --text \"Microsoft's post-mortem is out.\" --link https://example.org/pir"
)]
pub(in crate::cli) struct Annotate {
    /// Which, as `faultline incident list` names it
    #[arg(value_name = "ID")]
    incident: String,
    /// What everybody may read: plain text, at most 500 characters
    #[arg(long)]
    text: String,
    /// Where to read more
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    link: String,
    #[command(flatten)]
    data: DataDir,
}

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline incident retract inc-20251029T154113Z-1 --reason \"Our own firewall dropped the probes.\"",
    long_about = "Take an incident back in public: it counts as a mistake, and does not open again while its evidence lasts. \
                  What was published stays to be read."
)]
pub(in crate::cli) struct Retract {
    /// Which, as `faultline incident list` names it
    #[arg(value_name = "ID")]
    incident: String,
    /// Why, for everybody to read: plain text, at most 500 characters
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    data: DataDir,
}

impl Annotate {
    pub(in crate::cli) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { incident, text, link, data } = self;
        let done = admin::ask(&data.data_dir, &Call::Annotate(AnnotateCall { incident, text, link }))?;
        say(&format!("{done} has the note"))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Retract {
    pub(in crate::cli) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { incident, reason, data } = self;
        let done = admin::ask(&data.data_dir, &Call::Retract(RetractCall { incident, reason }))?;
        let Done::Published { incident, revision } = done else { return Err(admin::another(&done)) };
        say(&format!("{incident} is retracted with revision {revision}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
