//! Results that come late, from a spool that was cut off: they complete the record of what is open, and open nothing.

use super::{super::*, sim::Sim};
use crate::{Cause, Layer};

/// What the agents would have said of Azure's eastus in the last `seconds`, told now.
fn tell(sim: &mut Sim, agents: &[&str], seconds: u64, is_late: bool) {
    for (t, (target, _)) in
        super::targets().into_iter().filter(|(_, t)| t.region.as_deref() == Some("eastus")).enumerate()
    {
        for agent in agents {
            for ago in (t as u64..seconds).step_by(10) {
                let at = sim.now.before(Duration::from_secs(ago + 3));
                let outcome = Outcome::Failed { layer: Layer::Connect, cause: Cause::ConnectTimeout };
                let observation = Observation::new((*agent).into(), target.clone(), at, outcome);
                let observation = Observation { received_at: sim.now, is_late, ..observation };
                sim.engine.apply(&Input::Observation(observation));
            }
        }
    }
}

const OUTSIDE: [&str; 6] = ["bell-1", "comcast-1", "hetzner-1", "ovh-1", "bt-1", "ntt-1"];

#[test]
fn failures_that_come_late_open_nothing_however_many_they_are() {
    let opened = |is_late| {
        let mut sim = Sim::new();
        sim.healthy(90);
        tell(&mut sim, &OUTSIDE, 60, is_late);
        sim.healthy(30);
        !sim.changes.is_empty()
    };
    assert!(opened(false), "the same in time would have opened an incident");
    assert!(!opened(true));
}

#[test]
fn failures_that_come_late_complete_the_record_of_an_open_incident() {
    let mut sim = Sim::new();
    sim.healthy(90);
    sim.muted = ["ovh-1", "bt-1", "ntt-1"].map(AgentId::from).to_vec();
    let fault: super::Fault<'_> = &|_, _, _, target, _| {
        (target.region.as_deref() == Some("eastus")).then_some((Layer::Connect, Cause::ConnectTimeout))
    };
    sim.run(60, fault);
    let groups = |sim: &Sim| sim.engine.incidents().map(|change| change.failing_groups).collect::<Vec<_>>();
    let before = groups(&sim);
    tell(&mut sim, &["ovh-1", "bt-1", "ntt-1"], 50, true);
    sim.run(20, fault);
    let after = groups(&sim);
    assert_eq!((before.len(), after.len()), (1, 1), "no other is opened");
    assert!(after[0] >= before[0] + 3, "{before:?} became {after:?}");
}
