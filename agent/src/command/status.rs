//! `faultline-agent status`: what the running agent says of itself.
//!
//! Exit codes: 0 fine, 1 impaired or not connected, 2 wrong usage or configuration, 3 no agent answers.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use faultline_agent::{
    Config,
    status::{SYSTEM_SOCKET, ask, text},
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
    /// How to print it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

pub(crate) async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let told = match ask(&socket(&args)?).await {
        Ok(told) => told,
        Err(error) => {
            writeln!(std::io::stderr(), "faultline-agent: {error}")?;
            return Ok(ExitCode::from(NOBODY));
        }
    };
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Text => out.write_all(text(&told).as_bytes())?,
        Output::Json => writeln!(out, "{}", serde_json::to_string(&told)?)?,
    }
    Ok(if told.is_fine() { ExitCode::SUCCESS } else { ExitCode::from(NOT_FINE) })
}

/// Where the agent listens. One that the service manager started has a folder that this process is not told of.
fn socket(args: &StatusArgs) -> anyhow::Result<PathBuf> {
    let configured = args.config.as_deref().map(Config::read).transpose()?.and_then(|config| config.status_socket);
    Ok(match (&args.socket, configured) {
        (Some(socket), _) => socket.clone(),
        (None, Some(socket)) if socket.exists() || !Path::new(SYSTEM_SOCKET).exists() => socket,
        _ => PathBuf::from(SYSTEM_SOCKET),
    })
}

const NOT_FINE: u8 = 1;
const NOBODY: u8 = 3;
