//! A value in a JSON text, found without holding the text's tree: a body of 64 KiB could make megabytes of it.

use std::{fmt, marker::PhantomData};

use faultline_proto::page;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// Whether the text is JSON, and holds the value at the pointer. Of members of one name the last counts, as in most readers.
pub(crate) fn holds(text: &[u8], pointer: &str, value: &str) -> bool {
    let (Ok(steps), Ok(wanted)) = (page::pointer(pointer), page::scalar(value)) else { return false };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let found = At { steps: &steps, wanted: &wanted, of: PhantomData }.deserialize(&mut reader);
    found.unwrap_or(false) && reader.end().is_ok()
}

/// Walks to where the steps lead, and says whether the wanted value is there.
#[derive(Clone, Copy)]
struct At<'a, 'de> {
    steps: &'a [String],
    wanted: &'a Value,
    of: PhantomData<&'de ()>,
}

impl<'de> DeserializeSeed<'de> for At<'_, 'de> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_any(self)
    }
}

impl At<'_, '_> {
    fn is(&self, found: impl FnOnce(&Value) -> bool) -> bool {
        self.steps.is_empty() && found(self.wanted)
    }
}

impl<'de> Visitor<'de> for At<'_, 'de> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, found: bool) -> Result<bool, E> {
        Ok(self.is(|wanted| wanted.as_bool() == Some(found)))
    }

    fn visit_i64<E>(self, found: i64) -> Result<bool, E> {
        Ok(self.is(|wanted| is_number(wanted, &Number::from(found))))
    }

    fn visit_u64<E>(self, found: u64) -> Result<bool, E> {
        Ok(self.is(|wanted| is_number(wanted, &Number::from(found))))
    }

    fn visit_f64<E>(self, found: f64) -> Result<bool, E> {
        Ok(self.is(|wanted| Number::from_f64(found).is_some_and(|found| is_number(wanted, &found))))
    }

    fn visit_str<E>(self, found: &str) -> Result<bool, E> {
        Ok(self.is(|wanted| wanted.as_str() == Some(found)))
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(self.is(Value::is_null))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        let mut is_found = false;
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.steps.split_first() {
                Some((step, steps)) if *step == name => {
                    is_found = members.next_value_seed(At { steps, ..self })?;
                }
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(is_found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        // No leading zeros, as RFC 6901 has it.
        let wanted = self.steps.split_first().and_then(|(step, steps)| {
            let place: usize = step.parse().ok()?;
            (place.to_string() == *step).then_some((place, steps))
        });
        let (mut is_found, mut place) = (false, 0);
        loop {
            match wanted {
                Some((at, steps)) if at == place => match items.next_element_seed(At { steps, ..self })? {
                    Some(found) => is_found = found,
                    None => return Ok(is_found),
                },
                _ if items.next_element::<IgnoredAny>()?.is_none() => return Ok(is_found),
                _ => {}
            }
            place += 1;
        }
    }
}

/// Numbers are equal by value: 1 and 1.0 are.
fn is_number(wanted: &Value, found: &Number) -> bool {
    let Value::Number(wanted) = wanted else { return false };
    wanted == found || matches!((wanted.as_f64(), found.as_f64()), (Some(a), Some(b)) if (a - b).abs() < f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = br#"{"status": "up", "a/b": {"m~n": [1, {"ok": true}, null, -2.5]}, "": 7, "n": 1.0}"#;

    #[test]
    fn a_pointer_leads_to_its_value() {
        let is = |pointer: &str, value: &str| assert!(holds(TEXT, pointer, value), "{pointer} {value}");
        is("/status", "\"up\"");
        is("/a~1b/m~0n/0", "1");
        is("/a~1b/m~0n/1/ok", "true");
        is("/a~1b/m~0n/2", "null");
        is("/a~1b/m~0n/3", "-2.5");
        is("/", "7");
        is("/n", "1");
        assert!(holds(b"\"up\"", "", "\"up\""), "the whole text");
    }

    #[test]
    fn what_is_not_there_is_not_equal() {
        let is_not = |pointer: &str, value: &str| assert!(!holds(TEXT, pointer, value), "{pointer} {value}");
        is_not("/status", "\"down\"");
        is_not("/status/0", "\"up\"");
        is_not("/a~1b/m~0n/01", "true");
        is_not("/a~1b/m~0n/9", "null");
        is_not("/missing", "null");
        is_not("/a~1b", "null");
        is_not("/n", "\"1\"");
        assert!(!holds(b"{\"a\": 1} trailing", "/a", "1"));
        assert!(!holds(b"{\"a\": 1, \"b\": ", "/a", "1"), "cut off");
        assert!(holds(br#"{"a": 1, "a": 2}"#, "/a", "2"), "the last of two");
        assert!(!holds(&vec![b'['; 60_000], "/0", "1"), "deeper than a reader goes");
    }
}
