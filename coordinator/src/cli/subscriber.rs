//! What commands that read the feed share: the connection, and one line for an incident.

use std::{fs, path::Path, time::Duration};

use faultline_proto::{
    convert,
    feed::v1::{GetSnapshotRequest, Snapshot, feed_service_client::FeedServiceClient},
    types::v1::{Incident, IncidentState, Verdict},
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use url::{Host, Url};

use super::{
    DEFAULT_FEED, FeedAddress, Usage,
    colour::{Tone, clean},
    runtime,
};

/// Connecting takes no longer than this.
const CONNECT: Duration = Duration::from_secs(5);

/// A client of a feed.
pub(super) type Client = FeedServiceClient<InterceptedService<Channel, Bearer>>;

/// Where a feed is, and by what right it is read.
#[derive(Clone, Debug)]
pub(super) struct Source {
    endpoint: Endpoint,
    bearer: Bearer,
    feed: String,
}

/// Sends a token along.
#[derive(Clone, Debug)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Source {
    /// The feed that the options name.
    ///
    /// # Errors
    ///
    /// Wrong usage: an address that is none, files that cannot be read, a token that others could read on its way.
    pub(super) fn of(address: &FeedAddress) -> Result<Self, Usage> {
        let FeedAddress { feed, ca_file, .. } = address;
        let (url, token) = checked(address)?;
        let wrong = |error: tonic::transport::Error| Usage(format!("--feed {feed:?}: {}", root_cause(&error)));
        let mut endpoint = Endpoint::from_shared(feed.clone()).map_err(wrong)?;
        if url.scheme() == "https" {
            let mut tls = ClientTlsConfig::new().with_native_roots();
            if let Some(file) = ca_file {
                tls = tls.ca_certificate(Certificate::from_pem(pem(file)?));
            }
            endpoint = endpoint.tls_config(tls).map_err(wrong)?;
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        Ok(Self { endpoint, bearer: Bearer(token), feed: feed.clone() })
    }

    /// The feed at this address, read as anybody may.
    pub(super) fn at(feed: &str) -> Result<Self, Usage> {
        Self::of(&FeedAddress { feed: feed.to_owned(), token_file: None, ca_file: None })
    }

    /// Its address, for people.
    pub(super) fn feed(&self) -> &str {
        &self.feed
    }

    /// Connects there.
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        let client = FeedServiceClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(16 << 20))
    }

    /// A connection there, for any service.
    pub(super) async fn channel(&self) -> anyhow::Result<InterceptedService<Channel, Bearer>> {
        let channel = self
            .endpoint
            .connect()
            .await
            .map_err(|error| anyhow::anyhow!("no coordinator at {}: {}", self.feed, root_cause(&error)))?;
        Ok(InterceptedService::new(channel, self.bearer.clone()))
    }
}

/// The picture of a feed.
pub(super) fn snapshot(address: &FeedAddress) -> anyhow::Result<Snapshot> {
    runtime()?.block_on(async {
        let answer = connect(address).await?.get_snapshot(GetSnapshotRequest::default()).await;
        let answer = answer.map_err(|status| anyhow::anyhow!("{}", said(&status)))?.into_inner();
        answer.snapshot.ok_or_else(|| anyhow::anyhow!("the coordinator sent no snapshot"))
    })
}

/// Connects to a feed.
pub(super) async fn connect(address: &FeedAddress) -> anyhow::Result<Client> {
    Source::of(address)?.connect().await
}

/// What the feed's port answers without gRPC, asked for by the same right.
pub(super) struct Site {
    agent: ureq::Agent,
    url: Url,
    token: Option<MetadataValue<Ascii>>,
}

impl Site {
    /// The site that the options name; each answer must come within the time.
    ///
    /// # Errors
    ///
    /// Wrong usage, as [`Source::of`] has it.
    pub(super) fn of(address: &FeedAddress, timeout: Duration) -> Result<Self, Usage> {
        let (url, token) = checked(address)?;
        let mut tls = ureq::tls::TlsConfig::builder();
        if let Some(file) = &address.ca_file {
            let wrong = |error| Usage(format!("--ca-file {}: {error}", file.display()));
            let authority = ureq::tls::Certificate::from_pem(&pem(file)?).map_err(wrong)?;
            tls = tls.root_certs(ureq::tls::RootCerts::new_with_certs(&[authority]));
        }
        let mut agent = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // A token goes where it was sent, and nowhere else.
            .max_redirects(0)
            .tls_config(tls.build());
        if is_loopback(&url) {
            agent = agent.proxy(None);
        }
        Ok(Self { agent: agent.build().new_agent(), url, token })
    }

    /// Asks for the page at this path.
    pub(super) fn get(&self, path: &[&str]) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
        self.by_right(self.agent.get(self.at(path).as_str()))
    }

    /// Hands something in at this path.
    pub(super) fn post(&self, path: &[&str]) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        self.by_right(self.agent.post(self.at(path).as_str()))
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    fn by_right<Any>(&self, request: ureq::RequestBuilder<Any>) -> ureq::RequestBuilder<Any> {
        match self.token.as_ref().and_then(|token| token.to_str().ok()) {
            Some(token) => request.header("authorization", token),
            None => request,
        }
    }
}

/// The address as a URL, and the token for it, if there is one.
fn checked(FeedAddress { feed, token_file, .. }: &FeedAddress) -> Result<(Url, Option<MetadataValue<Ascii>>), Usage> {
    let url = Url::parse(feed).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| Usage(format!("--feed {feed:?} is no URL, as in {DEFAULT_FEED}")))?;
    let token = token_file.as_ref().map(|file| token(file)).transpose()?;
    if token.is_some() && url.scheme() == "http" && !is_loopback(&url) {
        return Err(Usage(format!("--feed {feed:?}: a token must not go over plaintext: use https")));
    }
    Ok((url, token))
}

fn pem(file: &Path) -> Result<Vec<u8>, Usage> {
    fs::read(file).map_err(|error| Usage(format!("--ca-file {}: {error}", file.display())))
}

fn token(file: &Path) -> Result<MetadataValue<Ascii>, Usage> {
    let wrong = |why: &str| Usage(format!("--token-file {}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| wrong(&error.to_string()))?;
    let mut token: MetadataValue<Ascii> =
        format!("Bearer {}", text.trim()).parse().map_err(|_| wrong("holds no token"))?;
    token.set_sensitive(true);
    Ok(token)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// What a coordinator said when it refused, for people.
pub(super) fn said(status: &Status) -> String {
    let (code, message) = (status.code(), clean(status.message()));
    if message.is_empty() {
        format!("the coordinator says {code:?}")
    } else {
        format!("the coordinator says: {message}")
    }
}

/// What an incident is drawn as.
pub(super) fn tone(incident: &Incident) -> Tone {
    match (incident.state(), incident.verdict()) {
        (IncidentState::Resolved, _) => Tone::Well,
        (IncidentState::Retracted, _) => Tone::Retracted,
        (IncidentState::Recovering, _) => Tone::Recovering,
        (IncidentState::Attributed, Verdict::Aws | Verdict::Azure | Verdict::Neither) => Tone::Accused,
        _ => Tone::Suspected,
    }
}

/// Whether an incident goes on.
pub(super) fn is_open(incident: &Incident) -> bool {
    use IncidentState::{Attributed, Recovering, Suspected};
    matches!(incident.state(), Suspected | Attributed | Recovering)
}

/// The glyph and word of an incident's state.
pub(super) fn state(incident: &Incident) -> &'static str {
    match incident.state() {
        IncidentState::Suspected => "▲ suspected",
        IncidentState::Attributed => "✕ attributed",
        IncidentState::Recovering => "◐ recovering",
        IncidentState::Resolved => "● resolved",
        IncidentState::Retracted => "⊘ retracted",
        IncidentState::Unspecified => "? unknown",
    }
}

/// The word of an incident's verdict.
pub(super) fn verdict(incident: &Incident) -> &'static str {
    match incident.verdict() {
        Verdict::Aws => "aws",
        Verdict::Azure => "azure",
        Verdict::Neither => "neither",
        Verdict::Undetermined | Verdict::Unspecified => "undetermined",
    }
}

/// RFC 3339 of a wire instant; `-` when absent.
pub(super) fn instant(at: Option<&prost_types::Timestamp>) -> String {
    let micros = convert::micros(at);
    micros.map_or("-".into(), |micros| faultline_attribution::Timestamp::from_micros(micros).to_string())
}

/// RFC 3339 to the second, with a space for the T: for people.
pub(super) fn moment(at: Option<&prost_types::Timestamp>) -> String {
    let text = instant(at);
    match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time}Z"),
        _ => text,
    }
}

/// One incident on a few lines, with styles.
pub(super) fn lines(incident: &Incident) -> Vec<String> {
    let uncertainty = convert::std_duration(incident.onset_uncertainty.as_ref()).unwrap_or_default();
    let mut lines = vec![
        format!("{}  {}", tone(incident).paint(state(incident)), clean(&incident.headline)),
        format!(
            "  {} r{}  verdict {}  confidence {:.2}",
            clean(&incident.incident),
            incident.revision,
            verdict(incident),
            incident.confidence
        ),
        format!("  since {} ± {:.0} s", moment(incident.onset_at.as_ref()), uncertainty.as_secs_f64()),
    ];
    lines.extend(incident.alibis.iter().map(|alibi| {
        format!(
            "  cleared: {} ({} of {} checks passed from {} vantage groups)",
            clean(&alibi.party),
            alibi.passed,
            alibi.runs,
            alibi.groups
        )
    }));
    if !incident.undetermined_reason.is_empty() {
        lines.push(format!("  undetermined: {}", clean(&incident.undetermined_reason)));
    }
    lines.extend(incident.notes.last().map(|note| {
        let link = if note.link.is_empty() { String::new() } else { format!(" {}", clean(&note.link)) };
        format!("  note: {}{link}", clean(&note.text))
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn an_incident_fits_eighty_columns_and_holds_nothing_hostile() {
        let mut incident = samples::incident();
        incident.alibis[0].party = "aws\u{1b}[2J".into();
        let plain: Vec<String> =
            lines(&incident).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert!(plain[0].starts_with("✕ attributed  Azure Front Door is failing"), "{plain:?}");
        assert!(plain.iter().all(|line| line.chars().count() <= 80), "{plain:?}");
        assert!(plain.iter().any(|line| line.contains("cleared: aws\u{fffd}[2J (90 of 90")), "{plain:?}");
    }
}
