//! What commands that read the feed share: the connection, and one line for an incident.

use std::time::Duration;

use faultline_proto::{
    convert,
    feed::v1::feed_service_client::FeedServiceClient,
    types::v1::{Incident, IncidentState, Verdict},
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::{
    Usage,
    colour::{Tone, clean},
};

/// Connecting takes no longer than this.
const CONNECT: Duration = Duration::from_secs(5);

/// Connects to a feed.
pub(super) async fn connect(feed: &str) -> anyhow::Result<FeedServiceClient<Channel>> {
    client(&endpoint(feed)?, feed).await
}

/// The address of a feed; one that is none is wrong usage.
pub(super) fn endpoint(feed: &str) -> Result<Endpoint, Usage> {
    let endpoint = Endpoint::from_shared(feed.to_owned())
        .map_err(|_| Usage(format!("--feed {feed:?} is no URL, as in http://127.0.0.1:7444")))?;
    Ok(endpoint
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true))
}

/// Connects there.
pub(super) async fn client(endpoint: &Endpoint, feed: &str) -> anyhow::Result<FeedServiceClient<Channel>> {
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
