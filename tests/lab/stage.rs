//! A stage for tests: a coordinator on a small catalog, and scripted agents that report what a test wants them to see.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use faultline_coordinator::{
    access::Policy,
    catalog::CatalogSource,
    pki::Authority,
    registry::Place,
    serve::{Coordinator, Options, ServeError},
};
use faultline_proto::{
    clock::Clock,
    types::v1::{Cause, Layer},
};

use crate::scripted::{Credentials, ScriptedAgent, failed, passed};

/// Six networks outside both clouds, each a witness of its own.
const NETWORKS: u32 = 6;

/// Front Door sites of several owners, their regional siblings, AWS, and controls.
const TARGETS: [(&str, &str, &str); 10] = [
    ("air", "azure", "cdn = \"azure/front-door\"\nowner = \"air\"\n"),
    ("grocer", "azure", "cdn = \"azure/front-door\"\nowner = \"grocer\"\n"),
    ("bank", "azure", "cdn = \"azure/front-door\"\nowner = \"bank\"\n"),
    ("azure/eastus/blob", "azure", "region = \"eastus\"\nservice = \"blob\"\nowner = \"microsoft\"\n"),
    ("azure/westeurope/blob", "azure", "region = \"westeurope\"\nservice = \"blob\"\nowner = \"microsoft\"\n"),
    ("aws/us-east-1/s3", "aws", "region = \"us-east-1\"\nservice = \"s3\"\nowner = \"amazon\"\n"),
    ("aws/us-east-1/sqs", "aws", "region = \"us-east-1\"\nservice = \"sqs\"\nowner = \"amazon\"\n"),
    ("aws/eu-west-1/s3", "aws", "region = \"eu-west-1\"\nservice = \"s3\"\nowner = \"amazon\"\n"),
    ("control/one", "other", "owner = \"one\"\n"),
    ("control/two", "other", "owner = \"two\"\n"),
];

/// The catalog of the stage.
pub fn catalog() -> String {
    let rows = TARGETS.iter().enumerate().map(|(n, (id, hosted_on, rest))| {
        format!("[[target]]\nid = \"{id}\"\nprobe = \"https\"\nurl = \"https://site-{n}.example/\"\nhosted_on = \"{hosted_on}\"\n{rest}\n")
    });
    rows.collect::<Vec<_>>().concat()
}

/// Makes a data directory with an authority and the stage's catalog.
pub fn prepare(data: &Path) -> anyhow::Result<()> {
    Authority::init(data, "test.internal", &[], Clock::system().now_micros())?;
    Ok(std::fs::write(data.join("catalog.toml"), catalog())?)
}

/// Starts a coordinator on a prepared data directory, on free ports.
pub async fn start(data: &Path, clock: Clock) -> anyhow::Result<Coordinator> {
    start_at(data, clock, 0).await
}

/// The same with a port for agents that is known before; 0 is a free one.
pub async fn start_at(data: &Path, clock: Clock, agents_port: u16) -> anyhow::Result<Coordinator> {
    Ok(start_with(data, clock, |options| options.agents_listen.set_port(agents_port)).await?)
}

/// The same with other options.
pub async fn start_with(
    data: &Path,
    clock: Clock,
    change: impl FnOnce(&mut Options),
) -> Result<Coordinator, ServeError> {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut options = Options {
        data_dir: data.to_owned(),
        catalogs: vec![CatalogSource::File(data.join("catalog.toml"))],
        agents_listen: local,
        feed_listen: local,
        access: Policy::default(),
        metrics_listen: None,
        clock,
        with_agent: false,
        publishers: None,
        claims: None,
        webhooks: true,
        retention: faultline_coordinator::retention::Retention::default(),
    };
    change(&mut options);
    Coordinator::start(options).await
}

/// Scripted witnesses, all of them in networks of their own.
pub struct Witnesses {
    agents: Vec<ScriptedAgent>,
    clock: Clock,
}

impl Witnesses {
    /// Issues and connects them.
    pub async fn join(data: &Path, address: SocketAddr, clock: Clock) -> anyhow::Result<Self> {
        let mut agents = Vec::new();
        for n in 0..NETWORKS {
            let place = Place {
                group: Some(format!("network-{n}")),
                isp: Some(format!("isp-{n}")),
                asn: Some(64_500 + n),
                hosted_on: Some("other".into()),
                ..Place::default()
            };
            let credentials = Credentials::issue(data, &format!("w-{n}"), &place, address, clock.now_micros())?;
            agents.push(credentials.open([u8::try_from(n).unwrap_or_default(); 16]).await?);
        }
        Ok(Self { agents, clock })
    }

    /// Each looks at every target once; those for which `fails` holds time out at the connect.
    pub async fn look(&mut self, fails: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let now = self.clock.now_micros();
        for agent in &mut self.agents {
            let results = agent.assignments.assignments.iter().map(|assignment| {
                if fails(&assignment.target) {
                    failed(assignment.slot, now, Layer::Connect, Cause::ConnectTimeout)
                } else {
                    passed(assignment.slot, now)
                }
            });
            let results = results.collect();
            agent.report(results).await?;
        }
        Ok(())
    }
}

/// The front page, as a browser without scripts gets it.
pub fn page(feed: &str) -> io::Result<String> {
    path(feed, "/")
}

/// The page at that path, in the same way.
pub fn path(feed: &str, path: &str) -> io::Result<String> {
    let address = feed.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Front Door breaks after ten looks, for these many of them; it ends when no longer polled. Looks are a quarter of a second
/// apart, which are five seconds of a clock of speed 20.
pub async fn front_door_breaks(witnesses: &mut Witnesses, looks: u32) {
    for round in 0_u32.. {
        let broken = (10..10_u32.saturating_add(looks)).contains(&round);
        witnesses.look(|target| broken && is_behind_front_door(target)).await.expect("look");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Whether the target is behind Front Door.
pub fn is_behind_front_door(target: &str) -> bool {
    matches!(target, "air" | "grocer" | "bank")
}
