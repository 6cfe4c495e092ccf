//! What the kernel tells a process of itself, read from its own entries in `/proc` and its cgroup.
//!
//! Rules: a file that is absent or says something else is unknown, never an error; the texts are parsed by pure functions.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    time::Duration,
};

/// How long the process's threads waited for a CPU.
///
/// Rules: of what several threads waited within the same slice of time, the most counts; only the oldest threads are read, which
/// are those of the runtime, so that a process with many others pays nothing for them.
#[derive(Debug)]
pub(super) struct RunQueue {
    threads: Vec<Thread>,
    waited: Duration,
}

#[derive(Debug)]
struct Thread {
    name: std::ffi::OsString,
    schedstat: File,
    last_ns: u64,
}

impl RunQueue {
    /// Reads no thread until [`Self::refresh`].
    pub(super) fn new() -> Self {
        Self { threads: Vec::new(), waited: Duration::ZERO }
    }

    /// Takes up threads that are new.
    pub(super) fn refresh(&mut self) {
        let Ok(tasks) = fs::read_dir("/proc/self/task") else { return };
        // They are listed by their numbers.
        for task in tasks.flatten().take(MOST_THREADS) {
            let name = task.file_name();
            if self.threads.iter().any(|thread| thread.name == name) {
                continue;
            }
            let Ok(schedstat) = File::open(task.path().join("schedstat")) else { continue };
            if let Some(last_ns) = wait_ns(&schedstat) {
                self.threads.push(Thread { name, schedstat, last_ns });
            }
        }
    }

    /// Whether this kernel counts it.
    pub(super) fn is_known(&self) -> bool {
        !self.threads.is_empty()
    }

    /// The sum since [`Self::new`]; grows.
    pub(super) fn waited(&mut self) -> Duration {
        let mut most = 0;
        self.threads.retain_mut(|thread| {
            // A thread that has ended waits for nothing.
            let Some(now_ns) = wait_ns(&thread.schedstat) else { return false };
            most = most.max(now_ns.saturating_sub(thread.last_ns));
            thread.last_ns = now_ns;
            true
        });
        self.waited += Duration::from_nanos(most);
        self.waited
    }
}

/// The main thread, a worker for each of a few cores, and some that serve blocking calls; start value.
const MOST_THREADS: usize = 8;

fn wait_ns(schedstat: &File) -> Option<u64> {
    let mut buffer = [0; 96];
    let length = schedstat.read_at(&mut buffer, 0).ok()?;
    parse_schedstat(std::str::from_utf8(&buffer[..length]).ok()?)
}

/// Source: Documentation/scheduler/sched-stats.rst of Linux: time on a CPU, time on a run queue, slices; nanoseconds.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The share of the last ten seconds in which some thread of this process waited for a CPU or was held back by a quota;
/// `None` also where the process shares its cgroup, whose pressure is then that of others too.
pub(super) fn cpu_pressure() -> Option<f64> {
    let is_alone = cgroup_file("cgroup.procs")?.lines().count() == 1;
    is_alone.then(|| parse_pressure(&cgroup_file("cpu.pressure")?))?
}

/// Source: Documentation/accounting/psi.rst of Linux; percent there.
fn parse_pressure(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent: f64 = some.split(' ').find_map(|field| field.strip_prefix("avg10="))?.parse().ok()?;
    Some(percent / 100.0)
}

/// A file of this process's cgroup, version 2.
pub(crate) fn cgroup_file(name: &str) -> Option<String> {
    let path = parse_cgroup(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .find_map(|root| fs::read_to_string(format!("{root}{path}/{name}")).ok())
}

fn parse_cgroup(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(|path| path.trim_end_matches('/').to_owned())
}

/// Files and sockets that the process has open.
pub(crate) fn open_files() -> Option<u64> {
    let listed = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the folder that is being listed.
    u64::try_from(listed.saturating_sub(1)).ok()
}

/// How many it may have open; `None` when that is unlimited, too.
pub(crate) fn open_files_limit() -> Option<u64> {
    parse_open_files_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn parse_open_files_limit(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(parse_schedstat("1830721 55413 12\n"), Some(55_413));
        assert_eq!(parse_schedstat(""), None);
        let pressure = "some avg10=16.78 avg60=11.75 avg300=4.20 total=14002879276\nfull avg10=1.00 avg60=0 total=0\n";
        assert_eq!(parse_pressure(pressure), Some(0.1678));
        assert_eq!(parse_pressure("full avg10=1.00\n"), None);
        let cgroup = "4:memory:/a\n0::/system.slice/faultline-agent.service\n";
        assert_eq!(parse_cgroup(cgroup).as_deref(), Some("/system.slice/faultline-agent.service"));
        assert_eq!(parse_cgroup("0::/\n").as_deref(), Some(""));
        assert_eq!(parse_cgroup("4:memory:/a\n"), None);
        let limits =
            "Limit      Soft Limit  Hard Limit  Units\nMax open files            8192       524288      files\n";
        assert_eq!(parse_open_files_limit(limits), Some(8192));
        assert_eq!(parse_open_files_limit("Max open files unlimited unlimited files\n"), None);
    }

    #[test]
    fn this_process_reads_its_own() {
        let mut run_queue = RunQueue::new();
        run_queue.refresh();
        assert!(run_queue.is_known());
        let files: Vec<_> = (0..50).map(|_| File::open("/proc/self/limits").expect("a file")).collect();
        let open = open_files().expect("a count");
        assert!(open >= files.len() as u64, "{open}");
        assert!(open_files_limit().is_some_and(|limit| limit >= open));
    }
}
