//! Schedule: when a message that was not taken is sent again, and when no more.
//!
//! Pauses double from 5 s to 1 h, each a fifth shorter or longer as drawn; a receiver that asks for a longer one gets it, up
//! to the hour. After 24 h of failures in a row nothing more is sent until somebody enables the webhook again; a receiver
//! that answers 410 is never asked a second time. Pure: the moment and the dice are arguments.

use std::time::Duration;

use faultline_attribution::Timestamp;

/// The first pause, and the longest. Source: the delivery rules of the design notes.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_hours(1));

/// How far a pause is from what it would be, either way.
const JITTER: f64 = 0.2;

/// Failures in a row for so long end it. Source: as above.
pub const GIVE_UP: Duration = Duration::from_hours(24);

/// A row of failures; none is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// When the first was.
    pub since: Timestamp,
    /// How many there were.
    pub attempts: u32,
}

/// What the receiver said to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It has it.
    Taken,
    /// It has not, and may name a pause.
    NotTaken(Option<Duration>),
    /// It wants nothing any more: 410.
    Gone,
}

impl Reply {
    /// The reply of a status; 2xx alone is a yes, a redirect is none.
    pub fn of(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            200..=299 => Self::Taken,
            410 => Self::Gone,
            _ => Self::NotTaken(retry_after),
        }
    }
}

/// What to do after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on with what comes after it.
    GoOn,
    /// Send the same again after a pause.
    Again(Failing, Duration),
    /// Send nothing more: why.
    Stop(String),
}

/// What to do after an attempt that ended `now`; `dice` is drawn from 0 to 1.
pub fn next(failing: Option<Failing>, reply: Reply, now: Timestamp, dice: f64) -> Next {
    let asked = match reply {
        Reply::Taken => return Next::GoOn,
        Reply::Gone => return Next::Stop("the receiver answered 410, gone".into()),
        Reply::NotTaken(asked) => asked.unwrap_or_default(),
    };
    let before = failing.unwrap_or(Failing { since: now, attempts: 0 });
    let failing = Failing { attempts: before.attempts.saturating_add(1), ..before };
    if now.since(failing.since) >= GIVE_UP {
        return Next::Stop(format!("not delivered for 24 h, in {} attempts", failing.attempts));
    }
    let (first, longest) = PAUSE;
    let doubled = first.saturating_mul(1_u32.checked_shl(failing.attempts - 1).unwrap_or(u32::MAX)).min(longest);
    let pause = doubled.mul_f64(1.0 - JITTER + 2.0 * JITTER * dice.clamp(0.0, 1.0));
    Next::Again(failing, pause.max(asked.min(longest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails from noon on; every pause, and the moment and words of the end.
    fn a_day_of_failures(dice: f64) -> (Vec<Duration>, Duration, String) {
        let began = Timestamp::from_micros(0);
        let (mut now, mut failing, mut pauses) = (began, None, Vec::new());
        loop {
            match next(failing, Reply::NotTaken(None), now, dice) {
                Next::Again(after, pause) => {
                    failing = Some(after);
                    now = now.after(pause);
                    pauses.push(pause);
                }
                Next::Stop(why) => return (pauses, now.since(began), why),
                Next::GoOn => panic!("it was not taken"),
            }
        }
    }

    #[test]
    fn pauses_double_from_five_seconds_to_an_hour() {
        let (pauses, ..) = a_day_of_failures(0.5);
        let seconds: Vec<u64> = pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds[..12], [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        assert!(seconds[10..].iter().all(|pause| *pause == 3600), "{seconds:?}");
    }

    #[test]
    fn a_day_of_failures_ends_it_and_not_an_hour_less() {
        for dice in [0.0, 0.5, 1.0] {
            let (pauses, took, why) = a_day_of_failures(dice);
            assert!(took >= GIVE_UP && took < GIVE_UP + Duration::from_mins(72), "{dice}: {took:?}");
            assert_eq!(why, format!("not delivered for 24 h, in {} attempts", pauses.len() + 1));
        }
    }

    #[test]
    fn the_dice_move_a_pause_a_fifth_either_way() {
        let (shorter, _, _) = a_day_of_failures(0.0);
        let (longer, _, _) = a_day_of_failures(1.0);
        assert_eq!((shorter[0], longer[0]), (Duration::from_secs(4), Duration::from_secs(6)));
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_pause_but_not_for_ever() {
        let pause = |asked: u64| match next(
            None,
            Reply::of(503, Some(Duration::from_secs(asked))),
            Timestamp::default(),
            0.5,
        ) {
            Next::Again(_, pause) => pause.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!([pause(0), pause(30), pause(1_000_000)], [5, 30, 3600]);
    }

    #[test]
    fn only_two_hundreds_are_a_yes_and_gone_is_for_ever() {
        for status in [200, 202, 204] {
            assert_eq!(Reply::of(status, None), Reply::Taken);
        }
        for status in [100, 301, 302, 307, 400, 404, 429, 500, 503] {
            assert_eq!(Reply::of(status, None), Reply::NotTaken(None), "{status}");
        }
        let next = next(None, Reply::of(410, None), Timestamp::default(), 0.5);
        assert!(matches!(next, Next::Stop(why) if why.contains("410")));
    }
}
