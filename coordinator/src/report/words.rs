//! Dates, times and spans as a report writes them.

use std::time::Duration;

use faultline_attribution::Timestamp;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// "29 October 2025".
pub(super) fn date(at: Timestamp) -> String {
    let text = at.to_string();
    let part = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<usize>().ok());
    let written = || {
        let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
        Some(format!("{day} {} {year}", MONTHS.get(month.checked_sub(1)?)?))
    };
    written().unwrap_or(text.clone())
}

/// "15:41:04 UTC", with the date where it is not the day of `beside`.
pub(super) fn time(at: Timestamp, beside: Timestamp) -> String {
    let text = at.to_string();
    let time = text.get(11..19).unwrap_or(&text);
    if date(at) == date(beside) { format!("{time} UTC") } else { format!("{}, {time} UTC", date(at)) }
}

/// A span in its two largest units: "9 s", "3 min 10 s", "2 h 5 min", "3 d 4 h".
pub(crate) fn span(span: Duration) -> String {
    let seconds = (span.as_millis() + 500) / 1000;
    let two = |large: u128, unit: &str, small: u128, smaller: &str| {
        if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {smaller}") }
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// How far a moment is from the onset: "+9 s", "-3 s".
pub(super) fn from_onset(at: Timestamp, onset: Timestamp) -> String {
    if at < onset { format!("-{}", span(onset.since(at))) } else { format!("+{}", span(at.since(onset))) }
}

/// With a capital first.
pub(super) fn capital(words: &str) -> String {
    let mut characters = words.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// "a, b and c".
pub(super) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_spans_read_as_people_write_them() {
        let onset = Timestamp::from_micros(1_761_752_464_500_000);
        assert_eq!(date(onset), "29 October 2025");
        assert_eq!(time(onset, onset), "15:41:04 UTC");
        assert_eq!(time(onset.after(Duration::from_hours(9)), onset), "30 October 2025, 00:41:04 UTC");
        let spans = [0, 59, 60, 190, 7200, 7500, 273_600].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0 s", "59 s", "1 min", "3 min 10 s", "2 h", "2 h 5 min", "3 d 4 h"]);
        assert_eq!(span(Duration::from_millis(59_700)), "1 min");
        assert_eq!(from_onset(onset.before(Duration::from_secs(3)), onset), "-3 s");
        assert_eq!(listed(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }
}
