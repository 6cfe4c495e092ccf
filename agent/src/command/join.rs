//! `faultline-agent join`: makes this machine an agent.
//!
//! Exit codes: 0 joined, or joined already; 2 wrong usage or configuration; 3 the join string was refused; 4 the coordinator
//! cannot be reached; 5 it is not the coordinator of the join string.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::Args;
use faultline_agent::enroll::{self, JoinError, Joined, Joining};
use faultline_proto::{clock::Clock, join::JoinString};

#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 joined, or joined already; 2 wrong usage or configuration; 3 the join string was refused; 4 the coordinator cannot be reached; 5 it is not the coordinator of the join string"
)]
pub(crate) struct JoinArgs {
    /// The coordinator; port 7443 unless said.
    #[arg(value_name = "HOST[:PORT]", value_parser = place)]
    coordinator: (String, u16),
    /// File with the join string, as `faultline token create` prints one [default: standard input].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The agent's configuration, made where there is none; its identity lies beside it.
    #[arg(long, value_name = "FILE", default_value = "/var/lib/faultline-agent/agent.toml")]
    config: PathBuf,
}

pub(crate) async fn join(args: JoinArgs) -> anyhow::Result<ExitCode> {
    let JoinArgs { coordinator: (host, port), token_file, config } = args;
    let join_string = read(token_file.as_deref())?;
    let joining = Joining { host, port, join_string, config };
    let joined = enroll::join(&joining, Clock::system()).await;
    let mut out = io::stdout().lock();
    match joined {
        Ok(Joined::As(agent)) => writeln!(out, "joined as {agent}")?,
        Ok(Joined::Already) => writeln!(out, "joined already: nothing was changed")?,
        Err(error) => {
            let code = match &error {
                JoinError::Refused(_) => REFUSED,
                JoinError::Unreachable { .. } => UNREACHABLE,
                JoinError::Pin { .. } => ANOTHER,
                _ => return Err(error.into()),
            };
            writeln!(io::stderr(), "faultline-agent: {error}")?;
            return Ok(ExitCode::from(code));
        }
    }
    writeln!(out, "next: faultline-agent run --config {}", joining.config.display())?;
    Ok(ExitCode::SUCCESS)
}

/// The join string. No option takes it: others see a command's arguments.
fn read(file: Option<&Path>) -> anyhow::Result<JoinString> {
    let mut text = String::new();
    let (from, read) = match file {
        Some(file) => {
            let read = std::fs::File::open(file).and_then(|opened| opened.take(MAX_READ).read_to_string(&mut text));
            (file.display().to_string(), read)
        }
        None if io::stdin().is_terminal() => bail!("no join string: pipe it in, or give --token-file FILE"),
        None => ("standard input".to_owned(), io::stdin().take(MAX_READ).read_to_string(&mut text)),
    };
    read.with_context(|| from.clone())?;
    text.parse().with_context(|| from)
}

fn place(text: &str) -> Result<(String, u16), String> {
    let form = || "not of the form HOST[:PORT]".to_owned();
    let authority: http::uri::Authority = text.parse().map_err(|_| form())?;
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => PORT,
        Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(form)?,
        None => return Err(form()),
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() { Err(form()) } else { Ok((host, port)) }
}

const PORT: u16 = 7443;
const REFUSED: u8 = 3;
const UNREACHABLE: u8 = 4;
const ANOTHER: u8 = 5;

/// Bytes read of what should hold a join string.
const MAX_READ: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_is_a_host_and_perhaps_a_port() {
        assert_eq!(place("probe.example.org"), Ok(("probe.example.org".into(), 7443)));
        assert_eq!(place("[2001:db8::1]:443"), Ok(("2001:db8::1".into(), 443)));
        for wrong in ["", "https://a.example", "a@b", "a:b", ":7443", "a b"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
