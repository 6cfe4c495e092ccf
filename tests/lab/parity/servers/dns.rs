//! A name server, written to the byte. The first label of the name says how it answers; `records` has records of every type.
//!
//! | label | what |
//! |---|---|
//! | `a two sections` | one address; two; one with records in the other sections |
//! | `nxdomain servfail refused notimp` | that response code |
//! | `empty` | no records |
//! | `alias` | an alias, and the address of what it leads to |
//! | `truncated` | nothing, cut off, over UDP; an address over TCP |
//! | `many` | 600 addresses |
//! | `mapped` | an IPv4 address within an IPv6 one |
//! | `xn--mller-kva` | itself, as a name server |
//! | `records` | a record of the type that is asked for |
//! | `pointer-loop cut-record` | a record whose name points at itself; one that ends too early |
//! | `wrong-id other-question garbage short query` | no answer to this question |
//! | `silent` | nothing |
//!
//! Source of the format: RFC 1035, section 4.

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::UdpSocket,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Udp,
    Stream,
}

/// Answers until it is dropped.
pub(super) async fn serve_udp(socket: UdpSocket) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = answer(&buffer[..length], Over::Udp) {
            socket.send_to(&answer, from).await.ok();
        }
    }
}

/// Answers the queries of one connection.
pub(super) async fn serve_stream(mut stream: impl AsyncRead + AsyncWrite + Unpin + Send) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; usize::from(length)];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let Some(answer) = answer(&query, Over::Stream) else { continue };
        let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
        let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
        if stream.write_all(&framed).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

fn answer(query: &[u8], over: Over) -> Option<Vec<u8>> {
    let id = u16::from_be_bytes([*query.first()?, *query.get(1)?]);
    let question_end = 12 + query.get(12..)?.iter().position(|byte| *byte == 0)? + 5;
    let question = query.get(12..question_end)?;
    let label = String::from_utf8_lossy(question.get(1..1 + usize::from(*question.first()?))?).to_lowercase();
    let kind = u16::from_be_bytes([query[question_end - 4], query[question_end - 3]]);
    let mut reply =
        Reply { id, flags: ANSWER, question: question.to_vec(), sections: [Vec::new(), Vec::new(), Vec::new()] };
    let looping = u8::try_from(question_end).unwrap_or_default();
    let address = |last: u8| record(&OWNER, 1, &[192, 0, 2, last]);
    match label.as_str() {
        "nxdomain" => reply.flags |= 3,
        "servfail" => reply.flags |= 2,
        "refused" => reply.flags |= 5,
        "notimp" => reply.flags |= 4,
        "empty" => {}
        "two" => reply.sections[0] = vec![address(1), address(2)],
        "sections" => {
            let server = name("ns1.parity.test");
            reply.sections = [
                vec![address(1)],
                vec![record(&name("parity.test"), 2, &server)],
                vec![record(&server, 1, &[192, 0, 2, 53]), record(&server, 28, &V6)],
            ];
        }
        "alias" => {
            let real = name("real.parity.test");
            reply.sections[0] = vec![record(&OWNER, 5, &real), record(&real, 1, &[192, 0, 2, 1])];
        }
        "truncated" if over == Over::Udp => reply.flags |= 0x0200,
        "many" => reply.sections[0] = (0..MANY).map(|_| address(1)).collect(),
        "mapped" => reply.sections[0] = vec![record(&OWNER, 28, &MAPPED)],
        "xn--mller-kva" => reply.sections[0] = vec![record(&OWNER, 2, &OWNER)],
        "records" if kind == ANY => reply.sections[0] = vec![record(&OWNER, UNKNOWN, &data(UNKNOWN)[0])],
        "records" => reply.sections[0] = data(kind).iter().map(|data| record(&OWNER, kind, data)).collect(),
        "wrong-id" => reply.id = id.wrapping_add(1),
        "other-question" => reply.question = [name("other.parity.test"), vec![0, 1, 0, 1]].concat(),
        "pointer-loop" => reply.sections[0] = vec![record(&[0xc0, looping], 1, &[192, 0, 2, 1])],
        "cut-record" => reply.sections[0] = vec![address(1)[..10].to_vec()],
        "garbage" => return Some(b"SSH-2.0-OpenSSH_9.2".to_vec()),
        "short" => return Some(query.get(..6)?.to_vec()),
        "query" => reply.flags &= 0x7fff,
        "silent" => return None,
        _ => reply.sections[0] = vec![address(1)],
    }
    Some(reply.encoded())
}

struct Reply {
    id: u16,
    flags: u16,
    question: Vec<u8>,
    sections: [Vec<Vec<u8>>; 3],
}

impl Reply {
    fn encoded(&self) -> Vec<u8> {
        let count = |section: &Vec<Vec<u8>>| u16::try_from(section.len()).unwrap_or(u16::MAX);
        let [answers, authorities, additionals] = &self.sections;
        let numbers = [self.id, self.flags, 1, count(answers), count(authorities), count(additionals)];
        let mut message: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        message.extend(&self.question);
        message.extend(self.sections.iter().flatten().flatten());
        message
    }
}

/// Of five minutes.
fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    [owner, &kind.to_be_bytes(), &[0, 1, 0, 0, 1, 44], &length.to_be_bytes(), data].concat()
}

fn name(text: &str) -> Vec<u8> {
    let labels =
        text.split('.').flat_map(|label| [&[u8::try_from(label.len()).unwrap_or(63)], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

fn strings(texts: &[&[u8]]) -> Vec<u8> {
    texts.iter().flat_map(|text| [&[u8::try_from(text.len()).unwrap_or(255)], *text].concat()).collect()
}

/// The data of records of the type.
fn data(kind: u16) -> Vec<Vec<u8>> {
    let host = name("host.parity.test");
    match kind {
        1 => vec![vec![192, 0, 2, 1]],
        2 | 5 | 12 | 39 => vec![host],
        6 => {
            let numbers = [2_026_112_601_u32, 7200, 3600, 1_209_600, 300].map(u32::to_be_bytes).concat();
            vec![[name("ns1.parity.test"), name("host.master.parity.test"), numbers].concat()]
        }
        13 => vec![strings(&[b"PDP-11", b"UNIX V6"])],
        15 => vec![[vec![0, 10], host].concat()],
        16 => vec![strings(&[b"v=spf1 -all"]), strings(&[b"say \"hi\" \\ there", b"two; parts", b"\xc3\xa9\x07", b""])],
        28 => vec![V6.to_vec()],
        33 => vec![[vec![0, 10, 0, 20, 1, 187], host].concat()],
        35 => vec![[vec![0, 10, 0, 20], strings(&[b"S", b"SIP+D2U", b"!^.*$!sip:x!"]), vec![0]].concat()],
        43 => vec![[vec![0x30, 0x39, 13, 2], vec![0xab; 4]].concat()],
        44 => vec![[vec![4, 2], vec![0xcd; 4]].concat()],
        48 => vec![[vec![1, 1, 3, 13], vec![0xef; 6]].concat()],
        52 => vec![[vec![3, 1, 1], vec![0xab; 4]].concat()],
        65 => vec![[vec![0, 1, 0, 0, 1, 0, 6], strings(&[b"h2", b"h3"])].concat(), [vec![0, 0], host].concat()],
        257 => vec![
            [&[0], strings(&[b"issue"]).as_slice(), b"letsencrypt.org"].concat(),
            [&[128], strings(&[b"iodef"]).as_slice(), b"mailto:x@parity.test"].concat(),
        ],
        _ => vec![vec![0xde, 0xad, 0xbe, 0xef]],
    }
}

/// An answer; recursion was desired, and is there.
const ANSWER: u16 = 0x8180;
const MANY: usize = 600;
/// `::ffff:192.0.2.1`.
const MAPPED: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1];
const ANY: u16 = 255;
/// For private use. Source: RFC 6895, section 3.1.
const UNKNOWN: u16 = 65_280;
/// The name that was asked for: where it stands in the message.
const OWNER: [u8; 2] = [0xc0, 12];
/// `2001:db8::1`.
const V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
