//! Liars: a fifth of the vantage groups, whatever they say, accuses no cloud.

use super::{
    super::*,
    script::{Look, Script, Trouble, changes, noise, world},
};
use crate::{AgentId, Vantage, World, dice::Dice, vocabulary::Verdict};

/// Honest noise, of 10,000 looks.
const NOISE: u64 = 30;

/// Seconds before the lies, and all of them.
const HONEST_S: u64 = 45;
const ALL_S: u64 = 120;

const SEEDS: u64 = 20;

/// What liars say from [`HONEST_S`] on.
#[derive(Clone, Copy, Debug)]
enum Strategy {
    /// This fails, whatever they see.
    Fabricate(Trouble),
    /// The same for twenty seconds, and the truth for the next twenty.
    Alternate(Trouble),
    /// Of the other cloud's real fault nothing shows; instead, this fails.
    Mask(Trouble),
    /// Of each cloud's targets what is true of the other's.
    Mirror,
}

const LAYERS: [Layer; 3] = [Layer::Dns, Layer::Connect, Layer::Http];

/// Real faults of Azure, of which AWS is never to be accused.
const REAL: [Trouble; 4] = [
    Trouble::Cdn("azure/front-door", Layer::Connect),
    Trouble::Region("azure", "eastus", Layer::Connect),
    Trouble::Operator("azure-dns"),
    Trouble::Target("azure/westeurope/blob", Layer::Http),
];

/// Kinds of strategies.
const KINDS: usize = 7;

fn strategy(kind: usize, dice: &mut Dice) -> Strategy {
    let layer = dice.pick(&LAYERS);
    let region = Trouble::Region("aws", dice.pick(&["us-east-1", "eu-west-1", "ap-northeast-1"]), layer);
    let everything = Trouble::Everything("aws", layer);
    let cdn = Trouble::Cdn("aws/cloudfront", layer);
    match kind {
        0 => Strategy::Fabricate(region),
        1 => Strategy::Fabricate(cdn),
        2 => Strategy::Fabricate(everything),
        3 => Strategy::Fabricate(Trouble::Target(dice.pick(&["aws/us-east-1/s3", "aws/eu-west-1/sqs"]), layer)),
        4 => Strategy::Mask(dice.pick(&[region, everything, cdn])),
        5 => Strategy::Mirror,
        _ => Strategy::Alternate(dice.pick(&[region, everything, cdn])),
    }
}

impl Strategy {
    /// The layer at which a liar says that a look failed, if this makes it say so.
    fn makes_up(self, look: Look<'_>, real: Option<Trouble>) -> Option<Layer> {
        match self {
            Self::Fabricate(trouble) | Self::Mask(trouble) => trouble.hits(look),
            Self::Alternate(trouble) => trouble.hits(look).filter(|_| look.second / 20 % 2 == 1),
            Self::Mirror => mirrored(real?).hits(look),
        }
    }

    /// Whether a liar keeps quiet about the real fault.
    fn masks(self) -> bool {
        matches!(self, Self::Mask(_) | Self::Mirror)
    }
}

/// What would be the same fault, had it struck AWS.
fn mirrored(real: Trouble) -> Trouble {
    match real {
        Trouble::Cdn(_, layer) => Trouble::Cdn("aws/cloudfront", layer),
        Trouble::Region(_, _, layer) => Trouble::Region("aws", "us-east-1", layer),
        Trouble::Target(_, layer) => Trouble::Target("aws/eu-west-1/s3", layer),
        _ => Trouble::Operator("route53"),
    }
}

/// Agents of their own groups, so many of them.
fn fleet(groups: usize) -> World {
    let mut world = world();
    for (name, country, asn) in [("telia-1", "se", 1299), ("vivo-1", "br", 26599)] {
        let vantage = Vantage {
            group: name.into(),
            asn: Some(asn),
            isp: Some(format!("{name}-isp")),
            country: Some(country.into()),
            geography: Some("eu".into()),
            ..Vantage::default()
        };
        world.vantages.insert(name.into(), vantage);
    }
    // The three of one network come last, and all sixteen are of groups of their own.
    let of_network = |agent: &AgentId| agent.as_str().starts_with("rogers");
    let mut agents: Vec<AgentId> = world.vantages.keys().cloned().collect();
    agents.sort_by_key(of_network);
    for left_out in agents.split_off(groups.min(agents.len())) {
        world.vantages.remove(&left_out);
    }
    world
}

/// What was said of clouds that have no fault, when so many of the groups lie.
fn accusations(
    (groups, liars): (usize, usize),
    strategies: &[Strategy],
    real: Option<Trouble>,
    seed: u64,
) -> Vec<String> {
    let world = fleet(groups);
    assert_eq!(world.vantages.len(), groups);
    let dice = &mut Dice::new(seed);
    let mut agents: Vec<AgentId> = world.vantages.keys().cloned().collect();
    dice.shuffle(&mut agents);
    agents.truncate(liars);
    let script = Script::new(world, ALL_S, &|look| {
        let is_on = look.second >= HONEST_S;
        let lies: &[Strategy] = if is_on && agents.contains(look.agent) { strategies } else { &[] };
        let made_up = lies.iter().find_map(|strategy| strategy.makes_up(look, real));
        let is_told = is_on && !lies.iter().any(|strategy| strategy.masks());
        let truth = real.filter(|_| is_told).and_then(|trouble| trouble.hits(look));
        made_up.or(truth).or_else(|| noise(seed, NOISE, look))
    });
    let outputs = script.play();
    let has_fault = |verdict: Verdict| verdict == Verdict::Azure && real.is_some();
    let is_cloud = |verdict: Verdict| matches!(verdict, Verdict::Aws | Verdict::Azure);
    let against = changes(&outputs).filter(|change| is_cloud(change.verdict) && !has_fault(change.verdict));
    against.map(|change| format!("{:?} {}", change.state, change.headline)).collect()
}

/// All seeds of a strategy, alone or with another.
fn assert_no_cloud_is_accused(groups: usize, is_in_pairs: bool) {
    let mut broken = Vec::new();
    for seed in 0..SEEDS {
        for kind in 0..KINDS {
            let dice = &mut Dice::new(seed * 100 + kind as u64);
            let mut strategies = vec![strategy(kind, dice)];
            if is_in_pairs {
                let other = (kind + 1 + dice.below(KINDS - 1)) % KINDS;
                strategies.push(strategy(other, dice));
            }
            let wants_fault = strategies.iter().any(|strategy| strategy.masks());
            let real = Some(dice.pick(&REAL)).filter(|_| wants_fault || dice.happens(0.3));
            let found = accusations((groups, (groups - 1) / 5), &strategies, real, seed);
            if !found.is_empty() {
                broken.push(format!("seed {seed}, {groups} groups, {strategies:?}, real {real:?}: {found:?}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn two_liars_of_eleven_never_move_a_verdict_to_a_cloud() {
    assert_no_cloud_is_accused(11, false);
}

#[test]
fn three_liars_of_sixteen_never_move_a_verdict_to_a_cloud() {
    assert_no_cloud_is_accused(16, false);
}

#[test]
fn two_liars_of_eleven_with_two_strategies_never_move_a_verdict_to_a_cloud() {
    assert_no_cloud_is_accused(11, true);
}

#[test]
fn three_liars_of_sixteen_with_two_strategies_never_move_a_verdict_to_a_cloud() {
    assert_no_cloud_is_accused(16, true);
}

/// The lies are such that they would be believed, were there enough who tell them.
#[test]
fn what_nearly_all_groups_make_up_is_believed() {
    for kind in 0..KINDS {
        // Two seeds of three: a lie at a layer that a CDN hides is none.
        let strategy = |seed: u64| strategy(kind, &mut Dice::new(seed * 100 + kind as u64));
        let real = Some(REAL[0]);
        let believed = (0..3).filter(|seed| !accusations((11, 10), &[strategy(*seed)], real, *seed).is_empty()).count();
        assert!(believed >= 2, "{:?}: {believed} of 3", strategy(0));
    }
}
