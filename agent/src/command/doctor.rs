//! `faultline-agent doctor`: whether this machine can be an agent.
//!
//! Exit codes: 0 nothing that fails, 1 something fails, 2 wrong usage or configuration.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use faultline_agent::{
    Config,
    doctor::{Examination, examine, is_fit, text},
};
use faultline_proto::clock::Clock;
use url::Url;

use crate::Output;

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// Look at the agent with this configuration: its resolver, its roots, its identity and its coordinator too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A page that answers over TCP and QUIC.
    #[arg(long, value_name = "URL", default_value = "https://www.google.com/generate_204", value_parser = target)]
    target: Url,
    /// A name that has addresses [default: the target's host].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

pub(crate) async fn doctor(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref().map(Config::read).transpose()?;
    let name = args.name.or_else(|| args.target.domain().map(str::to_owned)).unwrap_or_else(|| SOME_NAME.to_owned());
    let findings = examine(&Examination::new(config, args.target, name), Clock::system()).await;
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Text => out.write_all(text(&findings).as_bytes())?,
        Output::Json => writeln!(out, "{}", serde_json::to_string(&findings)?)?,
    }
    Ok(if is_fit(&findings) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn target(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let is_page = url.scheme() == "https" && url.host_str().is_some() && url.username().is_empty();
    if is_page { Ok(url) } else { Err("not of the form https://host/path".to_owned()) }
}

/// Source: RFC 2606 keeps it for good.
const SOME_NAME: &str = "example.com";
