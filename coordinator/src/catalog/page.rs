//! What is asked of an HTTP endpoint and expected of its answer: `request` and `expect` of a row, as agents are told them.

use std::{collections::BTreeMap, net::IpAddr};

use faultline_proto::{
    convert, page,
    types::v1::{Header, HeaderPattern, HttpSpec, JsonValue, Protocol},
};
use serde::Deserialize;
use toml::Spanned;

use super::{Expect, check::Found};

/// The request, where it is more than a GET of the URL.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    #[serde(default)]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    version: Option<String>,
    #[serde(default)]
    redirects: u32,
    pub(super) connect_to: Option<IpAddr>,
}

/// The versions that a request may pin.
const VERSIONS: [(&str, Protocol); 2] = [("1.1", Protocol::Http1), ("2", Protocol::Http2)];

/// The spec of the URL, and what is wrong with it.
pub(super) fn spec(
    url: String,
    request: Option<&Spanned<Request>>,
    expect: Option<&Spanned<Expect>>,
    is_http3: bool,
    found: &mut Vec<Found>,
) -> HttpSpec {
    let asked = request.map(|request| request.get_ref().clone()).unwrap_or_default();
    let wanted = expect.map(|expect| expect.get_ref().clone()).unwrap_or_default();
    let at_request = request.map_or(0, |request| request.span().start);
    let pattern = |(name, pattern): (String, String)| HeaderPattern { name, pattern };
    let version = asked.version.as_deref().map(|word| {
        let known = VERSIONS.iter().find(|(name, _)| *name == word).map(|(_, version)| *version);
        known.ok_or_else(|| format!("request.version {word:?} is none of \"1.1\", \"2\""))
    });
    let version = version.unwrap_or(Ok(Protocol::Unspecified)).unwrap_or_else(|message| {
        found.push((at_request, message));
        Protocol::Unspecified
    });
    let mut json = Vec::new();
    for (pointer, value) in wanted.json {
        match serde_json::to_string(&value) {
            Ok(value) => json.push(JsonValue { pointer, value }),
            Err(error) => {
                found.push((
                    expect.map_or(0, |expect| expect.span().start),
                    format!("expect.json {pointer:?}: {error}"),
                ));
            }
        }
    }
    let spec = HttpSpec {
        url,
        status: wanted.status,
        body_contains: wanted.body_contains,
        min_cert_days: wanted.min_cert_days,
        method: asked.method,
        headers: asked.headers.into_iter().map(|(name, value)| Header { name, value }).collect(),
        version: version.into(),
        redirects: asked.redirects,
        connect_to: asked.connect_to.map(convert::octets).unwrap_or_default(),
        body_matches: wanted.body_matches,
        body_lacks: wanted.body_lacks,
        header_matches: wanted.header_matches.into_iter().map(pattern).collect(),
        header_lacks: wanted.header_lacks.into_iter().map(pattern).collect(),
        json,
        max_body_bytes: wanted.max_body_bytes,
    };
    if let Err(message) = page::check(&spec, is_http3) {
        let at = expect.map_or(at_request, |expect| expect.span().start);
        found.push((if at_request == 0 { at } else { at_request.min(at) }, format!("request or expect: {message}")));
    }
    spec
}
