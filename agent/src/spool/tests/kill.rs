//! A process that is killed at any point while it pushes: what it made is stored, or told as lost, to the last result.

use std::{
    env,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use super::*;

/// Names the folder to a child, which is this test in a process of its own.
const CHILD: &str = "FAULTLINE_SPOOL_OF_CHILD";
const KILLS: usize = 25;

#[tokio::test]
async fn a_killed_process_loses_nothing_uncounted() {
    if let Some(folder) = env::var_os(CHILD) {
        child(Path::new(&folder)).await;
    }
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let folder = TempDir::new().expect("a folder");
    let (mut witnessed, mut logged, mut told) = (0, 0, 0);
    for kill in 0..KILLS {
        let least = random.random_range(1..60);
        witnessed += run_and_kill(folder.path(), least);
        let spool = open(folder.path());
        let made = spool.made_results();
        // Of each call that was cut off, what it counted and did not say.
        let unsaid = (kill as u64 + 1) * MOST;
        assert!((witnessed..=witnessed + unsaid).contains(&made), "seed {seed}: {made} made, {witnessed} witnessed");
        let counted = counted(&spool).await;
        (logged, told) = (logged + counted.0, told + counted.1);
        let view = spool.view();
        let lost = view.lost;
        assert!(logged + lost.all() == made, "seed {seed}: {logged} logged, {lost:?}, {made} made");
        assert!(spool.resume(view.live.next - 1, view.backfill.next - 1, 0).await);
        spool.close().await;
    }
    let spool = open(folder.path());
    let next = spool.view().live.next;
    spool.push(sealed(0, &[]), at(0));
    while spool.view().live.next == next {
        spool.changed().await;
    }
    told += counted(&spool).await.1;
    assert_eq!(told, spool.view().lost.all(), "seed {seed}: each loss is told once");
}

/// Runs a child until it has said at least so much, kills it, and returns what it said in the end.
fn run_and_kill(folder: &Path, least: u64) -> u64 {
    let mut child = Command::new(env::current_exe().expect("a program"))
        .args(["--exact", "--nocapture", "spool::tests::kill::a_killed_process_loses_nothing_uncounted"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("a child");
    let mut said = child.stdout.take().expect("its output");
    let (mut sum, mut buffer) = (0, [0; 256]);
    loop {
        let count = said.read(&mut buffer).expect("readable");
        // The words of the test's frame are none of these.
        sum += buffer[..count]
            .iter()
            .filter(|byte| (1..=MOST).contains(&u64::from(**byte)))
            .map(|byte| u64::from(*byte))
            .sum::<u64>();
        if count == 0 {
            break;
        }
        if sum >= least {
            child.kill().expect("killed");
        }
    }
    assert!(!child.wait().expect("an end").success(), "it ended by itself");
    sum
}

/// Makes and pushes for ever, and says what it made once that is counted.
async fn child(folder: &Path) -> ! {
    let spool = open(folder);
    let mut out = std::io::stdout().lock();
    for turn in 0_u32.. {
        let results = turn % u32::try_from(MOST).expect("small") + 1;
        spool.made(results.into());
        out.write_all(&[u8::try_from(results).expect("small")]).expect("said");
        out.flush().expect("said");
        spool.push(sealed(results, &[turn % 5]), at(turn.into()));
        match turn % 7 {
            3 => spool.move_old(i64::from(turn) - 2).await,
            // So that the thread has something to store, and is killed at it.
            5 => drop(spool.fetch(Lane::Live, 1).await),
            _ => {}
        }
    }
    unreachable!("it is killed before")
}

fn open(folder: &Path) -> Spool {
    let made = MadeFile::open(&folder.join("made")).expect("a file").expect("nobody else has it");
    let store = SqliteStore::open(&folder.join("spool.sqlite"), 64 << 20).expect("a store");
    Spool::threaded(Box::new(store), Box::new(made), rand::random(), 1 << 20, 0).expect("a spool")
}

/// Results made at a time.
const MOST: u64 = 3;
