//! `faultline token`: join strings, made, listed and taken back by the running coordinator, on its audit record.

use std::{process::ExitCode, time::Duration};

use super::{DataDir, Format, admin, colour::clean, say};
use crate::{
    admin::{Call, Done, ListedToken, RevokeToken},
    enroll::strings::{Standing, Wanted},
    registry::Place,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Token {
    /// Make a join string and print it, once
    Create(Box<Create>),
    /// List join strings, without their secrets, and who joined with each
    List(List),
    /// Take a join string back; who joined with it stays, unless told otherwise
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline token create --label fra --isp hetzner-de --country de --geography eu >join-string\n  faultline-agent join probe.example.org:7443 <join-string"
)]
pub(super) struct Create {
    #[command(flatten)]
    data: DataDir,
    /// First part of the names of those who join with it: lower-case letters, digits and dashes [default: agent]
    #[arg(long, default_value = "", hide_default_value = true)]
    label: String,
    /// How many agents may join with it
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    uses: u32,
    /// How long it is good, 7 days at most
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1h")]
    ttl: Duration,
    /// Who joins with it does not count before `faultline agent approve`
    #[arg(long)]
    approve: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline token list\n  faultline token list -o json")]
pub(super) struct List {
    #[command(flatten)]
    data: DataDir,
    /// text, json or ndjson
    #[arg(short, long, default_value = "text")]
    output: Format,
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline token revoke k7q2m0hv")]
pub(super) struct Revoke {
    /// Which, as `faultline token list` names it: the part after flj1.
    id: String,
    /// Revoke the agents that joined with it, too
    #[arg(long)]
    with_agents: bool,
    #[command(flatten)]
    data: DataDir,
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(create) => create.run(),
            Self::List(list) => list.run(),
            Self::Revoke(revoke) => revoke.run(),
        }
    }
}

impl Create {
    #[expect(clippy::print_stderr, reason = "standard output is for the join string alone")]
    fn run(self) -> anyhow::Result<ExitCode> {
        let Self { data, label, uses, ttl, approve, place } = self;
        let wanted = Wanted { label, uses, life_s: ttl.as_secs(), place, needs_approval: approve };
        match admin::ask(&data.data_dir, &Call::CreateToken(Box::new(wanted)))? {
            Done::Made { join_string, expires_at } => {
                say(&join_string)?;
                eprintln!("shown once; good for {uses} agents until {expires_at}: faultline-agent join HOST:7443");
            }
            done => return Err(admin::another(&done)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    fn run(self) -> anyhow::Result<ExitCode> {
        let all = match admin::ask(&self.data.data_dir, &Call::ListTokens {})? {
            Done::Listed(all) => all,
            done => return Err(admin::another(&done)),
        };
        match self.output {
            Format::Text if all.is_empty() => say("there are no join strings")?,
            Format::Text => all.iter().try_for_each(|token| say(&line(token)))?,
            Format::Json => say(&serde_json::to_string(&all)?)?,
            Format::Ndjson => all.iter().try_for_each(|token| anyhow::Ok(say(&serde_json::to_string(token)?)?))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Revoke {
    fn run(self) -> anyhow::Result<ExitCode> {
        match admin::ask(
            &self.data.data_dir,
            &Call::RevokeToken(RevokeToken { id: self.id, with_agents: self.with_agents }),
        )? {
            Done::Revoked { id, agents, with_agents } => {
                say(&format!("revoked {id}"))?;
                let (gone, stays): (Vec<&String>, _) = agents.iter().partition(|agent| with_agents.contains(agent));
                for (what, agents) in [("revoked with it", gone), ("joined with it, and stays", stays)] {
                    agents.iter().try_for_each(|agent| say(&format!("{agent} {what}")))?;
                }
            }
            done => return Err(admin::another(&done)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn line(ListedToken { id, standing, label, uses, expires_at, agents }: &ListedToken) -> String {
    let standing = match standing {
        Standing::Open => "open",
        Standing::UsedUp => "used up",
        Standing::Expired => "expired",
        Standing::Revoked => "revoked",
    };
    let text = format!(
        "{:8}  {standing:8}  until {expires_at}  {} of {uses} joined  {}  {}",
        clean(id),
        agents.len(),
        clean(label),
        clean(&agents.join(", "))
    );
    text.trim_end().to_owned()
}
