//! `faultline agent approve|quarantine|revoke|delete`: how agents stand, said to the running coordinator, on its audit record.

use std::process::ExitCode;

use faultline_attribution::Timestamp;

use crate::{
    admin::{Call, Done, Stand},
    cli::{DataDir, admin, replay::instant, say},
    registry::standing::State,
};

/// Why nothing more was said.
const UNSAID: &str = "an operator said so";

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline agent approve fra-1")]
pub(in crate::cli) struct Approve {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A quarantined agent stays connected, and can be approved again. A revoked one is put out at once and stops trying; it can only be deleted. Verdicts that do not hold without what it measured since the instant of --distrust-since are taken back in public: `faultline audit tail` says which.\n\nExit codes: 0 done; 1 refused, or no coordinator runs; 2 wrong usage"
)]
pub(in crate::cli) struct PutAside {
    #[command(flatten)]
    which: Which,
    /// Why: the agent shows it, and it stands in the registry
    #[arg(long, default_value = UNSAID)]
    reason: String,
    /// Look at verdicts again without what it measured from then on
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    distrust_since: Option<Timestamp>,
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline agent delete fra-1")]
pub(in crate::cli) struct Delete {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Names of agents, as `faultline agent list` has them
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    data: DataDir,
}

impl Approve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        self.which.stand(State::Active, "", None)
    }
}

impl PutAside {
    pub(super) fn run(self, state: State) -> anyhow::Result<ExitCode> {
        self.which.stand(state, &self.reason, self.distrust_since)
    }
}

impl Delete {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        self.which.stand(State::Deleted, "", None)
    }
}

impl Which {
    /// One after another; ends at the first that is refused.
    fn stand(self, state: State, reason: &str, distrust_since: Option<Timestamp>) -> anyhow::Result<ExitCode> {
        for agent in self.names {
            let asked = Stand { agent, state, reason: reason.to_owned(), distrust_since };
            match admin::ask(&self.data.data_dir, &Call::Stand(asked))? {
                Done::Stands { agent, state, before, is_looked_at_again } => {
                    say(&format!("{agent} is {}, and was {}", state.word(), before.word()))?;
                    if is_looked_at_again {
                        say("its verdicts are being looked at again: `faultline audit tail` will say what came of it")?;
                    }
                }
                done => return Err(admin::another(&done)),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
