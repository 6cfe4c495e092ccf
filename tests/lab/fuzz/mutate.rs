//! Mutations: of bytes, of what the bytes mean, and of two inputs together.

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};
use serde_json::Value;

use super::{corpus::Corpus, wire};

/// What the bytes of an input mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One byte that picks something, then messages in gRPC's frames.
    Frames,
    /// One byte that picks something, then a message, JSON or bytes.
    Tagged,
    /// A protobuf message.
    Message,
    /// JSON.
    Json,
    /// Lines of text.
    Text,
}

/// One input: a file of the corpus, changed a few times.
pub(super) fn mutate(draw: &mut Xoshiro256PlusPlus, corpus: &Corpus, shape: Shape, words: &[&str]) -> Vec<u8> {
    let mut bytes = corpus.nth(draw.random_range(0..1 << 16)).to_vec();
    for _ in 0..draw.random_range(1..6) {
        if draw.random_range(0..8) == 0 {
            let other = corpus.nth(draw.random_range(0..1 << 16)).to_vec();
            splice(draw, &mut bytes, &other);
        } else if draw.random_range(0..4) == 0 {
            havoc(draw, &mut bytes);
        } else {
            meaning(draw, &mut bytes, shape, words);
        }
    }
    bytes
}

fn meaning(draw: &mut Xoshiro256PlusPlus, bytes: &mut Vec<u8>, shape: Shape, words: &[&str]) {
    match shape {
        Shape::Frames => frames(draw, bytes),
        Shape::Message => message(draw, bytes),
        Shape::Json => json(draw, bytes, words),
        Shape::Text => text(draw, bytes, words),
        Shape::Tagged => {
            let Some(mut rest) = (!bytes.is_empty()).then(|| bytes.split_off(1)) else { return };
            if serde_json::from_slice::<Value>(&rest).is_ok() {
                json(draw, &mut rest, words);
            } else {
                message(draw, &mut rest);
            }
            bytes.append(&mut rest);
        }
    }
}

/// Changes one frame, or their order.
fn frames(draw: &mut Xoshiro256PlusPlus, bytes: &mut Vec<u8>) {
    let Some((tag, mut rest)) = bytes.split_first().map(|(tag, rest)| (*tag, rest)) else { return };
    let mut frames: Vec<(u8, Vec<u8>)> = Vec::new();
    while let Some(([flag, length @ ..], after)) = rest.split_first_chunk::<5>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX).min(after.len());
        frames.push((*flag, after[..length].to_vec()));
        rest = &after[length..];
    }
    let Some(place) = (!frames.is_empty()).then(|| draw.random_range(0..frames.len())) else { return };
    match draw.random_range(0..8) {
        0 => drop(frames.remove(place)),
        1 => frames.insert(place, frames[place].clone()),
        2 => {
            let other = draw.random_range(0..frames.len());
            frames.swap(place, other);
        }
        3 => frames[place].0 = draw.random_range(0..3),
        _ => message(draw, &mut frames[place].1),
    }
    bytes.clear();
    bytes.push(tag);
    for (flag, content) in frames {
        bytes.push(flag);
        bytes.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(content);
    }
}

fn message(draw: &mut Xoshiro256PlusPlus, bytes: &mut Vec<u8>) {
    match wire::parse(bytes) {
        Some(mut fields) => {
            wire::change(draw, &mut fields, havoc);
            *bytes = wire::write(&fields);
        }
        None => havoc(draw, bytes),
    }
}

fn json(draw: &mut Xoshiro256PlusPlus, bytes: &mut Vec<u8>, words: &[&str]) {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else { return text(draw, bytes, words) };
    let at = pick(draw, &mut value);
    *at = match draw.random_range(0..10) {
        0 => Value::Null,
        1 => Value::from(number(draw)),
        2 => Value::from(-1.5e300),
        3 => Value::Array(vec![at.take(); 3]),
        4 => Value::from(word(draw, words)),
        5 => (0..100).fold(at.take(), |inside, _| Value::Array(vec![inside])),
        6 => Value::Object(serde_json::Map::new()),
        _ => match at.take() {
            Value::String(text) => {
                let mut text = text.into_bytes();
                havoc(draw, &mut text);
                Value::from(String::from_utf8_lossy(&text).into_owned())
            }
            Value::Array(mut items) => {
                if !items.is_empty() {
                    let place = draw.random_range(0..items.len());
                    if draw.random() {
                        items.remove(place);
                    } else {
                        items.push(items[place].clone());
                    }
                }
                Value::Array(items)
            }
            Value::Object(mut fields) => {
                let key = fields.keys().nth(draw.random_range(0..fields.len().max(1))).cloned();
                if let Some(key) = key {
                    let value = fields.remove(&key).unwrap_or_default();
                    if draw.random() {
                        fields.insert(word(draw, words), value);
                    }
                }
                Value::Object(fields)
            }
            Value::Number(_) => Value::from(number(draw).cast_signed()),
            other => other,
        },
    };
    *bytes = serde_json::to_vec(&value).unwrap_or_default();
}

/// A value on a random way down.
fn pick<'a>(draw: &mut Xoshiro256PlusPlus, value: &'a mut Value) -> &'a mut Value {
    let inside = match &*value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if inside == 0 || draw.random_range(0..5) == 0 {
        return value;
    }
    let place = draw.random_range(0..inside);
    match value {
        Value::Array(items) => pick(draw, &mut items[place]),
        Value::Object(fields) => pick(draw, fields.values_mut().nth(place).expect("a place inside")),
        leaf => leaf,
    }
}

/// Changes lines, or a word of one.
fn text(draw: &mut Xoshiro256PlusPlus, bytes: &mut Vec<u8>, words: &[&str]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let Some(place) = (!lines.is_empty()).then(|| draw.random_range(0..lines.len())) else { return };
    match draw.random_range(0..8) {
        0 => drop(lines.remove(place)),
        1 => {
            let times = [1, 1, 50][draw.random_range(0..3)];
            let copy = lines[place].clone();
            lines.extend(std::iter::repeat_n(copy, times));
        }
        2 => {
            let other = draw.random_range(0..lines.len());
            lines.swap(place, other);
        }
        3 => lines[place].push_str(&word(draw, words)),
        4 | 5 => {
            // Another value behind the sign, or another word at a random place.
            let line = &mut lines[place];
            let from = line.find('=').map_or(0, |at| at + 1);
            line.truncate(from);
            line.push(' ');
            line.push_str(&word(draw, words));
        }
        _ => {
            let mut line = lines[place].clone().into_bytes();
            havoc(draw, &mut line);
            lines[place] = String::from_utf8_lossy(&line).into_owned();
        }
    }
    *bytes = lines.join("\n").into_bytes();
}

/// Changes bytes, whatever they mean.
fn havoc(draw: &mut Xoshiro256PlusPlus, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.extend((0..draw.random_range(1..16)).map(|_| draw.random::<u8>()));
        return;
    }
    let place = draw.random_range(0..bytes.len());
    let length = draw.random_range(1..=(bytes.len() - place).min(64));
    match draw.random_range(0..8) {
        0 => bytes[place] ^= 1 << draw.random_range(0..8),
        1 => bytes[place] = [0, 0x7f, 0x80, 0xff, b'"', b'\n'][draw.random_range(0..6)],
        2 => drop(bytes.drain(place..place + length)),
        3 => {
            let copy = bytes[place..place + length].to_vec();
            bytes.splice(place..place, copy);
        }
        4 => bytes.truncate(place),
        5 => {
            let value = number(draw).to_be_bytes();
            bytes.splice(place..place, value);
        }
        6 => {
            let noise: Vec<u8> = (0..length).map(|_| draw.random()).collect();
            bytes.splice(place..place + length, noise);
        }
        _ => {
            let copy = bytes[place..place + length].to_vec();
            let times = draw.random_range(2..200);
            bytes.splice(place..place, copy.iter().copied().cycle().take(length * times));
        }
    }
}

/// The beginning of one, and the end of the other.
fn splice(draw: &mut Xoshiro256PlusPlus, bytes: &mut Vec<u8>, other: &[u8]) {
    bytes.truncate(draw.random_range(0..=bytes.len()));
    bytes.extend(&other[draw.random_range(0..=other.len())..]);
}

fn word(draw: &mut Xoshiro256PlusPlus, words: &[&str]) -> String {
    const ANY: [&str; 12] =
        ["", "0", "-1", "\"\"", "[]", "{}", "true", "1e999", "\"\\u0000\"", "18446744073709551616", "\u{202e}", "é"];
    let all = words.len() + ANY.len();
    let place = draw.random_range(0..all);
    words.get(place).or_else(|| ANY.get(place - words.len())).map_or_else(String::new, |word| (*word).to_owned())
}

/// A number at which something may break.
pub(super) fn number(draw: &mut Xoshiro256PlusPlus) -> u64 {
    let edge = 1_u64 << draw.random_range(0..64);
    match draw.random_range(0..5) {
        0 => 0,
        1 => u64::MAX,
        2 => edge - 1,
        3 => edge,
        _ => draw.random(),
    }
}
