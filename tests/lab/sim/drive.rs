//! Feeds an engine second by second, as a coordinator does.
//!
//! Rules: an input counts in the whole second after its arrival; inside a second inputs go in an order of their own (the
//! world, sessions, distrust, then observations by agent, target and start), so that the order of arrival inside a
//! second never decides anything; the engine is advanced at each second, in silence too.

use std::{borrow::Borrow, time::Duration};

use faultline_attribution::{Engine, Input, Output, Timestamp, WorldChange};

use crate::case::Case;

/// Plays the case into the engine; what it says, with the second in which it says it.
pub fn drive(case: &Case, mut engine: Engine) -> Vec<(Timestamp, Output)> {
    let mut said = Vec::new();
    let inputs = case.inputs.iter().map(|(at, input)| (*at, input));
    feed(&mut engine, (case.start, case.end), inputs, |now, output| said.push((now, output)));
    said
}

/// Feeds inputs in order of arrival, from the first second to the last; `hear` gets what the engine says.
pub fn feed<B: Borrow<Input>>(
    engine: &mut Engine,
    (start, end): (Timestamp, Timestamp),
    inputs: impl IntoIterator<Item = (Timestamp, B)>,
    mut hear: impl FnMut(Timestamp, Output),
) {
    let mut inputs = inputs.into_iter().peekable();
    let mut second = Vec::new();
    let mut now = start;
    while now < end {
        now = now.after(Duration::from_secs(1));
        while let Some((_, input)) = inputs.next_if(|(at, _)| *at < now) {
            second.push(input);
        }
        second.sort_by(|one, other| place(one.borrow()).cmp(&place(other.borrow())));
        for input in second.drain(..) {
            engine.apply(input.borrow());
        }
        for output in engine.advance(now) {
            hear(now, output);
        }
    }
}

/// Where an input stands in its second.
fn place(input: &Input) -> (u8, &str, &str, Timestamp) {
    match input {
        Input::World(change) => match change {
            WorldChange::Target(target, _) | WorldChange::TargetRemoved(target) | WorldChange::Learned(target, _) => {
                (0, "", target.as_str(), Timestamp::default())
            }
            WorldChange::Vantage(agent, _) | WorldChange::VantageRemoved(agent) => {
                (0, agent.as_str(), "", Timestamp::default())
            }
        },
        Input::Session(change) => (1, change.agent.as_str(), "", change.at),
        Input::Distrust { agent, since } => (2, agent.as_str(), "", *since),
        Input::Remark(remark) => (2, "", remark.of.incident.as_str(), remark.of.at),
        Input::Observation(seen) => (3, seen.agent.as_str(), seen.target.as_str(), seen.at),
    }
}
