//! A client of v1 that was recorded: `recorded/client.txt` holds the bytes that it sends and what it reads of the answers by
//! field number. They are replayed over a socket, without the contract that this build was made from: whatever becomes of
//! that, what the client relied on must still be there.

use std::collections::BTreeSet;

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request,
    body::{Buf as _, Bytes, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tokio::{net::TcpStream, task::JoinSet};

use super::*;

const RECORDED: &str = include_str!("recorded/client.txt");

/// One call as it was recorded.
#[derive(Debug, Default)]
struct Call {
    method: String,
    send: Vec<u8>,
    reads: Vec<Read>,
    refused: Option<(String, String)>,
}

/// What some message of an answer has.
#[derive(Clone, Debug)]
struct Read {
    path: Vec<u32>,
    kind: String,
    value: String,
}

/// A field as it is on the wire.
enum Value<'a> {
    Number(u64),
    Double,
    Bytes(&'a [u8]),
}

fn recorded() -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for line in RECORDED.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').expect("a word and more");
        if word == "call" {
            calls.push(Call { method: rest.into(), ..Call::default() });
            continue;
        }
        let call = calls.last_mut().expect("a call comes first");
        let mut rest_of = rest.splitn(3, ' ').map(str::to_owned);
        let mut next = || rest_of.next().unwrap_or_default();
        match word {
            "send" => call.send = HEXLOWER.decode(rest.as_bytes()).expect("hexadecimal"),
            "read" => {
                let path = next().split('.').map(|number| number.parse().expect("a number")).collect();
                call.reads.push(Read { path, kind: next(), value: next() });
            }
            "refused" => call.refused = Some((next(), next())),
            other => panic!("{other}: no such word"),
        }
    }
    calls
}

/// The fields of a message.
fn fields(mut bytes: &[u8]) -> Vec<(u32, Value<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (number, wire_type) = decode_key(&mut bytes).expect("a key");
        let value = match wire_type {
            WireType::Varint => Value::Number(decode_varint(&mut bytes).expect("a number")),
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut bytes).expect("a length")).expect("a length");
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(value)
            }
            other => {
                skip_field(other, number, &mut bytes, DecodeContext::default()).expect("a field");
                Value::Double
            }
        };
        fields.push((number, value));
    }
    fields
}

impl Read {
    fn is_in(&self, message: &[u8]) -> bool {
        self.is_at(&self.path, message)
    }

    fn is_at(&self, path: &[u32], message: &[u8]) -> bool {
        let Some((number, beneath)) = path.split_first() else { return false };
        fields(message).into_iter().filter(|(found, _)| found == number).any(|(_, value)| match (value, beneath) {
            (Value::Bytes(bytes), []) => match self.kind.as_str() {
                "text" => str::from_utf8(bytes).is_ok_and(|text| !text.is_empty() && text.starts_with(&self.value)),
                kind => kind == "message",
            },
            (Value::Bytes(bytes), beneath) => self.is_at(beneath, bytes),
            (Value::Number(number), []) => {
                self.kind == "number" && (self.value.is_empty() || self.value == number.to_string())
            }
            (Value::Double, []) => self.kind == "double",
            (Value::Number(_) | Value::Double, _) => false,
        })
    }
}

/// The messages that are whole by now, and the rest.
fn messages(mut bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut messages = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(5) {
        assert_eq!(head[0], 0, "nobody asked for compression");
        let Some((message, rest)) = rest.split_at_checked((&head[1..]).get_u32() as usize) else { break };
        messages.push(message);
        bytes = rest;
    }
    (messages, bytes)
}

async fn replay(sender: &mut SendRequest<Full<Bytes>>, call: &Call) {
    let length = u32::try_from(call.send.len()).expect("short").to_be_bytes();
    let body = [&[0][..], &length, &call.send].concat();
    let request = Request::post(format!("http://localhost/faultline.feed.v1.FeedService/{}", call.method))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::from(Bytes::from(body)))
        .expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let (head, mut body) = answer.into_parts();
    if let Some((code, reason)) = &call.refused {
        let trailers = trailers(&mut body).await;
        let told = |name: &str| {
            let value = head.headers.get(name).or_else(|| trailers.as_ref()?.get(name));
            value.map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default()
        };
        assert_eq!(told("grpc-status"), *code, "{call:?}");
        let details = told("grpc-status-details-bin");
        let details = BASE64_NOPAD.decode(details.as_bytes()).or_else(|_| BASE64.decode(details.as_bytes()));
        // google.rpc.Status.details, Any.value, ErrorInfo.reason.
        let wanted = Read { path: vec![3, 2], kind: "message".into(), value: String::new() };
        let details = details.expect("base64");
        assert!(wanted.is_in(&details) && reasons(&details).contains(reason), "{call:?}: {details:?}");
        return;
    }
    let (mut unread, mut came) = (call.reads.clone(), Vec::new());
    while !unread.is_empty() {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame.expect("a frame").into_data() else { continue };
        came.extend_from_slice(&data);
        let (whole, rest) = messages(&came);
        unread.retain(|read| !whole.iter().any(|message| read.is_in(message)));
        came = rest.to_vec();
    }
    assert!(unread.is_empty(), "{} {}: a client does not find {unread:?}", call.method, HEXLOWER.encode(&call.send));
}

async fn trailers(body: &mut Incoming) -> Option<http::HeaderMap> {
    while let Some(frame) = body.frame().await {
        if let Ok(trailers) = frame.expect("a frame").into_trailers() {
            return Some(trailers);
        }
    }
    None
}

/// The first text of each detail.
fn reasons(status: &[u8]) -> BTreeSet<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut reasons = BTreeSet::new();
    for (number, detail) in fields(status) {
        let (3, Value::Bytes(detail)) = (number, detail) else { continue };
        for (number, value) in fields(detail) {
            let (2, Value::Bytes(value)) = (number, value) else { continue };
            let first = fields(value).into_iter().next();
            if let Some((1, Value::Bytes(reason))) = first {
                reasons.insert(text(reason));
            }
        }
    }
    reasons
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_client_of_v1_finds_what_it_reads_by_number() {
    let (data, coordinator, clock) = stage().await;
    let mut witnesses = Witnesses::join(data.path(), coordinator.agents_address, clock).await.expect("witnesses");
    let feed = coordinator.feed_address;
    let attributed = async {
        let mut client = FeedServiceClient::new(channel(feed).await);
        let mut stream = client.subscribe(subscribe(Start::FromSnapshot(FromSnapshot {}))).await.expect("subscribed");
        let mut keeper = Keeper::default();
        while keeper.take(next(stream.get_mut()).await).is_none_or(|it| it.state() != IncidentState::Attributed) {}
    };
    let told = async {
        tokio::select! {
            () = front_door_breaks(&mut witnesses, u32::MAX) => unreachable!("it does not end"),
            () = attributed => {}
        }
    };
    time::timeout(HANG, told).await.expect("in time");
    let stream = TcpStream::connect(feed).await.expect("connect");
    let connected = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.expect("http/2");
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let calls = recorded();
    assert!(calls.len() >= 7, "the record is whole");
    for call in &calls {
        time::timeout(HANG, replay(&mut sender, call)).await.unwrap_or_else(|_| panic!("in time: {call:?}"));
    }
    coordinator.stop().await;
}

#[test]
fn a_field_under_another_number_or_of_another_kind_is_not_found() {
    let of = |path: &[u32], kind: &str, value: &str| Read { path: path.into(), kind: kind.into(), value: value.into() };
    // Field 1: { 2: "inc-1", 3: 7 }, field 4: a double.
    let message = [0x0a, 9, 0x12, 5, b'i', b'n', b'c', b'-', b'1', 0x18, 7, 0x21, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(of(&[1, 2], "text", "inc-").is_in(&message) && of(&[1, 3], "number", "7").is_in(&message));
    assert!(of(&[4], "double", "").is_in(&message) && of(&[1], "message", "").is_in(&message));
    assert!(!of(&[1, 4], "text", "inc-").is_in(&message), "another number");
    assert!(!of(&[1, 2], "number", "").is_in(&message), "another kind");
    assert!(!of(&[1, 3], "number", "8").is_in(&message), "another value");
}
