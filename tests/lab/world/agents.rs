//! The 18 vantages: five on clouds, thirteen in access networks of eleven countries.

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
    (0..).zip(on_clouds.chain(elsewhere)).map(|(number, agent)| Agent { number, ..agent }).collect()
}

fn agent(id: &str, isp: &str, asn: u32, country: &str, geography: &str) -> Agent {
    Agent {
        id: id.into(),
        isp: isp.into(),
        asn,
        country: country.into(),
        geography: geography.into(),
        ..Agent::default()
    }
}

type OnCloud = (&'static str, &'static str, u32, &'static str, &'static str, &'static str, &'static str);
type Elsewhere = (&'static str, &'static str, u32, &'static str, &'static str, &'static str);

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
];
