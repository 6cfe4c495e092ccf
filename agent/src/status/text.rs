//! A snapshot for people: one subject a line, its figures after it.

use std::{fmt::Write as _, time::Duration};

use super::{Session, Status};

/// The status as a terminal shows it.
pub fn text(status: &Status) -> String {
    let mut lines = String::new();
    let mut line = |subject: &str, told: &str| writeln!(lines, "{subject:<13} {told}").ok();
    line("agent", &format!("{}, up {}", status.version, span(status.uptime_s)));
    let coordinator = &status.coordinator;
    if coordinator.session == Session::NotJoined {
        line("identity", "not joined: run faultline-agent join");
        if let Some(why) = &coordinator.error {
            line("", why);
        }
        return lines;
    }
    if let Some(identity) = &status.identity {
        let name = if identity.name.is_empty() { "(no name)" } else { &identity.name };
        let ends = if identity.is_expired { "EXPIRED" } else { "expires" };
        let renews = identity.renews_at.as_ref().map(|at| format!("renews from {at}, ")).unwrap_or_default();
        line("identity", &format!("{name}  {renews}{ends} {}", identity.expires_at));
    }
    let since = span(coordinator.since_s);
    let session = match coordinator.session {
        Session::NotJoined | Session::Connecting => format!("not connected yet, for {since}"),
        Session::Up => format!("up for {since}"),
        Session::Down => format!("DOWN for {since}, tried again"),
    };
    let acked = coordinator
        .last_ack_s
        .map_or_else(|| "nothing confirmed yet".to_owned(), |s| format!("last ack {} ago", span(s)));
    line("coordinator", &format!("{}  {session}, {acked}", coordinator.endpoint));
    if !matches!(coordinator.standing.as_str(), "" | "active") {
        line("standing", &format!("{}: {}", coordinator.standing, coordinator.standing_reason));
    }
    if let Some(error) = &coordinator.error {
        line("", error);
    }
    if let Some(trouble) = &status.identity_trouble {
        line("identity", &format!("certificate not renewed, tried again: {trouble}"));
    }
    if status.is_other_machine {
        line("machine", "not that of its last start: a copy of an agent's disk, or changed hardware");
    }
    let assignments = &status.assignments;
    let (in_force, version, refused) = (assignments.in_force, assignments.version, assignments.refused);
    line("assignments", &format!("{in_force} in force (version {version}), {refused} refused"));
    for refusal in &assignments.refusals {
        line("", &format!("slot {}: {}", refusal.slot, refusal.reason));
    }
    if refused > assignments.refusals.len() {
        line("", &format!("and {} more", refused - assignments.refusals.len()));
    }
    let runs = &status.runs;
    let lag = runs.worst_lag_ms;
    line(
        "runs",
        &format!("{} made, {} in flight, {} skipped; worst lag {lag} ms", runs.made, runs.in_flight, runs.skipped),
    );
    let unmeasured: Vec<_> = runs.unmeasured.iter().map(|(reason, runs)| format!("{runs} {reason}")).collect();
    if !unmeasured.is_empty() {
        line("", &format!("unmeasured: {}", unmeasured.join(", ")));
    }
    let spool = &status.spool;
    let oldest = spool.oldest_s.map_or_else(String::new, |s| format!(", oldest {} old", span(s)));
    let place = match &spool.folder {
        Some(folder) => folder.display().to_string(),
        None => "in memory: results end with the process".to_owned(),
    };
    line("spool", &format!("{place}, {} bytes", spool.bytes));
    let waiting = format!("{} live and {} backfill batches wait", spool.live_batches, spool.backfill_batches);
    line("", &format!("{waiting}, {} in memory{oldest}", spool.line_batches));
    if let Some(trouble) = &spool.trouble {
        line("", &format!("its disk takes no more: {trouble}"));
    }
    let lost: Vec<_> = spool.lost_results.iter().map(|(reason, results)| format!("{results} {reason}")).collect();
    if !lost.is_empty() {
        line("", &format!("of {} results lost: {}", spool.made_results, lost.join(", ")));
    }
    let impairments = status.impairments.join(", ");
    line("self-check", if impairments.is_empty() { "fine" } else { &impairments });
    let check = &status.self_check;
    let (wait, pressure, lag) = (percent(check.cpu_wait), percent(check.cpu_pressure), check.timer_lag_ms);
    line("  cpu", &format!("waited {wait}, pressure {pressure}, timers up to {lag} ms late"));
    let (open, limit) = (count(check.open_files), count(check.open_files_limit));
    line("  files", &format!("{open} open of {limit}"));
    let has = |has| if has { "yes" } else { "no" };
    line("  families", &format!("ipv4 {}, ipv6 {}", has(check.has_ipv4), has(check.has_ipv6)));
    let clock = match (check.clock_offset_ms, check.clock_bound_ms) {
        (Some(offset), Some(bound)) => {
            let side = if offset < 0.0 { "behind" } else { "ahead of" };
            format!("{:.1} ms {side} the coordinator's, give or take {bound:.1} ms", offset.abs())
        }
        _ => "unknown until there was a session".to_owned(),
    };
    line("  clock", &clock);
    lines
}

fn span(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "unknown".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn count(count: Option<u64>) -> String {
    count.map_or_else(|| "unknown".to_owned(), |count| count.to_string())
}
