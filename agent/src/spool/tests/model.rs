//! Any order of pushes, acks, moves and restarts, against what a list would do. A failure names the seed of its order.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    conformance::{InFile, InMemory, Place, QUOTA, spool},
    *,
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Push {
        results: u32,
        facts: u32,
    },
    /// That much of what the lane has.
    Ack {
        lane: Lane,
        share: f64,
    },
    /// A session of a coordinator that has that much, and batches that are that old.
    Resume {
        live: f64,
        backfill: f64,
        age: i64,
    },
    Restart,
}

fn step(random: &mut StdRng) -> Step {
    match random.random_range(0..9) {
        0..5 => Step::Push { results: random.random_range(0..5), facts: random.random_range(0..4) },
        5..7 => {
            let lane = if random.random() { Lane::Live } else { Lane::Backfill };
            Step::Ack { lane, share: random.random_range(0.0..1.2) }
        }
        7 => {
            let (live, backfill) = (random.random_range(0.0..1.2), random.random_range(0.0..1.2));
            Step::Resume { live, backfill, age: random.random_range(0..6) }
        }
        _ => Step::Restart,
    }
}

/// Numbers and their results, in each lane.
#[derive(Debug, Default)]
struct Model {
    next: [u64; 2],
    acked: [u64; 2],
    /// Of all that was ever pushed: its lane, number, when it was sealed, and how many results it has.
    batches: Vec<(usize, u64, i64, u64)>,
}

impl Model {
    fn waiting(&self, lane: usize) -> BTreeMap<u64, u64> {
        let held = self.batches.iter().filter(|(of, number, ..)| *of == lane && *number > self.acked[lane]);
        held.map(|(_, number, _, results)| (*number, *results)).collect()
    }

    fn resume(&mut self, live: u64, backfill: u64, sealed_before: i64) {
        self.acked = [live, backfill];
        let acked = self.acked[0];
        let unconfirmed = |batch: &(usize, u64, i64, u64)| batch.0 == 0 && batch.1 > acked;
        let newest = self.batches.iter().rposition(|batch| unconfirmed(batch) && batch.2 < sealed_before);
        let last = newest.map_or(0, |newest| newest + 1);
        for batch in self.batches[..last].iter_mut().filter(|batch| unconfirmed(batch)) {
            (batch.0, batch.1) = (1, self.next[1]);
            self.next[1] += 1;
        }
    }
}

fn part(of: u64, share: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
    let part = (of as f64 * share) as u64;
    part.min(of)
}

async fn agrees(place: &dyn Place, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let steps: Vec<Step> = (0..random.random_range(1..40)).map(|_| step(&mut random)).collect();
    let counter = SharedCounter::default();
    let mut tested = spool(place, &counter);
    let mut model = Model { next: [1, 1], ..Model::default() };
    for (now, step) in (1_i64..).zip(steps) {
        match step {
            Step::Push { results, facts } => {
                tested.made(results.into());
                tested.push(sealed(results, &(1..=facts).collect::<Vec<_>>()), at(now));
                model.batches.push((0, model.next[0], now, results.into()));
                model.next[0] += 1;
            }
            Step::Ack { lane, share } => {
                let index = usize::from(lane == Lane::Backfill);
                let number = part(model.next[index] - 1, share);
                tested.ack(lane, number);
                model.acked[index] = model.acked[index].max(number);
            }
            Step::Resume { live, backfill, age } => {
                // What memory has freed, no coordinator gets again.
                let least = if place.is_durable() { [0, 0] } else { model.acked };
                let number = |lane: usize, share| part(model.next[lane] - 1, share).max(least[lane]);
                let (live, backfill) = (number(0, live), number(1, backfill));
                assert!(tested.resume(live, backfill, now - age).await);
                model.resume(live, backfill, now - age);
            }
            Step::Restart if place.is_durable() => {
                tested.close().await;
                drop(tested);
                tested = spool(place, &counter);
            }
            Step::Restart => {}
        }
        let view = tested.view();
        for (index, lane) in [Lane::Live, Lane::Backfill].into_iter().enumerate() {
            let waiting = model.waiting(index);
            let first = waiting.keys().next().copied().unwrap_or(model.next[index]);
            assert_eq!(
                view.lane(lane),
                LaneView { first, next: model.next[index] },
                "{lane:?} after {step:?}, seed {seed}"
            );
            let held = super::waiting(&tested, lane).await;
            let held: BTreeMap<_, _> = held.into_iter().map(|held| (held.number, held.row.results)).collect();
            assert_eq!(held, waiting, "{lane:?} after {step:?}, seed {seed}");
        }
        assert!(view.bytes <= QUOTA && view.lost == Losses::default(), "seed {seed}");
    }
}

#[tokio::test]
async fn a_file_does_what_a_list_would() {
    for seed in 0..64 {
        agrees(&InFile::new(), seed).await;
    }
}

#[tokio::test]
async fn memory_does_what_a_list_would() {
    for seed in 0..64 {
        agrees(&InMemory, seed).await;
    }
}
