//! What joining comes past, told as it happens.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use faultline_proto::types::v1::Vantage;
use serde::{Deserialize, Serialize};

use crate::{
    doctor::Grade,
    probe::{Family, has_route},
    selfcheck::ClockError,
    status::Identity,
    uplink::reach::Attempt,
};

/// One step.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Step {
    /// How it went.
    pub grade: Grade,
    /// Which: `clock`, `coordinator`, `vantage`, `udp/443`, `identity`, `session` or `first batch`.
    pub what: String,
    /// What was seen.
    pub value: String,
    /// What to do; absent when it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Step {
    pub(crate) fn ok(what: &str, value: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, what: what.to_owned(), value: value.into(), fix: None }
    }

    pub(crate) fn warn(what: &str, value: impl Into<String>, fix: &str) -> Self {
        Self { grade: Grade::Warn, what: what.to_owned(), value: value.into(), fix: Some(fix.to_owned()) }
    }

    pub(crate) fn fail(what: &str, value: impl Into<String>, fix: &str) -> Self {
        Self { grade: Grade::Fail, what: what.to_owned(), value: value.into(), fix: Some(fix.to_owned()) }
    }

    /// The step as a terminal shows it, with the end of each line.
    pub fn text(&self) -> String {
        let grade = match self.grade {
            Grade::Ok => "[ok]",
            Grade::Warn => "[warn]",
            Grade::Fail => "[fail]",
        };
        let mut text = format!("{grade:<6} {:<16} {}\n", self.what, self.value);
        if let Some(fix) = &self.fix {
            writeln!(text, "{:<23} fix: {fix}", "").ok();
        }
        text
    }
}

/// How far the clock is off.
pub(super) fn clock(error: ClockError) -> Step {
    let value = format!("offset {:+.3} s (limit {} s)", seconds(error.offset_us), LIMIT.as_secs());
    if error.certain_us().unsigned_abs() > u64::try_from(LIMIT.as_micros()).unwrap_or(u64::MAX) {
        Step::warn("clock", value, CLOCK_FIX)
    } else {
        Step::ok("clock", value)
    }
}

/// By this machine's clock the certificate is not valid yet.
pub(super) fn certificate_of_later(error: ClockError, valid_from_s: i64) -> Step {
    let from = UNIX_EPOCH + Duration::from_secs(u64::try_from(valid_from_s).unwrap_or(0));
    let from = humantime::format_rfc3339_seconds(from);
    let value = format!("offset {:+.3} s: by it the certificate is valid only from {from}", seconds(error.offset_us));
    Step::fail("clock", value, CLOCK_FIX)
}

/// By this machine's clock the coordinator's certificate is not valid.
pub(super) fn certificate_of_another_time(why: &str) -> Step {
    Step::fail("clock", format!("by it the coordinator's certificate is not valid: {why}"), CLOCK_FIX)
}

/// Which addresses were tried, and whose root the coordinator has.
pub(super) fn coordinator(place: &str, attempts: &[Attempt]) -> Step {
    Step::ok("coordinator", format!("{place}  {}, CA pin matches", told(attempts)))
}

/// Nobody answered, or not as a coordinator does.
pub(super) fn no_coordinator(place: &str, attempts: &[Attempt], why: &str) -> Step {
    let tried = if attempts.is_empty() { String::new() } else { format!("  {}", told(attempts)) };
    Step::fail(
        "coordinator",
        format!("{place}{tried}: {why}"),
        "Let its port out of this network, and see that `faultline serve` runs there; `faultline-agent doctor` looks further.",
    )
}

/// It answered, and is another.
pub(super) fn another_coordinator(place: &str, why: &str) -> Step {
    Step::fail(
        "coordinator",
        format!("{place}  CA pin does not match: {why}"),
        "Ask whoever made the join string for the address; if that is right, somebody is in between.",
    )
}

/// It refused.
pub(super) fn refused(why: &str) -> Step {
    Step::fail("identity", why, "Make another join string at the coordinator with `faultline token create`.")
}

/// What the operator says of where the agent is, and which families have a way out.
pub(super) fn vantage(claims: &Vantage) -> Step {
    let mut said: Vec<String> = [&claims.hosted_on, &claims.region, &claims.isp, &claims.country, &claims.geography]
        .into_iter()
        .filter(|claim| !claim.is_empty())
        .cloned()
        .collect();
    if claims.asn != 0 {
        said.push(format!("AS{}", claims.asn));
    }
    let said =
        if said.is_empty() { "as the join string has it".to_owned() } else { format!("{} (claimed)", said.join(" ")) };
    let families: Vec<&str> = [(has_route(Family::V4), "v4"), (has_route(Family::V6), "v6")]
        .into_iter()
        .filter_map(|(has, name)| has.then_some(name))
        .collect();
    if families.is_empty() {
        return Step::warn(
            "vantage",
            format!("{said}, no route out"),
            "Give this machine a default route: all it can probe is its own network.",
        );
    }
    Step::ok("vantage", format!("{said}  {}", families.join(" ")))
}

/// Who the agent is.
pub(crate) fn identity(identity: &Identity) -> Step {
    let renews = identity.renews_at.as_ref().map(|at| format!("renews {at}, ")).unwrap_or_default();
    Step::ok("identity", format!("{}  {renews}expires {}", identity.name, identity.expires_at))
}

fn told(attempts: &[Attempt]) -> String {
    let told = attempts.iter().map(|Attempt { address, took, error }| {
        let family = if address.is_ipv6() { "v6" } else { "v4" };
        match error {
            None => format!("{family} {} ms", took.as_millis()),
            Some(error) => format!("{family} {} failed ({error})", address.ip()),
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

#[expect(clippy::cast_precision_loss, reason = "people read it; a double holds 200 years of microseconds")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1_000_000.0
}

/// More is warned of: certificates and the times of results rest on the clock.
const LIMIT: Duration = Duration::from_secs(1);
const CLOCK_FIX: &str = "Let this machine keep the time: `timedatectl set-ntp true`, or chrony; then join again.";
