//! What an HTTP answer is, whichever version carried it: status, body, where it sends the client, and the edge headers worth
//! keeping.

use std::collections::BTreeMap;

use bytes::Bytes;
use faultline_proto::types::v1::{Cause, HttpSpec};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{Answered, Ask, failed, wanted::Wanted};
use crate::probe::outcome::{Phase, Progress, Stop};

/// Passes the statuses that the spec lists, or 200 to 399 when it lists none.
pub(crate) fn judge_status(spec: &HttpSpec, status: StatusCode) -> Result<(), Stop> {
    let code = u32::from(status.as_u16());
    let is_accepted = if spec.status.is_empty() { (200..400).contains(&code) } else { spec.status.contains(&code) };
    if is_accepted { Ok(()) } else { Err(failed(Cause::HttpStatus)) }
}

/// Where an answer sends the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// As the answer names it.
    pub(crate) place: String,
    /// Whether the request stays what it was, whatever its method. Source: RFC 9110, sections 15.4.8 and 15.4.9.
    pub(crate) keeps_method: bool,
}

/// Notes and judges the head of an answer. Where it sends the client elsewhere, and that is wanted, the place it names.
pub(crate) fn judge_head<B>(ask: &Ask<'_>, response: &Response<B>, progress: &mut Progress) -> Answered {
    let (status, headers) = (response.status(), response.headers());
    progress.end(Phase::FirstByte);
    progress.status = Some(status.as_u16());
    progress.facts.edge = edges(headers);
    if let Some(detail) = &mut progress.detail {
        detail.headers = Some(headers.clone());
        detail.version = Some(response.version());
    }
    let is_listed = ask.wanted.is_some_and(|wanted| wanted.spec.status.contains(&u32::from(status.as_u16())));
    if let (Some(left), true, false) = (ask.hops_left, REDIRECTS.contains(&status), is_listed) {
        let place = headers.get(header::LOCATION).and_then(|place| place.to_str().ok());
        let place = place.filter(|_| left > 0).ok_or(failed(Cause::HttpRedirect))?.to_owned();
        let keeps_method = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT].contains(&status);
        return Ok(Some(Redirect { place, keeps_method }));
    }
    if let Some(wanted) = ask.wanted {
        judge_status(wanted.spec, status)?;
        wanted.judge_headers(headers)?;
    }
    Ok(None)
}

/// The beginning of a body, as far as it must be known.
pub(crate) struct Body<'a> {
    wanted: Option<&'a Wanted<'a>>,
    held: Vec<u8>,
    length: usize,
}

impl<'a> Body<'a> {
    pub(crate) fn new(wanted: Option<&'a Wanted<'a>>) -> Self {
        Self { wanted, held: Vec::new(), length: 0 }
    }

    /// Takes the next part; true when reading on could not change the judgement.
    pub(crate) fn is_enough_after(&mut self, chunk: &Bytes, progress: &mut Progress) -> bool {
        self.length += chunk.len();
        let is_told = progress.detail.as_mut().is_none_or(|detail| detail.is_enough_after(chunk));
        let Some(wanted) = self.wanted else { return is_told };
        if wanted.reads_body() {
            let room = MAX_BODY - self.held.len().min(MAX_BODY);
            self.held.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        let most = wanted.spec.max_body_bytes as usize;
        is_told && self.length > if most == 0 { MAX_BODY } else { most }
    }

    pub(crate) fn judge(&self) -> Result<(), Stop> {
        self.wanted.map_or(Ok(()), |wanted| wanted.judge_body(&self.held, self.length))
    }
}

/// The headers that edges set, each cut to what stays the same from run to run.
fn edges(headers: &HeaderMap) -> BTreeMap<String, String> {
    let kept = |name: &str| {
        let value = headers.get(name).and_then(shape(name))?;
        Some((name.to_owned(), value))
    };
    EDGE_HEADERS.into_iter().filter_map(kept).collect()
}

fn shape(name: &str) -> fn(&HeaderValue) -> Option<String> {
    match name {
        "x-azure-ref" | "x-amz-cf-id" => |_| Some("present".to_owned()),
        "cf-ray" => |value| value.to_str().ok()?.rsplit_once('-').map(|(_, site)| cut(site, MAX_SITE)),
        "x-served-by" => |value| Some(cut(value.to_str().ok()?, MAX_SERVED_BY)),
        _ => |value| Some(cut(value.to_str().ok()?, MAX_VALUE)),
    }
}

fn cut(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

const EDGE_HEADERS: [&str; 6] = ["x-azure-ref", "x-amz-cf-id", "x-cache", "cf-ray", "x-served-by", "server"];
const MAX_SITE: usize = 16;
const MAX_SERVED_BY: usize = 64;
const MAX_VALUE: usize = 128;
/// Bytes of a body that are looked at.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// Statuses that name another place for the same request, or for a GET, which is what is sent anyway. Source: RFC 9110, section 15.4.
pub(crate) const REDIRECTS: [StatusCode; 5] = [
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];
/// Bytes of an answer's headers, over all versions.
pub(crate) const MAX_HEADERS: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use faultline_proto::clock::Clock;

    use super::*;
    use crate::probe::{outcome::Budget, patterns::Patterns};

    #[test]
    fn edge_headers_name_no_request() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-azure-ref", "20251029T154113Z-r1b2c3"),
            ("cf-ray", "8f1e2d3c4b5a6978-FRA"),
            ("x-cache", "TCP_HIT"),
            ("x-served-by", "cache-fra-1234, cache-ams-5678, cache-ams-5678, cache-ams-5678, cache-ams-5678"),
            ("date", "Wed, 29 Oct 2025 15:41:13 GMT"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let kept = edges(&headers);
        assert_eq!(kept["x-azure-ref"], "present");
        assert_eq!(kept["cf-ray"], "FRA");
        assert_eq!(kept["x-served-by"].len(), 64);
        assert_eq!(kept.len(), 4);
    }

    #[test]
    fn a_body_is_read_no_further_than_its_cap() {
        let spec = HttpSpec { body_contains: "healthy".into(), ..HttpSpec::default() };
        let wanted = Wanted::new(&spec, &Patterns::new()).expect("good");
        let mut progress = Progress::new(Budget::new(Clock::system(), Duration::from_secs(5)));
        let mut body = Body::new(Some(&wanted));
        assert!(!body.is_enough_after(&vec![b'.'; MAX_BODY].into(), &mut progress));
        assert!(body.is_enough_after(&Bytes::from_static(b"healthy"), &mut progress));
        assert_eq!(body.judge(), Err(failed(Cause::BodyTooLarge)));

        let mut body = Body::new(Some(&wanted));
        body.is_enough_after(&Bytes::from_static(b"we are hea"), &mut progress);
        body.is_enough_after(&Bytes::from_static(b"lthy today"), &mut progress);
        assert_eq!(body.judge(), Ok(()));
    }

    #[test]
    fn without_a_list_a_redirect_passes_and_an_error_does_not() {
        let spec = HttpSpec::default();
        assert_eq!(judge_status(&spec, StatusCode::FOUND), Ok(()));
        assert_eq!(judge_status(&spec, StatusCode::NOT_FOUND), Err(failed(Cause::HttpStatus)));
        let spec = HttpSpec { status: vec![404], ..spec };
        assert_eq!(judge_status(&spec, StatusCode::NOT_FOUND), Ok(()));
        assert_eq!(judge_status(&spec, StatusCode::OK), Err(failed(Cause::HttpStatus)));
    }
}
