//! The commands of `faultline`: the coordinator itself, and what operators and subscribers do.
//!
//! Exit codes: 0 fine, 1 it did not work, 2 wrong usage or configuration. `status` alone follows the convention of
//! monitoring plugins: 0 nothing attributed, 1 suspected, 2 attributed, 3 cannot see, wrong usage included.

mod admin;
mod agent;
mod audit;
mod backup;
mod ca;
mod catalog;
mod claim;
mod colour;
mod completions;
mod follow;
mod history;
mod incident;
mod init;
mod log;
mod manual;
mod measure;
mod only;
mod page;
mod ranges;
mod replay;
mod report;
mod results;
#[cfg(test)]
mod samples;
mod serve;
mod snapshot;
mod status;
mod subscriber;
mod subscribers;
mod token;
pub mod top;
mod watch;
mod webhook;
mod work;

use std::{
    io::IsTerminal as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::{backup::BackupError, replay::ReplayError};

/// Which cloud is failing: AWS, Azure or neither, since when, how sure, and how do we know?
#[derive(Debug, Parser)]
#[command(
    name = "faultline",
    version,
    before_help = "Example:\n  faultline init --data-dir ./data --dns probe.example.org\n  faultline serve --data-dir ./data --with-agent\n  faultline status",
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a data directory with a certificate authority
    Init(init::Init),
    /// Run the coordinator
    Serve(serve::Serve),
    /// Issue and list agents
    #[command(
        subcommand,
        visible_alias = "agents",
        before_help = "Example:\n  faultline agent issue fra-1 --coordinator https://probe.example.org:7443\n  faultline agent list"
    )]
    Agent(agent::Agent),
    /// Make, list and revoke join strings, with which machines become agents
    #[command(
        subcommand,
        visible_alias = "tokens",
        before_help = "Example:\n  faultline token create --label fra --isp hetzner-de --country de --geography eu\n  faultline token list"
    )]
    Token(token::Token),
    /// Make, list and revoke tokens for the feed
    #[command(subcommand, visible_alias = "subscribers")]
    Subscriber(subscribers::Subscribers),
    /// Show and check catalogs
    #[command(subcommand, before_help = "Example:\n  faultline catalog check mine.toml")]
    Catalog(catalog::Catalog),
    /// Show and refresh the published address ranges of clouds and CDNs
    #[command(subcommand, before_help = "Example:\n  faultline ranges show 13.107.246.40")]
    Ranges(ranges::Ranges),
    /// Print the picture once: exit 0 nothing attributed, 1 suspected, 2 attributed, 3 cannot see
    Status(status::Status),
    /// Follow the feed; resumes by itself
    Watch(watch::Watch),
    /// Show the whole picture on the terminal, live
    Top(top::Top),
    /// List and show incidents, past and present
    #[command(
        subcommand,
        visible_alias = "incidents",
        before_help = "Example:\n  faultline incident list --state open\n  faultline incident get inc-20251029T154113Z-1"
    )]
    Incident(incident::Incident),
    /// Print what was published over time
    #[command(
        subcommand,
        before_help = "Example:\n  faultline history cells --from 2026-10-29T15:00:00Z --to 2026-10-29T18:00:00Z --step 1m"
    )]
    History(history::History),
    /// Attribute recorded results, as the coordinator would have
    Replay(replay::ReplayCommand),
    /// Tell an incident for somebody who was not there: one HTML, Markdown or JSON file
    Report(report::Report),
    /// Print what the log holds
    #[command(
        subcommand,
        visible_alias = "result",
        before_help = "Example:\n  faultline results export --data-dir ./data > results.ndjson"
    )]
    Results(results::Results),
    /// Print single results as they come in
    #[command(
        subcommand,
        before_help = "Example:\n  faultline measure watch --element aws/us-east-1 --outcome failed -o ndjson --token-file research.token"
    )]
    Measure(measure::Measure),
    /// Write the page as files, for a mirror on another network
    #[command(subcommand, before_help = "Example:\n  faultline page export /srv/mirror")]
    Page(page::Page),
    /// Show what status pages and crowds say, and push in what crowds say
    #[command(subcommand, visible_alias = "claims", before_help = "Example:\n  faultline claim list")]
    Claim(claim::Claim),
    /// Announce planned work, call it off, list it
    #[command(
        subcommand,
        before_help = "Example:\n  faultline work add --for 2h --text \"New uplink for the agents in Frankfurt\"\n  faultline work list"
    )]
    Work(work::Work),
    /// Put another certificate authority in the place of the one that signs, without losing an agent
    #[command(subcommand, before_help = "Example:\n  faultline ca status")]
    Ca(ca::CaCommand),
    /// Show what operators asked of the coordinator, who and when
    #[command(subcommand, before_help = "Example:\n  faultline audit tail")]
    Audit(audit::Audit),
    /// Look for damage
    #[command(subcommand, before_help = "Example:\n  faultline log check --data-dir ./data")]
    Log(log::Log),
    /// Copy keys, registry, log and changes into a folder, also while the coordinator runs
    Backup(backup::Backup),
    /// Make a data directory of a backup
    Restore(backup::Restore),
    /// Show what a restart goes on from, and prove it
    #[command(
        subcommand,
        visible_alias = "snapshots",
        before_help = "Example:\n  faultline snapshot check --data-dir ./data"
    )]
    Snapshot(snapshot::Snapshot),
    /// Tell others of changes: signed CloudEvents, an Alertmanager, PagerDuty, Slack
    #[command(
        subcommand,
        visible_alias = "webhooks",
        before_help = "Example:\n  faultline webhook add ops https://hooks.example.org/faultline\n  faultline webhook test ops"
    )]
    Webhook(webhook::Webhook),
    /// Print what a shell needs to complete commands and options
    Completions(completions::Completions),
    /// Write the manual pages: for packages
    #[command(hide = true)]
    Man(manual::Man),
}

/// Where the data directory is.
#[derive(Debug, Args)]
struct DataDir {
    /// Keys, registry and log
    #[arg(long, alias = "data", env = "FAULTLINE_DATA_DIR", default_value = "faultline-data")]
    data_dir: PathBuf,
}

/// Where the feed is.
#[derive(Debug, Args)]
struct FeedAddress {
    /// Feed of the coordinator
    #[arg(long, env = "FAULTLINE_FEED", default_value = DEFAULT_FEED)]
    feed: String,
    /// File with a token for it, as `faultline subscriber create` prints one
    #[arg(long, env = "FAULTLINE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate authority of a feed whose certificate is no public one, PEM
    #[arg(long, env = "FAULTLINE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// The feed of a coordinator on this machine.
const DEFAULT_FEED: &str = "http://127.0.0.1:7444";

/// How output is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object
    Json,
    /// One JSON object a line
    Ndjson,
}

impl Format {
    /// Prints a list: a line of text each, or `none` where there is nothing; JSON otherwise.
    fn print<T: Serialize>(self, list: &[T], none: &str, text: impl Fn(&T) -> String) -> anyhow::Result<()> {
        match self {
            Self::Text if list.is_empty() => say(none)?,
            Self::Text => list.iter().try_for_each(|one| say(&text(one)))?,
            Self::Json => say(&serde_json::to_string(list)?)?,
            Self::Ndjson => list.iter().try_for_each(|one| anyhow::Ok(say(&serde_json::to_string(one)?)?))?,
        }
        Ok(())
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let parsed = command()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command())));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // A monitoring system must not take a typing error for an outage.
            let for_status = std::env::args().nth(1).as_deref() == Some("status");
            let code = match (error.use_stderr(), for_status) {
                (false, _) => 0,
                (true, true) => 3,
                (true, false) => 2,
            };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let result = match cli.command {
        Command::Init(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Agent(command) => command.run(),
        Command::Ca(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Subscriber(command) => command.run(),
        Command::Catalog(command) => command.run(),
        Command::Ranges(command) => command.run(),
        Command::Status(command) => Ok(command.run()),
        Command::Watch(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::Incident(command) => command.run(),
        Command::History(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Results(command) => command.run(),
        Command::Measure(command) => command.run(),
        Command::Page(command) => command.run(),
        Command::Claim(command) => command.run(),
        Command::Work(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Log(command) => command.run(),
        Command::Backup(command) => command.run(),
        Command::Restore(command) => command.run(),
        Command::Snapshot(command) => command.run(),
        Command::Webhook(command) => command.run(),
        Command::Completions(completions) => completions.run(command()),
        Command::Man(man) => man.run(command()),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            say_error(&format!("{error:#}"));
            let is_usage = error.downcast_ref::<crate::catalog::CatalogError>().is_some()
                || error.downcast_ref::<Usage>().is_some()
                || error.downcast_ref::<crate::claims::sources::SourcesError>().is_some()
                || error.downcast_ref::<crate::ranges::RangesError>().is_some()
                || error.downcast_ref::<crate::webhook::config::ConfigError>().is_some()
                || error.downcast_ref::<crate::world_file::WorldError>().is_some()
                || error.downcast_ref::<BackupError>().is_some_and(BackupError::is_of_usage)
                || error.downcast_ref::<ReplayError>().is_some_and(ReplayError::is_of_input)
                || matches!(error.downcast_ref(), Some(crate::serve::ServeError::Catalog(_)));
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

/// Exit codes of commands that do not say their own.
const EXIT_CODES: &str = "Exit codes: 0 fine, 1 it did not work, 2 wrong usage or configuration";

/// The commands as clap has them: the help of each says its exit codes.
fn command() -> clap::Command {
    fn with_exit_codes(command: clap::Command) -> clap::Command {
        let helps = [command.get_before_help(), command.get_after_help()];
        let says_them = helps.into_iter().flatten().any(|help| help.to_string().contains("Exit codes"));
        let command = if says_them { command } else { command.after_help(EXIT_CODES) };
        command.mut_subcommands(with_exit_codes)
    }
    with_exit_codes(Cli::command())
}

/// Wrong usage that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

#[expect(clippy::print_stderr, reason = "this is what a command says when it fails")]
fn say_error(message: &str) {
    eprintln!("faultline: {message}");
}

/// Prints a line of a command's output. A reader that has gone away is no error.
fn say(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Says how far a long command is, on a terminal's standard error.
struct Progress {
    every: Duration,
    said_at: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    /// Says so at most this often.
    fn every(every: Duration) -> Self {
        Self { every, said_at: None, is_terminal: std::io::stderr().is_terminal() }
    }

    #[expect(clippy::print_stderr, reason = "this is how far a command is")]
    fn say(&mut self, what: impl FnOnce() -> String) {
        let is_due = self.said_at.is_none_or(|at| at.elapsed() >= self.every);
        if self.is_terminal && is_due {
            self.said_at = Some(Instant::now());
            eprint!("\r{}", what());
        }
    }

    #[expect(clippy::print_stderr, reason = "as above")]
    fn end(self) {
        if self.said_at.is_some() {
            eprintln!();
        }
    }
}

/// A runtime, and logs on standard error.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn start_logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal).init();
}

#[cfg(test)]
mod tests;
