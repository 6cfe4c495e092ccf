//! A fleet of any size: agents in many networks and clouds, targets in many regions, each pair at its own second.

use faultline_attribution::{
    AgentId, Cause, Input, Layer, Observation, Outcome, ProbeKind, Target, TargetId, Timestamp, Vantage, World,
};

use super::Load;

/// Seconds between the runs of one pair.
const INTERVAL_S: u64 = 30;

/// A failed connect is known so many seconds after it began.
const TIMEOUT_S: u64 = 3;

/// The region that breaks.
const BROKEN: (&str, &str) = ("aws", "us-east-1");

/// Who looks at what, and when.
pub(super) struct Fleet {
    agents: Vec<AgentId>,
    targets: Vec<(TargetId, Target)>,
    /// Pairs by the second of the interval in which they begin.
    phases: Vec<Vec<(usize, usize)>>,
    noise: f64,
    seed: u64,
    /// The first second.
    pub(super) from_s: u64,
}

impl Fleet {
    /// Four times as many targets as agents, as fleets have.
    pub(super) fn new(load: &Load) -> Self {
        let count = (load.cells / 4).isqrt().max(6);
        let agents: Vec<AgentId> = (0..count).map(|number| format!("agent-{number:04}").into()).collect();
        let targets: Vec<(TargetId, Target)> = (0..load.cells.div_ceil(count)).map(target).collect();
        let mut phases = vec![Vec::new(); usize::try_from(INTERVAL_S).unwrap_or(1)];
        for agent in 0..count {
            for target in 0..targets.len() {
                let phase = mix(load.seed, agent, target, 0) % INTERVAL_S;
                phases[usize::try_from(phase).unwrap_or(0)].push((agent, target));
            }
        }
        Self { agents, targets, phases, noise: load.noise, seed: load.seed, from_s: 1_761_752_000 }
    }

    pub(super) fn cells(&self) -> usize {
        self.agents.len() * self.targets.len()
    }

    pub(super) fn world(&self) -> World {
        let vantages = self.agents.iter().enumerate().map(|(number, id)| (id.clone(), vantage(number)));
        World { targets: self.targets.iter().cloned().collect(), vantages: vantages.collect() }
    }

    /// What arrives in this second: runs that passed at once, runs that failed when their timeout is over.
    pub(super) fn second(&self, second: u64, breaks_s: Option<u64>, inputs: &mut Vec<Input>) {
        for (delay, wants_failure) in [(0, false), (TIMEOUT_S, true)] {
            let began = second - delay;
            for &(agent, target) in &self.phases[usize::try_from(began % INTERVAL_S).unwrap_or(0)] {
                if self.fails(agent, target, began, breaks_s) == wants_failure {
                    inputs.push(self.result(agent, target, began, second, wants_failure));
                }
            }
        }
    }

    fn fails(&self, agent: usize, target: usize, began: u64, breaks_s: Option<u64>) -> bool {
        let seen = &self.targets[target].1;
        let is_broken = seen.hosted_on == BROKEN.0 && seen.region.as_deref() == Some(BROKEN.1);
        // 53 bits make an even number between 0 and 1.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let even = (mix(self.seed, agent, target, began) >> 11) as f64 / (1_u64 << 53) as f64;
        (is_broken && breaks_s.is_some_and(|breaks| began >= breaks)) || even < self.noise
    }

    fn result(&self, agent: usize, target: usize, began: u64, arrives: u64, has_failed: bool) -> Input {
        let at = |second: u64| Timestamp::from_micros(i64::try_from(second).unwrap_or(i64::MAX) * 1_000_000);
        let failed = Outcome::Failed { layer: Layer::Connect, cause: Cause::ConnectTimeout };
        let outcome = if has_failed { failed } else { Outcome::Passed };
        let (agent, target) = (self.agents[agent].clone(), self.targets[target].0.clone());
        let observation = Observation::new(agent, target, at(began), outcome);
        Input::Observation(Observation { received_at: at(arrives), ..observation })
    }
}

/// Three quarters of all agents sit outside both clouds.
fn vantage(number: usize) -> Vantage {
    let hosted_on = ["aws", "azure", "", "", "", "", "", ""][number % 8];
    let geography = ["na", "eu", "as", "sa"][number / 8 % 4];
    Vantage {
        group: format!("group-{number:04}"),
        asn: u32::try_from(64_512 + number / 2).ok(),
        isp: Some(format!("isp-{}", number / 2)),
        country: Some(["us", "de", "jp", "br"][number / 8 % 4].into()),
        geography: Some(geography.into()),
        hosted_on: (!hosted_on.is_empty()).then(|| hosted_on.into()),
        ..Vantage::default()
    }
}

/// Two fifths AWS, two fifths Azure, the rest controls elsewhere; a third of a cloud's are customers' own.
fn target(number: usize) -> (TargetId, Target) {
    const REGIONS: [(&str, [&str; 8]); 2] = [
        (
            "aws",
            [
                "us-east-1",
                "us-west-2",
                "eu-west-1",
                "eu-central-1",
                "ap-northeast-1",
                "ap-south-1",
                "sa-east-1",
                "ca-central-1",
            ],
        ),
        (
            "azure",
            [
                "eastus",
                "westus2",
                "westeurope",
                "northeurope",
                "japaneast",
                "southeastasia",
                "brazilsouth",
                "centralus",
            ],
        ),
    ];
    let cloud = REGIONS.get(number % 5 / 2);
    let place = number / 5;
    let (hosted_on, region) = cloud.map_or(("other", ""), |(cloud, regions)| (*cloud, regions[place % 8]));
    let is_own = cloud.is_some() && place / 8 % 3 != 2;
    let owner = match hosted_on {
        "aws" if is_own => "amazon".to_owned(),
        "azure" if is_own => "microsoft".to_owned(),
        _ => format!("owner-{number}"),
    };
    let target = Target {
        probe: ProbeKind::Https,
        host: Some(format!("t{number}.example")),
        hosted_on: hosted_on.into(),
        region: (!region.is_empty()).then(|| region.into()),
        zone: None,
        service: is_own.then(|| format!("service-{}", number % 2 + place / 8 * 2)),
        plane: None,
        geography: None,
        cdn: None,
        dns_operator: Some(
            match hosted_on {
                "aws" => "route53",
                "azure" => "azure-dns",
                _ => "ns1",
            }
            .into(),
        ),
        identity: None,
        issuer: None,
        depends_on: Vec::new(),
        owner: Some(owner),
        verified: true,
    };
    (format!("target-{number:05}").into(), target)
}

/// Mixes numbers into 64 bits that look random.
///
/// Source: Steele, Lea and Flood 2014, `SplitMix64`.
fn mix(seed: u64, agent: usize, target: usize, second: u64) -> u64 {
    [u64::try_from(agent).unwrap_or(0), u64::try_from(target).unwrap_or(0), second].into_iter().fold(
        seed,
        |state, word| {
            let z = state.wrapping_add(word).wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        },
    )
}
