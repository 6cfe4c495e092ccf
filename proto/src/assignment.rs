//! What any assignment may ask for, whatever it probes: checked when a catalog is read, and again by each agent's policy.

use std::net::IpAddr;

use url::Url;

use crate::types::v1::{Addresses, Assignment, assignment::Spec};

/// Attempts after a failed one. Source: a retry tells a lost packet from an outage; a third adds little and hides how
/// often the first ones fail (start value).
pub const MAX_RETRIES: u32 = 2;

/// Errors with what is wrong with the number of attempts and addresses.
pub fn check(assignment: &Assignment) -> Result<(), String> {
    if assignment.retries > MAX_RETRIES {
        return Err(format!("{} retries, {MAX_RETRIES} at most", assignment.retries));
    }
    if Addresses::try_from(assignment.addresses).is_err() {
        return Err(format!("addresses {} is none that this build knows", assignment.addresses));
    }
    if assignment.addresses() == Addresses::All && !has_places(assignment) {
        return Err("addresses \"all\" needs a host with a name to resolve, or dns://authoritative".into());
    }
    Ok(())
}

/// Whether there may be several places to go to.
fn has_places(assignment: &Assignment) -> bool {
    let is_name = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
    match &assignment.spec {
        Some(Spec::Dns(spec)) => {
            let host = spec.server.rsplit_once(':').map_or(spec.server.as_str(), |(host, _)| host);
            spec.server != "system" && is_name(&spec.server) && is_name(host)
        }
        Some(Spec::Tcp(spec)) => is_name(&spec.host),
        Some(Spec::Tls(spec)) => is_name(&spec.host),
        Some(Spec::Https(spec) | Spec::Http3(spec)) => {
            let url = Url::parse(&spec.url).ok();
            spec.connect_to.is_empty() && url.is_some_and(|url| url.host_str().is_some_and(is_name))
        }
        None => false,
    }
}
