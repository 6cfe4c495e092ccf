//! What a process has used, as the kernel tells it.
//!
//! Rule: a figure that the kernel does not give is an error, never a zero.

use std::{fs, time::Duration};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// CPU that all threads of the process have used, in user and kernel mode, nanoseconds.
///
/// Source: `/proc/PID/task/*/schedstat`, first field; `/proc/PID/stat` counts in hundredths of a second, which is too coarse for
/// half a second of probing. Threads that have ended are not in it: none of those who are measured ends any while it probes.
pub fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let tasks = format!("/proc/{pid}/task");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
        // A thread that ends meanwhile has no file any more.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        sum +=
            text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).context("schedstat without a time")?;
    }
    Ok(sum)
}

/// CPU that the process has used, with threads that have ended, to a hundredth of a second.
///
/// Source: `/proc/PID/stat`, fields 14 and 15, in `USER_HZ`, which is 100 on every Linux that user space sees (proc(5)).
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The program's name may hold anything but ends with the last parenthesis.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>();
    Ok(Duration::from_millis(10 * ticks.with_context(|| format!("{path} without times"))?))
}

/// Memory of a process, KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident.
    pub rss: u64,
    /// Most that ever was.
    pub peak: u64,
    /// Of the resident, what is no file's: heap and stacks.
    pub anonymous: u64,
}

/// What the process holds now.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|kib| kib.trim().parse().ok());
        kib.with_context(|| format!("{path} has no {name}"))
    };
    Ok(Memory { rss: field("VmRSS")?, peak: field("VmHWM")?, anonymous: field("RssAnon")? })
}

/// The machine as the table names it: processor, cores, kernel, load.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("an unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    format!("{model}, {cores} cores, Linux {}, load before: {load}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn work_shows_as_cpu_and_memory() {
        let own = std::process::id();
        let (cpu, held) = (cpu_ns(own).expect("cpu"), memory(own).expect("memory"));
        let block = black_box(vec![1_u8; 64 << 20]);
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(black_box(sum), 64 << 20);
        let (later, now) = (cpu_ns(own).expect("cpu"), memory(own).expect("memory"));
        assert!(later > cpu, "{later} after {cpu}");
        let whole = super::cpu(own).expect("cpu");
        assert!(whole.as_nanos() + 20_000_000 > u128::from(later), "{whole:?} beside {later} ns");
        assert!(now.anonymous > held.anonymous + (32 << 10), "{now:?} after {held:?}");
        drop(block);
    }

    #[test]
    fn a_process_that_is_not_there_has_used_nothing_that_we_know_of() {
        assert!(cpu_ns(u32::MAX).is_err() && cpu(u32::MAX).is_err() && memory(u32::MAX).is_err());
    }
}
