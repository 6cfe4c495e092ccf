//! Values of the module file that carry their own limits, so that an error points at the value.

use std::{net::IpAddr, time::Duration};

use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;

/// How long a probe may take: `500ms`, `5s`, `1m30s`, `1.5h`; 0 leaves it to whoever asks.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Timeout(pub(super) Duration);

impl TryFrom<String> for Timeout {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no duration like \"5s\", \"1m30s\" or \"500ms\"");
        let seconds = if text == "0" { 0.0 } else { sum(&text, SPANS).ok_or_else(wrong)? };
        if seconds > LONGEST.as_secs_f64() {
            return Err(format!("{text:?} is more than the {} h that a probe may take", LONGEST.as_secs() / 3600));
        }
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| wrong())
    }
}

/// Bytes of a body: `10MB`, `1.5KiB`, `1MB512KB`, all in powers of 1024; 0 for no limit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Size(pub(super) u64);

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self(0));
        }
        let bytes = sum(&text, SIZES).ok_or_else(|| format!("{text:?} is no size like \"10MB\" or \"512KiB\""))?;
        if bytes >= MAX_SIZE {
            return Err(format!("{text:?} is more than the 1EiB that can be told"));
        }
        // Whole, not negative, and below 2^60: exact.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        Ok(Self(bytes as u64))
    }
}

/// A status that a server may answer, 100 to 999.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct Status(pub(super) u16);

impl TryFrom<u32> for Status {
    type Error = String;

    fn try_from(code: u32) -> Result<Self, String> {
        let status = u16::try_from(code).ok().filter(|code| (100..1000).contains(code));
        status.map(Self).ok_or_else(|| format!("status {code} is not within 100 to 999"))
    }
}

/// An address to send from; `None` for an empty text.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Source(pub(super) Option<IpAddr>);

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse()
            .map(|address| Self(Some(address)))
            .map_err(|_| format!("source_ip_address {text:?} is no IP address"))
    }
}

/// A method, as it is sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Verb(pub(super) Method);

impl TryFrom<String> for Verb {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Method::GET));
        }
        Method::from_bytes(text.as_bytes()).map(Self).map_err(|_| format!("{text:?} is no HTTP method"))
    }
}

/// The name of a header.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub(super) struct Name(String);

impl Name {
    pub(super) fn header(&self) -> HeaderName {
        HeaderName::from_bytes(self.0.as_bytes()).expect("checked when it was read")
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(format!("{text:?} is no name of a header")),
        }
    }
}

/// The value of a header; kept out of whatever is printed.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Value(pub(super) HeaderValue);

impl TryFrom<String> for Value {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut value =
            HeaderValue::from_str(&text).map_err(|_| "the value of a header holds no control characters".to_owned())?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// The sum of numbers with units (`1m30s`), in units of the table's ones; `None` where it is none, or negative.
fn sum(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|next: char| !next.is_ascii_digit() && next != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|next: char| next.is_ascii_digit() || next == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// Source: Go's `time.ParseDuration`, which `blackbox_exporter` reads with; and days to years, which its manual names.
const SPANS: &[(&str, f64)] = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
    ("w", 604_800.0),
    ("y", 31_536_000.0),
];

const KIB: f64 = 1024.0;

/// Source: `body_size_limit: 1.5MB` is good to `blackbox_exporter` 0.23, `10` is not; both ways to write it are powers of 1024.
const SIZES: &[(&str, f64)] = &[
    ("B", 1.0),
    ("KB", KIB),
    ("KiB", KIB),
    ("MB", KIB * KIB),
    ("MiB", KIB * KIB),
    ("GB", KIB * KIB * KIB),
    ("GiB", KIB * KIB * KIB),
    ("TB", KIB * KIB * KIB * KIB),
    ("TiB", KIB * KIB * KIB * KIB),
    ("PB", KIB * KIB * KIB * KIB * KIB),
    ("PiB", KIB * KIB * KIB * KIB * KIB),
];

/// 2^60.
const MAX_SIZE: f64 = KIB * KIB * KIB * KIB * KIB * KIB;

/// Bounds what a wrong unit can do; start value.
const LONGEST: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up() {
        for (text, seconds) in [("500ms", 0.5), ("1m30s", 90.0), ("1.5s", 1.5), ("0", 0.0), ("100us", 0.0001)] {
            let timeout = Timeout::try_from(text.to_owned()).expect(text);
            assert_eq!(timeout.0, Duration::from_secs_f64(seconds), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5 s", "1.2.3s", "2h", "5x", "1e3s", "9999999y"] {
            assert!(Timeout::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [("0", 0), ("10MB", 10 << 20), ("1.5KiB", 1536), ("1MB512KB", 1_572_864), ("7B", 7)] {
            assert_eq!(Size::try_from(text.to_owned()).expect(text).0, bytes, "{text}");
        }
        for text in ["10", "MB", "-1MB", "10 MB", "2000PB", "10mb"] {
            assert!(Size::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
