//! Servers that mean harm, and what a run against each costs in memory and time. Counted by the allocator, server and all.

mod http1;
mod http2;
mod http3;
mod names;
mod servers;

use std::time::{Duration, Instant};

use faultline_agent::{
    policy::{Policy, Ports},
    probe::{Outcome, ProbeSettings, Prober, ResolverChoice, Roots},
};
use faultline_proto::{
    clock::Clock,
    convert::duration,
    types::v1::{Assignment, Cause, HttpSpec, Layer, assignment::Spec},
};

use self::servers::{Authority, Server, authority};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What a run may take, its server included.
const MAX_BYTES: usize = 256 * 1024;

/// Limit of a run, and what it may take beyond; ten times as much where the machine is busy.
const TIMEOUT: Duration = Duration::from_millis(500);
const GRACE: Duration = Duration::from_secs(1);

/// One after the other: they are counted together.
#[tokio::test]
async fn no_server_costs_more_than_a_run_may_take() {
    let mut bench = Bench::new();
    http1::run(&mut bench).await;
    http2::run(&mut bench).await;
    http3::run(&mut bench).await;
    names::run(&mut bench).await;
    assert!(bench.broken.is_empty(), "{}", bench.broken.join("\n"));
}

/// An agent's prober, whom it trusts, and the cases that went wrong.
struct Bench {
    prober: Prober,
    authority: Authority,
    broken: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let authority = authority();
        let prober = Prober::new(ProbeSettings {
            roots: Roots::Only(vec![authority.der().clone()]),
            policy: Policy { allow_loopback: true, ports: Ports::Any, ..Policy::default() },
            resolver: ResolverChoice::Servers(Vec::new()),
            ..ProbeSettings::new(Clock::system())
        })
        .expect("a prober");
        Self { prober, authority, broken: Vec::new() }
    }

    /// One run: how it ended, after how long, and the most that was held at once beyond what was held before.
    async fn case(&mut self, what: &str, spec: Spec, expected: Outcome) {
        let target = "hostile".to_owned();
        let timeout = Some(duration(TIMEOUT));
        let assignment = Assignment { slot: 1, target, timeout, spec: Some(spec), ..Assignment::default() };
        let (profiler, began) = (dhat::Profiler::builder().testing().build(), Instant::now());
        let outcome = self.prober.run(&assignment).await[0].outcome();
        let (took, held) = (began.elapsed(), dhat::HeapStats::get().max_bytes);
        drop(profiler);
        let line = format!("{what}: {outcome:?} of {expected:?}, {took:?}, {held} of {MAX_BYTES} bytes");
        if outcome != Some(expected) || took > TIMEOUT + GRACE || held > MAX_BYTES {
            self.broken.push(line);
        }
    }
}

fn page(server: &Server) -> HttpSpec {
    HttpSpec { url: format!("https://{}/", server.address), ..HttpSpec::default() }
}

fn http(cause: Cause) -> Outcome {
    Outcome::Failed { layer: Layer::Http, cause }
}
