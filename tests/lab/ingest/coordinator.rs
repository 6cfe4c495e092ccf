//! The coordinator: the program itself, with a catalog of the bench's targets and nothing to fetch.
//!
//! Rule: how far it has folded is what its feed says, as any subscriber would hear it.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use faultline_attribution::Timestamp;
use faultline_coordinator::pki::Authority;
use faultline_proto::{
    clock::Clock,
    convert,
    feed::v1::{GetSnapshotRequest, feed_service_client::FeedServiceClient},
};
use tokio::time;
use tonic::transport::Channel;

use super::{append, target};
use crate::load::part::{self, Kept};

/// A running coordinator.
#[derive(Debug)]
pub struct Coordinator {
    /// Its process.
    pub pid: u32,
    /// Where agents connect.
    pub agents: SocketAddr,
    feed: FeedServiceClient<Channel>,
    program: Kept,
    log: PathBuf,
}

/// Makes a data directory with a catalog of so many targets.
pub fn init(data: &Path, targets: u32) -> anyhow::Result<()> {
    std::fs::create_dir_all(data)?;
    Authority::init(data, "bench.faultline.internal", &[], Clock::system().now_micros())?;
    let mut catalog = String::new();
    for number in 1..=targets {
        let (hosted_on, region) = [("aws", "us-east-1"), ("azure", "westeurope"), ("other", "")][number as usize % 3];
        let region = if region.is_empty() { String::new() } else { format!("region = \"{region}\"\n") };
        write!(
            catalog,
            "[[target]]\nid = \"{}\"\nprobe = \"https\"\nurl = \"https://target-{number}.bench.test/\"\n\
             hosted_on = \"{hosted_on}\"\n{region}\n",
            target(number)
        )?;
    }
    Ok(std::fs::write(data.join(CATALOG), catalog)?)
}

const CATALOG: &str = "catalog.toml";

impl Coordinator {
    /// Starts the program on a data directory, with an empty log.
    pub async fn start(program: &Path, data: &Path) -> anyhow::Result<Self> {
        append::clear(&data.join("log.sqlite"));
        // Free now; should somebody take them before the program does, that ends with a complaint.
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
        let (agents, feed, log) = (free()?, free()?, data.join("coordinator.log"));
        let arguments: [OsString; 13] = [
            "serve".into(),
            "--data-dir".into(),
            data.into(),
            "--catalog".into(),
            data.join(CATALOG).into(),
            "--agents-listen".into(),
            agents.to_string().into(),
            "--feed-listen".into(),
            feed.to_string().into(),
            "--metrics-listen".into(),
            "none".into(),
            "--no-ranges-refresh".into(),
            "--no-claims".into(),
        ];
        let program = Kept::start(program, &arguments, File::create(&log)?).await?;
        let began = time::Instant::now();
        let endpoint = Channel::from_shared(format!("http://{feed}"))?;
        let feed = loop {
            match endpoint.connect().await {
                Ok(channel) => break FeedServiceClient::new(channel),
                Err(_) if began.elapsed() < START => time::sleep(Duration::from_millis(20)).await,
                Err(error) => bail!("the coordinator does not serve: {error}: {}", part::last_words(&log)),
            }
        };
        Ok(Self { pid: program.pid, agents, feed, program, log })
    }

    /// The last tick that was evaluated: all that was durable before it is in the windows.
    pub async fn evaluated_through(&mut self) -> anyhow::Result<Timestamp> {
        let answer = self.feed.get_snapshot(GetSnapshotRequest::default()).await;
        let answer = answer.with_context(|| format!("the coordinator: {}", part::last_words(&self.log)))?;
        let visibility = answer.into_inner().snapshot.and_then(|snapshot| snapshot.visibility);
        let at = visibility.and_then(|visibility| convert::micros(visibility.evaluated_through.as_ref()));
        Ok(Timestamp::from_micros(at.unwrap_or_default()))
    }

    /// Ends it.
    pub async fn end(self) -> anyhow::Result<()> {
        self.program.end().await
    }
}

const START: Duration = Duration::from_mins(1);
