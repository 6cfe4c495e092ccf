//! Tick: when time passes in the fold: every second, and sooner where a result may decide something.
//!
//! A tick follows a live batch in which something failed; while an incident is open, or the engine has something to find out, it
//! follows any. Rules: such ticks are `CALM` apart, `ATTENTIVE` while there is something to find out, and for a while with an
//! open incident; they never take up more than half of the time; what they add to the log is bounded (`SAVED`): without any
//! left there is one a second, and open incidents leave half of them to new ones. Everything else that goes with a tick
//! (notices, snapshots, what pages show) is done once a second (`only_what_may_decide_something_is_followed`,
//! `ticks_are_apart_and_run_out_and_are_saved_up_again`, `what_comes_during_a_tick_is_followed_by_the_next`).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use faultline_attribution::Timestamp;
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

use crate::{
    feed::Hub,
    fold::{Fold, FoldError, Keep},
    ingest::Ingest,
};

/// Time between regular ticks.
const REGULAR: Duration = Duration::from_secs(1);

/// Least time between ticks that follow results. Source: a fleet in which something always fails ticks as often as
/// `REFILL_PER_S` allows for ever.
const CALM: Duration = Duration::from_millis(250);

/// The same while there is something to find out. Source: `faultline-lab bench feed`: a result reaches subscribers within 100 ms.
const ATTENTIVE: Duration = Duration::from_millis(40);

/// Ticks that may be saved up. Source: a minute of ticks 40 ms apart; a tick is some 40 bytes of the log.
const SAVED: f64 = 1500.0;

/// Ticks saved in a second.
const REFILL_PER_S: f64 = 4.0;

/// How old what the pages of targets show of healthy probes may be.
const SHOW_LEARNED: Duration = Duration::from_mins(1);

/// What became durable, for those who wait for it.
#[derive(Debug, Default)]
pub struct News(watch::Sender<Heard>);

/// Live batches so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    batches: u64,
    /// Those in which something failed.
    failing: u64,
}

impl News {
    /// Notes a live batch that is durable.
    pub fn batch(&self, has_failure: bool) {
        self.0.send_modify(|heard| {
            heard.batches += 1;
            heard.failing += u64::from(has_failure);
        });
    }
}

/// What a result may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heed {
    /// Decide something: there is something to find out.
    Decides,
    /// Change an incident that goes on.
    Open,
    /// Begin something, if it failed.
    Nothing,
}

/// When the next tick that follows a result may be.
#[derive(Debug)]
struct Rhythm {
    saved: f64,
    ended_at: Instant,
    took: Duration,
}

impl Rhythm {
    fn new(now: Instant) -> Self {
        Self { saved: SAVED, ended_at: now, took: Duration::ZERO }
    }

    /// Notes a tick that ended now; `follows` a result, or is a regular one.
    fn ticked(&mut self, began_at: Instant, now: Instant, follows: bool) {
        let earned = now.saturating_duration_since(self.ended_at).as_secs_f64() * REFILL_PER_S;
        self.saved = (self.saved + earned).min(SAVED) - f64::from(u8::from(follows));
        (self.ended_at, self.took) = (now, now.saturating_duration_since(began_at));
    }

    /// The earliest instant of a tick that follows a result; `None` while none is left.
    fn earliest(&self, heed: Heed) -> Option<Instant> {
        let apart = match heed {
            Heed::Decides => ATTENTIVE,
            Heed::Open if self.saved > SAVED / 2.0 => ATTENTIVE,
            Heed::Open | Heed::Nothing => CALM,
        };
        (self.saved >= 1.0).then(|| self.ended_at + apart.max(self.took))
    }
}

/// When ticks are.
#[derive(Debug)]
struct Pulse {
    news: watch::Receiver<Heard>,
    /// What there was before the last tick.
    seen: Heard,
    rhythm: Rhythm,
}

impl Pulse {
    fn of(news: &News) -> Self {
        Self { news: news.0.subscribe(), seen: Heard::default(), rhythm: Rhythm::new(Instant::now()) }
    }

    /// Waits for the next tick, which is a regular one once `regular` is ready. Returns whether it follows a result. What comes
    /// from then on, during the tick as well, is for the one after it.
    async fn next(&mut self, heed: Heed, regular: impl Future<Output = ()>) -> bool {
        let earliest = self.rhythm.earliest(heed);
        let follows = tokio::select! {
            () = regular => false,
            () = due(&mut self.news, self.seen, heed, earliest) => true,
        };
        self.seen = *self.news.borrow_and_update();
        follows
    }
}

/// Lets time pass until it is stopped.
///
/// # Errors
///
/// When the fold cannot go on.
pub(crate) async fn run(
    mut fold: Fold,
    mut keep: Keep,
    hub: Arc<Hub>,
    ingest: Arc<Ingest>,
    stopped: CancellationToken,
) -> Result<(), FoldError> {
    let clock = hub.clock();
    let mut ticks = time::interval(clock.real(REGULAR));
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut pulse = Pulse::of(ingest.news());
    let mut shown = None;
    loop {
        let heed = match (fold.is_attentive(), fold.any_open()) {
            (true, _) => Heed::Decides,
            (false, true) => Heed::Open,
            (false, false) => Heed::Nothing,
        };
        let follows = tokio::select! {
            () = stopped.cancelled() => break,
            follows = pulse.next(heed, async { _ = ticks.tick().await }) => follows,
        };
        let began_at = Instant::now();
        let now = Timestamp::from_micros(clock.now_micros());
        let looks = fold.tick(now, &hub).await?;
        ingest.look_again(&looks);
        pulse.rhythm.ticked(began_at, Instant::now(), follows);
        if follows {
            continue;
        }
        if shown.is_none_or(|shown| now.since(shown) >= SHOW_LEARNED) {
            hub.show_learned(fold.observer().learned());
            shown = Some(now);
        }
        let lost = fold.observer().lost();
        ingest.show_lost(lost);
        hub.board().notices = lost.iter().filter_map(|(agent, lost)| lost.news(agent, now)).collect();
        keep.after_tick(&fold);
    }
    keep.end(&fold).await;
    Ok(())
}

/// Returns once a tick that follows a result is due; never while none is left.
async fn due(news: &mut watch::Receiver<Heard>, seen: Heard, heed: Heed, earliest: Option<Instant>) {
    let is_news = |heard: &Heard| heard.failing > seen.failing || heed != Heed::Nothing && heard.batches > seen.batches;
    match earliest {
        Some(earliest) if news.wait_for(is_news).await.is_ok() => time::sleep_until(earliest.into()).await,
        // Nobody ingests any more, or nothing is left: the regular tick comes.
        _ => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const HANG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn only_what_may_decide_something_is_followed() {
        let news = News::default();
        let mut heard = news.0.subscribe();
        let seen = *heard.borrow_and_update();
        let past = Some(Instant::now());
        assert!(due(&mut heard, seen, Heed::Open, past).now_or_never().is_none(), "nothing came");
        news.batch(false);
        assert!(due(&mut heard, seen, Heed::Nothing, past).now_or_never().is_none(), "nothing failed");
        assert!(due(&mut heard, seen, Heed::Open, None).now_or_never().is_none(), "nothing is left");
        time::timeout(HANG, due(&mut heard, seen, Heed::Open, past)).await.expect("there is something to find out");
        news.batch(true);
        time::timeout(HANG, due(&mut heard, seen, Heed::Nothing, past)).await.expect("something failed");
    }

    #[tokio::test]
    async fn what_comes_during_a_tick_is_followed_by_the_next() {
        let news = News::default();
        let mut pulse = Pulse::of(&news);
        news.batch(true);
        let regular = std::future::pending;
        assert!(time::timeout(HANG, pulse.next(Heed::Nothing, regular())).await.expect("it failed"));
        let began_at = Instant::now();
        news.batch(true);
        pulse.rhythm.ticked(began_at, Instant::now(), true);
        assert!(time::timeout(HANG, pulse.next(Heed::Nothing, regular())).await.expect("it failed, too"));
        assert!(!pulse.next(Heed::Decides, std::future::ready(())).await, "nothing came since");
    }

    #[test]
    fn ticks_are_apart_and_run_out_and_are_saved_up_again() {
        let mut now = Instant::now();
        let mut rhythm = Rhythm::new(now);
        assert_eq!(rhythm.earliest(Heed::Decides), Some(now + ATTENTIVE));
        assert_eq!(rhythm.earliest(Heed::Nothing), Some(now + CALM));
        rhythm.ticked(now, now + Duration::from_secs(3), true);
        now += Duration::from_secs(3);
        assert_eq!(rhythm.earliest(Heed::Decides), Some(now + Duration::from_secs(3)), "no more than half of the time");
        let mut ticks = 0;
        while let Some(earliest) = rhythm.earliest(Heed::Decides) {
            now = earliest;
            rhythm.ticked(now, now, true);
            ticks += 1;
        }
        assert!((1500..2000).contains(&ticks), "{ticks}");
        assert_eq!(rhythm.earliest(Heed::Open), None);
        now += Duration::from_secs(1);
        rhythm.ticked(now, now, false);
        assert_eq!(rhythm.earliest(Heed::Nothing), Some(now + CALM), "a second saves some");
    }

    #[test]
    fn an_incident_that_goes_on_leaves_half_to_a_new_one() {
        let mut now = Instant::now();
        let mut rhythm = Rhythm::new(now);
        for _ in 0..10_000 {
            now = rhythm.earliest(Heed::Open).expect("some are left");
            rhythm.ticked(now, now, true);
        }
        assert!(rhythm.saved > SAVED / 2.0 - 2.0, "{}", rhythm.saved);
        assert_eq!(rhythm.earliest(Heed::Decides), Some(now + ATTENTIVE));
    }

    #[test]
    fn calm_ticks_never_run_out() {
        let mut now = Instant::now();
        let mut rhythm = Rhythm::new(now);
        for _ in 0..10_000 {
            now = rhythm.earliest(Heed::Nothing).expect("some are left");
            rhythm.ticked(now, now, true);
        }
    }
}
