//! `faultline-agent leave` and `faultline-agent image-prepare`: forget whom the agent joined; the configuration stays.
//!
//! Where an agent runs it does so itself, after a goodbye. Exit codes: 0 forgotten, or nothing to forget; 1 something could not be
//! removed; 2 wrong usage or configuration.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use faultline_agent::{
    Setup,
    config::SYSTEM_CONFIG,
    control::{self, End, FAILED, OrderError, Request, USAGE},
    daemon::wipe,
};

use super::join::{finish, print};
use crate::Output;

#[derive(Args)]
pub(crate) struct LeaveArgs {
    /// The agent's configuration, which may be missing: it says where the running agent listens and where its state lies.
    #[arg(long, value_name = "FILE", default_value = SYSTEM_CONFIG)]
    config: PathBuf,
    /// Do not ask first; nobody is asked without a terminal.
    #[arg(short, long)]
    yes: bool,
    /// How to print the steps.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

pub(crate) async fn leave(args: LeaveArgs) -> anyhow::Result<ExitCode> {
    forget(args, Request::Leave).await
}

pub(crate) async fn image_prepare(args: LeaveArgs) -> anyhow::Result<ExitCode> {
    forget(args, Request::ImagePrepare).await
}

async fn forget(args: LeaveArgs, request: Request) -> anyhow::Result<ExitCode> {
    let setup = Setup::read(&args.config)?;
    if !args.yes && io::stdin().is_terminal() && !is_meant()? {
        return finish(args.output, &End::failed(USAGE, "nothing was done"));
    }
    let ordered = control::order(&setup.control_socket, &request, PATIENCE, |step| print(args.output, step)).await;
    let end = match ordered {
        Err(OrderError::Nobody(_)) => match wipe(&setup) {
            Ok(true) => End::done("no agent ran; its identity is gone, and all results that waited"),
            Ok(false) => End::done("no agent ran, and there was no identity"),
            Err(error) => End::failed(FAILED, error.to_string()),
        },
        ordered => ordered?,
    };
    finish(args.output, &end)
}

fn is_meant() -> io::Result<bool> {
    write!(io::stderr(), "The agent's identity and all results that wait are removed for good. Go on? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A goodbye takes four seconds at most, an order before this one half a minute.
const PATIENCE: Duration = Duration::from_mins(1);
