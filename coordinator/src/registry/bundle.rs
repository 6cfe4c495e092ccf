//! The bundle: what an agent needs on its machine. `agent.toml` and, beside it, `ca.pem`, `agent.pem`, `agent.key`.

use std::path::Path;

use super::Place;
use crate::pki::{self, Authority, Identity, PkiError, SERVER_NAME};

/// Writes an agent's bundle into a folder; the key is for its owner only.
pub fn write(
    folder: &Path,
    authority: &Authority,
    identity: &Identity,
    endpoint: &str,
    place: &Place,
) -> Result<(), PkiError> {
    std::fs::create_dir_all(folder).map_err(|source| PkiError::File { path: folder.to_owned(), source })?;
    pki::write(&folder.join("ca.pem"), authority.trusted_pem(), 0o644)?;
    pki::write(&folder.join("agent.pem"), &identity.certificate, 0o644)?;
    pki::write(&folder.join("agent.key"), &identity.key, 0o600)?;
    write_config(folder, endpoint, place)
}

/// Writes the configuration alone.
pub(crate) fn write_config(folder: &Path, endpoint: &str, place: &Place) -> Result<(), PkiError> {
    pki::write(&folder.join("agent.toml"), &agent_toml(endpoint, place), 0o644)
}

/// An agent's configuration for this coordinator.
fn agent_toml(endpoint: &str, place: &Place) -> String {
    let mut text = format!(
        "# Written by `faultline agent issue`. Paths are relative to this file.\n\n[[coordinator]]\nendpoint = {endpoint:?}\n\
         server_name = {SERVER_NAME:?}\nca = \"ca.pem\"\ncertificate = \"agent.pem\"\nkey = \"agent.key\"\n"
    );
    let mut rows = Vec::new();
    let words = [
        ("hosted_on", &place.hosted_on),
        ("region", &place.region),
        ("isp", &place.isp),
        ("country", &place.country),
        ("geography", &place.geography),
    ];
    rows.extend(words.into_iter().filter_map(|(key, word)| Some(format!("{key} = {:?}\n", word.as_ref()?))));
    rows.extend(place.asn.map(|asn| format!("asn = {asn}\n")));
    if !rows.is_empty() {
        text += "\n[vantage]\n";
        text += &rows.concat();
    }
    text
}
