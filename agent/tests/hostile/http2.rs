//! Servers of HTTP/2 that mean harm, frame by frame (RFC 9113, section 4.1).

use faultline_proto::types::v1::{Cause, assignment::Spec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    Bench, http, page,
    servers::{Server, config, tls},
};

pub(crate) async fn run(bench: &mut Bench) {
    let header = literal(b"x", b"1");
    let filler = header.repeat(1000);
    let head = |flags| frame(HEADERS, flags, 1, &[STATUS_200]);

    let server = pouring(bench, head(0), frame(CONTINUATION, 0, 1, &filler)).await;
    bench.case("headers without end over HTTP/2", Spec::Https(page(&server)), http(Cause::HttpProtocolError)).await;

    let server = pouring(bench, head(0), frame(CONTINUATION, 0, 1, &[])).await;
    let what = "empty continuations without end";
    bench.case(what, Spec::Https(page(&server)), http(Cause::HttpProtocolError)).await;

    let mut many = head(0);
    (1..10).for_each(|_| many.extend(frame(CONTINUATION, 0, 1, &filler)));
    many.extend(frame(CONTINUATION, END_HEADERS, 1, &filler));
    let server = pouring(bench, many, Vec::new()).await;
    bench.case("ten thousand headers over HTTP/2", Spec::Https(page(&server)), http(Cause::HttpProtocolError)).await;

    let interim = frame(HEADERS, END_HEADERS, 1, &[8, 3, b'1', b'0', b'3']);
    let server = pouring(bench, Vec::new(), interim).await;
    let what = "interim answers without end over HTTP/2";
    bench.case(what, Spec::Https(page(&server)), http(Cause::HttpTimeout)).await;

    // GET https://127.0.0.1/ as stream 2 (RFC 7541, appendix A).
    let promise = [&[0, 0, 0, 2, 0x82, 0x87, 0x84][..], &[1, 9], b"127.0.0.1"].concat();
    let server = pouring(bench, Vec::new(), frame(PUSH_PROMISE, END_HEADERS, 1, &promise)).await;
    bench.case("pushed answers", Spec::Https(page(&server)), http(Cause::HttpProtocolError)).await;

    for (what, filler) in
        [("pings without end", frame(PING, 0, 0, &[0; 8])), ("settings without end", frame(SETTINGS, 0, 0, &[]))]
    {
        let server = pouring(bench, Vec::new(), filler).await;
        bench.case(what, Spec::Https(page(&server)), http(Cause::HttpTimeout)).await;
    }
}

/// Sends settings, the head once, and the filler for ever; reads what comes meanwhile, since answers to it would stop either side.
async fn pouring(bench: &Bench, head: Vec<u8>, filler: Vec<u8>) -> Server {
    let start = [frame(SETTINGS, 0, 0, &[]), head].concat();
    tls(config(&bench.authority, b"h2", 0), move |session| {
        let (start, filler) = (start.clone(), filler.clone());
        async move {
            let (mut reader, mut writer) = tokio::io::split(session);
            let Ok(1..) = reader.read(&mut [0; 4096]).await else { return };
            let pour = async {
                let mut poured = writer.write_all(&start).await;
                writer.flush().await.ok();
                while poured.is_ok() && !filler.is_empty() {
                    poured = writer.write_all(&filler).await;
                    writer.flush().await.ok();
                }
            };
            let mut sink = [0; 4096];
            let drain = async { while let Ok(1..) = reader.read(&mut sink).await {} };
            tokio::join!(pour, drain);
        }
    })
    .await
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that is not to be remembered (RFC 7541, section 6.2.2).
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |text: &[u8]| u8::try_from(text.len()).expect("short");
    [&[0, length(name)], name, &[length(value)], value].concat()
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// Source: RFC 7541, appendix A.
const STATUS_200: u8 = 0x88;
