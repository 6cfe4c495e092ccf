//! Send: one POST to one receiver, and nothing that the receiver could use against our own network.
//!
//! Rules: https, or http to a private address where the file allows those. A name is resolved, every address of it is checked
//! (one that is not allowed refuses them all), and one of the checked ones is what is connected to
//! (`no_address_of_ours_is_reached_under_any_name`); a metadata service never. No redirect is followed, no proxy of the
//! environment is used. At most 5 s in all, 16 KiB of headers and 4 KiB of the answer's body. Ports are not restricted, and
//! stand in the delivery log. What is secret stands in no error.

use std::{
    fs,
    io::{self, Read as _},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use faultline_attribution::Timestamp;
use faultline_proto::address::Reach;
use http::{Uri, header};
use ureq::{
    config::Config,
    tls::{PemItem, RootCerts, TlsConfig},
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

use super::{
    config::{Format, Webhook},
    event::Message,
    schedule::Reply,
    sign,
};

/// All together, from the name's resolution to the last byte. Source: the delivery rules of the design notes.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Of the answer's body, read at most.
const ANSWER_BYTES: u64 = 4 << 10;

/// Of the answer's headers, read at most.
const HEADER_BYTES: usize = 16 << 10;

/// Of the answer's first line, kept for people.
const LINE_BYTES: usize = 200;

/// Size of a routing key's file that is read, and of a file of certificates.
const KEY_FILE_BYTES: u64 = 1 << 10;
const CA_FILE_BYTES: u64 = 1 << 20;

/// What came of a POST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status; `None` where there was no answer.
    pub status: Option<u16>,
    /// What went wrong; empty where nothing did.
    pub error: String,
    /// First line of the body.
    pub first_line: String,
    /// The pause that the receiver asks for.
    pub retry_after: Option<Duration>,
    /// The checked addresses, one of which was connected to.
    pub addresses: Vec<SocketAddr>,
    /// From begin to end.
    pub took: Duration,
}

impl Answer {
    /// What the receiver said.
    pub fn reply(&self) -> Reply {
        self.status.map_or(Reply::NotTaken(None), |status| Reply::of(status, self.retry_after))
    }

    /// The checked addresses in one text.
    pub fn address(&self) -> String {
        self.addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
    }
}

/// Sends a message. Blocks for 5 s at most.
pub fn send(webhook: &Webhook, message: &Message, now: Timestamp) -> Answer {
    let began = Instant::now();
    let addresses = Arc::new(Mutex::new(Vec::new()));
    let mut answer = Answer::default();
    match post(webhook, message, now, &addresses) {
        Ok(got) => answer = got,
        Err(error) => answer.error = error,
    }
    if let (Some(status), Reply::NotTaken(_)) = (answer.status, answer.reply()) {
        let said = format!("answered {status} {}", answer.first_line);
        said.trim_end().clone_into(&mut answer.error);
    }
    let addresses = addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Answer { addresses, took: began.elapsed(), ..answer }
}

/// The key of a PagerDuty integration, as its file has it now; empty for other formats.
pub fn routing_key(webhook: &Webhook) -> Result<String, String> {
    let Some(path) = &webhook.routing_key_file else { return Ok(String::new()) };
    let text = limited(path, KEY_FILE_BYTES)?;
    let key = text.trim();
    let fits = (1..=64).contains(&key.len()) && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if fits {
        Ok(key.to_owned())
    } else {
        Err(format!("routing_key_file {}: no key: letters and digits, 64 at most", path.display()))
    }
}

fn post(
    webhook: &Webhook,
    message: &Message,
    now: Timestamp,
    addresses: &Arc<Mutex<Vec<SocketAddr>>>,
) -> Result<Answer, String> {
    let config = config(webhook)?;
    let checked = Checked {
        inner: DefaultResolver::default(),
        allow_private: webhook.allow_private,
        addresses: Arc::clone(addresses),
    };
    let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), checked);
    let mut request = agent.post(address(webhook)).header(header::CONTENT_TYPE, message.content_type);
    if !webhook.secrets.is_empty() {
        let unix_s = now.micros().div_euclid(1_000_000);
        request = request
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", unix_s.to_string())
            .header("webhook-signature", sign::signature(&webhook.secrets, &message.id, unix_s, &message.body));
    }
    let mut response = request.send(message.body.as_slice()).map_err(|error| in_words(&error))?;
    let mut body = Vec::new();
    // An answer that breaks off is an answer all the same.
    drop(response.body_mut().as_reader().take(ANSWER_BYTES).read_to_end(&mut body));
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(Answer {
        status: Some(response.status().as_u16()),
        first_line: first_line(&body),
        retry_after: retry_after.map(Duration::from_secs),
        ..Answer::default()
    })
}

fn config(webhook: &Webhook) -> Result<Config, String> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = &webhook.ca_file {
        let text = limited(path, CA_FILE_BYTES)?;
        let roots: Result<Vec<_>, _> = ureq::tls::parse_pem(text.as_bytes()).collect();
        let roots = roots.map_err(|error| format!("ca_file {}: {error}", path.display()))?;
        let roots: Vec<_> = roots
            .into_iter()
            .filter_map(|item| match item {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            })
            .collect();
        if roots.is_empty() {
            return Err(format!("ca_file {}: no certificate", path.display()));
        }
        tls = tls.root_certs(RootCerts::from(roots));
    }
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .max_idle_connections(0)
        .max_response_header_size(HEADER_BYTES)
        .tls_config(tls.build())
        .user_agent(concat!("faultline/", env!("CARGO_PKG_VERSION")));
    Ok(config.build())
}

/// Where the message goes: an Alertmanager is given by its own address, or by that of its API.
fn address(webhook: &Webhook) -> String {
    let mut url = webhook.url.url().clone();
    let path = url.path().trim_end_matches('/').to_owned();
    if webhook.format == Format::Alertmanager && !path.ends_with("/api/v2/alerts") {
        url.set_path(&format!("{path}/api/v2/alerts"));
    }
    url.into()
}

/// Resolves, and lets through what may be reached alone.
#[derive(Debug)]
struct Checked {
    inner: DefaultResolver,
    allow_private: bool,
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Resolver for Checked {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        for address in &found[..] {
            check(*address, uri.scheme_str() == Some("http"), self.allow_private)
                .map_err(|why| ureq::Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, why)))?;
        }
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = found.to_vec();
        Ok(found)
    }
}

/// Whether an address may be connected to; else why not.
fn check(address: SocketAddr, is_plain: bool, allow_private: bool) -> Result<(), String> {
    let reach = Reach::of(address.ip());
    let is = format!("{} is {}", address.ip(), reach.in_words());
    match reach {
        Reach::Public if is_plain => Err(format!("{is}: https only")),
        Reach::Public => Ok(()),
        Reach::Loopback | Reach::Private if allow_private => Ok(()),
        Reach::Loopback | Reach::Private => Err(format!("{is}: only with allow_private = true")),
        Reach::Reserved | Reach::Metadata | Reach::NoHost => Err(format!("{is}: never connected to")),
    }
}

/// An error without the address, which may hold a secret.
fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "the URL cannot be requested".to_owned(),
        ureq::Error::HostNotFound => "the host's name has no address".to_owned(),
        ureq::Error::Timeout(at) => format!("no answer within {} s ({at})", TIMEOUT.as_secs()),
        ureq::Error::Io(error) => error.to_string(),
        other => super::event::short(&other.to_string(), LINE_BYTES),
    }
}

fn limited(path: &Path, most: u64) -> Result<String, String> {
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(most).read_to_string(&mut text));
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text)
}

/// The first line, without what a terminal would obey.
fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default();
    super::event::short(&line.chars().filter(|c| !c.is_control()).collect::<String>(), LINE_BYTES)
}

#[cfg(test)]
mod tests;
