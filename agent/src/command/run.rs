//! `faultline-agent run`: the daemon.
//!
//! With `FAULTLINE_JOIN=HOST[:PORT]` in its environment it joins by itself when it has no identity, with the join string in
//! `$CREDENTIALS_DIRECTORY/join-token` or `/run/secrets/join-token`.

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use faultline_agent::{
    Setup,
    config::SYSTEM_CONFIG,
    daemon::{self, Alone},
};
use faultline_proto::clock::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::join::place;
use crate::notify;

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The configuration file; one that is missing says nothing, and defaults hold.
    #[arg(long, value_name = "FILE", default_value = SYSTEM_CONFIG)]
    config: PathBuf,
}

pub(crate) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let setup = Setup::read(&args.config)?;
    let alone = alone()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %args.config.display(),
        is_there = args.config.exists(),
        "starting"
    );
    let shutdown = stop_signal(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let agent = daemon::run(setup, Clock::system(), alone, shutdown, notify::ready);
    tokio::select! {
        ended = agent => ended?,
        never = notify::feed_watchdog() => never.context("NOTIFY_SOCKET")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Where to join without being told to.
fn alone() -> anyhow::Result<Option<Alone>> {
    let Ok(wanted) = env::var(JOIN) else { return Ok(None) };
    let (host, port) = place(&wanted).map_err(|why| anyhow::anyhow!("{JOIN}={wanted:?}: {why}"))?;
    let credentials = env::var_os("CREDENTIALS_DIRECTORY").map(|folder| PathBuf::from(folder).join(TOKEN));
    let token_files = credentials.into_iter().chain([PathBuf::from("/run/secrets").join(TOKEN)]).collect();
    Ok(Some(Alone { host, port, token_files }))
}

async fn stop_signal(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify::stopping();
}

const JOIN: &str = "FAULTLINE_JOIN";
const TOKEN: &str = "join-token";
