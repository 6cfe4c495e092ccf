//! `faultline subscriber`: tokens for the feed.

use std::{process::ExitCode, time::Duration};

use faultline_attribution::Timestamp;
use faultline_proto::clock::Clock;

use super::{DataDir, Usage, say};
use crate::access::tokens::{Role, Tokens};

#[derive(Debug, clap::Subcommand)]
#[command(
    before_help = "Example:\n  faultline subscriber create noc --role measure-read --for 90d\n  faultline subscriber revoke noc"
)]
pub(super) enum Subscribers {
    /// Make a token and print it, once
    Create(Create),
    /// List tokens, without their secrets
    List(List),
    /// Make a token useless; its streams end within a minute
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline subscriber create noc --for 90d >noc.token")]
pub(super) struct Create {
    /// Name of the token: lower-case letters, digits and dashes
    id: String,
    #[command(flatten)]
    data: DataDir,
    /// What it may do beside reading the feed; repeats
    #[arg(long = "role", value_enum)]
    roles: Vec<Role>,
    /// How long it is good
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration, default_value = "90d")]
    good_for: Duration,
    /// Streams it may have at once [default: 64]
    #[arg(long)]
    streams: Option<usize>,
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline subscriber list")]
pub(super) struct List {
    #[command(flatten)]
    data: DataDir,
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline subscriber revoke noc")]
pub(super) struct Revoke {
    /// Name of the token
    id: String,
    #[command(flatten)]
    data: DataDir,
}

impl Subscribers {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(create) => create.run(),
            Self::List(list) => list.run(),
            Self::Revoke(revoke) => revoke.run(),
        }
    }
}

impl Create {
    fn run(self) -> anyhow::Result<ExitCode> {
        let good_for = i64::try_from(self.good_for.as_micros()).unwrap_or(i64::MAX);
        let expires_at = Timestamp::from_micros(Clock::system().now_micros().saturating_add(good_for));
        let tokens = Tokens::of(&self.data.data_dir);
        let made = tokens.create(&self.id, self.roles, self.streams, expires_at);
        say(&made.map_err(|error| Usage(error.to_string()))?)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        for (id, subscriber) in Tokens::of(&self.data.data_dir).all() {
            match subscriber {
                Ok(subscriber) => {
                    let roles: Vec<String> = subscriber.roles.iter().map(ToString::to_string).collect();
                    let expired = Clock::system().now_micros() >= subscriber.expires_at.micros();
                    let until = if expired { "expired" } else { "until" };
                    say(format!("{id:20}  {until} {}  {}", subscriber.expires_at, roles.join(", ")).trim_end())?;
                }
                Err(error) => {
                    super::say_error(&error);
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }
}

impl Revoke {
    fn run(self) -> anyhow::Result<ExitCode> {
        if Tokens::of(&self.data.data_dir).revoke(&self.id)? {
            say(&format!("revoked {}", self.id))?;
            return Ok(ExitCode::SUCCESS);
        }
        anyhow::bail!("there is no token {:?}: see faultline subscriber list", self.id)
    }
}
