//! Small conversions that both sides of the wire need: words of enum values, durations and instants.

use std::{net::IpAddr, time::Duration};

use crate::{
    agent::v1::LookRefusal,
    types::v1::{Cause, Layer, Outcome, Protocol, Reason, Stance},
};

/// An enum of the contract whose values have words.
pub trait Word: Copy {
    /// The value's name in the `.proto` file, with its prefix.
    fn proto_name(self) -> &'static str;
    /// The prefix of all names of the enum, with the underscore.
    const PREFIX: &'static str;
}

macro_rules! word {
    ($($kind:ty => $prefix:literal),+ $(,)?) => {$(
        impl Word for $kind {
            fn proto_name(self) -> &'static str {
                self.as_str_name()
            }
            const PREFIX: &'static str = $prefix;
        }
    )+};
}

word! { Layer => "LAYER_", Cause => "CAUSE_", Outcome => "OUTCOME_", Reason => "REASON_", Protocol => "PROTOCOL_", LookRefusal => "LOOK_REFUSAL_", Stance => "STANCE_" }

/// An address as the wire has it: 4 or 16 bytes.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// An address from the wire, `None` where there is none; an error for a length that is neither family's.
pub fn address(bytes: &[u8]) -> Result<Option<IpAddr>, WrongLength> {
    let (v4, v6) = (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes));
    let address = v4.map(IpAddr::from).or(v6.map(IpAddr::from));
    match bytes {
        [] => Ok(None),
        _ => address.map(Some).map_err(|_| WrongLength(bytes.len())),
    }
}

/// Bytes that are no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongLength(
    /// How many.
    pub usize,
);

/// The word of an enum value outside the wire: its name without the prefix, in lower case (`dns_nxdomain`).
pub fn word<T: Word>(value: T) -> String {
    let name = value.proto_name();
    name.strip_prefix(T::PREFIX).unwrap_or(name).to_ascii_lowercase()
}

/// The word of a protocol, empty where none was spoken.
pub fn protocol(value: Protocol) -> String {
    if value == Protocol::Unspecified { String::new() } else { word(value) }
}

/// A wire duration from a standard one; saturates at the largest that fits.
pub fn duration(value: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or(0),
    }
}

/// A standard duration from a wire one; `None` when it is absent or negative.
pub fn std_duration(value: Option<&prost_types::Duration>) -> Option<Duration> {
    let value = value?;
    Duration::try_from(*value).ok()
}

/// A wire instant from microseconds since the Unix epoch.
pub fn timestamp(micros: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

/// Microseconds since the Unix epoch; `None` when absent or out of range.
pub fn micros(value: Option<&prost_types::Timestamp>) -> Option<i64> {
    let value = value?;
    if !(0..1_000_000_000).contains(&value.nanos) {
        return None;
    }
    value.seconds.checked_mul(1_000_000)?.checked_add(i64::from(value.nanos) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_without_their_prefix() {
        assert_eq!(word(Cause::DnsEmptyAnswer), "dns_empty_answer");
        assert_eq!(word(Layer::Connect), "connect");
        assert_eq!(word(Reason::NoIpv6), "no_ipv6");
    }

    #[test]
    fn instants_survive_the_wire() {
        for at in [0, 1, -1, 1_761_752_473_123_456, -62_135_596_800_000_000] {
            assert_eq!(micros(Some(&timestamp(at))), Some(at));
        }
        assert_eq!(micros(Some(&prost_types::Timestamp { seconds: i64::MAX, nanos: 0 })), None);
    }
}
