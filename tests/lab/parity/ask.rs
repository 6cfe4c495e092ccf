//! `/probe` of either, over HTTP.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::{net::TcpStream, task::JoinSet, time};

/// What one look tells; what went wrong where there is no answer, or none but an error.
pub(super) async fn probe(
    address: SocketAddr,
    module: &str,
    target: &str,
    hostname: Option<&str>,
) -> Result<String, String> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let hostname = hostname.map(|name| format!("&hostname={}", encoded(name))).unwrap_or_default();
    let path = format!("/probe?module={}&target={}{hostname}", encoded(module), encoded(target));
    match time::timeout(ANSWER, get(address, &path)).await {
        Err(_) => Err(format!("{path}: no answer after {ANSWER:?}")),
        Ok(told) => told.map_err(|error| format!("{path}: {error:#}")),
    }
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut driving = JoinSet::new();
    driving.spawn(async move { drop(connection.await) });
    let request = http::Request::get(path).header("host", address.to_string()).body(Empty::<Bytes>::new())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let text = String::from_utf8(body.collect().await?.to_bytes().into())?;
    anyhow::ensure!(head.status.is_success(), "{}: {}", head.status, text.trim());
    Ok(text)
}

/// Beyond the timeout of any module here.
const ANSWER: Duration = Duration::from_secs(30);
