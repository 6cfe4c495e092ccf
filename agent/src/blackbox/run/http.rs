//! Looks of an http module: a request with its redirects, judged in the order of `blackbox_exporter`: status, headers, body,
//! version, encryption.

use std::{borrow::Cow, time::Duration};

use data_encoding::BASE64;
use faultline_proto::types::v1::{Cause, Layer, Protocol};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use url::Url;

use super::{
    super::{
        metrics::{Answer, Failure, HttpMeasured, HttpPhases, Measured, Of},
        modules::{Encryption, Http, Versions},
    },
    Begun, Runner,
};
use crate::probe::{BodyLimits, Detail, Errand, Looked, Progress, REDIRECTS, Stop};

pub(super) async fn probe(
    runner: &Runner,
    http: &Http,
    target: &str,
    hostname: Option<&str>,
    timeout: Duration,
) -> Measured {
    let limits = BodyLimits {
        kept: if http.looks_at_body() { MAX_KEPT } else { 0 },
        read: http.body_size_limit.unwrap_or(MAX_READ),
    };
    let mut begun = Begun::at(runner.look(timeout, limits));
    let Some((url, host, port)) = page(target) else {
        return begun.end(runner, timeout, Some(Failure::Target), |_| Of::Http(HttpMeasured::default()));
    };
    let failure = match begun.choose(&host, port, http.family).await {
        Ok(address) => {
            let errand = errand(http, url, hostname, address.ip());
            let visited = match begun.look.visit(&errand).await {
                // One that names no place is an answer as any other.
                Err(CIRCLE) if !is_redirect(&begun.look.progress) => Ok(()),
                visited => visited,
            };
            visited.map_err(Failure::from).and_then(|()| judge(http, &begun)).err()
        }
        Err(stop) => Some(stop.into()),
    };
    let is_end = !http.follows_redirects || failure == Some(CIRCLE.into());
    let is_left = is_end && is_redirect(&begun.look.progress);
    let is_pattern = [Cause::HeaderMismatch, Cause::BodyMismatch].map(|cause| Some(Failure::Layer(Layer::Http, cause)));
    let mut measured = begun.end(runner, timeout, failure, |looked| {
        let (answer, read) = (answer(looked), looked.detail.body_bytes);
        Of::Http(HttpMeasured {
            phases: phases(looked),
            answer,
            body_bytes: http.body_size_limit.map_or(read, |limit| read.min(limit)),
            redirects: looked.detail.redirects + u32::from(is_left),
            failed_due_to_regex: is_pattern.contains(&failure),
        })
    });
    if matches!(&measured.of, Of::Http(http) if http.answer.is_none()) {
        measured.session = None;
    }
    measured
}

/// The page that the target names, as `blackbox_exporter` has it: without a scheme, that of an http server.
fn page(target: &str) -> Option<(Url, String, u16)> {
    let is_whole = target.starts_with("http://") || target.starts_with("https://");
    let whole = if is_whole { Cow::Borrowed(target) } else { format!("http://{target}").into() };
    let url = Url::parse(&whole).ok()?;
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port_or_known_default().filter(|port| *port != 0)?;
    Some((url, host, port))
}

fn errand<'a>(http: &'a Http, mut url: Url, hostname: Option<&'a str>, place: std::net::IpAddr) -> Errand<'a> {
    let mut headers = HeaderMap::new();
    for (name, value) in &http.headers {
        headers.append(name, value.clone());
    }
    if let Some(value) = hostname.and_then(|name| HeaderValue::from_str(name).ok()) {
        headers.entry(header::HOST).or_insert(value);
    }
    if let Some(value) = credentials(&mut url) {
        headers.entry(header::AUTHORIZATION).or_insert(value);
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.map(|host| super::host_and_port(host).map_or(host, |(host, _)| host).to_owned());
    Errand {
        url,
        method: http.method.clone(),
        headers,
        body: http.body.clone(),
        redirects: if http.follows_redirects { MAX_REDIRECTS } else { 0 },
        version: match http.versions {
            Versions::Negotiated => Protocol::Unspecified,
            Versions::Http1 => Protocol::Http1,
            Versions::Http3 => Protocol::Http3,
        },
        place: Some(place),
        server_name: http.tls.server_name.as_deref().map(Cow::Borrowed).or(host.map(Cow::Owned)),
        min_cert_days: 0,
        may_be_clear: true,
        wanted: None,
    }
}

/// What user and password of the URL make of themselves; they leave it.
fn credentials(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let plain = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = plain(url.username());
    pair.push(b':');
    pair.extend(plain(url.password().unwrap_or_default()));
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(&pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether the last answer sends the client to another place.
fn is_redirect(progress: &Progress) -> bool {
    let status = progress.status.and_then(|status| StatusCode::from_u16(status).ok());
    let headers = progress.detail.as_ref().and_then(|detail| detail.headers.as_ref());
    status.is_some_and(|status| REDIRECTS.contains(&status))
        && headers.is_some_and(|headers| headers.contains_key(header::LOCATION))
}

fn judge(http: &Http, begun: &Begun) -> Result<(), Failure> {
    let progress = &begun.look.progress;
    let (Some(status), Some(detail)) = (progress.status, &progress.detail) else { return Ok(()) };
    let failed = |cause| Err(Failure::from(Stop::Failed(Layer::Http, cause)));
    if !StatusCode::from_u16(status).is_ok_and(|status| http.is_valid_status(status)) {
        return failed(Cause::HttpStatus);
    }
    if !detail.headers.as_ref().is_none_or(|headers| http.headers_pass(headers)) {
        return failed(Cause::HeaderMismatch);
    }
    if http.body_size_limit.is_some_and(|limit| detail.body_bytes > limit) {
        return failed(Cause::BodyTooLarge);
    }
    if !http.body_passes(&detail.body) {
        return failed(Cause::BodyMismatch);
    }
    if !http.is_valid_version(version(detail, progress.protocol)) {
        return Err(Failure::HttpVersion);
    }
    let is_https = is_https(detail, progress.protocol);
    let is_wrong = match http.encryption {
        Encryption::Either => false,
        Encryption::Required => !is_https,
        Encryption::Forbidden => is_https,
    };
    if is_wrong { Err(Failure::Encryption) } else { Ok(()) }
}

fn is_https(detail: &Detail, protocol: Protocol) -> bool {
    detail.tls_version.is_some() || protocol == Protocol::Http3
}

fn answer(looked: &Looked) -> Option<Answer> {
    let Looked { observed, detail } = looked;
    let headers = detail.headers.as_ref()?;
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let modified = text(header::LAST_MODIFIED).and_then(|text| httpdate::parse_http_date(text).ok());
    let since = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let status = StatusCode::from_u16(u16::try_from(observed.result.status).ok()?).ok()?;
    // Chunks have their own lengths. Source: RFC 9112, section 6.3.
    let is_chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let length = text(header::CONTENT_LENGTH).filter(|_| !is_chunked).and_then(|text| text.parse().ok());
    let has_none = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    Some(Answer {
        status,
        version: version(detail, observed.result.protocol()),
        content_length: length.or(has_none.then_some(0)),
        is_https: is_https(detail, observed.result.protocol()),
        last_modified: since.and_then(|since| i64::try_from(since.as_secs()).ok()),
    })
}

fn version(detail: &Detail, protocol: Protocol) -> Version {
    match protocol {
        Protocol::Http2 => Version::HTTP_2,
        Protocol::Http3 => Version::HTTP_3,
        _ => detail.version.unwrap_or(Version::HTTP_11),
    }
}

fn phases(looked: &Looked) -> HttpPhases {
    let timings = looked.observed.result.timings.unwrap_or_default();
    let span = |micros: u32| (micros > 0).then(|| Duration::from_micros(micros.into()));
    HttpPhases {
        resolve: span(timings.dns_us),
        connect: span(timings.connect_us),
        tls: span(timings.tls_us),
        processing: span(timings.first_byte_us),
        transfer: span(timings.body_us),
    }
}

/// A redirect that is not followed, because it was one too many or leads nowhere.
const CIRCLE: Stop = Stop::Failed(Layer::Http, Cause::HttpRedirect);
/// Source: `blackbox_exporter` follows as many.
const MAX_REDIRECTS: u32 = 10;
/// Bytes of a body that patterns are looked for in. Bounds what a look holds.
const MAX_KEPT: usize = 512 * 1024;
/// Bytes of a body that are read where the module has no `body_size_limit`. Bounds what a look costs.
const MAX_READ: u64 = 10 * 1024 * 1024;
