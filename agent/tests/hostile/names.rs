//! Name servers that mean harm.

use std::time::Duration;

use faultline_agent::probe::Outcome;
use faultline_proto::types::v1::{Cause, DnsSpec, Layer, Protocol, assignment::Spec};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    task::JoinSet,
};

use crate::{
    Bench,
    http3::quic,
    servers::{Server, config, tcp, tls},
};

pub(crate) async fn run(bench: &mut Bench) {
    over_udp(bench).await;
    over_tcp(bench).await;
    encrypted(bench).await;
}

async fn over_udp(bench: &mut Bench) {
    let server = names(|asked| vec![its_own_alias(asked)]).await;
    let spec = || question(&server, Protocol::Unspecified);
    bench.case("a name that is its own alias", spec(), dns(Cause::DnsMalformed)).await;

    let server = names(|asked| vec![its_own_pointer(asked)]).await;
    let spec = question(&server, Protocol::Unspecified);
    bench.case("a name that points at itself", spec, dns(Cause::DnsMalformed)).await;

    let server = names(|asked| (1..500).map(|number| stranger(asked, number)).collect()).await;
    let spec = question(&server, Protocol::Unspecified);
    bench.case("answers to other questions", spec, dns(Cause::DnsMalformed)).await;

    let server = flood_of_strangers().await;
    let spec = question(&server, Protocol::Unspecified);
    bench.case("answers to other questions without end", spec, dns(Cause::DnsMalformed)).await;
}

async fn over_tcp(bench: &mut Bench) {
    let server = names_over_tcp(its_own_pointer).await;
    let spec = question(&server, Protocol::DnsTcp);
    bench.case("a name that points at itself over TCP", spec, dns(Cause::DnsMalformed)).await;

    for (what, count, outcome) in
        [("four hundred records", 400_u16, Outcome::Passed), ("four thousand records", 4000, dns(Cause::DnsMalformed))]
    {
        let server = names_over_tcp(move |asked| {
            let mut answer = head(asked, count);
            (0..count)
                .for_each(|number| answer.extend(record(1, &[&[10, 0], number.to_be_bytes().as_slice()].concat())));
            answer
        })
        .await;
        bench.case(what, question(&server, Protocol::DnsTcp), outcome).await;
    }

    let server = tcp(|mut stream| async move {
        let mut sent = stream.write_u16(u16::MAX).await;
        while sent.is_ok() {
            tokio::time::sleep(DRIP).await;
            sent = stream.write_u8(0).await;
        }
    })
    .await;
    bench.case("a dripping answer", question(&server, Protocol::DnsTcp), dns(Cause::DnsTimeout)).await;
}

async fn encrypted(bench: &mut Bench) {
    let server = tls(config(&bench.authority, b"dot", 0), |mut session| async move {
        let mut sent = session.write_u16(u16::MAX).await;
        while sent.is_ok() {
            tokio::time::sleep(DRIP).await;
            sent = session.write_u8(0).await;
            session.flush().await.ok();
        }
    })
    .await;
    bench.case("a dripping answer over TLS", question(&server, Protocol::DnsTls), dns(Cause::DnsTimeout)).await;

    let server = tls(config(&bench.authority, b"h2", 0), |mut session| async move {
        let Ok(1..) = session.read(&mut [0; 4096]).await else { return };
        let mut sent = session.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        session.write_all(&[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88]).await.ok();
        while sent.is_ok() {
            session.flush().await.ok();
            tokio::time::sleep(DRIP).await;
            sent = session.write_all(&[0, 0, 1, 0, 0, 0, 0, 0, 1, 0]).await;
        }
    })
    .await;
    bench.case("a dripping answer over HTTP/2", question(&server, Protocol::DnsHttps), dns(Cause::DnsTimeout)).await;

    for (what, alpn, transport, head, drop) in [
        ("a dripping answer over QUIC", b"doq".as_slice(), Protocol::DnsQuic, [255, 255].as_slice(), [0].as_slice()),
        ("a dripping answer over HTTP/3", b"h3", Protocol::DnsHttp3, &[1, 3, 0, 0, 0xd9], &[0, 1, 0]),
    ] {
        let server = quic(config(&bench.authority, alpn, 0), move |connection| async move {
            let Ok((mut stream, _receive)) = connection.accept_bi().await else { return };
            let mut sent = stream.write_all(head).await;
            while sent.is_ok() {
                tokio::time::sleep(DRIP).await;
                sent = stream.write_all(drop).await;
            }
        });
        bench.case(what, question(&server, transport), dns(Cause::DnsTimeout)).await;
    }

    let server = quic(config(&bench.authority, b"doq", 0), |connection| async move {
        let Ok((mut send, _receive)) = connection.accept_bi().await else { return };
        while send.write_all(&[255; 1024]).await.is_ok() {}
    });
    bench.case("an endless answer over QUIC", question(&server, Protocol::DnsQuic), dns(Cause::DnsMalformed)).await;
}

/// A name server that answers each datagram with these bytes, as often, after the question's id where there is one.
async fn names(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Server {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut question).await {
            for bytes in answer(&question[..length]) {
                socket.send_to(&bytes, peer).await.ok();
            }
        }
    });
    Server { address, _tasks: tasks }
}

/// A name server that sends answers to other questions for ever, to whoever asks.
async fn flood_of_strangers() -> Server {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut asked = [0; 512];
        let Ok((length, peer)) = socket.recv_from(&mut asked).await else { return };
        for number in (1..=u16::MAX).cycle() {
            socket.send_to(&stranger(&asked[..length], number), peer).await.ok();
            tokio::task::yield_now().await;
        }
    });
    Server { address, _tasks: tasks }
}

/// A name server over TCP.
async fn names_over_tcp(answer: impl Fn(&[u8]) -> Vec<u8> + Clone + Send + 'static) -> Server {
    tcp(move |mut stream| {
        let answer = answer.clone();
        async move {
            let Ok(length) = stream.read_u16().await else { return };
            let mut question = vec![0; usize::from(length)];
            if stream.read_exact(&mut question).await.is_err() {
                return;
            }
            let bytes = answer(&question);
            stream.write_u16(u16::try_from(bytes.len()).expect("short")).await.ok();
            stream.write_all(&bytes).await.ok();
        }
    })
    .await
}

fn its_own_alias(asked: &[u8]) -> Vec<u8> {
    let mut answer = head(asked, 1);
    answer.extend(record(5, &[0xc0, 12]));
    answer
}

fn its_own_pointer(asked: &[u8]) -> Vec<u8> {
    let mut answer = head(asked, 1);
    let at = u16::try_from(answer.len()).expect("short") | 0xc000;
    answer.extend(at.to_be_bytes());
    answer
}

/// An answer whose id differs from the question's.
fn stranger(asked: &[u8], number: u16) -> Vec<u8> {
    let mut answer = head(asked, 0);
    answer[..2].copy_from_slice(&(u16::from_be_bytes([asked[0], asked[1]]) ^ number).to_be_bytes());
    answer
}

/// The head of an answer to the question, with so many records to come, and the question.
fn head(question: &[u8], answers: u16) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name") + 1;
    let mut bytes = question[..2].to_vec();
    bytes.extend_from_slice(&[0x81, 0x80, 0, 1]);
    bytes.extend_from_slice(&answers.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0]);
    bytes.extend_from_slice(&question[12..name_end + 4]);
    bytes
}

/// A record of the question's name.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xc0, 12];
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
    bytes.extend_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn question(server: &Server, transport: Protocol) -> Spec {
    let (name, record_type, server) = ("www.example.test".into(), "A".into(), server.address.to_string());
    Spec::Dns(DnsSpec { name, record_type, server, transport: transport.into(), ..DnsSpec::default() })
}

fn dns(cause: Cause) -> Outcome {
    Outcome::Failed { layer: Layer::Dns, cause }
}

const DRIP: Duration = Duration::from_millis(20);
