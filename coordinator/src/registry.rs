//! The registry of issued agents: what the operator knows of each place, one TOML file an agent.
//!
//! Rule: what stands here wins over what an agent claims of itself. Agents that share a subnet are one group, unless the
//! operator says otherwise; no claim of an agent has a say in that. Groups are public and so carry no address. [`standing`] says
//! whether an agent may connect, and counts.

pub mod bundle;
pub mod standing;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use faultline_attribution::Vantage;
use faultline_proto::types::v1 as wire;
use serde::{Deserialize, Serialize};

use crate::pki::{self, Authority, Identity, PkiError};

/// What the operator says of an agent's place. Absent is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Agents of one group are one witness [default: agents that share a public address]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Cloud that hosts the agent: aws, azure, gcp, ..., other
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosted_on: Option<String>,
    /// Region of that cloud
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Access network, as in rogers-ca
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isp: Option<String>,
    /// Autonomous system number of the public address
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// ISO 3166-1 alpha-2, as in de
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// na, sa, eu, af, me, as or oc
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geography: Option<String>,
    /// Public resolver that the agent uses
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolver: Option<String>,
    /// Carriers of the access network, as in as3356; repeats
    #[arg(long = "carrier")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carriers: Vec<String>,
}

/// The registry of one data directory.
#[derive(Clone, Debug)]
pub struct Registry {
    folder: PathBuf,
}

impl Registry {
    /// The registry of a data directory.
    pub fn of(data: &Path) -> Self {
        Self { folder: data.join("agents") }
    }

    /// Issues an agent: a certificate, and a record of its place.
    pub fn issue(
        &self,
        authority: &Authority,
        name: &str,
        place: &Place,
        now_micros: i64,
    ) -> Result<Identity, PkiError> {
        let identity = authority.agent(name, now_micros)?;
        self.forget_machine(name)?;
        self.put(name, place)?;
        Ok(identity)
    }

    /// Admits an agent that made its own key, under a name that nobody has yet; `false` where somebody has it.
    ///
    /// # Errors
    ///
    /// Where the name cannot be an agent's, or its record cannot be written.
    pub fn admit(&self, name: &str, place: &Place) -> Result<bool, PkiError> {
        pki::check_name(name)?;
        let taken = self.has(name).map_err(|source| PkiError::File { path: self.file(name), source })?;
        if !taken {
            // Of a deletion that was cut short.
            self.stand_anew(name)?;
            self.put(name, place)?;
        }
        Ok(!taken)
    }

    fn put(&self, name: &str, place: &Place) -> Result<(), PkiError> {
        fs::create_dir_all(&self.folder).map_err(|source| PkiError::File { path: self.folder.clone(), source })?;
        pki::replace(&self.file(name), &toml::to_string(place).unwrap_or_default(), 0o644)
    }

    /// What the operator says of an agent; `None` for one that was never issued here.
    pub fn place(&self, name: &str) -> Option<Place> {
        pki::check_name(name).ok()?;
        toml::from_str(&fs::read_to_string(self.file(name)).ok()?).ok()
    }

    /// Whether an agent that was issued here is still in the registry; an error when that cannot be told.
    pub fn has(&self, name: &str) -> io::Result<bool> {
        self.file(name).try_exists()
    }

    /// Every issued agent, by name.
    pub fn all(&self) -> Vec<(String, Place)> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let names = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_record = path.extension().is_some_and(|extension| extension == "toml");
            is_record.then(|| Some(path.file_stem()?.to_str()?.to_owned())).flatten()
        });
        let mut all: Vec<(String, Place)> = names.filter_map(|name| Some((name.clone(), self.place(&name)?))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }
}

impl Place {
    /// The vantage: the operator's word, else the agent's claim, else what the connection shows.
    pub fn vantage(&self, claim: Option<&wire::Vantage>, peer: IpAddr) -> Vantage {
        let claim = claim.cloned().unwrap_or_default();
        let or_claim = |said: &Option<String>, claimed: String| {
            said.clone().or_else(|| (!claimed.is_empty()).then_some(claimed)).map(|word| word.to_ascii_lowercase())
        };
        Vantage {
            group: self.group.clone().unwrap_or_else(|| self.group_of(peer)),
            asn: self.asn.or((claim.asn != 0).then_some(claim.asn)),
            isp: or_claim(&self.isp, claim.isp),
            country: or_claim(&self.country, claim.country),
            geography: or_claim(&self.geography, claim.geography),
            hosted_on: or_claim(&self.hosted_on, claim.hosted_on),
            region: or_claim(&self.region, claim.region),
            resolver: self.resolver.clone(),
            carriers: self.carriers.clone(),
        }
    }
}

impl Place {
    /// A name for the witness behind an address: what the operator calls its network, and a checksum of the subnet.
    fn group_of(&self, peer: IpAddr) -> String {
        let network = match (&self.isp, &self.hosted_on, &self.region) {
            (Some(isp), ..) => isp.clone(),
            (None, Some(cloud), Some(region)) => format!("{cloud}-{region}"),
            _ => "network".to_owned(),
        };
        format!("{network}-{:06x}", crc32c::crc32c(subnet(peer).as_bytes()) >> 8)
    }
}

/// The subnet that an address stands for as a witness: /24 or /48. On loopback, where a test fleet lives, the address.
fn subnet(peer: IpAddr) -> String {
    match peer.to_canonical() {
        IpAddr::V4(v4) if v4.is_loopback() => v4.to_string(),
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_word_wins_over_the_agents_claim() {
        let place = Place { isp: Some("hetzner-de".into()), ..Place::default() };
        let claim = wire::Vantage { isp: "rogers-ca".into(), country: "DE".into(), ..wire::Vantage::default() };
        let vantage = place.vantage(Some(&claim), "192.0.2.7".parse().expect("address"));
        assert_eq!(vantage.isp.as_deref(), Some("hetzner-de"));
        assert_eq!(vantage.country.as_deref(), Some("de"));
        assert!(vantage.group.starts_with("hetzner-de-") && !vantage.group.contains("192"), "{}", vantage.group);
    }

    #[test]
    fn no_claim_of_an_agent_makes_it_another_witness() {
        let peer = "192.0.2.7".parse().expect("address");
        let claim = |isp: &str| wire::Vantage { isp: isp.into(), ..wire::Vantage::default() };
        let group = |isp: &str| Place::default().vantage(Some(&claim(isp)), peer).group;
        assert_eq!(group("one"), group("two"));
    }

    #[test]
    fn neighbours_are_one_witness() {
        assert_eq!(subnet("2001:db8:1:2::9".parse().expect("v6")), "2001:db8:1::/48");
        assert_eq!(subnet("::ffff:192.0.2.9".parse().expect("mapped")), "192.0.2.0/24");
    }
}
