//! What a module of the tcp prober says and expects.

use std::net::IpAddr;

use bytes::Bytes;

use super::{
    Family,
    file::{LabelFile, StepFile, TcpFile},
    pattern::Pattern,
    reading::Reading,
    tls::{Tls, tls},
};

/// A module of the tcp prober.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// Which addresses of the target are probed.
    pub family: Family,
    /// Address that the connection is made from.
    pub source: Option<IpAddr>,
    /// What is said after the connection is up, in order.
    pub steps: Vec<Step>,
    /// Whether the connection begins with TLS.
    pub begins_with_tls: bool,
    /// TLS, from the beginning or after a step with `starttls`.
    pub tls: Tls,
}

/// One turn of the talk: wait, answer, change to TLS; each of them optional and in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What must come before the talk goes on.
    pub expect: Option<Expect>,
    /// Labels of `probe_expect_info` when it came: name and value, a template of the groups of what matched.
    pub labels: Vec<(String, String)>,
    /// Sent with a line feed after it; a template of the groups of what matched.
    pub send: Option<String>,
    /// Whether TLS begins here.
    pub starttls: bool,
}

/// What a server must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A line, of whatever place, that matches.
    Line(Pattern),
    /// Exactly these bytes next.
    Bytes(Bytes),
}

pub(super) fn tcp(file: TcpFile, reading: &mut Reading<'_>) -> Tcp {
    Tcp {
        family: reading.family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        source: file.source_ip_address.unwrap_or_default().0,
        steps: file.query_response.unwrap_or_default().into_iter().map(|file| step(file, reading)).collect(),
        begins_with_tls: file.tls.unwrap_or(false),
        tls: tls(file.tls_config, reading),
    }
}

fn step(file: StepFile, reading: &mut Reading<'_>) -> Step {
    let bytes = file.expect_bytes.filter(|bytes| !bytes.value.is_empty());
    let line = file.expect.filter(|pattern| !pattern.as_str().is_empty());
    if let (Some(bytes), Some(_)) = (&bytes, &line) {
        reading.wrong(bytes, "expect and expect_bytes of one step exclude each other");
    }
    let mut labels = Vec::new();
    for at in file.labels.unwrap_or_default() {
        let LabelFile { name, value } = &at.value;
        match name.as_deref().filter(|name| is_label(name)) {
            Some(name) => labels.push((name.to_owned(), value.clone().unwrap_or_default())),
            None => reading.wrong(&at, &format!("{:?} is no name of a label", name.as_deref().unwrap_or_default())),
        }
    }
    let bytes = bytes.map(|bytes| Expect::Bytes(Bytes::from(bytes.value)));
    Step {
        expect: line.map(Expect::Line).or(bytes),
        labels,
        send: file.send.filter(|text| !text.is_empty()),
        starttls: file.starttls.unwrap_or(false),
    }
}

/// Source: the data model of Prometheus, `[a-zA-Z_][a-zA-Z0-9_]*`.
fn is_label(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_plain) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}
