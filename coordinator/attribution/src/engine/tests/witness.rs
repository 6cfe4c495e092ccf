//! Witnesses: one more that passes never makes what fails more suspicious.

use std::collections::BTreeMap;

use super::{
    super::*,
    script::{Look, Script, Trouble, noise, world},
};
use crate::{
    Vantage, World,
    dice::Dice,
    evidence::{self, Evidence},
    inference::{self, Doubt, Member},
};

/// Noise, of 10,000 looks.
const NOISE: u64 = 30;

const HEALTHY_S: u64 = 60;
const ALL_S: u64 = 120;

/// Windows that are asked, in seconds back from the end.
const WINDOWS_S: [u64; 3] = [15, 30, 60];

const SEEDS: u64 = 8;

/// Nats by which a score may rise because only some shares are tried as severities.
const COARSE: f64 = 1.0;

/// Nats that rounding may make.
const ROUNDING: f64 = 1e-6;

/// What fails, with the element that stands for it.
const FAMILIES: [(Trouble, &str); 11] = [
    (Trouble::Region("aws", "us-east-1", Layer::Connect), "aws/us-east-1"),
    (Trouble::Region("azure", "westeurope", Layer::Connect), "azure/westeurope"),
    (Trouble::Cdn("azure/front-door", Layer::Connect), "azure/front-door"),
    (Trouble::Cdn("aws/cloudfront", Layer::Http), "aws/cloudfront"),
    (Trouble::Cdn("fastly", Layer::Http), "cdn/fastly"),
    (Trouble::Operator("route53"), "aws/route53"),
    (Trouble::Operator("dyn"), "dns/dyn"),
    (Trouble::Identity("entra-id"), "azure/entra-id"),
    (Trouble::Target("aws/eu-west-1/sqs", Layer::Http), "aws/eu-west-1/sqs"),
    (Trouble::Target("forum", Layer::Http), "endpoint/forum"),
    (Trouble::Isp("rogers-ca"), "isp/rogers-ca"),
];

/// What fails does so for all groups alike, always or now and then; one witness, or four, look at the same targets, from networks
/// and countries of their own, and see nothing fail. Compared is the explanation of the same window: its score does not
/// rise, nor, where the same elements fail in it, what the element gains. Where other elements take their place, one may
/// gain: what clears a rival more than it is evidence against the rival.
#[test]
fn one_more_passing_witness_never_raises_suspicion() {
    let (mut broken, mut suspected) = (Vec::new(), 0);
    for (trouble, element) in FAMILIES {
        for seed in 0..SEEDS {
            let all = [0, 1, 4].map(|witnesses| explanations(trouble, seed, witnesses));
            suspected += usize::from(all[0].last().is_some_and(|found| found.gains.contains_key(element)));
            for (fewer, more) in all.iter().zip(&all[1..]) {
                for (window, (before, after)) in WINDOWS_S.iter().zip(fewer.iter().zip(more)) {
                    let gained = |of: &Explained| of.gains.get(element).copied().unwrap_or_default();
                    let is_same = before.gains.keys().eq(after.gains.keys());
                    let rises = after.score > before.score + COARSE;
                    if rises || (is_same && gained(after) > gained(before) + ROUNDING) {
                        broken.push(format!("seed {seed}, {element}, {window} s: {before:?}, then {after:?}"));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}:\n{}", broken.len(), broken.join("\n"));
    assert!(suspected >= FAMILIES.len() * 4, "most cases are about something: {suspected}");
}

/// What explains a window.
#[derive(Debug)]
struct Explained {
    score: f64,
    /// By element.
    gains: BTreeMap<String, f64>,
}

/// What explains each window, when so many further witnesses pass.
fn explanations(trouble: Trouble, seed: u64, witnesses: u32) -> Vec<Explained> {
    let dice = &mut Dice::new(seed);
    let mut world = world();
    let spared = dice.pick(&[0, 1000, 4000, 7000]);
    add_witnesses(&mut world, witnesses);
    let script = Script::new(world, ALL_S, &|look: Look<'_>| {
        if look.agent.as_str().starts_with("witness") {
            return None;
        }
        let is_hit = look.second >= HEALTHY_S;
        let is_spared = noise(!seed, spared, look).is_some();
        trouble.hits(look).filter(|_| is_hit && !is_spared).or_else(|| noise(seed, NOISE, look))
    });
    let mut engine = script.engine();
    script.play_to(&mut engine);
    explained(&engine, script.ticks.last().expect("ticks").0)
}

fn add_witnesses(world: &mut World, witnesses: u32) {
    for number in 0..witnesses {
        let name = format!("witness-{number}");
        let vantage = Vantage {
            group: name.clone(),
            asn: Some(64_496 + number),
            isp: Some(format!("{name}-isp")),
            country: Some(format!("w{number}")),
            geography: Some("eu".into()),
            ..Vantage::default()
        };
        world.vantages.insert(name.into(), vantage);
    }
}

/// What explains each window that ends now.
fn explained(engine: &Engine, now: Timestamp) -> Vec<Explained> {
    let (known, settings) = (&engine.state.known, &engine.settings);
    let from: Vec<Timestamp> = WINDOWS_S.iter().map(|window| now.before(Duration::from_secs(*window))).collect();
    let everything = vec![true; known.map().elements.len()];
    let windows = evidence::gather(known, &from, &everything, true, settings);
    assert_eq!(windows.len(), WINDOWS_S.len(), "something fails");
    let domains: Vec<u32> = (0..).take(known.map().groups.len()).collect();
    let explain = |window: &Evidence| {
        let hypothesis = inference::explain(
            window,
            settings,
            Doubt { liars: 1, groups: domains.len(), exercise: &|_| domains.len(), domains: &domains },
        );
        let name = |member: &Member| window.elements()[member.element].name.clone();
        let gains = hypothesis.members.iter().map(|member| (name(member), member.gain)).collect();
        Explained { score: hypothesis.score, gains }
    };
    windows.iter().map(explain).collect()
}
