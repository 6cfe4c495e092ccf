//! `faultline serve`: the coordinator.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, str::FromStr, time::Duration};

use faultline_proto::clock::Clock;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use super::{DataDir, runtime, say, start_logs};
use crate::{
    access::Policy,
    catalog::CatalogSource,
    claims::Sources,
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
    /// Where Prometheus reads metrics; `none` for nowhere
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7445")]
    metrics_listen: MetricsListen,
    #[command(flatten)]
    access: Access,
    /// Run an agent beside the coordinator; makes the data directory if there is none
    #[arg(long)]
    with_agent: bool,
    /// Do not ask the publishers for their address ranges; those of the data directory stay in force
    #[arg(long, env = "FAULTLINE_NO_RANGES_REFRESH")]
    no_ranges_refresh: bool,
    /// Whose status pages to ask, instead of those of AWS and Azure; what they say is shown, and never an input
    #[arg(long, value_name = "FILE", conflicts_with = "no_claims")]
    claims_file: Option<PathBuf>,
    /// Do not ask anybody's status page
    #[arg(long, env = "FAULTLINE_NO_CLAIMS")]
    no_claims: bool,
    /// Results that came longer ago leave the log; changes and counts stay
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "7d")]
    keep_results: Duration,
    /// The oldest results leave a log that is larger, as in 500MiB or 10GiB
    #[arg(long, value_name = "SIZE", default_value = "10GiB")]
    keep_bytes: Bytes,
    #[command(flatten)]
    publishers: super::ranges::PublisherUrls,
}

/// Who may read the feed, and how it is reached.
#[derive(Debug, clap::Args)]
struct Access {
    /// Certificate chain of the feed, PEM; looked at again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let others reach a feed without TLS: for a proxy before it that speaks TLS. Tokens are refused over it
    #[arg(long)]
    feed_plaintext: bool,
    /// What callers without a token may do
    #[arg(long, value_enum, default_value_t)]
    anonymous: Anonymous,
    /// Origin whose pages may read the feed in a visitor's browser (scheme and host), or `*`; repeats
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    cors_origin: Vec<String>,
}

impl Access {
    fn policy(self) -> Policy {
        Policy {
            anonymous: self.anonymous == Anonymous::Read,
            cors: self.cors_origin,
            tls: self.tls_cert.zip(self.tls_key),
            plaintext: self.feed_plaintext,
        }
    }
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
        let claims = match &self.claims_file {
            Some(path) => Some(Sources::load(path)?),
            None => (!self.no_claims).then(Sources::default),
        };
        let options = Options {
            data_dir,
            catalogs: self.catalog.iter().map(|word| CatalogSource::from(word.as_str())).collect(),
            agents_listen: self.agents_listen,
            feed_listen: self.feed_listen,
            access: self.access.policy(),
            metrics_listen: self.metrics_listen.0,
            clock,
            with_agent: self.with_agent,
            retention: Retention { results_for: self.keep_results, results_bytes: self.keep_bytes.0 },
            claims,
            webhooks: true,
            publishers: (!self.no_ranges_refresh).then(|| self.publishers.publishers()),
        };
        let scheme = if options.access.tls.is_some() { "https" } else { "http" };
        runtime()?.block_on(async {
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let coordinator = Coordinator::start(options).await?;
            say(&format!("agents  {}", coordinator.agents_address))?;
            if let Some(address) = coordinator.metrics_address {
                say(&format!("metrics http://{address}/metrics"))?;
            }
            say(&format!("page    {scheme}://{}/", coordinator.feed_address))?;
            let stop = async move {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                tracing::info!("stopping");
            };
            coordinator.run(stop).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// What callers without a token may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Anonymous {
    /// Read the page and the feed
    #[default]
    Read,
    /// Nothing
    None,
}

/// An origin as browsers send it: scheme, host, port if it is another than the scheme's, and no more.
fn origin(word: &str) -> Result<String, String> {
    let as_sent = |url: Url| url.origin().ascii_serialization();
    let is_origin = word == "*" || Url::parse(word).is_ok_and(|url| url.has_host() && as_sent(url) == word);
    if is_origin { Ok(word.to_owned()) } else { Err("an origin is as in https://status.example.org, or `*`".into()) }
}

/// Where metrics are read: an address with its port, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MetricsListen(Option<SocketAddr>);

impl FromStr for MetricsListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let address = text.parse().map_err(|_| format!("{text:?} is no address: as in 127.0.0.1:7445, or none"))?;
        Ok(Self(Some(address)))
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
    fn an_origin_is_what_a_browser_sends() {
        for good in ["*", "https://status.example.org", "http://localhost:8080"] {
            assert_eq!(origin(good).as_deref(), Ok(good));
        }
        for bad in ["status.example.org", "https://status.example.org/", "https://a.example:443", "null", ""] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn metrics_are_read_at_an_address_or_nowhere() {
        assert_eq!("none".parse(), Ok(MetricsListen(None)));
        assert_eq!("[::1]:9".parse(), Ok(MetricsListen("[::1]:9".parse().ok())));
        for wrong in ["", "127.0.0.1", "None", ":7445"] {
            assert!(wrong.parse::<MetricsListen>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_names_its_unit() {
        assert_eq!("10GiB".parse(), Ok(Bytes(10 << 30)));
        assert_eq!("512 MiB".parse(), Ok(Bytes(512 << 20)));
        for wrong in ["10", "GiB", "-1GiB", "10GB", "99999999999TiB", ""] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }
}
