//! Plays scenarios as observations: straight to what a coordinator would get, thousands of times faster than packets, with
//! the noise that a fleet in the field sees.
//!
//! Rules: a world, a scenario and a seed decide everything, byte for byte; whatever is drawn depends on who draws and what
//! for, never on the order of draws. Nothing of a scenario but what breaks, lies, falls silent or is stale can reach the
//! inputs (held by `no_name_and_no_truth_of_a_scenario_reaches_the_inputs`). What breaks means the same as in packets:
//! both ask the same selectors and the same shares. [`WARM_UP`] of healthy traffic comes first.

mod absence;
mod broken;
mod draw;
mod drive;
mod fleet;
mod lies;
mod look;
mod noise;
mod profile;
mod stream;
mod told;

pub use drive::{drive, feed};
pub use stream::Stream;

use crate::{
    case::{Case, TrueIncident},
    scenario::{Noise, Scenario, Verdict, WARM_UP},
    world::World,
};

/// The case that this scenario gives in that world.
pub fn case(world: &World, scenario: &Scenario, seed: u64) -> Case {
    let stream = Stream::new(world, scenario, seed);
    let (start, end) = (stream.start(), stream.end());
    let zero = start.after(WARM_UP);
    let incident = |(place, truth): (usize, &crate::Truth)| {
        let (at, until) = scenario.time_of(place);
        let words = |first: &String, others: &[String]| {
            std::iter::once(first).filter(|word| !word.is_empty()).chain(others).cloned().collect()
        };
        TrueIncident {
            verdict: truth.verdict,
            kinds: words(&truth.kind, &truth.accept_kinds),
            elements: words(&truth.element, &truth.accept_elements),
            onset: zero.after(at),
            end: until.map(|until| zero.after(until)),
        }
    };
    Case {
        id: scenario.id.clone(),
        family: scenario.family.clone(),
        seed,
        world: stream.told().clone(),
        truth: scenario.truth.iter().enumerate().map(incident).collect(),
        background: background(world, scenario.noise, seed, &stream),
        start,
        end,
        inputs: stream.collect(),
    }
}

/// What the noise of the case does that a watcher may rightly name.
pub fn background(world: &World, noise: Noise, seed: u64, stream: &Stream) -> Vec<TrueIncident> {
    let profile = profile::Profile::of(noise);
    let (start, end) = (stream.start().micros(), stream.end().micros());
    let events = noise::Noise::new(world, &profile, seed, start).events(end, start);
    let incident = |kind: &str, elements: Vec<String>, from: i64, until: i64| TrueIncident {
        verdict: Verdict::Neither,
        kinds: vec![kind.into()],
        elements,
        onset: faultline_attribution::Timestamp::from_micros(from),
        end: (until < end).then(|| faultline_attribution::Timestamp::from_micros(until)),
    };
    let told = |event| match event {
        noise::Event::Endpoint(place, from, until) => {
            let target = &world.targets[place];
            let elements = vec![format!("endpoint/{}", target.id), format!("owner/{}", target.owner)];
            incident("endpoint-app", elements, from, until)
        }
        noise::Event::Network(place, from, until) => {
            let (isp, asn) = (&world.agents[place].isp, world.agents[place].asn);
            let agents = world.agents.iter().filter(|agent| agent.isp == *isp);
            let elements = agents.map(|agent| format!("agent/{}", agent.id));
            let elements = elements.chain([format!("isp/{isp}"), format!("as{asn}")]).collect();
            incident("vantage-isp", elements, from, until)
        }
        noise::Event::Agent(place, from, until) => {
            incident("vantage-isp", vec![format!("agent/{}", world.agents[place].id)], from, until)
        }
    };
    events.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests;
