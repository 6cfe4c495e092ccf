//! Vantages in number: a choice of the standard ones for small fleets, more networks and cloud regions for large ones.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::super::{
    Agent,
    agents::{self, Elsewhere, OnCloud},
};

pub(super) fn sized(count: usize, seed: u64) -> Vec<Agent> {
    let standard = agents::standard();
    let (few, others): (Vec<Agent>, Vec<Agent>) = standard.iter().cloned().partition(|agent| is_first(&agent.id));
    let mut agents = if count < standard.len() { [few, others].concat() } else { standard };
    if count > agents.len() {
        agents.extend(more(seed));
    }
    agents.truncate(count);
    (0..).zip(agents).map(|(number, agent)| Agent { number, ..agent }).collect()
}

/// A fleet of six: four access networks on three continents, and one machine on each cloud.
fn is_first(id: &str) -> bool {
    ["comcast-phl-1", "hetzner-fsn-1", "ntt-tyo-1", "bt-lon-1", "aws-dub-1", "azure-iad-1"].contains(&id)
}

/// Round after round over the networks: in each, one agent in every network, and one in each of some cloud regions.
fn more(seed: u64) -> impl Iterator<Item = Agent> {
    let mut draws = StdRng::seed_from_u64(seed ^ SALT);
    (0..ROUNDS).flat_map(move |round| {
        let mut clouds = CLOUDS.iter().skip(round % 2).step_by(2).map(|row| on_cloud(row, round));
        let mut agents = Vec::new();
        for (place, row) in NETWORKS.iter().enumerate() {
            // About every seventh is on a cloud, as in fleets that people have.
            if place % 6 == 5 {
                agents.extend(clouds.next());
            }
            agents.push(in_network(row, (round, place), &mut draws));
        }
        agents
    })
}

/// Keeps the draws of agents apart from those of targets.
const SALT: u64 = 0xa6e0;
const ROUNDS: usize = 6;

fn on_cloud(&(id, isp, asn, country, geography, cloud, region): &OnCloud, round: usize) -> Agent {
    Agent {
        hosted_on: Some(cloud.into()),
        region: Some(region.into()),
        label: format!("{cloud} {region}"),
        ..agents::agent(&format!("{id}-{}", round + 1), isp, asn, country, geography)
    }
}

/// Half of a network's later agents share the address of its first. A network's carriers are its own, whatever the seed;
/// those of four in nine are known.
fn in_network(
    &(id, isp, asn, country, geography, label): &Elsewhere,
    (round, place): (usize, usize),
    draws: &mut StdRng,
) -> Agent {
    let shares_address = round > 0 && draws.random_bool(0.5);
    let carriers: &[&str] = match place % 9 {
        1 => &["as3356"],
        3 => &["as1299"],
        5 => &["as2914"],
        7 => &["as3356", "as1299"],
        _ => &[],
    };
    let resolver = match (place + round) % 12 {
        2 => Some("1.1.1.1"),
        4 | 10 => Some("8.8.8.8"),
        _ => None,
    };
    Agent {
        label: label.into(),
        group: (round == 0 || shares_address).then(|| format!("{id}-site")),
        carriers: carriers.iter().map(|carrier| (*carrier).to_owned()).collect(),
        resolver: resolver.map(str::to_owned),
        ..agents::agent(&format!("{id}-{}", round + 1), isp, asn, country, geography)
    }
}

const CLOUDS: &[OnCloud] = &[
    ("aws-pdx", "amazon", 16509, "us", "na", "aws", "us-west-2"),
    ("azure-sin", "microsoft", 8075, "sg", "as", "azure", "southeastasia"),
    ("aws-fra", "amazon", 16509, "de", "eu", "aws", "eu-central-1"),
    ("gcp-grq", "google", 396_982, "nl", "eu", "gcp", "europe-west4"),
    ("azure-lon", "microsoft", 8075, "gb", "eu", "azure", "uksouth"),
    ("aws-nrt", "amazon", 16509, "jp", "as", "aws", "ap-northeast-1"),
    ("azure-dsm", "microsoft", 8075, "us", "na", "azure", "centralus"),
    ("gcp-tpe", "google", 396_982, "tw", "as", "gcp", "asia-east1"),
    ("aws-gru", "amazon", 16509, "br", "sa", "aws", "sa-east-1"),
    ("azure-syd", "microsoft", 8075, "au", "oc", "azure", "australiaeast"),
    ("aws-syd", "amazon", 16509, "au", "oc", "aws", "ap-southeast-2"),
    ("azure-gru", "microsoft", 8075, "br", "sa", "azure", "brazilsouth"),
];

const NETWORKS: &[Elsewhere] = &[
    ("vodafone-dus", "vodafone-de", 3209, "de", "eu", "Vodafone, Dusseldorf"),
    ("att-dfw", "att-us", 7018, "us", "na", "AT&T, Dallas"),
    ("airtel-del", "airtel-in", 24560, "in", "as", "Airtel, Delhi"),
    ("vivo-sao", "vivo-br", 18881, "br", "sa", "Vivo, Sao Paulo"),
    ("kpn-rtm", "kpn-nl", 1136, "nl", "eu", "KPN, Rotterdam"),
    ("lumen-den", "lumen-us", 209, "us", "na", "Lumen, Denver"),
    ("singtel-sin", "singtel-sg", 7473, "sg", "as", "Singtel, Singapore"),
    ("optus-mel", "optus-au", 4804, "au", "oc", "Optus, Melbourne"),
    ("telia-sto", "telia-se", 3301, "se", "eu", "Telia, Stockholm"),
    ("telus-yvr", "telus-ca", 852, "ca", "na", "Telus, Vancouver"),
    ("safaricom-nbo", "safaricom-ke", 33771, "ke", "af", "Safaricom, Nairobi"),
    ("etisalat-dxb", "etisalat-ae", 8966, "ae", "me", "Etisalat, Dubai"),
    ("tim-mil", "tim-it", 3269, "it", "eu", "TIM, Milan"),
    ("cox-phx", "cox-us", 22773, "us", "na", "Cox, Phoenix"),
    ("chunghwa-tpe", "chunghwa-tw", 3462, "tw", "as", "Chunghwa, Taipei"),
    ("entel-scl", "entel-cl", 27651, "cl", "sa", "Entel, Santiago"),
    ("orange-waw", "orange-pl", 5617, "pl", "eu", "Orange, Warsaw"),
    ("charter-stl", "charter-us", 20115, "us", "na", "Charter, St. Louis"),
    ("kt-sel", "kt-kr", 4766, "kr", "as", "KT, Seoul"),
    ("spark-akl", "spark-nz", 4771, "nz", "oc", "Spark, Auckland"),
    ("digi-otp", "digi-ro", 8708, "ro", "eu", "Digi, Bucharest"),
    ("tmobile-sea", "tmobile-us", 21928, "us", "na", "T-Mobile, Seattle"),
    ("telkom-jkt", "telkom-id", 7713, "id", "as", "Telkom, Jakarta"),
    ("stc-ruh", "stc-sa", 39891, "sa", "me", "STC, Riyadh"),
    ("proximus-bru", "proximus-be", 5432, "be", "eu", "Proximus, Brussels"),
    ("telmex-mex", "telmex-mx", 8151, "mx", "na", "Telmex, Mexico City"),
    ("maroc-cas", "maroc-ma", 36903, "ma", "af", "Maroc Telecom, Casablanca"),
    ("viettel-han", "viettel-vn", 7552, "vn", "as", "Viettel, Hanoi"),
    ("es-a-svq", "es-a", 3352, "es", "eu", "Spanish network A, Seville"),
    ("frontier-tpa", "frontier-us", 5650, "us", "na", "Frontier, Tampa"),
    ("es-b-vlc", "es-b", 12479, "es", "eu", "Spanish network B, Valencia"),
    ("claro-bog", "claro-co", 26611, "co", "sa", "Claro, Bogota"),
    ("meo-lis", "meo-pt", 3243, "pt", "eu", "MEO, Lisbon"),
    ("jio-bom", "jio-in", 55836, "in", "as", "Jio, Mumbai"),
    ("bezeq-tlv", "bezeq-il", 8551, "il", "me", "Bezeq, Tel Aviv"),
    ("rcn-bos", "rcn-us", 6079, "us", "na", "RCN, Boston"),
];
