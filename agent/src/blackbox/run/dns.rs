//! Looks of a dns module: the target is the server, and its answer is judged section by section.

use std::{net::SocketAddr, time::Duration};

use faultline_proto::types::v1::{Cause, Layer, Protocol};
use hickory_resolver::proto::{
    op::Message,
    rr::{RData, Record, RecordType},
};

use super::{
    super::{
        metrics::{DnsMeasured, DnsPhases, Failure, Measured, Of},
        modules::{Dns, Transport},
    },
    Begun, Runner, host_and_port,
    record::text,
};
use crate::probe::{BodyLimits, Checking, Extension, Looked, Question, Recursion};

pub(super) async fn probe(runner: &Runner, dns: &Dns, target: &str, timeout: Duration) -> Measured {
    let mut begun = Begun::at(runner.look(timeout, BodyLimits::default()));
    let port = if dns.transport == Transport::Tls { 853 } else { 53 };
    let bare = target.trim_start_matches('[').trim_end_matches(']');
    let (host, port) = host_and_port(target).unwrap_or((bare, port));
    let name = dns.tls.server_name.as_deref().unwrap_or(host);
    let failure = match begun.choose(host, port, dns.family).await {
        Ok(address) => ask(&mut begun, dns, (address, name)).await.err(),
        Err(stop) => Some(stop.into()),
    };
    let resolve = begun.lookup.map(|lookup| lookup.duration);
    begun.end(runner, timeout, failure, |looked| Of::Dns(measured(dns, resolve, looked)))
}

async fn ask(begun: &mut Begun, dns: &Dns, (address, name): (SocketAddr, &str)) -> Result<(), Failure> {
    let question = Question {
        name: dns.query_name.clone(),
        kind: dns.query_type,
        class: dns.query_class,
        recursion: if dns.recursion_desired { Recursion::Desired } else { Recursion::Off },
        checking: Checking::On,
        edns: Extension::Off,
    };
    let transport = match dns.transport {
        Transport::Udp => Protocol::DnsUdp,
        Transport::Tcp => Protocol::DnsTcp,
        Transport::Tls => Protocol::DnsTls,
    };
    begun.look.ask(address, (name, transport), dns.source, &question).await?;
    let message = begun.look.progress.detail.as_ref().and_then(|detail| detail.message.as_ref());
    message.map_or(Ok(()), |message| judge(dns, message))
}

fn judge(dns: &Dns, message: &Message) -> Result<(), Failure> {
    let code = u16::from(message.metadata.response_code);
    if !dns.valid_rcodes.contains(&code) {
        let cause = match code {
            2 => Cause::DnsServfail,
            3 => Cause::DnsNxdomain,
            5 => Cause::DnsRefused,
            _ => Cause::DnsWrongAnswer,
        };
        return Err(Failure::Layer(Layer::Dns, cause));
    }
    let texts = |records: &[Record]| records.iter().map(text).collect::<Vec<_>>();
    let is_good = dns.answers.pass(&texts(&message.answers))
        && dns.authorities.pass(&texts(&message.authorities))
        && dns.additionals.pass(&texts(&message.additionals));
    if is_good { Ok(()) } else { Err(Failure::Layer(Layer::Dns, Cause::DnsWrongAnswer)) }
}

fn measured(dns: &Dns, resolve: Option<Duration>, looked: &Looked) -> DnsMeasured {
    let timings = looked.observed.result.timings.unwrap_or_default();
    let micros = |micros: u32| (micros > 0).then(|| Duration::from_micros(micros.into()));
    let handshake = micros(timings.connect_us + timings.tls_us);
    let request = micros(timings.first_byte_us);
    let phases = DnsPhases { resolve, connect: handshake, request };
    let Some(message) = &looked.detail.message else { return DnsMeasured { phases, ..DnsMeasured::default() } };
    let count = |records: &[Record]| u32::try_from(records.len()).unwrap_or(u32::MAX);
    let serial = message
        .answers
        .iter()
        .find_map(|record| if let RData::SOA(soa) = &record.data { Some(soa.serial) } else { None });
    DnsMeasured {
        phases,
        rcode: Some(message.metadata.response_code.into()),
        answers: count(&message.answers),
        authorities: count(&message.authorities),
        additionals: count(&message.additionals) + u32::from(message.edns.is_some()),
        serial: (dns.query_type == RecordType::SOA).then(|| serial.unwrap_or_default()),
    }
}
