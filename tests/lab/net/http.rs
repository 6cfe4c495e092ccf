//! Answers of web servers, with the headers by which each edge and service is known.
//!
//! Rule: the headers are of who answers the client, whatever the status, so that a CDN's error page names the CDN.

use std::{
    convert::Infallible,
    fmt::Write,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpStream, sync::Notify};
use tokio_rustls::server::TlsStream;
use tracing::trace;

use super::{Visit, faults::HttpEffect, tcp::LONGEST_VISIT};
use crate::world::Front;

/// Serves HTTP/1.1 or HTTP/2, as agreed in the handshake, until the client goes.
pub(super) async fn serve(stream: TlsStream<TcpStream>, visit: &Visit) {
    let torn = Arc::new(Notify::new());
    let service = service_fn({
        let (visit, torn) = (visit.clone(), Arc::clone(&torn));
        move |_request| {
            let visit = visit.clone();
            let torn = Arc::clone(&torn);
            async move {
                match visit.troubles.http {
                    Some(HttpEffect::Reset) => {
                        torn.notify_one();
                        visit.shared.clock.sleep(LONGEST_VISIT).await;
                    }
                    _ => hold(&visit).await,
                }
                Ok::<_, Infallible>(answer(&visit).map(Full::new))
            }
        }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                trace!(target = %visit.target().id, agent = %visit.agent().id, %error, "connection ended");
            }
        }
        // Dropping the connection closes its socket, which lingers for no time: an RST.
        () = torn.notified() => {}
    }
}

/// Waits as long as the visit's trouble says before an answer.
pub(super) async fn hold(visit: &Visit) {
    match visit.troubles.http {
        Some(HttpEffect::Slow(delay)) => visit.shared.clock.sleep(delay).await,
        Some(HttpEffect::Timeout) => visit.shared.clock.sleep(LONGEST_VISIT).await,
        Some(HttpEffect::Status(_) | HttpEffect::Reset) | None => {}
    }
}

/// The answer, as this target's front gives it.
pub(super) fn answer(visit: &Visit) -> Response<Bytes> {
    let status = match visit.troubles.http {
        Some(HttpEffect::Status(status)) => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        _ => StatusCode::OK,
    };
    let is_good = status == StatusCode::OK;
    let body = if is_good { visit.target().body.clone() } else { format!("{status}\n") };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in marks(visit, is_good) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn marks(visit: &Visit, is_good: bool) -> Vec<(&'static str, String)> {
    let serial = visit.shared.serial.fetch_add(1, Ordering::Relaxed);
    let id = hex(serial);
    let site = edge_site(&visit.agent().geography);
    match visit.target().front {
        Front::AwsService => vec![("server", "Server".into()), ("x-amzn-requestid", id.to_uppercase())],
        Front::AzureBlob => {
            vec![("server", "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0".into()), ("x-ms-request-id", id)]
        }
        Front::AzureApi => vec![("server", "Microsoft-HTTPAPI/2.0".into()), ("x-ms-request-id", id)],
        Front::FrontDoor => vec![
            ("x-azure-ref", format!("20260101T000000Z-r{id}{site}")),
            ("x-cache", if is_good { "TCP_MISS" } else { "CONFIG_NOCACHE" }.into()),
        ],
        Front::CloudFront => vec![
            ("x-amz-cf-id", format!("{id}==")),
            ("x-amz-cf-pop", format!("{site}50-P1")),
            ("x-cache", if is_good { "Miss from cloudfront" } else { "Error from cloudfront" }.into()),
            ("via", format!("1.1 {id}.cloudfront.net (CloudFront)")),
        ],
        Front::Cloudflare => vec![("server", "cloudflare".into()), ("cf-ray", format!("{id}-{site}"))],
        Front::Fastly => {
            vec![("x-served-by", format!("cache-{}{serial}-{site}", site.to_lowercase())), ("x-cache", "MISS".into())]
        }
        Front::Google => vec![("server", "gws".into())],
        Front::Nginx => vec![("server", "nginx".into())],
    }
}

fn hex(serial: u64) -> String {
    let mut id = String::with_capacity(16);
    write!(id, "{:016x}", serial.wrapping_mul(0x9e37_79b9_7f4a_7c15)).expect("a String takes all");
    id
}

/// The edge that a vantage of that geography reaches.
fn edge_site(geography: &str) -> &'static str {
    match geography {
        "sa" => "GRU",
        "eu" => "FRA",
        "af" => "JNB",
        "me" => "DXB",
        "as" => "NRT",
        "oc" => "SYD",
        _ => "IAD",
    }
}
