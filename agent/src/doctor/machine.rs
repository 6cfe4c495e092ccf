//! What this machine gives the agent: families, files, memory, roots.

use std::fs;

use nix::{
    sys::statvfs::statvfs,
    unistd::{AccessFlags, access},
};

use super::Finding;
use crate::{
    config::Config,
    probe::{Family, Roots, RootsError, has_route},
    selfcheck::{cgroup_file, open_files_limit},
    spool::{FILE, folder},
};

pub(super) fn all(concurrency: usize, config: Option<&Config>) -> Vec<Finding> {
    let memory = cgroup_file("memory.max").and_then(|limit| limit.trim().parse().ok());
    vec![
        families(has_route(Family::V4), has_route(Family::V6)),
        files(open_files_limit(), u64::try_from(concurrency).unwrap_or(u64::MAX)),
        self::memory(
            memory,
            config.and_then(|config| u64::try_from(config.spool.max_memory_bytes).ok()).unwrap_or(SPOOL),
        ),
    ]
    .into_iter()
    .chain(config.map(spool))
    .collect()
}

/// Where results would wait, and whether there is room. The spool itself is not opened: a running agent has it.
pub(super) fn spool(config: &Config) -> Finding {
    let Some(folder) = folder(config) else {
        let fix = "Leave out [spool] in_memory, and a restart of the agent or of its machine loses nothing.";
        return Finding::warn("spool", "in memory: results end with the process", fix);
    };
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(&folder);
    let quota = config.spool.max_bytes;
    let value = |told: &str| format!("{}: {told}", folder.display());
    let fix =
        |what: &str| format!("{what}, or name another folder as [spool] path: else results end with the process.");
    if let Err(error) = access(existing, AccessFlags::W_OK | AccessFlags::X_OK) {
        let told = value(&format!("{} cannot be written, {}", existing.display(), error.desc()));
        return Finding::warn("spool", told, fix("Let the agent's user write there"));
    }
    let held = fs::metadata(folder.join(FILE)).map_or(0, |file| file.len());
    let free = statvfs(existing).map_or(u64::MAX, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
    let told = value(&format!("{} MiB held, at most {}, {} free on its disk", held / MIB, quota / MIB, free / MIB));
    if free.saturating_add(held) < quota {
        return Finding::warn("spool", told, fix("Free some of the disk, or lower [spool] max_bytes"));
    }
    Finding::ok("spool", told)
}

pub(super) fn families(has_ipv4: bool, has_ipv6: bool) -> Finding {
    let without = |family, other| {
        let value = format!("{other} alone");
        let fix = format!(
            "Give this machine an {family} address and a route if its targets have one: else those runs are unmeasured."
        );
        Finding::warn("families", value, fix)
    };
    match (has_ipv4, has_ipv6) {
        (true, true) => Finding::ok("families", "IPv4 and IPv6"),
        (true, false) => without("IPv6", "IPv4"),
        (false, true) => without("IPv4", "IPv6"),
        (false, false) => Finding::fail(
            "families",
            "no route to the internet",
            "Give this machine an address and a default route: `ip route` and `ip -6 route` show none.",
        ),
    }
}

pub(super) fn files(limit: Option<u64>, concurrency: u64) -> Finding {
    let Some(limit) = limit else { return Finding::ok("files", "no limit known") };
    let (least, enough) = (OWN_FILES + concurrency, OWN_FILES + concurrency.saturating_mul(FILES_OF_RUN));
    let value = format!("{limit} may be open, {concurrency} runs at a time");
    let fix = format!(
        "Set LimitNOFILE={enough} or more in the unit, or `ulimit -n {enough}`, or lower [probe] max_concurrency."
    );
    match limit {
        limit if limit < least => Finding::fail("files", value, fix),
        limit if limit < enough => Finding::warn("files", value, fix),
        _ => Finding::ok("files", value),
    }
}

pub(super) fn memory(limit: Option<u64>, spool: u64) -> Finding {
    let Some(limit) = limit else { return Finding::ok("memory", "no limit of a cgroup") };
    let need = OWN_MEMORY.saturating_add(spool);
    let value = format!("{} MiB allowed, {} MiB may be needed", limit / MIB, need / MIB);
    if limit >= need {
        return Finding::ok("memory", value);
    }
    let fix = format!("Set MemoryMax={}M or more in the unit, or lower [spool] max_memory_bytes.", need / MIB);
    Finding::warn("memory", value, fix)
}

pub(super) fn roots(roots: &Roots) -> Finding {
    let system = || rustls_native_certs::load_native_certs().certs.len();
    match roots {
        Roots::Only(given) => Finding::ok("roots", format!("{} given ones alone", given.len())),
        Roots::System | Roots::SystemAnd(_) => match system() {
            0 => Finding::warn(
                "roots",
                "none of the system, Mozilla's as of this build",
                "Install the package ca-certificates, so that roots are renewed with the system.",
            ),
            found => Finding::ok("roots", format!("{found} of the system")),
        },
    }
}

pub(super) fn no_roots(error: &RootsError) -> Finding {
    Finding::fail(
        "roots",
        error.to_string(),
        "Install the package ca-certificates, or name a PEM file as [probe] roots.",
    )
}

/// Files that the agent has open beside its runs, and most that one run has: its connection, and its questions to several
/// name servers. Start values.
const OWN_FILES: u64 = 64;
const FILES_OF_RUN: u64 = 4;
const MIB: u64 = 1 << 20;
/// Source: the goal for an agent with 1,000 targets.
const OWN_MEMORY: u64 = 16 * MIB;
/// The default of `[spool] max_memory_bytes`.
const SPOOL: u64 = 16 * MIB;
