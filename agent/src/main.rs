//! The `faultline-agent` command: the daemon and what is asked of it, a check of its configuration and its machine, and a
//! single probe.
//!
//! Exit codes: 0 fine, 1 the probe failed or the agent is not fine, 2 wrong usage or configuration, 3 nothing could be measured
//! or no agent answers.

mod command;
mod notify;

use std::{
    io::{IsTerminal, Write},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use faultline_agent::{
    Setup,
    once::{self, Transport},
    policy::{Policy, Ports},
    probe::{Observed, Outcome, ProbeSettings, Prober, ResolverChoice, Roots, certificates, path},
};
use faultline_proto::{
    clock::Clock,
    convert,
    types::v1::{Addresses, Header, Protocol, assignment::Spec},
};
use tracing_subscriber::EnvFilter;

/// Probes the endpoints that a Faultline coordinator assigns and streams back what it saw.
#[derive(Parser)]
#[command(
    name = "faultline-agent",
    version,
    before_help = "Example: faultline-agent run --config /etc/faultline-agent/agent.toml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Probe and report until SIGTERM or SIGINT. `RUST_LOG` sets what is logged to standard error.
    #[command(before_help = "Example: faultline-agent run --config /etc/faultline-agent/agent.toml")]
    Run(command::run::RunArgs),
    /// Become an agent of a coordinator, with a join string from standard input or a file, and wait for the first batch.
    #[command(before_help = "Example: faultline-agent join probe.example.org:7443 <join-string")]
    Join(command::join::JoinArgs),
    /// Say goodbye to the coordinator and forget it: identity, keys and all results that wait.
    #[command(before_help = "Example: faultline-agent leave --yes")]
    Leave(command::leave::LeaveArgs),
    /// Forget all that makes this machine another than its copies, before an image is taken of it.
    #[command(before_help = "Example: faultline-agent image-prepare --yes")]
    ImagePrepare(command::leave::LeaveArgs),
    /// Read the configuration, the roots and the identity, and say what is wrong.
    #[command(before_help = "Example: faultline-agent check-config /etc/faultline-agent/agent.toml")]
    CheckConfig {
        /// The configuration file.
        #[arg(value_name = "FILE")]
        config: PathBuf,
    },
    /// Ask the running agent how it is: session, assignments, runs, spool and what it finds wrong with itself.
    #[command(before_help = "Example: faultline-agent status --config /etc/faultline-agent/agent.toml")]
    Status(command::status::StatusArgs),
    /// Look whether this machine can be an agent: clock, DNS, UDP 443, families, limits, identity; and what to do where not.
    #[command(before_help = "Example: faultline-agent doctor --config /etc/faultline-agent/agent.toml")]
    Doctor(command::doctor::DoctorArgs),
    /// Answer Prometheus as `blackbox_exporter` does, from its module file, without a coordinator.
    #[command(before_help = "Example: faultline-agent prometheus --modules /etc/prometheus/blackbox.yml")]
    Prometheus(command::prometheus::PrometheusArgs),
    /// Run one probe once and tell it in full.
    #[command(before_help = "Example: faultline-agent probe https://dynamodb.us-east-1.amazonaws.com/ping")]
    Probe(ProbeArgs),
    /// Print what a shell needs to complete commands and options.
    #[command(
        before_help = "Example: faultline-agent completions bash > ~/.local/share/bash-completion/completions/faultline-agent"
    )]
    Completions {
        /// For which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages: for packages.
    #[command(hide = true, before_help = "Example: faultline-agent man /usr/local/share/man/man1")]
    Man {
        /// Folder that is there.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

#[derive(Args)]
struct ProbeArgs {
    /// `dns://system|authoritative|SERVER/NAME?type=A` (`&transport=tcp`), `dot://`, `doh://`, `doq://` or
    /// `doh3://SERVER/NAME?type=A`, `tcp://host:port`, `tls://host:port`, `https://...` or `http3://...`
    url: String,
    /// Give up after this long.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Ask this name server instead of the system's.
    #[arg(long, value_name = "ADDR", value_parser = resolver)]
    resolver: Option<SocketAddr>,
    /// Trust the certificates of this PEM file too.
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
    /// Fetch an https URL over HTTP/3.
    #[arg(long)]
    http3: bool,
    /// Speak this version of HTTP over TLS, and no other.
    #[arg(long, value_name = "VERSION", value_enum, conflicts_with = "http3")]
    http: Option<HttpVersion>,
    /// Ask with this method instead of GET: HEAD or OPTIONS.
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "")]
    method: String,
    /// Send this header too; repeats.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<Header>,
    /// Follow so many redirects.
    #[arg(short = 'L', long, value_name = "COUNT", default_value_t = 0)]
    redirects: u32,
    /// Connect to this address instead of asking for the host's.
    #[arg(long, value_name = "ADDR")]
    connect_to: Option<IpAddr>,
    /// Try the first address alone, or every address of both families (and every name server of a zone), a result each.
    #[arg(long, value_name = "WHICH", value_enum, default_value = "one")]
    addresses: Which,
    /// After a failure try again so often, at most twice; every attempt is told.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    retries: u32,
    #[command(flatten)]
    allowed: Allowed,
    /// Where the address cannot be reached, look for the last hop that answers on the way there; takes two seconds.
    #[arg(long)]
    path: bool,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// Addresses that are refused by default.
#[derive(Args)]
struct Allowed {
    /// Allow loopback addresses.
    #[arg(long)]
    allow_loopback: bool,
    /// Allow private addresses.
    #[arg(long)]
    allow_private: bool,
}

impl ProbeArgs {
    /// Whether something is given that only a page can be asked with.
    fn asks_of_a_page(&self) -> bool {
        let is_plain = self.method.is_empty() && self.headers.is_empty() && self.redirects == 0;
        !is_plain || self.http.is_some() || self.connect_to.is_some()
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    One,
    All,
}

#[derive(Clone, Copy, ValueEnum)]
enum HttpVersion {
    #[value(name = "1.1")]
    One,
    #[value(name = "2")]
    Two,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNMEASURED: u8 = 3;

// One thread is enough for a thousand targets, and keeps the agent small.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter(&cli.command)));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = match cli.command {
        Command::Run(args) => command::run::run(args).await,
        Command::Join(args) => command::join::join(args).await,
        Command::Leave(args) => command::leave::leave(args).await,
        Command::ImagePrepare(args) => command::leave::image_prepare(args).await,
        Command::CheckConfig { config } => check(&config),
        Command::Status(args) => command::status::status(args).await,
        Command::Doctor(args) => command::doctor::doctor(args).await,
        Command::Prometheus(args) => command::prometheus::prometheus(args).await,
        Command::Probe(args) => probe(args).await,
        Command::Completions { shell } => complete(shell),
        Command::Man { folder } => clap_mangen::generate_to(Cli::command(), &folder)
            .with_context(|| format!("cannot write to {}", folder.display()))
            .map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        writeln!(std::io::stderr(), "faultline-agent: {}", told_once(&error)).ok();
        ExitCode::from(USAGE)
    })
}

/// Prints the completions of a shell. A reader that has gone away is no error.
fn complete(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "faultline-agent", &mut script);
    match std::io::stdout().write_all(&script) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}

/// The error and those of its causes that it does not already quote.
fn told_once(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        quoted if quoted.contains(&cause) => told,
        quoted => format!("{quoted}: {cause}"),
    })
}

fn default_filter(command: &Command) -> &'static str {
    match command {
        Command::Run(_) | Command::Prometheus(_) => "info",
        Command::CheckConfig { .. }
        | Command::Join(_)
        | Command::Leave(_)
        | Command::ImagePrepare(_)
        | Command::Status(_)
        | Command::Doctor(_)
        | Command::Probe(_)
        | Command::Completions { .. }
        | Command::Man { .. } => "off",
    }
}

fn check(path: &std::path::Path) -> anyhow::Result<ExitCode> {
    std::fs::metadata(path).with_context(|| path.display().to_string())?;
    let setup = Setup::read(path)?;
    let mut out = std::io::stdout().lock();
    let file = path.display();
    let Some(coordinator) = setup.joined()? else {
        writeln!(out, "{file}: fine, not joined: run faultline-agent join")?;
        return Ok(ExitCode::SUCCESS);
    };
    let config = setup.of(coordinator);
    faultline_agent::check(&config, Clock::system())?;
    for unsupported in faultline_agent::unsupported(&config)? {
        writeln!(out, "{file}: {unsupported}")?;
    }
    writeln!(out, "{file}: fine, reports to {}", config.coordinator.endpoint)?;
    Ok(ExitCode::SUCCESS)
}

async fn probe(args: ProbeArgs) -> anyhow::Result<ExitCode> {
    let transport = if args.http3 { Transport::Quic } else { Transport::Tcp };
    let mut assignment = once::assignment(&args.url, transport, args.timeout)?;
    assignment.retries = args.retries;
    if matches!(args.addresses, Which::All) {
        assignment.set_addresses(Addresses::All);
    }
    let version = args.http.map_or(Protocol::Unspecified, |version| match version {
        HttpVersion::One => Protocol::Http1,
        HttpVersion::Two => Protocol::Http2,
    });
    if let Some(Spec::Https(spec) | Spec::Http3(spec)) = &mut assignment.spec {
        spec.set_version(version);
        spec.method.clone_from(&args.method);
        spec.headers.clone_from(&args.headers);
        spec.redirects = args.redirects;
        spec.connect_to = args.connect_to.map(convert::octets).unwrap_or_default();
    } else if args.asks_of_a_page() {
        anyhow::bail!("--http, --method, --header, --redirects and --connect-to are for https and http3 URLs");
    }
    // Whoever types a port means it.
    let policy = Policy {
        allow_loopback: args.allowed.allow_loopback,
        allow_private: args.allowed.allow_private,
        ports: Ports::Any,
        ..Policy::default()
    };
    policy.check(&assignment)?;
    let roots = match &args.roots {
        None => Roots::System,
        Some(path) => {
            let pem = std::fs::read(path).with_context(|| path.display().to_string())?;
            Roots::SystemAnd(certificates(&pem).with_context(|| path.display().to_string())?)
        }
    };
    let resolver = args.resolver.map_or(ResolverChoice::System, |server| ResolverChoice::Servers(vec![server]));
    let prober = Prober::new(ProbeSettings { resolver, roots, policy, ..ProbeSettings::new(Clock::system()) })?;
    let mut results = prober.run(&assignment).await;
    let mut out = std::io::stdout();
    for (place, observed) in results.iter_mut().enumerate() {
        if args.output == Output::Text {
            let gap = if place > 0 { "\n" } else { "" };
            write!(out, "{gap}{}", once::text(&assignment, observed))?;
            out.flush()?;
        }
        let lost = path::towards(&assignment, &observed.result).filter(|_| args.path);
        let walked = if let Some(target) = lost { Some(path::walk(target, None).await) } else { None };
        match (args.output, walked) {
            (Output::Text, Some(walked)) => out.write_all(once::path(&walked).as_bytes())?,
            (Output::Text, None) => {}
            (Output::Json, walked) => {
                let hop = walked.and_then(|walked| walked.ok()?.last().map(|hop| hop.address));
                observed.result.last_hop = hop.map(convert::octets).unwrap_or_default();
                writeln!(out, "{}", once::json(&assignment, observed))?;
            }
        }
    }
    let last_attempts =
        results.iter().filter(|observed| observed.result.attempt == results[results.len() - 1].result.attempt);
    Ok(exit_code(last_attempts.filter_map(Observed::outcome)))
}

/// What scripts go by: a place that fails, else one that passes, else that nothing could be measured.
fn exit_code(outcomes: impl Iterator<Item = Outcome>) -> ExitCode {
    let outcomes: Vec<Outcome> = outcomes.collect();
    if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed { .. })) {
        ExitCode::from(FAILED)
    } else if outcomes.contains(&Outcome::Passed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNMEASURED)
    }
}

fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text.split_once(':').ok_or("not \"NAME: VALUE\"")?;
    Ok(Header { name: name.trim().to_owned(), value: value.trim().to_owned() })
}

fn resolver(text: &str) -> Result<SocketAddr, String> {
    let alone = text.parse().map(|address| SocketAddr::new(address, 53));
    alone.or_else(|_| text.parse()).map_err(|_| "neither an address nor address:port".to_owned())
}
