//! What a module of the http prober asks for and expects.

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::AUTHORIZATION};

use super::{
    Family,
    file::{AuthorizationFile, BasicAuthFile, HeaderFile, HttpFile},
    pattern::Pattern,
    reading::{NO_STORE, Reading, line},
    tls::{Tls, tls},
};

/// A module of the http prober.
#[derive(Clone, Debug)]
pub struct Http {
    /// Statuses that pass; empty for 200 to 299.
    pub valid_status_codes: Vec<u16>,
    /// Versions that pass, as `HTTP/1.1` or `HTTP/2.0`; empty for any.
    pub valid_http_versions: Vec<String>,
    /// Which addresses of the target are probed.
    pub family: Family,
    /// Whether redirects are followed, ten at most.
    pub follows_redirects: bool,
    /// What is said of the last hop's TLS.
    pub encryption: Encryption,
    /// The versions that are offered.
    pub versions: Versions,
    /// `GET` by default.
    pub method: Method,
    /// Headers of the request in the order of their names, `Host` and `Authorization` among them; their values are sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Sent as it is; empty for none.
    pub body: Bytes,
    /// A body of more bytes fails; `None` for no limit.
    pub body_size_limit: Option<u64>,
    /// Bodies that fail.
    pub fail_if_body_matches: Vec<Pattern>,
    /// A body that one of these does not match fails.
    pub fail_if_body_not_matches: Vec<Pattern>,
    /// Headers that fail.
    pub fail_if_header_matches: Vec<HeaderMatch>,
    /// Headers that must match.
    pub fail_if_header_not_matches: Vec<HeaderMatch>,
    /// TLS, for https.
    pub tls: Tls,
}

/// Whether the last hop may, must or must not be https.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Either passes.
    #[default]
    Either,
    /// `fail_if_not_ssl`.
    Required,
    /// `fail_if_ssl`.
    Forbidden,
}

/// Which versions are offered over TLS; without it, it is always 1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// 2 or 1.1, as the server likes.
    #[default]
    Negotiated,
    /// `enable_http2: false`.
    Http1,
    /// `enable_http3: true`.
    Http3,
}

/// An expectation of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Which.
    pub header: HeaderName,
    /// What is looked for in each of its values.
    pub regexp: Pattern,
    /// Whether an answer without the header passes.
    pub allow_missing: bool,
}

impl Http {
    /// Whether the status passes.
    pub fn is_valid_status(&self, status: StatusCode) -> bool {
        match self.valid_status_codes.as_slice() {
            [] => status.is_success(),
            valid => valid.contains(&status.as_u16()),
        }
    }

    /// Whether the version (`HTTP/1.1`, `HTTP/2.0`, `HTTP/3.0`) passes.
    pub fn is_valid_version(&self, version: http::Version) -> bool {
        let text = format!("{version:?}");
        self.valid_http_versions.is_empty() || self.valid_http_versions.contains(&text)
    }

    /// Whether the headers pass. One that is missing fails what looks for it, unless it may be missing.
    pub fn headers_pass(&self, headers: &HeaderMap) -> bool {
        let judge = |wanted: &[HeaderMatch], passes: &dyn Fn(bool) -> bool| {
            wanted.iter().all(|wanted| {
                let mut values = headers.get_all(&wanted.header).iter().peekable();
                if values.peek().is_none() {
                    return wanted.allow_missing;
                }
                passes(values.any(|value| wanted.regexp.is_match(value.as_bytes())))
            })
        };
        judge(&self.fail_if_header_matches, &|is_matched| !is_matched)
            && judge(&self.fail_if_header_not_matches, &|is_matched| is_matched)
    }

    /// Whether the body passes.
    pub fn body_passes(&self, body: &[u8]) -> bool {
        !self.fail_if_body_matches.iter().any(|pattern| pattern.is_match(body))
            && self.fail_if_body_not_matches.iter().all(|pattern| pattern.is_match(body))
    }

    /// Whether the body is looked at beyond its length.
    pub fn looks_at_body(&self) -> bool {
        !self.fail_if_body_matches.is_empty() || !self.fail_if_body_not_matches.is_empty()
    }
}

pub(super) fn http(mut file: HttpFile, reading: &mut Reading<'_>) -> Http {
    refuse(&file, reading);
    let forbidden = file.fail_if_ssl == Some(true);
    let encryption = match file.fail_if_not_ssl.as_ref().filter(|required| required.value) {
        Some(at) if forbidden => {
            reading.wrong(at, "fail_if_ssl and fail_if_not_ssl together fail every answer");
            Encryption::Either
        }
        Some(_) => Encryption::Required,
        None if forbidden => Encryption::Forbidden,
        None => Encryption::Either,
    };
    let versions = versions(&file, reading);
    let mut headers = headers(&mut file, reading);
    if let Some(value) = authorization(&mut file, reading)
        && !headers.iter().any(|(name, _)| name == AUTHORIZATION)
    {
        headers.push((AUTHORIZATION, value));
    }
    let follows = file.follow_redirects.unwrap_or(true);
    Http {
        valid_status_codes: file.valid_status_codes.unwrap_or_default().into_iter().map(|status| status.0).collect(),
        valid_http_versions: file.valid_http_versions.map(|versions| versions.value).unwrap_or_default(),
        family: reading.family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        follows_redirects: file.no_follow_redirects.map_or(follows, |stays| !stays),
        encryption,
        versions,
        method: file.method.map_or(Method::GET, |verb| verb.0),
        headers,
        body: Bytes::from(file.body.unwrap_or_default()),
        body_size_limit: file.body_size_limit.map(|size| size.0).filter(|size| *size > 0),
        fail_if_body_matches: file.fail_if_body_matches_regexp.unwrap_or_default(),
        fail_if_body_not_matches: file.fail_if_body_not_matches_regexp.unwrap_or_default(),
        fail_if_header_matches: header_matches(file.fail_if_header_matches),
        fail_if_header_not_matches: header_matches(file.fail_if_header_not_matches),
        tls: tls(file.tls_config, reading),
    }
}

fn refuse(file: &HttpFile, reading: &mut Reading<'_>) {
    let directly = "the agent asks the target itself, through no proxy";
    reading.refuse_text("proxy_url", file.proxy_url.as_ref(), directly);
    reading.refuse_flag("proxy_from_environment", file.proxy_from_environment.as_ref(), directly);
    reading.refuse_any("proxy_connect_header", file.proxy_connect_header.as_ref(), directly);
    reading.refuse_any("oauth2", file.oauth2.as_ref(), "the agent fetches no tokens; give one in authorization");
    reading.refuse_text("compression", file.compression.as_ref(), "a body is never decompressed; leave it away");
    reading.refuse_text("body_file", file.body_file.as_ref(), "write it as body");
    reading.refuse_text("bearer_token_file", file.bearer_token_file.as_ref(), "write it as authorization.credentials");
    let cel = "CEL is not evaluated; use fail_if_body_matches_regexp or fail_if_body_not_matches_regexp";
    reading.refuse_text("fail_if_body_json_matches_cel", file.fail_if_body_json_matches_cel.as_ref(), cel);
    reading.refuse_text("fail_if_body_json_not_matches_cel", file.fail_if_body_json_not_matches_cel.as_ref(), cel);
}

fn versions(file: &HttpFile, reading: &mut Reading<'_>) -> Versions {
    let Some(at) = file.enable_http3.as_ref().filter(|wanted| wanted.value) else {
        return if file.enable_http2 == Some(false) { Versions::Http1 } else { Versions::Negotiated };
    };
    if file.enable_http2 != Some(false) {
        reading.wrong(at, "enable_http3: true needs enable_http2: false");
    }
    if let Some(valid) = file.valid_http_versions.as_ref()
        && let Some(other) = valid.value.iter().find(|version| *version != "HTTP/3.0")
    {
        reading.wrong(valid, &format!("valid_http_versions {other:?}: with enable_http3 only \"HTTP/3.0\" can be"));
    }
    Versions::Http3
}

fn headers(file: &mut HttpFile, reading: &mut Reading<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in file.headers.take().unwrap_or_default() {
        headers.push((name.header(), value.map_or(HeaderValue::from_static(""), |value| value.0)));
    }
    for (name, header) in file.http_headers.take().unwrap_or_default() {
        let header = header.unwrap_or_default();
        if let Some(files) = header.files.filter(|files| !files.value.is_empty()) {
            reading.refuse(&format!("http_headers.{}.files", name.header()), &files, "write them as secrets");
        }
        let values = [header.values, header.secrets].into_iter().flatten().flatten();
        headers.extend(values.map(|value| (name.header(), value.0)));
    }
    headers
}

fn header_matches(file: Option<Vec<HeaderFile>>) -> Vec<HeaderMatch> {
    let read = |file: HeaderFile| HeaderMatch {
        header: file.header.header(),
        regexp: file.regexp,
        allow_missing: file.allow_missing,
    };
    file.unwrap_or_default().into_iter().map(read).collect()
}

/// The value of the header by which the agent says who it is, if it is told to.
fn authorization(file: &mut HttpFile, reading: &mut Reading<'_>) -> Option<HeaderValue> {
    let (basic, other, bearer) = (file.basic_auth.take(), file.authorization.take(), file.bearer_token.take());
    let lines = [basic.as_ref().map(line), other.as_ref().map(line), bearer.as_ref().map(line)];
    let lines: Vec<u64> = lines.into_iter().flatten().collect();
    let at = *lines.first()?;
    if let [_, second, ..] = lines.as_slice() {
        reading.wrong_at(*second, "basic_auth, authorization and bearer_token exclude each other");
    }
    let given = basic.map(|file| basic_auth(file.value, reading));
    let given = given.or_else(|| other.map(|file| credentials(at, file.value, reading)));
    let given = given.or_else(|| bearer.map(|token| [b"Bearer ", token.value.0.as_bytes()].concat()))?;
    let Ok(mut value) = HeaderValue::from_bytes(&given) else {
        reading.wrong_at(at, "credentials hold no control characters");
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

fn basic_auth(file: BasicAuthFile, reading: &mut Reading<'_>) -> Vec<u8> {
    for (field, value) in [("username_file", &file.username_file), ("password_file", &file.password_file)] {
        reading.refuse_text(&format!("basic_auth.{field}"), value.as_ref(), "write it as username or password");
    }
    for (field, value) in [("username_ref", &file.username_ref), ("password_ref", &file.password_ref)] {
        reading.refuse_text(&format!("basic_auth.{field}"), value.as_ref(), NO_STORE);
    }
    let pair = format!("{}:{}", file.username.unwrap_or_default(), file.password.unwrap_or_default());
    format!("Basic {}", BASE64.encode(pair.as_bytes())).into_bytes()
}

fn credentials(at: u64, file: AuthorizationFile, reading: &mut Reading<'_>) -> Vec<u8> {
    reading.refuse_text("authorization.credentials_file", file.credentials_file.as_ref(), "write them as credentials");
    reading.refuse_text("authorization.credentials_ref", file.credentials_ref.as_ref(), NO_STORE);
    let scheme = file.scheme.as_deref().map(str::trim).filter(|scheme| !scheme.is_empty()).unwrap_or("Bearer");
    if scheme.eq_ignore_ascii_case("basic") {
        reading.wrong_at(at, "authorization.type \"basic\" is what basic_auth is for");
    }
    format!("{scheme} {}", file.credentials.unwrap_or_default()).into_bytes()
}
