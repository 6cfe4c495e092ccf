//! The 28 vantages: five on clouds, twenty-three in access networks of fourteen countries; three ask a public resolver, and
//! of some it is known which carriers they reach the world through.
//!
//! Rule: each geography that anybody looks from has agents on two networks in two countries, so that a CDN's site there is
//! never the same as one network's or one country's way to it.

use super::Agent;

pub(super) fn standard() -> Vec<Agent> {
    let on_clouds = CLOUDS.iter().map(|&(id, isp, asn, country, geography, cloud, region)| Agent {
        hosted_on: Some(cloud.into()),
        region: Some(region.into()),
        label: format!("{cloud} {region}"),
        ..agent(id, isp, asn, country, geography)
    });
    let elsewhere = NETWORKS.iter().map(|&(id, isp, asn, country, geography, label)| Agent {
        label: label.into(),
        ..agent(id, isp, asn, country, geography)
    });
    (0..).zip(on_clouds.chain(elsewhere)).map(|(number, agent)| Agent { number, ..agent }.linked()).collect()
}

impl Agent {
    /// With its resolver and carriers, where they are known.
    fn linked(self) -> Self {
        let resolver = ASK_1111.contains(&self.id.as_str()).then(|| "1.1.1.1".to_owned());
        let carriers = CARRIERS.iter().filter(|(_, agents)| agents.contains(&self.id.as_str()));
        Self { resolver, carriers: carriers.map(|(carrier, _)| (*carrier).to_owned()).collect(), ..self }
    }
}

pub(super) fn agent(id: &str, isp: &str, asn: u32, country: &str, geography: &str) -> Agent {
    Agent {
        id: id.into(),
        isp: isp.into(),
        asn,
        country: country.into(),
        geography: geography.into(),
        ..Agent::default()
    }
}

pub(super) type OnCloud = (&'static str, &'static str, u32, &'static str, &'static str, &'static str, &'static str);
pub(super) type Elsewhere = (&'static str, &'static str, u32, &'static str, &'static str, &'static str);

const CLOUDS: &[OnCloud] = &[
    ("aws-iad-1", "amazon", 16509, "us", "na", "aws", "us-east-1"),
    ("aws-dub-1", "amazon", 16509, "ie", "eu", "aws", "eu-west-1"),
    ("azure-ams-1", "microsoft", 8075, "nl", "eu", "azure", "westeurope"),
    ("azure-iad-1", "microsoft", 8075, "us", "na", "azure", "eastus"),
    ("gcp-cbf-1", "google", 396_982, "us", "na", "gcp", "us-central1"),
];

const NETWORKS: &[Elsewhere] = &[
    ("rogers-yyz-1", "rogers-ca", 812, "ca", "na", "Rogers, Toronto"),
    ("rogers-yul-1", "rogers-ca", 812, "ca", "na", "Rogers, Montreal"),
    ("rogers-yvr-1", "rogers-ca", 812, "ca", "na", "Rogers, Vancouver"),
    ("bell-yyz-1", "bell-ca", 577, "ca", "na", "Bell, Toronto"),
    ("comcast-phl-1", "comcast-us", 7922, "us", "na", "Comcast, Philadelphia"),
    ("verizon-nyc-1", "verizon-us", 701, "us", "na", "Verizon, New York"),
    ("hetzner-fsn-1", "hetzner-de", 24940, "de", "eu", "Hetzner, Falkenstein"),
    ("ovh-rbx-1", "ovh-fr", 16276, "fr", "eu", "OVH, Roubaix"),
    ("bt-lon-1", "bt-gb", 2856, "gb", "eu", "BT, London"),
    ("ntt-tyo-1", "ntt-jp", 4713, "jp", "as", "NTT, Tokyo"),
    ("telstra-syd-1", "telstra-au", 1221, "au", "oc", "Telstra, Sydney"),
    ("claro-sao-1", "claro-br", 28573, "br", "sa", "Claro, Sao Paulo"),
    ("mtn-jnb-1", "mtn-za", 16637, "za", "af", "MTN, Johannesburg"),
    ("es-a-mad-1", "es-a", 3352, "es", "eu", "Spanish network A, Madrid"),
    ("es-a-bcn-1", "es-a", 3352, "es", "eu", "Spanish network A, Barcelona"),
    ("es-b-mad-1", "es-b", 12479, "es", "eu", "Spanish network B, Madrid"),
    ("bell-yul-1", "bell-ca", 577, "ca", "na", "Bell, Montreal"),
    ("orange-par-1", "orange-fr", 3215, "fr", "eu", "Orange, Paris"),
    ("kddi-osa-1", "kddi-jp", 2516, "jp", "as", "KDDI, Osaka"),
    ("te-cai-1", "te-eg", 8452, "eg", "af", "Telecom Egypt, Cairo"),
    ("pldt-mnl-1", "pldt-ph", 9299, "ph", "as", "PLDT, Manila"),
    ("onenz-akl-1", "onenz-nz", 9500, "nz", "oc", "One NZ, Auckland"),
    ("personal-bue-1", "personal-ar", 7303, "ar", "sa", "Personal, Buenos Aires"),
];

/// Those that ask 1.1.1.1 instead of their network's resolver.
const ASK_1111: [&str; 3] = ["bell-yul-1", "orange-par-1", "kddi-osa-1"];

/// Carriers, and the agents that are known to reach the world through them.
const CARRIERS: [(&str, &[&str]); 4] = [
    ("as3356", &["verizon-nyc-1", "bt-lon-1", "claro-sao-1"]),
    ("as1299", &["comcast-phl-1", "hetzner-fsn-1", "orange-par-1"]),
    ("as2914", &["ntt-tyo-1", "kddi-osa-1"]),
    ("as6453", &["telstra-syd-1", "mtn-jnb-1"]),
];
