//! `faultline serve`: the coordinator.

use std::{net::SocketAddr, process::ExitCode, str::FromStr, time::Duration};

use faultline_proto::clock::Clock;
use tokio::signal::unix::{SignalKind, signal};

use super::{DataDir, runtime, say, start_logs};
use crate::{
    catalog::CatalogSource,
    pki::Authority,
    retention::Retention,
    serve::{Coordinator, Options},
};

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline serve --data-dir ./data --with-agent\n  faultline serve --catalog builtin --catalog mine.toml"
)]
pub(super) struct Serve {
    #[command(flatten)]
    data: DataDir,
    /// Catalog file, or `builtin`; repeats
    #[arg(long, default_value = "builtin")]
    catalog: Vec<String>,
    /// Where agents connect
    #[arg(long, default_value = "127.0.0.1:7443")]
    agents_listen: SocketAddr,
    /// Where people and subscribers connect
    #[arg(long, default_value = "127.0.0.1:7444")]
    feed_listen: SocketAddr,
    /// Run an agent beside the coordinator; makes the data directory if there is none
    #[arg(long)]
    with_agent: bool,
    /// Do not ask the publishers for their address ranges; those of the data directory stay in force
    #[arg(long, env = "FAULTLINE_NO_RANGES_REFRESH")]
    no_ranges_refresh: bool,
    /// Results that came longer ago leave the log; changes and counts stay
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "7d")]
    keep_results: Duration,
    /// The oldest results leave a log that is larger, as in 500MiB or 10GiB
    #[arg(long, value_name = "SIZE", default_value = "10GiB")]
    keep_bytes: Bytes,
    #[command(flatten)]
    publishers: super::ranges::PublisherUrls,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        start_logs();
        let clock = Clock::system();
        let data_dir = self.data.data_dir;
        if self.with_agent && !data_dir.join("ca").join("root.pem").exists() {
            std::fs::create_dir_all(&data_dir)?;
            let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
            Authority::init(&data_dir, "faultline-local.internal", &names, clock.now_micros())?;
        }
        let options = Options {
            data_dir,
            catalogs: self.catalog.iter().map(|word| CatalogSource::from(word.as_str())).collect(),
            agents_listen: self.agents_listen,
            feed_listen: self.feed_listen,
            clock,
            with_agent: self.with_agent,
            retention: Retention { results_for: self.keep_results, results_bytes: self.keep_bytes.0 },
            publishers: (!self.no_ranges_refresh).then(|| self.publishers.publishers()),
        };
        runtime()?.block_on(async {
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let coordinator = Coordinator::start(options).await?;
            say(&format!("agents  {}", coordinator.agents_address))?;
            say(&format!("page    http://{}/", coordinator.feed_address))?;
            let stop = async move {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                tracing::info!("stopping");
            };
            coordinator.run(stop).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// A size: a whole number and `B`, `KiB`, `MiB`, `GiB` or `TiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bytes(u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size: a whole number and B, KiB, MiB, GiB or TiB, as in 10GiB");
        let digits = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let units = ["B", "KiB", "MiB", "GiB", "TiB"];
        let place = units.iter().position(|known| *known == unit.trim()).ok_or_else(wrong)?;
        let factor = (0..place).fold(1_u64, |factor, _| factor << 10);
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_names_its_unit() {
        assert_eq!("10GiB".parse(), Ok(Bytes(10 << 30)));
        assert_eq!("512 MiB".parse(), Ok(Bytes(512 << 20)));
        for wrong in ["10", "GiB", "-1GiB", "10GB", "99999999999TiB", ""] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }
}
