//! `faultline-agent prometheus`: a `blackbox_exporter`, without a coordinator.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Args;
use faultline_agent::{
    blackbox::Prometheus,
    policy::{Policy, Ports},
    probe::ProbeSettings,
};
use faultline_proto::clock::Clock;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Args)]
pub(crate) struct PrometheusArgs {
    /// The module file, as `blackbox_exporter` reads it.
    #[arg(long, value_name = "FILE")]
    modules: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9115")]
    listen: SocketAddr,
    /// Probe loopback addresses too.
    #[arg(long)]
    allow_loopback: bool,
    /// Probe private addresses too.
    #[arg(long)]
    allow_private: bool,
}

pub(crate) async fn prometheus(args: PrometheusArgs) -> anyhow::Result<ExitCode> {
    let PrometheusArgs { modules, listen, allow_loopback, allow_private } = args;
    let policy = Policy { allow_loopback, allow_private, ports: Ports::Any, ..Policy::default() };
    let settings = ProbeSettings { policy, ..ProbeSettings::new(Clock::system()) };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    faultline_agent::export(Prometheus { listen, modules: Some(modules) }, settings, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
