//! What commands that read the feed share: the connection, and one line for an incident.

use std::time::Duration;

use faultline_proto::{
    convert,
    feed::v1::feed_service_client::FeedServiceClient,
    types::v1::{Incident, IncidentState, Verdict},
};
use tonic::transport::{Channel, Endpoint};

/// Connecting takes no longer than this.
const CONNECT: Duration = Duration::from_secs(5);

/// Connects to a feed.
pub(super) async fn connect(feed: &str) -> anyhow::Result<FeedServiceClient<Channel>> {
    let endpoint = Endpoint::from_shared(feed.to_owned())
        .map_err(|_| anyhow::anyhow!("--feed {feed:?} is no URL, as in http://127.0.0.1:7444"))?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| anyhow::anyhow!("no coordinator at {feed}: {}", root_cause(&error)))?;
    Ok(FeedServiceClient::new(channel).max_decoding_message_size(16 << 20))
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
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

/// One incident on a few lines.
pub(super) fn lines(incident: &Incident) -> Vec<String> {
    let uncertainty = convert::std_duration(incident.onset_uncertainty.as_ref()).unwrap_or_default();
    let mut lines = vec![
        format!("{}  {}", state(incident), incident.headline),
        format!(
            "  {} r{}  verdict {}  confidence {:.2}  since {} ± {:.0} s",
            incident.incident,
            incident.revision,
            verdict(incident),
            incident.confidence,
            instant(incident.onset_at.as_ref()),
            uncertainty.as_secs_f64()
        ),
    ];
    lines.extend(incident.alibis.iter().map(|alibi| {
        format!(
            "  cleared: {} ({} of {} checks passed from {} vantage groups)",
            alibi.party, alibi.passed, alibi.runs, alibi.groups
        )
    }));
    if !incident.undetermined_reason.is_empty() {
        lines.push(format!("  undetermined: {}", incident.undetermined_reason));
    }
    lines
}
