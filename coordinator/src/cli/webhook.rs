//! `faultline webhook`: who is told of the feed's changes, and whether it worked.

use std::{path::PathBuf, process::ExitCode};

use faultline_attribution::Timestamp;
use faultline_proto::clock::Clock;

use super::{DataDir, Format as Output, Usage, say};
use crate::webhook::{
    config::{Destination, Filter, Format, Heartbeat, Link, Revisions, Webhook as Config},
    event::{Event, Scene},
    folder::Folder,
    schedule::Reply,
    send,
    sign::Secret,
    store::{ATTEMPTS, Attempt, Store},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Webhook {
    /// Tell a receiver of every change from now on; prints the secret that it checks signatures with, once
    Add(Box<Add>),
    /// List webhooks: format, receiver, how far each is, and what its last attempt came to
    #[command(before_help = "Example:\n  faultline webhook list")]
    List(List),
    /// Send a test event now, and print what the receiver says
    #[command(before_help = "Example:\n  faultline webhook test ops")]
    Test(Named),
    /// Print the newest attempts to deliver, the newest last
    #[command(before_help = "Example:\n  faultline webhook log ops -o ndjson")]
    Log(Log),
    /// Make a new secret, and print it once; the one before stays valid until the next time
    #[command(before_help = "Example:\n  faultline webhook rotate ops\n  faultline webhook rotate ops --drop-old")]
    Rotate(Rotate),
    /// Send again: what waits first, or from now on
    #[command(before_help = "Example:\n  faultline webhook enable ops")]
    Enable(Enable),
    /// Send nothing until it is enabled
    #[command(before_help = "Example:\n  faultline webhook disable ops --reason 'moved to the other team'")]
    Disable(Disable),
    /// Forget a webhook and its log
    #[command(before_help = "Example:\n  faultline webhook remove ops")]
    Remove(Named),
}

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline webhook add ops https://hooks.example.org/faultline --verdict aws --verdict azure --heartbeat 60s\n  faultline webhook add alerts http://127.0.0.1:9093 --format alertmanager --allow-private\n  faultline webhook add pager https://events.pagerduty.com/v2/enqueue --format pagerduty --routing-key-file pd.key"
)]
pub(super) struct Add {
    /// Name of the webhook
    name: String,
    /// Where it is told; its path is not shown again
    url: Destination,
    #[command(flatten)]
    data: DataDir,
    /// What it is told in
    #[arg(long, value_enum, default_value = "cloudevents")]
    format: Format,
    /// File with the key of the PagerDuty integration
    #[arg(long, value_name = "FILE")]
    routing_key_file: Option<PathBuf>,
    /// Say so often that we can see, as in 60s: when that stops, we cannot, or are gone
    #[arg(long, value_name = "TIME")]
    heartbeat: Option<Heartbeat>,
    /// Which revisions of an incident are sent, where several wait
    #[arg(long, value_enum, default_value = "each")]
    revisions: Revisions,
    /// The page, as the receiver's people reach it, for links
    #[arg(long, value_name = "URL")]
    link: Option<Link>,
    /// Certificates that vouch for the receiver, in place of the public roots
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Let it be at a private or loopback address, over http too
    #[arg(long)]
    allow_private: bool,
    /// Begin after this sequence of the feed instead of now; 0 sends everything that was ever published
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// Name of the webhook
    name: String,
    #[command(flatten)]
    data: DataDir,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    data: DataDir,
}

#[derive(Debug, clap::Args)]
pub(super) struct Log {
    #[command(flatten)]
    named: Named,
    /// Attempts to print
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(ATTEMPTS)))]
    limit: u32,
    /// text, json (one array) or ndjson
    #[arg(short, long, default_value = "text")]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    named: Named,
    /// Make no new secret; end the old one
    #[arg(long)]
    drop_old: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Enable {
    #[command(flatten)]
    named: Named,
    /// Go on after this sequence of the feed instead of where it was
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Disable {
    #[command(flatten)]
    named: Named,
    /// Why
    #[arg(long, default_value = "by hand")]
    reason: String,
}

impl Webhook {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(add) => add.run(),
            Self::List(list) => list.run(),
            Self::Test(named) => named.test(),
            Self::Log(log) => log.run(),
            Self::Rotate(rotate) => rotate.run(),
            Self::Enable(enable) => enable.run(),
            Self::Disable(disable) => disable.run(),
            Self::Remove(named) => named.remove(),
        }
    }
}

impl Add {
    fn run(self) -> anyhow::Result<ExitCode> {
        let (folder, data) = (Folder::of(&self.data.data_dir), &self.data.data_dir);
        let path = folder.file(&self.name)?;
        if !data.is_dir() {
            return Err(Usage(format!("no data directory {}: `faultline init` makes one", data.display())).into());
        }
        if path.exists() {
            return Err(crate::webhook::config::ConfigError::Exists(self.name).into());
        }
        let secrets = if self.format == Format::Cloudevents { vec![Secret::random()] } else { Vec::new() };
        let webhook = Config {
            url: self.url,
            format: self.format,
            secrets,
            routing_key_file: self.routing_key_file.map(std::path::absolute).transpose()?,
            heartbeat: self.heartbeat,
            revisions: self.revisions,
            link: self.link,
            ca_file: self.ca_file.map(std::path::absolute).transpose()?,
            allow_private: self.allow_private,
            disabled: None,
            filter: self.filter,
        };
        webhook.check().map_err(|(_, why)| crate::webhook::config::ConfigError::Unfit(why))?;
        let store = Store::open(data)?;
        store.forget(&self.name)?;
        if let Some(after) = self.after {
            store.begin(&self.name, "", after)?;
        }
        folder.write(&self.name, &webhook)?;
        say(&format!("wrote {}", path.display()))?;
        if let Some(secret) = webhook.secrets.first() {
            say(&format!("secret  {}", secret.reveal()))?;
        }
        say(&format!("next: faultline webhook test {}", self.name))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    fn run(self) -> anyhow::Result<ExitCode> {
        let data = &self.data.data_dir;
        let folder = Folder::of(data);
        let store = Store::read(data)?;
        let stands = store.as_ref().map(Store::stands).transpose()?.unwrap_or_default();
        let mut is_wrong = false;
        for name in folder.names()?.0 {
            let webhook = match folder.webhook(&name) {
                Ok(webhook) => webhook,
                Err(error) => {
                    is_wrong = true;
                    say(&format!("{name:20} wrong: {error}"))?;
                    continue;
                }
            };
            let stand = stands.get(&name);
            let through = stand.map_or_else(|| "not begun".to_owned(), |stand| format!("through {}", stand.delivered));
            let last = store.as_ref().map(|store| store.attempts(&name, 1)).transpose()?.unwrap_or_default();
            let last = last.first().map_or_else(|| "no attempt yet".to_owned(), outcome);
            let disabled = webhook.disabled.as_ref().or_else(|| stand.and_then(|stand| stand.disabled.as_ref()));
            let state = disabled.map_or(last, |why| format!("disabled: {why}"));
            say(&format!(
                "{name:20} {:12} {:40} {through:16} {state}",
                webhook.format.as_str(),
                webhook.url.to_string()
            ))?;
        }
        Ok(if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl Named {
    fn test(self) -> anyhow::Result<ExitCode> {
        let webhook = Folder::of(&self.data.data_dir).webhook(&self.name)?;
        let now = Timestamp::from_micros(Clock::system().now_micros());
        let routing_key = send::routing_key(&webhook).map_err(Usage)?;
        let scene = Scene { now, routing_key, ..Scene::default() };
        let event = Event::Test { name: &self.name, at: now };
        let Some(message) = event.telling(&webhook, &scene, None).message else { return Ok(ExitCode::SUCCESS) };
        let answer = send::send(&webhook, &message, now);
        let attempt = Attempt {
            at: now,
            event: message.id,
            attempt: 1,
            address: answer.address(),
            status: answer.status,
            error: answer.error.clone(),
            took_us: u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX),
        };
        Store::open(&self.data.data_dir)?.record(&self.name, &attempt, None, None)?;
        say(format!("{}  {}", outcome(&attempt), answer.first_line).trim_end())?;
        Ok(if answer.reply() == Reply::Taken { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn remove(self) -> anyhow::Result<ExitCode> {
        Folder::of(&self.data.data_dir).remove(&self.name)?;
        Store::open(&self.data.data_dir)?.forget(&self.name)?;
        say(&format!("removed {}", self.name))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Log {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Named { name, data } = self.named;
        Folder::of(&data.data_dir).text(&name)?;
        let store = Store::read(&data.data_dir)?;
        let mut attempts = store.map(|store| store.attempts(&name, self.limit)).transpose()?.unwrap_or_default();
        attempts.reverse();
        match self.output {
            Output::Json => say(&serde_json::to_string(&attempts)?)?,
            Output::Ndjson => {
                for attempt in &attempts {
                    say(&serde_json::to_string(attempt)?)?;
                }
            }
            Output::Text => {
                for attempt in &attempts {
                    let Attempt { event, attempt: number, address, .. } = attempt;
                    say(format!("{}  {event}  attempt {number}  {address}", outcome(attempt)).trim_end())?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Rotate {
    fn run(self) -> anyhow::Result<ExitCode> {
        let folder = Folder::of(&self.named.data.data_dir);
        let name = &self.named.name;
        let mut webhook = folder.webhook(name)?;
        if self.drop_old {
            webhook.secrets.truncate(1);
            folder.write(name, &webhook)?;
            say("the newest secret alone signs")?;
            return Ok(ExitCode::SUCCESS);
        }
        let secret = Secret::random();
        let shown = secret.reveal();
        webhook.secrets.insert(0, secret);
        webhook.secrets.truncate(2);
        folder.write(name, &webhook)?;
        say(&format!("secret  {shown}"))?;
        if webhook.secrets.len() > 1 {
            say(&format!("the one before signs too, until: faultline webhook rotate {name} --drop-old"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Enable {
    fn run(self) -> anyhow::Result<ExitCode> {
        let data = &self.named.data.data_dir;
        let (folder, name) = (Folder::of(data), &self.named.name);
        let mut webhook = folder.webhook(name)?;
        Store::open(data)?.enable(name, self.after)?;
        if webhook.disabled.take().is_some() {
            folder.write(name, &webhook)?;
        }
        say(&format!("enabled {name}"))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Disable {
    fn run(self) -> anyhow::Result<ExitCode> {
        let folder = Folder::of(&self.named.data.data_dir);
        let name = &self.named.name;
        let mut webhook = folder.webhook(name)?;
        webhook.disabled = Some(self.reason);
        folder.write(name, &webhook)?;
        say(&format!("disabled {name}"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// When, what came of it, and how long it took.
fn outcome(attempt: &Attempt) -> String {
    let came = match (attempt.status, attempt.error.as_str()) {
        (Some(status), "") => format!("{status}"),
        (_, error) => error.to_owned(),
    };
    let took_ms = attempt.took_us.div_ceil(1000);
    if attempt.took_us == 0 {
        format!("{}  {came}", attempt.at)
    } else {
        format!("{}  {came}  {took_ms} ms", attempt.at)
    }
}
