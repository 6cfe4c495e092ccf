//! Whether the agent can report: its identity, the way to the coordinator, and what a running agent knows of its clock.

use faultline_proto::clock::Clock;

use super::{Finding, PATIENCE};
use crate::{config::Config, status, uplink};

pub(super) async fn all(config: &Config, clock: Clock) -> Vec<Finding> {
    if let Err(error) = uplink::check(&config.coordinator) {
        let fix =
            "Put the files that `faultline agent issue` wrote where the configuration says, readable by the agent.";
        return vec![Finding::fail("identity", error.to_string(), fix)];
    }
    let (reach, running) = tokio::join!(reach(config), running(config));
    [Some(validity(config, clock)), Some(reach), running].into_iter().flatten().collect()
}

fn validity(config: &Config, clock: Clock) -> Finding {
    let file = config.coordinator.certificate.display();
    let days =
        uplink::valid_until(&config.coordinator).map(|until| (until - clock.now_micros() / 1_000_000).div_euclid(DAY));
    let fix = "Issue a new one at the coordinator with `faultline agent issue`, and put it in place of this one.";
    match days {
        None => Finding::warn("identity", format!("{file}: until when it is valid cannot be read"), fix),
        Some(days) if days < 0 => Finding::fail("identity", format!("{file} ended {} days ago", -days), fix),
        Some(days) if days < SOON => Finding::warn("identity", format!("{file} ends in {days} days"), fix),
        Some(days) => Finding::ok("identity", format!("{file}, {days} days left")),
    }
}

async fn reach(config: &Config) -> Finding {
    let (what, endpoint) = ("coordinator", config.coordinator.endpoint.to_string());
    let endpoint = endpoint.trim_end_matches('/');
    let reached = tokio::time::timeout(PATIENCE, uplink::greet(&config.coordinator, config.probe.source_address)).await;
    match reached {
        Ok(Ok(())) => Finding::ok(what, format!("{endpoint} accepts this identity")),
        Ok(Err(error)) => Finding::fail(
            what,
            format!("{endpoint}: {error}"),
            "Start the coordinator and let its port out; if it answered, ca.pem or the agent's certificate is not of this coordinator.",
        ),
        Err(_) => Finding::fail(
            what,
            format!("{endpoint}: no answer within {} s", PATIENCE.as_secs()),
            "Let its port out of this network, and in at the coordinator.",
        ),
    }
}

/// What the running agent has measured, when there is one.
async fn running(config: &Config) -> Option<Finding> {
    let status = status::ask(config.status_socket.as_deref()?).await.ok()?;
    let (offset, bound) = (status.self_check.clock_offset_ms?, status.self_check.clock_bound_ms?);
    let side = if offset < 0.0 { "behind" } else { "ahead of" };
    let value = format!("{:.0} ms {side} the coordinator's, give or take {bound:.0} ms (running agent)", offset.abs());
    let is_off = status.impairments.iter().any(|impairment| impairment == "clock_suspect");
    let fix = "Let both machines keep the time (`timedatectl set-ntp true`, or chrony): one of them is wrong.";
    Some(if is_off { Finding::fail("clock", value, fix) } else { Finding::ok("clock", value) })
}

const DAY: i64 = 86_400;
/// Days in which somebody can be expected to look; start value.
const SOON: i64 = 30;
