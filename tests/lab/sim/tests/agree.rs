//! What a break means in packets and in observations.

use std::{sync::Arc, time::Duration};

use faultline_attribution::{Layer, ProbeKind};

use super::*;
use crate::{
    net::{Asker, ConnectEffect, Effect, FaultBoard, HttpEffect, Standing, TlsEffect},
    scenario::{Break, Way, built_in},
    sim::{
        broken::{Broken, Run},
        fleet,
    },
    world::{Agent, Target},
};

/// Each break of each scenario that can be played both ways, alone and as if everybody suffered, at each pair: the first
/// layer that fails is the same.
#[test]
fn a_break_hits_the_same_pairs_at_the_same_layer_in_packets_and_in_observations() {
    let world = Arc::new(World::standard());
    let mut compared = 0;
    for scenario in built_in(&world).expect("all read") {
        if !(scenario.can_be_played_as(Way::Packets) && scenario.can_be_played_as(Way::Observations)) {
            continue;
        }
        for broken in scenario.breaks.iter().filter(|broken| !broken.fault.path) {
            let mut broken = Break { until: None, rhythm: None, ..broken.clone() };
            broken.fault.share = 1.0;
            let board = FaultBoard::new(Arc::clone(&world), 1);
            board.set(broken.fault.clone());
            // A minute later no resolver holds an old answer.
            let at = Some(broken.at + Duration::from_mins(2));
            let alone = Scenario { breaks: vec![broken], ..scenario.clone() };
            let plan = Broken::new(&world, &alone, 1);
            for (agent, looker) in world.agents.iter().enumerate() {
                for (target, looked) in world.targets.iter().enumerate() {
                    // Hidden needs are of observations alone.
                    if !looked.hidden.is_empty() {
                        continue;
                    }
                    let run = Run { agent, target, number: 3, at };
                    let of_plan = Layer::ALL.iter().copied().find(|layer| plan.meet(run, *layer).blow.is_some());
                    let walked = of_plan.filter(|layer| walks(looked, *layer));
                    assert_eq!(
                        walked,
                        in_packets(&board, looker, looked),
                        "{} from {} at {}: {}",
                        scenario.id,
                        looker.id,
                        looked.id,
                        alone.breaks[0].fault
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1000);
}

fn walks(target: &Target, layer: Layer) -> bool {
    match fleet::kind(target) {
        ProbeKind::Dns => layer == Layer::Dns,
        ProbeKind::Tcp => layer <= Layer::Connect,
        ProbeKind::Tls => layer <= Layer::Tls,
        ProbeKind::Https | ProbeKind::Http3 => true,
    }
}

/// The first layer at which servers that ask the board would fail that agent.
fn in_packets(board: &FaultBoard, agent: &Agent, target: &Target) -> Option<Layer> {
    let is_quic = fleet::kind(target) == ProbeKind::Http3;
    let links = if fleet::is_direct(target) { 1 } else { target.names.len() };
    let mut names = target.names.iter().take(links);
    let asker = if fleet::is_direct(target) { Asker::Agent } else { Asker::Resolver };
    let answer = names.find_map(|alias| board.dns((agent, asker), &alias.operator, Some((target, alias))));
    let troubles = board.connection(agent, target);
    let layer = match answer {
        Some(crate::net::DnsEffect::WrongAnswer) if fleet::kind(target) != ProbeKind::Dns => Some(Layer::Connect),
        Some(_) => Some(Layer::Dns),
        None if board.standing(agent, target) != Standing::Open || troubles.is_reset => Some(Layer::Connect),
        None => match (troubles.tls, troubles.http) {
            (Some(TlsEffect::Timeout | TlsEffect::Reset), _) if is_quic => Some(Layer::Connect),
            (Some(TlsEffect::Slow(_)), None) | (None, Some(HttpEffect::Slow(_)) | None) => None,
            (Some(TlsEffect::Slow(_)) | None, Some(_)) => Some(Layer::Http),
            (Some(_), _) => Some(Layer::Tls),
        },
    };
    layer.filter(|layer| walks(target, *layer))
}

#[test]
fn packets_say_no_to_what_they_cannot_show() {
    assert!(!Effect::Connect(ConnectEffect::Unreachable).is_shown_by_packets());
    assert!(Effect::Connect(ConnectEffect::Timeout).is_shown_by_packets());
}
