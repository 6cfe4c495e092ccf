//! Values of a result line: each from one form of JSON, and absent where the line says `""`, `0`, `[]`, `{}` or `null`.

use std::{borrow::Cow, fmt, marker::PhantomData, net::IpAddr, net::SocketAddr};

use faultline_attribution::{Cause, Layer, ProbeKind, Reason, Timestamp};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A value that a field may hold.
pub(super) trait Value<'de>: Sized {
    /// What it is, for "is not ...".
    const WANTED: &'static str;

    /// From a text that is not empty, which comes back if it is refused.
    fn text(text: Cow<'de, str>) -> Result<Self, Cow<'de, str>> {
        Err(text)
    }
    /// From a number that is not zero.
    fn number(_: u64) -> Option<Self> {
        None
    }
    fn flag(_: bool) -> Option<Self> {
        None
    }
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        match list.next_element::<IgnoredAny>()? {
            None => Ok(None),
            Some(_) => Err(A::Error::custom(format_args!("a list is not {}", Self::WANTED))),
        }
    }
    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        match map.next_key::<IgnoredAny>()? {
            None => Ok(None),
            Some(_) => Err(A::Error::custom(format_args!("an object is not {}", Self::WANTED))),
        }
    }
}

/// What stands in a field: a value, or nothing.
pub(super) struct Held<T>(pub(super) Option<T>);

impl<'de, T: Value<'de>> Deserialize<'de> for Held<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeldVisitor(PhantomData)).map(Self)
    }
}

struct HeldVisitor<T>(PhantomData<T>);

impl<'de, T: Value<'de>> HeldVisitor<T> {
    fn text<E: Error>(text: Cow<'de, str>) -> Result<Option<T>, E> {
        if text.is_empty() {
            return Ok(None);
        }
        T::text(text).map(Some).map_err(|text| {
            let shown: String = text.chars().take(SHOWN).collect();
            E::custom(format_args!("{shown:?} is not {}", T::WANTED))
        })
    }
}

/// Characters that are shown of a refused value.
const SHOWN: usize = 80;

impl<'de, T: Value<'de>> Visitor<'de> for HeldVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WANTED)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Option<T>, E> {
        Self::text(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        Self::text(Cow::Owned(text.to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<T>, E> {
        if number == 0 {
            return Ok(None);
        }
        T::number(number).map(Some).ok_or_else(|| E::custom(format_args!("{number} is not {}", T::WANTED)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<T>, E> {
        Err(E::custom(format_args!("{number} is not {}", T::WANTED)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<T>, E> {
        if number == 0.0 { Ok(None) } else { Err(E::custom(format_args!("{number} is not {}", T::WANTED))) }
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Option<T>, E> {
        T::flag(flag).map(Some).ok_or_else(|| E::custom(format_args!("{flag} is not {}", T::WANTED)))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Option<T>, A::Error> {
        T::list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::map(map)
    }
}

/// Any text.
impl<'de> Value<'de> for Cow<'de, str> {
    const WANTED: &'static str = "a text";

    fn text(text: Self) -> Result<Self, Self> {
        Ok(text)
    }
}

impl Value<'_> for bool {
    const WANTED: &'static str = "true or false";

    fn flag(flag: bool) -> Option<Self> {
        Some(flag)
    }
}

impl<'de> Value<'de> for Timestamp {
    const WANTED: &'static str = "an RFC 3339 instant, as in \"2025-10-20T06:49:03.125Z\"";

    fn text(text: Cow<'de, str>) -> Result<Self, Cow<'de, str>> {
        let at: jiff::Timestamp = text.parse().map_err(|_| text)?;
        Ok(Self::from_micros(at.as_microsecond()))
    }
}

impl<'de> Value<'de> for IpAddr {
    const WANTED: &'static str = "an IP address";

    fn text(text: Cow<'de, str>) -> Result<Self, Cow<'de, str>> {
        let with_port = || text.parse::<SocketAddr>().map(|address| address.ip()).ok();
        text.parse().ok().or_else(with_port).ok_or(text)
    }
}

macro_rules! words {
    ($($kind:ty => $wanted:literal),+ $(,)?) => {$(
        impl<'de> Value<'de> for $kind {
            const WANTED: &'static str = $wanted;

            fn text(text: Cow<'de, str>) -> Result<Self, Cow<'de, str>> {
                text.parse().map_err(|_| text)
            }
        }
    )+};
}

words! {
    Layer => "a layer, one of dns, connect, tls, http",
    ProbeKind => "a probe, one of dns, tcp, tls, https, http3",
    Cause => "a cause, as in dns_timeout or http_status",
    Reason => "a reason, one of no_ipv4, no_ipv6, udp_blocked, overloaded, out_of_sockets, clock_suspect, policy_refused, \
               no_network",
}

/// How a run ended, without what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Passed,
    Failed,
    Unmeasured,
}

impl<'de> Value<'de> for End {
    const WANTED: &'static str = "an outcome, one of passed, failed, unmeasured";

    fn text(text: Cow<'de, str>) -> Result<Self, Cow<'de, str>> {
        match &*text {
            "passed" => Ok(Self::Passed),
            "failed" => Ok(Self::Failed),
            "unmeasured" => Ok(Self::Unmeasured),
            _ => Err(text),
        }
    }
}

/// A version of the format that this build reads.
pub(super) struct Version;

impl Value<'_> for Version {
    const WANTED: &'static str = "a version that this build reads (1)";

    fn number(number: u64) -> Option<Self> {
        (number <= super::VERSION).then_some(Self)
    }
}

macro_rules! numbers {
    ($($name:ident($kind:ty) within $range:expr, $wanted:literal;)+) => {$(
        /// A number within bounds.
        pub(super) struct $name(pub(super) $kind);

        impl<'de> Value<'de> for $name {
            const WANTED: &'static str = $wanted;

            fn number(number: u64) -> Option<Self> {
                <$kind>::try_from(number).ok().filter(|number| $range.contains(number)).map(Self)
            }
        }
    )+};
}

numbers! {
    Family(u8) within [4, 6], "an address family, 4 or 6";
    Attempt(u32) within 1..=u32::MAX, "an attempt, from 1";
    Status(u16) within 1..=999, "an HTTP status, up to 999";
    Micros(u64) within 1..=MAX_MICROS, "a number of microseconds, up to a day";
}

/// No run takes longer than a day.
const MAX_MICROS: u64 = 86_400_000_000;

/// A DNS response code: its mnemonic, or its number.
pub(super) struct Rcode<'de>(pub(super) Cow<'de, str>);

impl<'de> Value<'de> for Rcode<'de> {
    const WANTED: &'static str = "a DNS response code, as in \"NXDOMAIN\"";

    fn text(text: Cow<'de, str>) -> Result<Self, Cow<'de, str>> {
        if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) { Ok(Self(text)) } else { Err(text) }
    }

    fn number(number: u64) -> Option<Self> {
        // RFC 6891: twelve bits.
        (number < 4096).then(|| Self(number.to_string().into()))
    }
}

/// A list of texts.
impl<'de> Value<'de> for Vec<Cow<'de, str>> {
    const WANTED: &'static str = "a list of texts";

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut texts = Self::new();
        while let Some(Held(text)) = list.next_element()? {
            texts.extend(text);
        }
        Ok((!texts.is_empty()).then_some(texts))
    }
}

/// An object of texts.
impl<'de> Value<'de> for Vec<(Cow<'de, str>, Cow<'de, str>)> {
    const WANTED: &'static str = "an object of texts";

    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        let mut pairs = Self::new();
        while let Some(Key(name)) = map.next_key()? {
            let Held(value) = map.next_value()?;
            pairs.push((name, value.unwrap_or_default()));
        }
        Ok((!pairs.is_empty()).then_some(pairs))
    }
}

/// The name of a field, borrowed where the line allows it.
pub(super) struct Key<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(name)))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(name.to_owned())))
    }
}
