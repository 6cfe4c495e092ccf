//! Properties of the fold: what must not matter does not, over many seeds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    super::*,
    script::{Script, Trouble, as_json, changes, first_difference, in_order, noise, tick, with_words, world},
};
use crate::{AgentId, SessionChange, SessionState, Target, TargetId, Vantage, World, WorldChange, dice::Dice};

/// Noise, of 10,000 looks.
const NOISE: u64 = 30;

/// Seconds without a fault, and all of them.
const HEALTHY_S: u64 = 60;
const ALL_S: u64 = 150;

const TROUBLES: [Trouble; 8] = [
    Trouble::Region("aws", "us-east-1", Layer::Connect),
    Trouble::Region("azure", "westeurope", Layer::Http),
    Trouble::Cdn("azure/front-door", Layer::Connect),
    Trouble::Cdn("fastly", Layer::Http),
    Trouble::Operator("dyn"),
    Trouble::Target("aws/eu-west-1/sqs", Layer::Http),
    Trouble::Isp("rogers-ca"),
    Trouble::Identity("entra-id"),
];

/// A script of the seed: noise, and up to two troubles, most of which fail most looks.
fn script(seed: u64) -> (Script, Vec<Trouble>) {
    let dice = &mut Dice::new(seed);
    let troubles: Vec<Trouble> = (0..=dice.below(2)).map(|_| dice.pick(&TROUBLES)).collect();
    let spared = dice.pick(&[0, 1000, 4000]);
    let script = Script::new(world(), ALL_S, &|look| {
        let is_spared = look.second < HEALTHY_S || noise(!seed, spared, look).is_some();
        let hit = troubles.iter().filter_map(|trouble| trouble.hits(look)).min();
        hit.filter(|_| !is_spared).or_else(|| noise(seed, NOISE, look))
    });
    (script, troubles)
}

/// The outputs but for looks that are asked for.
fn said(outputs: &[Output]) -> Vec<Output> {
    outputs.iter().filter(|output| !matches!(output, Output::LookAgain(_))).cloned().collect()
}

fn in_json(outputs: &[Output]) -> Vec<Value> {
    outputs.iter().map(as_json).collect()
}

#[test]
fn order_of_arrival_inside_a_tick_changes_nothing() {
    let mut broken = Vec::new();
    for seed in 0..30 {
        let (straight, troubles) = script(seed);
        let mut shuffled = straight.clone();
        let dice = &mut Dice::new(seed);
        shuffled.ticks.iter_mut().for_each(|(_, inputs)| dice.shuffle(inputs));
        let (ours, theirs) = (in_json(&straight.play()), in_json(&shuffled.play()));
        if let Some(found) = first_difference(&ours, &theirs) {
            broken.push(format!("seed {seed}, {troubles:?}: {found}"));
        }
    }
    assert!(broken.is_empty(), "{} of 30:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn a_restored_engine_equals_the_one_that_never_stopped() {
    for seed in 0..12 {
        let (mut script, troubles) = script(seed);
        let dice = &mut Dice::new(seed);
        add_sessions(&mut script, dice);
        let (mut straight, mut restored) = (script.engine(), script.engine());
        for (now, inputs) in &script.ticks {
            if dice.happens(0.05) {
                restored = Engine::restore(&restored.snapshot(), Settings::default()).expect("restores");
            }
            let (ours, theirs) = (tick(&mut straight, *now, inputs), tick(&mut restored, *now, inputs));
            assert_eq!(ours, theirs, "seed {seed}, {troubles:?}, {now}");
        }
        assert_eq!(straight.snapshot(), restored.snapshot(), "seed {seed}, {troubles:?}");
    }
}

/// Sessions come and go, somebody is distrusted, a target goes and comes back.
fn add_sessions(script: &mut Script, dice: &mut Dice) {
    let agents: Vec<AgentId> = script.world.vantages.keys().cloned().collect();
    let up = |agent: &AgentId, at| SessionChange { agent: agent.clone(), at, state: SessionState::Up };
    let start = script.ticks[0].0;
    script.ticks[0].1.extend(agents.iter().map(|agent| Input::Session(up(agent, start))));
    for (now, inputs) in &mut script.ticks {
        let agent = dice.pick(&agents);
        if dice.happens(0.1) {
            let state = dice.pick(&[SessionState::Up, SessionState::Silent, SessionState::Goodbye]);
            inputs.push(Input::Session(SessionChange { agent: agent.clone(), at: *now, state }));
        }
        if dice.happens(0.005) {
            inputs.push(Input::Distrust { agent, since: *now });
        }
        let (id, target) = dice.pick(&script.world.targets.iter().collect::<Vec<_>>());
        if dice.happens(0.02) {
            inputs.push(Input::World(WorldChange::TargetRemoved(id.clone())));
        } else if dice.happens(0.1) {
            inputs.push(Input::World(WorldChange::Target(id.clone(), Box::new(target.clone()))));
        }
    }
}

#[test]
fn a_shift_in_time_shifts_the_outputs_and_changes_no_number() {
    for seed in 0..12 {
        let (script, troubles) = script(seed);
        let by_s = i64::try_from(Dice::new(seed).below(200_000_000)).expect("fits") - 100_000_000;
        let ours: Vec<Output> = script.play();
        let theirs = shifted(&script, by_s).play();
        let ours: Vec<Value> = ours.iter().map(|output| as_json(&later(output, &ours, by_s))).collect();
        let found = first_difference(&ours, &in_json(&theirs));
        assert_eq!(found, None, "seed {seed}, by {by_s} s, {troubles:?}");
    }
}

fn move_on(at: Timestamp, by_s: i64) -> Timestamp {
    Timestamp::from_micros(at.micros() + by_s * 1_000_000)
}

fn shifted(script: &Script, by_s: i64) -> Script {
    let mut script = script.clone();
    for (now, inputs) in &mut script.ticks {
        *now = move_on(*now, by_s);
        for input in inputs {
            if let Input::Observation(observation) = input {
                observation.at = move_on(observation.at, by_s);
                observation.received_at = move_on(observation.received_at, by_s);
            }
        }
    }
    script
}

/// The output, its times moved. Ids of incidents carry a time too: that at which the incident was opened.
fn later(output: &Output, all: &[Output], by_s: i64) -> Output {
    let moved = |id: &str| {
        let opened = changes(all).find(|change| change.incident.as_str() == id).map(|change| change.opened_at);
        opened.map_or_else(String::new, |at| id.replace(&at.basic(), &move_on(at, by_s).basic()))
    };
    let mut output = output.clone();
    match &mut output {
        Output::Change(change) => {
            change.incident = moved(change.incident.as_str()).into();
            change.superseded_by = moved(&change.superseded_by);
            for at in [&mut change.at, &mut change.onset_at, &mut change.opened_at] {
                *at = move_on(*at, by_s);
            }
            for at in [&mut change.attributed_at, &mut change.resolved_at] {
                *at = at.map(|at| move_on(at, by_s));
            }
        }
        Output::Cell(cell) => cell.changed_at = move_on(cell.changed_at, by_s),
        Output::Visibility(visibility) => visibility.evaluated_through = move_on(visibility.evaluated_through, by_s),
        Output::LookAgain(_) => {}
    }
    output
}

/// Names of regions, services, owners, access networks, countries, targets and agents are nothing but names. Words with a
/// meaning (clouds, their owners, CDNs, DNS operators, identity providers) stay. Texts are compared without regard to
/// capitals: a sentence may begin with a name. Of rows of evidence the weights are compared: which of equally heavy ones are
/// kept and stand first, their names settle, as they do which of equally old looks is asked for.
#[test]
fn renaming_elements_changes_no_number() {
    let mut broken = Vec::new();
    for seed in 0..30 {
        let (script, troubles) = script(seed);
        let names = Names::new(&script.world, &mut Dice::new(seed));
        let ours: Vec<Value> = in_json(&said(&script.play()));
        let theirs: Vec<Value> = in_json(&said(&names.rename(&script).play()));
        let ours: Vec<Value> = ours.iter().map(|value| with_words(value, &|text| text.to_lowercase())).collect();
        let theirs: Vec<Value> = theirs.iter().map(|value| with_words(value, &|text| names.back(text))).collect();
        if let Some(found) = first_difference(&in_order(ours), &in_order(theirs)) {
            broken.push(format!("seed {seed}, {troubles:?}: {found}"));
        }
    }
    assert!(broken.is_empty(), "{} of 30:\n{}", broken.len(), broken.join("\n"));
}

/// New names, which stand in another order.
struct Names(BTreeMap<String, String>);

impl Names {
    fn new(world: &World, dice: &mut Dice) -> Self {
        let of_target = |(id, target): (&TargetId, &Target)| {
            let Target { region, service, owner, .. } = target;
            [Some(id.as_str().to_owned()), region.clone(), service.clone(), owner.clone()]
        };
        let of_agent = |(id, vantage): (&AgentId, &Vantage)| {
            let Vantage { group, isp, country, region, .. } = vantage;
            [Some(id.as_str().to_owned()), Some(group.clone()), isp.clone(), country.clone(), region.clone()]
        };
        let of_targets = world.targets.iter().flat_map(of_target);
        let words: BTreeSet<String> = of_targets.chain(world.vantages.iter().flat_map(of_agent)).flatten().collect();
        let words = words.into_iter().filter(|word| !["amazon", "microsoft", "google"].contains(&word.as_str()));
        let words: Vec<String> = words.collect();
        let mut numbers: Vec<usize> = (0..words.len()).collect();
        dice.shuffle(&mut numbers);
        Self(words.into_iter().zip(numbers.into_iter().map(|number| format!("q{number:03}q"))).collect())
    }

    fn new_name(&self, word: &str) -> String {
        self.0.get(word).cloned().unwrap_or_else(|| word.to_owned())
    }

    fn rename(&self, script: &Script) -> Script {
        let target = |id: &TargetId| TargetId::from(self.new_name(id.as_str()));
        let agent = |id: &AgentId| AgentId::from(self.new_name(id.as_str()));
        let some = |word: &Option<String>| word.as_ref().map(|word| self.new_name(word));
        let targets = script.world.targets.iter().map(|(id, old)| {
            let (region, service, owner) = (some(&old.region), some(&old.service), some(&old.owner));
            (target(id), Target { region, service, owner, ..old.clone() })
        });
        let vantages = script.world.vantages.iter().map(|(id, old)| {
            let (isp, country, region) = (some(&old.isp), some(&old.country), some(&old.region));
            (agent(id), Vantage { group: self.new_name(&old.group), isp, country, region, ..old.clone() })
        });
        let input = |input: &Input| match input {
            Input::Observation(old) => {
                Input::Observation(Observation { agent: agent(&old.agent), target: target(&old.target), ..old.clone() })
            }
            other => other.clone(),
        };
        let ticks = script.ticks.iter().map(|(now, inputs)| (*now, inputs.iter().map(input).collect()));
        Script {
            world: World { targets: targets.collect(), vantages: vantages.collect() },
            learned: script.learned.iter().map(|(id, learned)| (target(id), learned.clone())).collect(),
            ticks: ticks.collect(),
        }
    }

    /// The text with the old names, in small letters.
    fn back(&self, text: &str) -> String {
        self.0.iter().fold(text.to_lowercase(), |text, (old, new)| text.replace(new, old))
    }
}

/// What somebody else says of an outage (status pages, reports of users) is no input: a verdict is what agents saw. What a person
/// remarks is of our own incidents, and names nobody. A new variant does not compile before it has found its place here.
#[test]
fn what_others_claim_is_no_input() {
    let name = |input: &Input| match input {
        Input::Observation(_) => "Observation",
        Input::World(_) => "World",
        Input::Session(_) => "Session",
        Input::Distrust { .. } => "Distrust",
        Input::Remark(_) => "Remark",
    };
    let (agent, at) = (AgentId::from("a"), Timestamp::default());
    let all = [
        Input::Observation(Observation::new(agent.clone(), "t".into(), at, Outcome::Passed)),
        Input::World(WorldChange::TargetRemoved("t".into())),
        Input::Session(SessionChange { agent: agent.clone(), at, state: SessionState::Up }),
        Input::Distrust { agent, since: at },
    ];
    assert_eq!(all.each_ref().map(name), ["Observation", "World", "Session", "Distrust"]);
}

/// The scripts are about something: most of them accuse somebody.
#[test]
fn most_scripts_end_in_an_accusation() {
    let accuses = |seed: &u64| changes(&script(*seed).0.play()).any(|change| change.state == State::Attributed);
    let accusing = (0..12).filter(accuses).count();
    assert!(accusing >= 9, "{accusing} of 12");
}
