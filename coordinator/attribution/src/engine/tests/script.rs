//! Scripts: what an engine is told, tick by tick, made once and then played, shuffled, renamed, shifted or interrupted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::*,
    sim::{INTERVAL_S, cdn_of, targets, vantages},
};
use crate::{
    AgentId, Target, TargetId, Vantage, World,
    dice::hash,
    vocabulary::ProbeKind,
    world::{Learned, WorldChange},
};

/// When scripts begin, in seconds of the Unix epoch: at a multiple of the interval.
pub(super) const START_S: u64 = 1_761_752_010;

/// What an engine is told.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) world: World,
    pub(super) learned: Vec<(TargetId, Learned)>,
    /// For each tick, what came in before it.
    pub(super) ticks: Vec<(Timestamp, Vec<Input>)>,
}

/// One look: who, at what, in which second since the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'a> {
    pub(super) agent: &'a AgentId,
    pub(super) vantage: &'a Vantage,
    pub(super) id: &'a TargetId,
    pub(super) target: &'a Target,
    pub(super) second: u64,
}

/// How a look ends: the layer at which it fails.
pub(super) type Failing<'a> = &'a dyn Fn(Look<'_>) -> Option<Layer>;

/// Something that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A region of a cloud: what is behind a CDN shows it at `http`.
    Region(&'static str, &'static str, Layer),
    Cdn(&'static str, Layer),
    Operator(&'static str),
    Target(&'static str, Layer),
    Identity(&'static str),
    /// Everything that a cloud hosts or fronts.
    Everything(&'static str, Layer),
    /// The agents of an access network lose everything.
    Isp(&'static str),
    /// The agents inside a cloud lose everything.
    Inside(&'static str),
}

impl Trouble {
    /// The layer at which it makes the look fail.
    pub(super) fn hits(self, look: Look<'_>) -> Option<Layer> {
        let Look { vantage, id, target, .. } = look;
        let cdn = cdn_of(id, target);
        let seen_at = |layer: Layer| if cdn.is_some() { Layer::Http } else { layer };
        let (is_hit, layer) = match self {
            Self::Region(cloud, region, layer) => {
                (target.hosted_on == cloud && target.region.as_deref() == Some(region), seen_at(layer))
            }
            Self::Cdn(name, layer) => (cdn.as_deref() == Some(name), layer),
            Self::Operator(name) => (target.dns_operator.as_deref() == Some(name), Layer::Dns),
            Self::Target(name, layer) => (id.as_str() == name, layer),
            Self::Identity(name) => (target.identity.as_deref() == Some(name), Layer::Http),
            Self::Everything(cloud, layer) => {
                let fronts = cdn.as_ref().is_some_and(|cdn| cdn.starts_with(cloud));
                (target.hosted_on == cloud || fronts, layer)
            }
            Self::Isp(name) => (vantage.isp.as_deref() == Some(name), Layer::Dns),
            Self::Inside(cloud) => (vantage.is_in(cloud), Layer::Connect),
        };
        is_hit.then_some(layer)
    }
}

/// Whether a look fails by chance, at which layer: so many of 10,000.
pub(super) fn noise(seed: u64, of_10_000: u64, look: Look<'_>) -> Option<Layer> {
    let rolled = hash(seed, &[look.agent.as_str(), look.id.as_str()], look.second);
    let layer = [Layer::Dns, Layer::Connect, Layer::Tls, Layer::Http][usize::from((rolled >> 60) as u8) % 4];
    (rolled % 10_000 < of_10_000).then_some(layer)
}

/// The world of the simulation, its identity providers added.
pub(super) fn world() -> World {
    let mut targets: BTreeMap<TargetId, Target> = targets().into_iter().collect();
    for (id, cloud, region, owner, identity) in [
        ("login-a", "aws", "us-east-1", "amazon", "cognito"),
        ("login-z", "azure", "eastus", "microsoft", "entra-id"),
        ("bank-a", "aws", "eu-west-1", "bank-a", "cognito"),
        ("bank-z", "azure", "westeurope", "bank-z", "entra-id"),
        ("club-a", "other", "", "club-a", "cognito"),
        ("club-z", "other", "", "club-z", "entra-id"),
    ] {
        let mut target = super::target(cloud, region, id, owner);
        target.identity = Some(identity.into());
        target.probe = ProbeKind::Https;
        targets.insert(id.into(), target);
    }
    World { targets, vantages: vantages().into_iter().collect() }
}

impl Script {
    /// Every agent of the world looks at every target once in each interval; failures are known three seconds later.
    pub(super) fn new(world: World, seconds: u64, failing: Failing<'_>) -> Self {
        let at = |second: u64| Timestamp::from_micros(i64::try_from(START_S + second).expect("fits") * 1_000_000);
        let ticks = seconds + 4;
        let mut all: Vec<(Timestamp, Vec<Input>)> = (0..ticks).map(|second| (at(second + 1), Vec::new())).collect();
        for (agent, vantage) in &world.vantages {
            for (id, target) in &world.targets {
                let phase = hash(7, &[agent.as_str(), id.as_str()], 0) % INTERVAL_S;
                for second in (phase..seconds).step_by(usize::try_from(INTERVAL_S).expect("fits")) {
                    let layer = failing(Look { agent, vantage, id, target, second });
                    let outcome =
                        layer.map_or(Outcome::Passed, |layer| Outcome::Failed { layer, cause: cause_at(layer) });
                    let heard = second + if layer.is_some() { 3 } else { 0 };
                    let observation = Observation::new(agent.clone(), id.clone(), at(second), outcome);
                    let observation = Observation { received_at: at(heard), ..observation };
                    all[usize::try_from(heard).expect("fits")].1.push(Input::Observation(observation));
                }
            }
        }
        let learned = Learned { cdn: Some("azure/front-door".into()), ..Learned::default() };
        Self { world, learned: vec![("air".into(), learned)], ticks: all }
    }

    /// An engine that knows the world of the script.
    pub(super) fn engine(&self) -> Engine {
        let mut engine = Engine::new(self.world.clone(), Settings::default());
        for (id, learned) in self.learned.iter().filter(|(id, _)| self.world.targets.contains_key(id)) {
            engine.apply(&Input::World(WorldChange::Learned(id.clone(), learned.clone())));
        }
        engine
    }

    /// Tells all of it to a fresh engine.
    pub(super) fn play(&self) -> Vec<Output> {
        self.play_to(&mut self.engine())
    }

    /// Tells all of it to an engine.
    pub(super) fn play_to(&self, engine: &mut Engine) -> Vec<Output> {
        self.ticks.iter().flat_map(|(now, inputs)| tick(engine, *now, inputs)).collect()
    }
}

/// One tick.
pub(super) fn tick(engine: &mut Engine, now: Timestamp, inputs: &[Input]) -> Vec<Output> {
    for input in inputs {
        engine.apply(input);
    }
    engine.advance(now)
}

/// A cause that fits the layer.
fn cause_at(layer: Layer) -> Cause {
    match layer {
        Layer::Dns => Cause::DnsTimeout,
        Layer::Connect => Cause::ConnectTimeout,
        Layer::Tls => Cause::TlsTimeout,
        Layer::Http => Cause::HttpStatus,
    }
}

/// The revisions of incidents among the outputs.
pub(super) fn changes(outputs: &[Output]) -> impl Iterator<Item = &Change> {
    outputs.iter().filter_map(|output| if let Output::Change(change) = output { Some(&**change) } else { None })
}

/// An output as JSON, for comparison field by field.
pub(super) fn as_json(output: &Output) -> Value {
    let json = match output {
        Output::Change(change) => serde_json::to_value(change),
        Output::Cell(cell) => serde_json::to_value(cell),
        Output::Visibility(visibility) => serde_json::to_value(visibility),
        Output::LookAgain(look) => serde_json::to_value(look),
    };
    json.expect("outputs are JSON")
}

/// The same JSON with other words.
pub(super) fn with_words(value: &Value, word: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(word(text)),
        Value::Array(all) => Value::Array(all.iter().map(|value| with_words(value, word)).collect()),
        Value::Object(all) => {
            Value::Object(all.iter().map(|(key, value)| (word(key), with_words(value, word))).collect())
        }
        other => other.clone(),
    }
}

/// Where two values differ, numbers by more than a billionth; `None` where they do not.
pub(super) fn difference(ours: &Value, theirs: &Value) -> Option<String> {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64()?, b.as_f64()?);
            ((a - b).abs() > 1e-9).then(|| format!("{a} against {b}"))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let found = a.iter().zip(b).enumerate();
            found.into_iter().find_map(|(at, (a, b))| Some(format!("[{at}] {}", difference(a, b)?)))
        }
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().find_map(|(key, a)| Some(format!("{key}: {}", difference(a, &b[key])?)))
        }
        (a, b) => (a != b).then(|| format!("{a} against {b}")),
    }
}

/// The first output in which two plays differ; `None` where they are the same.
pub(super) fn first_difference(ours: &[Value], theirs: &[Value]) -> Option<String> {
    let mut both = ours.iter().zip(theirs).enumerate();
    let found = both.find_map(|(number, (a, b))| Some(format!("output {number}: {}\n{a}\n{b}", difference(a, b)?)));
    found.or_else(|| (ours.len() != theirs.len()).then(|| format!("{} outputs against {}", ours.len(), theirs.len())))
}

/// Outputs in an order that no name decides: by time and content. Of rows of evidence only the weights stay: which of
/// equally heavy ones are kept, their names settle.
pub(super) fn in_order(mut outputs: Vec<Value>) -> Vec<Value> {
    let rows = outputs.iter_mut().filter_map(|output| output.get_mut("evidence")?.as_array_mut()).flatten();
    for row in rows.filter_map(Value::as_object_mut) {
        row.retain(|field, _| field == "weight");
    }
    outputs.sort_by_key(|value| {
        let at = ["at", "changed_at", "evaluated_through"].iter().find_map(|field| value.get(field)?.as_str());
        (at.map(str::to_owned), value.to_string())
    });
    outputs
}
