//! What an HTTP probe may ask: checked when a catalog is read, and again by each agent's policy.
//!
//! Rules: methods change nothing; headers name nobody; patterns run in time linear in what they read, and in little memory;
//! what a spec asks for in vain is refused when it is assigned, not found out run after run.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::Value;

use crate::{
    pattern,
    types::v1::{HttpSpec, Protocol},
};

/// Errors with what is wrong with the request and the expectations of the spec, its URL apart.
pub fn check(spec: &HttpSpec, is_http3: bool) -> Result<(), String> {
    let method = method(spec).ok_or_else(|| format!("method {:?} is none of GET, HEAD, OPTIONS", spec.method))?;
    if method == Method::HEAD && (reads_body(spec) || spec.max_body_bytes != 0) {
        return Err("an answer to HEAD has no body to ask something of".into());
    }
    own_headers(spec)?;
    let is_version = matches!(spec.version(), Protocol::Unspecified | Protocol::Http1 | Protocol::Http2);
    if !is_version || (is_http3 && spec.version() != Protocol::Unspecified) {
        return Err("version is HTTP/1.1 or HTTP/2, and none for http3".into());
    }
    let most = |what: &str, count: usize, most: usize| {
        if count > most { Err(format!("{count} {what}, {most} at most")) } else { Ok(()) }
    };
    most("redirects", spec.redirects as usize, MAX_REDIRECTS)?;
    most("bytes in max_body_bytes", spec.max_body_bytes as usize, MAX_BODY_BYTES)?;
    most("bytes in body_contains", spec.body_contains.len(), MAX_TEXT)?;
    most("patterns for the body", spec.body_matches.len() + spec.body_lacks.len(), MAX_BODY_PATTERNS)?;
    most("patterns for headers", spec.header_matches.len() + spec.header_lacks.len(), MAX_HEADER_PATTERNS)?;
    most("json values", spec.json.len(), MAX_JSON)?;
    for wanted in spec.header_matches.iter().chain(&spec.header_lacks) {
        HeaderName::from_bytes(wanted.name.as_bytes()).map_err(|_| format!("header name {:?}", wanted.name))?;
    }
    let of_headers = spec.header_matches.iter().chain(&spec.header_lacks).map(|wanted| &wanted.pattern);
    for pattern in spec.body_matches.iter().chain(&spec.body_lacks).chain(of_headers) {
        pattern::compile(pattern)?;
    }
    spec.json.iter().try_for_each(|wanted| {
        pointer(&wanted.pointer)?;
        scalar(&wanted.value).map(drop)
    })
}

/// Whether anything is asked of the body.
pub fn reads_body(spec: &HttpSpec) -> bool {
    let HttpSpec { body_contains, body_matches, body_lacks, json, .. } = spec;
    !(body_contains.is_empty() && body_matches.is_empty() && body_lacks.is_empty() && json.is_empty())
}

/// The method, if it is one that changes nothing.
pub fn method(spec: &HttpSpec) -> Option<Method> {
    match spec.method.as_str() {
        "" | "GET" => Some(Method::GET),
        "HEAD" => Some(Method::HEAD),
        "OPTIONS" => Some(Method::OPTIONS),
        _ => None,
    }
}

/// The headers that the spec adds; an error for one that is not its to set.
pub fn own_headers(spec: &HttpSpec) -> Result<HeaderMap, String> {
    if spec.headers.len() > MAX_HEADERS_SENT {
        return Err(format!("{} headers, {MAX_HEADERS_SENT} at most", spec.headers.len()));
    }
    let mut headers = HeaderMap::new();
    for sent in &spec.headers {
        let name = HeaderName::from_bytes(sent.name.as_bytes()).map_err(|_| format!("header name {:?}", sent.name))?;
        if RESERVED.contains(&name) {
            return Err(format!(
                "header {name} is not the catalog's to set: probes are anonymous and frame themselves"
            ));
        }
        let value = HeaderValue::from_str(&sent.value).ok().filter(|value| value.len() <= MAX_TEXT);
        headers.append(name, value.ok_or_else(|| format!("value of header {}: {:?}", sent.name, sent.value))?);
    }
    Ok(headers)
}

/// The steps of a JSON pointer. Source: RFC 6901, section 4.
pub fn pointer(text: &str) -> Result<Vec<String>, String> {
    let mut parts = text.split('/');
    if text.len() > MAX_TEXT || parts.next() != Some("") {
        return Err(format!("json pointer {text:?}: empty, or /-separated as in \"/checks/0/status\""));
    }
    Ok(parts.map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

/// A JSON value without members or items.
pub fn scalar(value: &str) -> Result<Value, String> {
    let parsed = serde_json::from_str(value).ok().filter(|_| value.len() <= MAX_TEXT);
    let parsed = parsed.filter(|parsed: &Value| !parsed.is_array() && !parsed.is_object());
    parsed.ok_or_else(|| format!("json value {value:?}: a string, a number, true, false or null, as JSON"))
}

/// What says who asks, and what belongs to the connection (RFC 9110, section 7.6.1).
const RESERVED: [HeaderName; 11] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::ACCEPT_ENCODING,
    header::EXPECT,
];
const MAX_HEADERS_SENT: usize = 16;
const MAX_REDIRECTS: usize = 10;
const MAX_BODY_BYTES: usize = 512 * 1024;
const MAX_TEXT: usize = 256;
const MAX_BODY_PATTERNS: usize = 4;
const MAX_HEADER_PATTERNS: usize = 8;
const MAX_JSON: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::v1::{Header, JsonValue};

    fn refused(edit: impl FnOnce(&mut HttpSpec)) -> String {
        let mut spec = HttpSpec::default();
        edit(&mut spec);
        check(&spec, false).expect_err("refused")
    }

    #[test]
    fn what_a_spec_asks_for_in_vain_is_named() {
        let header = |name: &str| Header { name: name.into(), value: "x".into() };
        let json = |pointer: &str, value: &str| vec![JsonValue { pointer: pointer.into(), value: value.into() }];
        assert!(refused(|spec| spec.method = "POST".into()).contains("\"POST\" is none of GET, HEAD, OPTIONS"));
        assert!(refused(|spec| spec.headers = vec![header("Cookie")]).contains("header cookie"));
        assert!(refused(|spec| spec.headers = vec![header("a b")]).contains("\"a b\""));
        assert!(refused(|spec| spec.body_matches = vec!["(".into()]).contains("unclosed group"));
        assert!(refused(|spec| spec.body_lacks = vec![".{1000}".repeat(30)]).contains("takes more than"));
        assert!(refused(|spec| spec.json = json("status", "1")).contains("\"status\""));
        assert!(refused(|spec| spec.json = json("/status", "[1]")).contains("[1]"));
        assert!(refused(|spec| spec.redirects = 11).contains("11 redirects, 10 at most"));
        let head = |spec: &mut HttpSpec| {
            "HEAD".clone_into(&mut spec.method);
            spec.max_body_bytes = 1;
        };
        assert!(refused(head).contains("HEAD has no body"));
        assert_eq!(check(&HttpSpec::default(), true), Ok(()));
    }
}
