//! The clouds are treated alike: exchanging their names exchanges the verdicts, and nothing else.

use serde_json::Value;

use super::{
    super::*,
    script::{Script, Trouble, as_json, changes, first_difference, in_order, noise, with_words, world},
};
use crate::{AgentId, Target, TargetId, Vantage, World, dice::Dice, world::Learned};

const SEEDS: u64 = 4;

/// Noise, of 10,000 looks.
const NOISE: u64 = 30;

const HEALTHY_S: u64 = 60;
const ALL_S: u64 = 150;

const TROUBLES: [Trouble; 10] = [
    Trouble::Region("aws", "us-east-1", Layer::Connect),
    Trouble::Region("azure", "westeurope", Layer::Http),
    Trouble::Cdn("azure/front-door", Layer::Connect),
    Trouble::Cdn("aws/cloudfront", Layer::Http),
    Trouble::Operator("route53"),
    Trouble::Operator("azure-dns"),
    Trouble::Identity("entra-id"),
    Trouble::Identity("cognito"),
    Trouble::Target("aws/us-east-1/dynamodb", Layer::Http),
    Trouble::Inside("aws"),
];

/// What stands for the same in the other cloud; the longer before what is part of it.
const PAIRS: [(&str, &str); 8] = [
    ("aws/route53", "azure/dns"),
    ("aws/cloudfront", "azure/front-door"),
    ("aws/cognito", "azure/entra-id"),
    ("route53", "azure-dns"),
    ("cloudfront", "front-door"),
    ("cognito", "entra-id"),
    ("amazon", "microsoft"),
    ("aws", "azure"),
];

/// Titles of people for the canonical names.
const TITLES: [(&str, &str); 5] = [
    ("amazon route 53 (aws)", "aws/route53"),
    ("azure dns", "azure/dns"),
    ("amazon cloudfront (aws)", "aws/cloudfront"),
    ("azure front door", "azure/front-door"),
    ("microsoft entra id (azure)", "azure/entra-id"),
];

/// The same script, told of a world in which each cloud stands where the other did: numbers are the same to a billionth, and
/// texts say the same words, the clouds exchanged. Where a text or a list names both clouds, AWS comes first, so the order
/// of words and of entries is not compared.
#[test]
fn exchanging_the_clouds_exchanges_the_verdicts() {
    let mut broken = Vec::new();
    let mut accusing = 0;
    for (number, trouble) in TROUBLES.into_iter().enumerate() {
        for seed in 0..SEEDS {
            let seed = seed + number as u64 * SEEDS;
            let spared = Dice::new(seed).pick(&[0, 1000, 4000]);
            let script = Script::new(world(), ALL_S, &|look| {
                let is_spared = look.second < HEALTHY_S || noise(!seed, spared, look).is_some();
                trouble.hits(look).filter(|_| !is_spared).or_else(|| noise(seed, NOISE, look))
            });
            let (ours, theirs) = (script.play(), exchanged_script(&script).play());
            accusing += u32::from(changes(&ours).any(|change| change.state == State::Attributed));
            let ours = ours.iter().map(|output| sorted(with_words(&as_json(output), &|text| words(&exchanged(text)))));
            let theirs = theirs.iter().map(|output| sorted(with_words(&as_json(output), &words)));
            let found = first_difference(&in_order(ours.collect()), &in_order(theirs.collect()));
            broken.extend(found.map(|found| format!("seed {seed}, {trouble:?}: {found}")));
        }
    }
    assert!(broken.is_empty(), "{}:\n{}", broken.len(), broken.join("\n"));
    assert!(accusing >= 30, "most of the scripts accuse somebody: {accusing} of 40");
}

/// The clouds exchanged in a text, in small letters and with canonical names.
fn exchanged(text: &str) -> String {
    let text = canonical(text);
    let marked = PAIRS.iter().enumerate().fold(text, |text, (pair, (one, other))| {
        text.replace(one, &format!("\u{1}{pair}\u{2}")).replace(other, &format!("\u{1}{pair}\u{3}"))
    });
    PAIRS.iter().enumerate().fold(marked, |text, (pair, (one, other))| {
        text.replace(&format!("\u{1}{pair}\u{2}"), other).replace(&format!("\u{1}{pair}\u{3}"), one)
    })
}

fn canonical(text: &str) -> String {
    TITLES.iter().fold(text.to_lowercase(), |text, (title, name)| text.replace(title, name))
}

/// The words of a text, in order.
fn words(text: &str) -> String {
    let text = canonical(text);
    let mut words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words.join(" ")
}

/// The lists of a value in an order of their own.
fn sorted(mut value: Value) -> Value {
    let lists = value.as_object_mut().into_iter().flat_map(|fields| fields.iter_mut());
    for (_, list) in lists.filter(|(name, _)| *name != "evidence") {
        if let Some(list) = list.as_array_mut() {
            list.sort_by_key(Value::to_string);
        }
    }
    value
}

fn exchanged_script(script: &Script) -> Script {
    let some = |word: &Option<String>| word.as_ref().map(|word| exchanged(word));
    let target = |(id, old): (&TargetId, &Target)| {
        let new = Target {
            hosted_on: exchanged(&old.hosted_on),
            cdn: some(&old.cdn),
            dns_operator: some(&old.dns_operator),
            identity: some(&old.identity),
            owner: some(&old.owner),
            service: some(&old.service),
            ..old.clone()
        };
        (TargetId::from(exchanged(id.as_str())), new)
    };
    let vantage = |(id, old): (&AgentId, &Vantage)| {
        let (hosted_on, isp) = (some(&old.hosted_on), some(&old.isp));
        let new = Vantage { group: exchanged(&old.group), hosted_on, isp, ..old.clone() };
        (AgentId::from(exchanged(id.as_str())), new)
    };
    let learned = |(id, old): &(TargetId, Learned)| {
        (TargetId::from(exchanged(id.as_str())), Learned { cdn: some(&old.cdn), ..old.clone() })
    };
    let input = |input: &Input| match input {
        Input::Observation(old) => Input::Observation(Observation {
            agent: exchanged(old.agent.as_str()).into(),
            target: exchanged(old.target.as_str()).into(),
            ..old.clone()
        }),
        other => other.clone(),
    };
    Script {
        world: World {
            targets: script.world.targets.iter().map(target).collect(),
            vantages: script.world.vantages.iter().map(vantage).collect(),
        },
        learned: script.learned.iter().map(learned).collect(),
        ticks: script.ticks.iter().map(|(now, inputs)| (*now, inputs.iter().map(input).collect())).collect(),
    }
}
