//! `faultline-agent status`: what the running agent says of itself.
//!
//! Exit codes: 0 fine, 1 impaired, not connected or not joined, 2 wrong usage or configuration, 3 no agent answers.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use faultline_agent::{
    Setup,
    config::SYSTEM_CONFIG,
    control,
    status::{SYSTEM_SOCKET, Status, ask, text},
};

use crate::Output;

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// The running agent's configuration file, which says where it listens.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,
    /// The running agent's socket [default: that of the shipped unit].
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print nothing when it is fine, else one line: for health checks, which go by the exit code.
    #[arg(long, conflicts_with = "output")]
    check: bool,
    /// How to print it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

pub(crate) async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let told = match told(&args).await? {
        Ok(told) => told,
        Err(error) => {
            writeln!(std::io::stderr(), "faultline-agent: {error}")?;
            return Ok(ExitCode::from(NOBODY));
        }
    };
    let mut out = std::io::stdout().lock();
    match args.output {
        _ if args.check => {
            if !told.is_fine() {
                writeln!(out, "{}", told.headline())?;
            }
        }
        Output::Text => out.write_all(text(&told).as_bytes())?,
        Output::Json => writeln!(out, "{}", serde_json::to_string(&told)?)?,
    }
    Ok(if told.is_fine() { ExitCode::SUCCESS } else { ExitCode::from(NOT_FINE) })
}

/// What the agent says. One that the service manager started has a folder that this process is not told of.
async fn told(args: &StatusArgs) -> anyhow::Result<Result<Status, String>> {
    if let Some(socket) = &args.socket {
        return Ok(ask(socket).await.map_err(|error| error.to_string()));
    }
    let setup = Setup::read(args.config.as_deref().unwrap_or(Path::new(SYSTEM_CONFIG)))?;
    if setup.control_socket.exists() {
        return Ok(control::status(&setup.control_socket).await.map_err(|error| error.to_string()));
    }
    let socket = match setup.status_socket {
        socket if socket.exists() || !Path::new(SYSTEM_SOCKET).exists() => socket,
        _ => PathBuf::from(SYSTEM_SOCKET),
    };
    Ok(ask(&socket).await.map_err(|error| error.to_string()))
}

const NOT_FINE: u8 = 1;
const NOBODY: u8 = 3;
