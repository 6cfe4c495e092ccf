//! One run: builds the world, lets things break as planned, mends all of it, and waits until everything is delivered.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use faultline_coordinator::catalog::Catalog;
use tempfile::TempDir;
use turmoil::Sim;

use super::{
    BEGAN, Failure, Report, TARGETS,
    agent::Vm,
    check::Check,
    coordinator::{Site, register},
    log::{Backup, Disk},
    plan::{self, Death, Fault, Plan},
    spool::SpoolDisk,
    wire::Gate,
};

/// Virtual time of one step: messages arrive, and processes die, between two.
const STEP: Duration = Duration::from_millis(4);

/// With everything at work an agent must be heard again within this: a dead link is found after 30 s, a connection may be
/// dialled and opened in vain for 20 s, and the longest pause is 60 s.
const BACK: Duration = Duration::from_secs(130);

/// From then on its results come in time: this long is watched.
const CALM: Duration = Duration::from_secs(10);

/// Of which this long it may still be busy with moving what is old.
const SETTLES: Duration = Duration::from_secs(4);

/// A live batch is sealed after 2 s, and what is old delays it by no more than 2 s. The rest is the way, and the disk.
const LIVE: Duration = Duration::from_millis(4_500);

/// All that waited must have come within this.
const DRAINED: Duration = Duration::from_mins(2);

static DATA: LazyLock<TempDir> = LazyLock::new(|| {
    let data = tempfile::tempdir().expect("a temporary directory");
    register(data.path(), &["agent-1", "agent-2", "agent-3", "agent-4", "agent-5"]).expect("registered");
    data
});

static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| {
    let row = |n| {
        format!("[[target]]\nid = \"t/{n}\"\nprobe = \"tcp\"\nurl = \"tcp://t{n}.example:443\"\nhosted_on = \"aws\"\n")
    };
    let text: String = (1..=TARGETS).map(row).collect();
    Arc::new(Catalog::parse("simulation", &text).expect("a catalog"))
});

const COORDINATOR: &str = "coordinator";

struct Stage<'a> {
    sim: Sim<'a>,
    site: Arc<Site>,
    vms: Vec<Arc<Vm>>,
    clone: Option<Arc<Vm>>,
    check: Check,
    backup: Option<Backup>,
    /// When hosts that died by themselves start again.
    starts: BTreeMap<String, Duration>,
}

/// A clock's setting. A few bytes for each process, which nobody gives back.
fn never_set() -> &'static AtomicI64 {
    Box::leak(Box::new(AtomicI64::new(0)))
}

/// Plays a seed.
pub(super) fn play(seed: u64, span: Duration, tell: impl Fn(&str)) -> Result<Report, Failure> {
    let plan = plan::of(seed, span);
    tell(&plan.to_string());
    let mut stage = Stage::new(seed, &plan, true);
    let fail = |stage: &Stage<'_>, what: String| {
        let at = stage.sim.elapsed();
        let until = plan.faults.iter().filter(|(when, _)| *when <= at).copied().collect();
        let plan = Plan { faults: until, ..plan.clone() }.to_string();
        Failure { seed, seconds: span.as_secs(), at: Some(at), what, plan }
    };
    let mut next = plan.faults.iter().peekable();
    while stage.sim.elapsed() < span {
        while let Some((_, fault)) = next.next_if(|(at, _)| *at <= stage.sim.elapsed()) {
            stage.breaks(*fault);
        }
        stage.step(&tell).map_err(|what| fail(&stage, what))?;
    }
    stage.heal();
    let delivered = stage.deliver(&tell);
    let (made, lost) = delivered.and_then(|()| stage.check.end()).map_err(|what| fail(&stage, what))?;
    let (took, trace) = (stage.sim.elapsed(), stage.check.trace());
    Ok(Report { seed, trace, took, made, lost, faults: plan.faults.len() })
}

impl Stage<'_> {
    fn new(seed: u64, plan: &Plan, tells: bool) -> Self {
        let epoch: SystemTime = UNIX_EPOCH + Duration::from_micros(BEGAN.unsigned_abs());
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(epoch)
            .tick_duration(STEP)
            .simulation_duration(Duration::from_hours(24))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(30))
            .build();
        let disk = Arc::new(Disk::new(seed));
        disk.set_latency(Duration::from_millis(10));
        let data: &Path = DATA.path();
        let site = Arc::new(Site::new(Arc::clone(&disk), never_set(), data.to_owned(), Arc::clone(&CATALOG)));
        let of_host = Arc::clone(&site);
        sim.host(COORDINATOR, move || Arc::clone(&of_host).run());
        let mut vm = |name: String, n: u64| {
            let disk = SpoolDisk::new(plan.spool_bytes, seed ^ n);
            let vm = Arc::new(Vm::new(name.clone(), disk, never_set(), plan.pace, seed.wrapping_mul(31) ^ n << 48));
            let of_host = Arc::clone(&vm);
            sim.host(name, move || Arc::clone(&of_host).run());
            vm
        };
        let vms: Vec<_> = (1..=plan.agents as u64).map(|n| vm(format!("agent-{n}"), n)).collect();
        let has_clone = plan.faults.iter().any(|(_, fault)| matches!(fault, Fault::Clone(_)));
        let clone = has_clone.then(|| vm("clone-1".to_owned(), 99));
        if clone.is_some() {
            sim.crash("clone-1");
        }
        let everybody = vms.iter().chain(&clone).cloned().collect();
        let check = Check::new(disk, everybody, tells);
        Self { sim, site, vms, clone, check, backup: None, starts: BTreeMap::new() }
    }

    /// One step, and what must hold after it.
    fn step(&mut self, tell: &impl Fn(&str)) -> Result<(), String> {
        self.sim.step().map_err(|error| format!("a process ended: {error}"))?;
        for line in self.check.step()? {
            tell(&line);
        }
        // Who died in the middle of a commit is gone before the next step.
        if self.site.disk.is_dead() {
            self.dies(COORDINATOR, Death::PowerCut);
        }
        for place in 0..self.vms.len() {
            if self.vms[place].disk.is_dead() {
                let name = self.vms[place].name.clone();
                self.dies(&name, Death::Killed);
            }
        }
        let now = self.sim.elapsed();
        if !self.sim.is_host_running(COORDINATOR) {
            self.starts.entry(COORDINATOR.to_owned()).or_insert(now + Duration::from_secs(20));
        }
        let due: Vec<String> = self.starts.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in &due {
            self.starts(name);
        }
        Ok(())
    }

    fn dies(&mut self, name: &str, death: Death) {
        if self.sim.is_host_running(name) {
            self.gate(name).ends(|| self.sim.crash(name));
        }
        if name == COORDINATOR {
            self.site.disk.crash();
        }
        for vm in self.vms.iter().chain(&self.clone).filter(|vm| vm.name == name) {
            vm.disk.crash(death == Death::PowerCut);
        }
        // Nobody is left dead for ever, whatever the plan says of it.
        let back = self.sim.elapsed() + Duration::from_secs(20);
        self.starts.entry(name.to_owned()).or_insert(back);
    }

    fn starts(&mut self, name: &str) {
        self.starts.remove(name);
        if !self.sim.is_host_running(name) {
            // What is left of the process that ended by itself ends first.
            self.gate(name).ends(|| self.sim.bounce(name));
        }
    }

    fn gate(&self, name: &str) -> Arc<Gate> {
        let vm = self.vms.iter().chain(&self.clone).find(|vm| vm.name == name);
        Arc::clone(vm.map_or(&self.site.gate, |vm| &vm.gate))
    }

    fn breaks(&mut self, fault: Fault) {
        let name = |place: usize| format!("agent-{}", place + 1);
        let vm = |place: usize| Arc::clone(&self.vms[place]);
        let site = Arc::clone(&self.site);
        let jump = |clock: &AtomicI64, seconds: i64| {
            clock.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
        };
        match fault {
            Fault::Agent(place, death) => self.dies(&name(place), death),
            Fault::AgentInCommit(place, commits) => vm(place).disk.die_in(commits),
            Fault::AgentStarts(place) => self.starts(&name(place)),
            Fault::Coordinator(death) => self.dies(COORDINATOR, death),
            Fault::CoordinatorInCommit(commits) => site.disk.die_in(commits),
            Fault::CoordinatorStops => site.stop(),
            Fault::CoordinatorStarts => self.starts(COORDINATOR),
            Fault::Backup => self.backup = Some(site.disk.backup()),
            Fault::Restore => {
                self.dies(COORDINATOR, Death::PowerCut);
                if let Some(backup) = self.backup.take() {
                    site.disk.restore(backup);
                    self.check.restored();
                }
            }
            Fault::Cut(place) => self.sim.partition(name(place), COORDINATOR),
            Fault::CutUp(place) => self.sim.partition_oneway(name(place), COORDINATOR),
            Fault::CutDown(place) => self.sim.partition_oneway(COORDINATOR, name(place)),
            Fault::Mend(place) => self.sim.repair(name(place), COORDINATOR),
            Fault::Hold(place) => self.sim.hold(name(place), COORDINATOR),
            Fault::Release(place) => self.sim.release(name(place), COORDINATOR),
            Fault::Latency(place, ms) => {
                self.sim.set_link_latency(name(place), COORDINATOR, Duration::from_millis(ms));
            }
            Fault::Loss(place, one_in) => {
                let rate = if one_in == 0 { 0.0 } else { 1.0 / f64::from(one_in) };
                self.sim.set_link_fail_rate(name(place), COORDINATOR, rate);
            }
            Fault::AgentFull(place, is_full) => vm(place).disk.set_full(is_full),
            Fault::AgentFails(place, is_failing) => vm(place).disk.set_failing(is_failing),
            Fault::Deny(place, happens) => vm(place).disk.deny(happens),
            Fault::Rot(place) => vm(place).disk.rot(),
            Fault::CoordinatorFull(is_full) => site.disk.set_full(is_full),
            Fault::SlowCommits(ms) => site.disk.set_latency(Duration::from_millis(ms)),
            Fault::AgentClock(place, seconds) => jump(vm(place).jumped, seconds),
            Fault::CoordinatorClock(seconds) => jump(site.jumped, seconds),
            Fault::AgentStalls(place, is_stalled) => vm(place).gate.stall(is_stalled),
            Fault::CoordinatorStalls(is_stalled) => site.gate.stall(is_stalled),
            Fault::Clone(true) => self.starts("clone-1"),
            Fault::Clone(false) => {
                self.dies("clone-1", Death::Killed);
                self.starts.remove("clone-1");
            }
        }
    }

    /// Everything works from here on.
    fn heal(&mut self) {
        if self.clone.is_some() {
            self.breaks(Fault::Clone(false));
        }
        let mends = [Fault::CoordinatorFull(false), Fault::SlowCommits(10), Fault::CoordinatorStalls(false)];
        for mend in mends {
            self.breaks(mend);
        }
        self.site.disk.spare();
        for place in 0..self.vms.len() {
            self.vms[place].disk.spare();
            let mends = [
                Fault::Release(place),
                Fault::Mend(place),
                Fault::Loss(place, 0),
                Fault::Latency(place, 5),
                Fault::AgentFull(place, false),
                Fault::AgentFails(place, false),
                Fault::AgentStalls(place, false),
            ];
            for mend in mends {
                self.breaks(mend);
            }
        }
        let names: Vec<String> = self.vms.iter().map(|vm| vm.name.clone()).collect();
        for name in names.iter().map(String::as_str).chain([COORDINATOR]) {
            self.starts(name);
        }
    }

    /// Waits until each agent is heard again, watches its results come in time, and then until all has come.
    fn deliver(&mut self, tell: &impl Fn(&str)) -> Result<(), String> {
        let healed = self.sim.elapsed();
        let mut back: BTreeMap<String, Duration> = BTreeMap::new();
        while back.len() < self.vms.len() {
            for _ in 0..25 {
                self.step(tell)?;
            }
            for vm in &self.vms {
                // A link that lost something on its way down still carries what goes up, until its silence is noticed.
                if self.check.is_heard_after(&vm.name, healed) {
                    back.entry(vm.name.clone()).or_insert(self.sim.elapsed());
                }
            }
            if self.sim.elapsed() > healed + BACK {
                let away: Vec<_> =
                    self.vms.iter().map(|vm| &vm.name).filter(|name| !back.contains_key(*name)).collect();
                return Err(format!("nothing new of {away:?} {BACK:?} after all was mended"));
            }
        }
        let calm = self.sim.elapsed();
        while self.sim.elapsed() < calm + CALM {
            self.step(tell)?;
        }
        for vm in &self.vms {
            vm.is_idle.store(true, Ordering::Relaxed);
        }
        let idle = self.sim.elapsed();
        while !self.vms.iter().all(|vm| vm.window().is_some_and(|window| window.view().is_empty()))
            || self.sim.elapsed() < idle + LIVE
        {
            for _ in 0..25 {
                self.step(tell)?;
            }
            if self.sim.elapsed() > idle + DRAINED {
                let views: Vec<_> = self.vms.iter().map(|vm| vm.window().map(|window| window.view())).collect();
                return Err(format!("not all has come {DRAINED:?} after the last result: {views:?}"));
            }
        }
        for vm in &self.vms {
            let from = back.get(&vm.name).copied().unwrap_or_default().max(healed) + SETTLES;
            let longest = self.check.longest_after(&vm.name, from, idle)?;
            if longest > LIVE {
                return Err(format!("a result of {} took {longest:?}, with all at work since {from:?}", vm.name));
            }
        }
        Ok(())
    }
}
