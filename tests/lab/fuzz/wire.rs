//! Protobuf as it is on the wire, without its schema: fields of fields, so that one can be changed and the lengths around
//! it still fit.

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};

/// Deeper messages are taken as bytes.
const DEEPEST: usize = 8;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    number: u64,
    value: Value,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
}

/// The fields of a message; `None` when it is none.
pub(super) fn parse(bytes: &[u8]) -> Option<Vec<Field>> {
    parse_at(bytes, 0)
}

fn parse_at(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed64(take(&mut bytes, 8)?.try_into().ok()?),
            5 => Value::Fixed32(take(&mut bytes, 4)?.try_into().ok()?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let content = take(&mut bytes, length)?;
                let inner = (depth < DEEPEST && !content.is_empty()).then(|| parse_at(content, depth + 1)).flatten();
                inner.map_or_else(|| Value::Bytes(content.to_vec()), Value::Message)
            }
            _ => return None,
        };
        fields.push(Field { number: (key >> 3 != 0).then_some(key >> 3)?, value });
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The message with these fields.
pub(super) fn write(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for Field { number, value } in fields {
        match value {
            Value::Varint(value) => {
                put(&mut out, number << 3);
                put(&mut out, *value);
            }
            Value::Fixed64(value) => {
                put(&mut out, number << 3 | 1);
                out.extend(value);
            }
            Value::Fixed32(value) => {
                put(&mut out, number << 3 | 5);
                out.extend(value);
            }
            Value::Bytes(content) => put_bytes(&mut out, *number, content),
            Value::Message(inner) => put_bytes(&mut out, *number, &write(inner)),
        }
    }
    out
}

fn put_bytes(out: &mut Vec<u8>, number: u64, content: &[u8]) {
    put(out, number << 3 | 2);
    put(out, content.len() as u64);
    out.extend(content);
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn count(fields: &[Field]) -> usize {
    let inner = |field: &Field| if let Value::Message(inner) = &field.value { count(inner) } else { 0 };
    fields.iter().map(|field| 1 + inner(field)).sum()
}

/// The list that holds the `nth` field of the tree, and its place there.
fn find<'a>(fields: &'a mut Vec<Field>, nth: &mut usize) -> Option<(&'a mut Vec<Field>, usize)> {
    for place in 0..fields.len() {
        if *nth == 0 {
            return Some((fields, place));
        }
        *nth -= 1;
        let inside = if let Value::Message(inner) = &fields[place].value { count(inner) } else { 0 };
        if *nth < inside {
            let Value::Message(inner) = &mut fields[place].value else { return None };
            return find(inner, nth);
        }
        *nth -= inside;
    }
    None
}

/// Changes one field somewhere in the tree.
pub(super) fn change(
    draw: &mut Xoshiro256PlusPlus,
    fields: &mut Vec<Field>,
    havoc: fn(&mut Xoshiro256PlusPlus, &mut Vec<u8>),
) {
    let all = count(fields);
    if all == 0 {
        fields.push(Field { number: draw.random_range(1..20), value: Value::Varint(draw.random()) });
        return;
    }
    let mut nth = draw.random_range(0..all);
    let Some((list, place)) = find(fields, &mut nth) else { return };
    match draw.random_range(0..10) {
        0 => drop(list.remove(place)),
        1 => {
            let copy = list[place].clone();
            let times = [1, 2, 20, 1500][draw.random_range(0..4)];
            if write(std::slice::from_ref(&copy)).len() * times < super::LONGEST {
                list.extend(std::iter::repeat_n(copy, times));
            }
        }
        2 => list[place].number = draw.random_range(1..16),
        3 => {
            let other = draw.random_range(0..list.len());
            list.swap(place, other);
        }
        4 => {
            let (number, mut nest) = (list[place].number, list[place].value.clone());
            for _ in 0..[1, 3, 120][draw.random_range(0..3)] {
                nest = Value::Message(vec![Field { number, value: nest }]);
            }
            list[place].value = nest;
        }
        5 => list[place].value = Value::Bytes(Vec::new()),
        6 => list[place].value = Value::Varint(super::mutate::number(draw)),
        _ => match &mut list[place].value {
            Value::Varint(value) => {
                *value = if draw.random() {
                    super::mutate::number(draw)
                } else {
                    value.wrapping_add(draw.random_range(0..3)).wrapping_sub(1)
                };
            }
            Value::Fixed64(value) => *value = draw.random(),
            Value::Fixed32(value) => *value = draw.random(),
            Value::Bytes(content) => havoc(draw, content),
            Value::Message(inner) => {
                let mut content = write(inner);
                havoc(draw, &mut content);
                list[place].value = Value::Bytes(content);
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_is_written_as_it_came() {
        // Field 1 = 150; field 2 = { field 1 = "ab" as bytes }; field 3 fixed32.
        let bytes = [0x08, 0x96, 0x01, 0x12, 0x04, 0x0a, 0x02, b'a', b'b', 0x1d, 1, 2, 3, 4];
        let fields = parse(&bytes).expect("a message");
        assert_eq!((fields.len(), write(&fields)), (3, bytes.to_vec()));
        assert_eq!(parse(&[0x08]), None, "cut off");
    }

    #[test]
    fn every_field_of_the_tree_can_be_reached() {
        let bytes = [0x12, 0x04, 0x08, 0x01, 0x10, 0x02, 0x18, 0x03];
        let mut fields = parse(&bytes).expect("a message");
        let numbers: Vec<u64> = (0..count(&fields))
            .map(|nth| {
                let (list, place) = find(&mut fields, &mut nth.clone()).expect("there");
                list[place].number
            })
            .collect();
        assert_eq!(numbers, [2, 1, 2, 3]);
    }
}
