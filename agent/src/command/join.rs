//! `faultline-agent join`: makes this machine an agent, through the daemon that will be it.
//!
//! Rules: the join string comes from standard input or a file and goes through the daemon's socket: it is never an argument and
//! never on a disk. Already joined is success, and changes nothing.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use faultline_agent::{
    Setup,
    config::SYSTEM_CONFIG,
    control::{self, End, OrderError, Request, USAGE},
    enroll::{self, Existing, Joined, Joining, Step},
};
use faultline_proto::{clock::Clock, join::JoinString};

use crate::Output;

#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 joined, or joined already; 1 a clock or a disk is in the way; 2 wrong usage or configuration, or no agent runs; 3 the join string was refused; 4 the coordinator cannot be reached; 5 it is not the coordinator of the join string; 6 joined, and an operator has to approve it; 7 there is an identity of another coordinator; 8 joined, and no batch was stored in time"
)]
pub(crate) struct JoinArgs {
    /// The coordinator; port 7443 unless said.
    #[arg(value_name = "HOST[:PORT]", value_parser = place)]
    coordinator: (String, u16),
    /// File with the join string, as `faultline token create` prints one [default: standard input].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The agent's configuration, which may be missing: it says where the running agent listens and where its state lies.
    #[arg(long, value_name = "FILE", default_value = SYSTEM_CONFIG)]
    config: PathBuf,
    /// Take another identity where there is one; the old one stays until the new one is on disk.
    #[arg(long)]
    replace: bool,
    /// Wait so long for the first batch that the coordinator has stored.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Write the identity without a running agent, for images: the next one that runs is it. Waits for no batch.
    #[arg(long, conflicts_with = "wait")]
    without_daemon: bool,
    /// How to print the steps.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

pub(crate) async fn join(args: JoinArgs) -> anyhow::Result<ExitCode> {
    let setup = Setup::read(&args.config)?;
    let join_string = read(args.token_file.as_deref())?;
    let socket = &setup.control_socket;
    let end = if args.without_daemon {
        if control::is_served(socket).await? {
            bail!("{}: an agent runs: join through it, without --without-daemon", socket.display());
        }
        without_daemon(&setup, &args, join_string).await
    } else {
        let (host, port) = args.coordinator.clone();
        let wait_s = args.wait.as_secs();
        let (join_string, replace) = (join_string.to_string(), args.replace);
        let request = Request::Join { host, port, join_string, replace, wait_s };
        let ordered = control::order(socket, &request, args.wait + PATIENCE, |step| print(args.output, step)).await;
        match ordered {
            Err(OrderError::Nobody(_)) => End::failed(USAGE, start_it(&args.config, socket)),
            ordered => ordered?,
        }
    };
    finish(args.output, &end)
}

/// Prints what came of an order; its exit code.
pub(super) fn finish(output: Output, end: &End) -> anyhow::Result<ExitCode> {
    match output {
        Output::Json => writeln!(io::stdout(), "{}", serde_json::to_string(end)?)?,
        Output::Text if end.exit_code == 0 => writeln!(io::stdout(), "{}", end.message)?,
        Output::Text => writeln!(io::stderr(), "faultline-agent: {}", end.message)?,
    }
    Ok(ExitCode::from(end.exit_code))
}

/// Prints a step at once. A reader that has gone away is no reason to stop.
pub(super) fn print(output: Output, step: &Step) {
    let line = match output {
        Output::Text => step.text(),
        Output::Json => serde_json::to_string(step).map(|line| line + "\n").unwrap_or_default(),
    };
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).ok();
}

async fn without_daemon(setup: &Setup, args: &JoinArgs, join_string: JoinString) -> End {
    let (host, port) = args.coordinator.clone();
    let existing = if args.replace { Existing::IsReplaced } else { Existing::Stays };
    let joining = Joining { host, port, join_string, existing };
    let joined = enroll::join(setup, &joining, Clock::system(), &mut |step| print(args.output, &step)).await;
    let next = format!("next: faultline-agent run --config {}", args.config.display());
    match joined {
        Ok(Joined::As(agent)) => End::done(format!("joined as {agent}; {next}")),
        Ok(Joined::Already) => End::done(format!("joined already: nothing was changed; {next}")),
        Err(error) => End::from(&error),
    }
}

fn start_it(config: &Path, socket: &Path) -> String {
    let how = if config == Path::new(SYSTEM_CONFIG) {
        "systemctl start faultline-agent".to_owned()
    } else {
        format!("faultline-agent run --config {}", config.display())
    };
    format!("no agent runs that could join ({}): start it with `{how}`, or give --without-daemon", socket.display())
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

/// A coordinator's host and port.
pub(super) fn place(text: &str) -> Result<(String, u16), String> {
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

/// Beyond the wait for a batch: an enrolment takes at most half a minute, and so may one before it.
const PATIENCE: Duration = Duration::from_secs(90);

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
