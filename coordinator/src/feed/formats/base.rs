//! Where readers find this coordinator, for links in what they keep: what they called it when they asked.
//!
//! The host is the request's, the scheme the port's, or `https` where a proxy says so in `X-Forwarded-Proto`. Rule: a host that is none is
//! left out, and links are then relative; nothing else that a request says comes into an answer.

use std::fmt;

use axum::http::{HeaderMap, Uri, header, uri::Authority};

/// Scheme and host, without a slash at the end; empty where they are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Base(String);

impl Base {
    /// What a request was sent to, at a port that speaks this scheme.
    pub(super) fn of(scheme: &str, uri: &Uri, asked: &HeaderMap) -> Self {
        let text = |name| asked.get(name).and_then(|value| value.to_str().ok());
        let host = uri.authority().map(Authority::as_str).or_else(|| text(header::HOST));
        let host = host.and_then(|host| host.parse::<Authority>().ok()).filter(|host| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_');
            host.as_str().len() <= 255 && host.as_str().chars().all(is_plain)
        });
        let is_https = uri.scheme_str() == Some("https")
            || asked.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes() == b"https");
        let scheme = if is_https { "https" } else { scheme };
        Self(host.map_or_else(String::new, |host| format!("{scheme}://{host}")))
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn base(uri: &'static str, headers: &[(&'static str, &'static str)]) -> String {
        let headers = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)));
        Base::of("http", &Uri::from_static(uri), &headers.collect()).to_string()
    }

    #[test]
    fn links_lead_to_where_the_reader_asked() {
        assert_eq!(base("/", &[("host", "probe.example.org:7444")]), "http://probe.example.org:7444");
        assert_eq!(base("https://probe.example.org/", &[]), "https://probe.example.org");
        let behind = [("host", "status.example.org"), ("x-forwarded-proto", "https")];
        assert_eq!(base("/", &behind), "https://status.example.org");
        assert_eq!(base("/", &[("host", "[::1]:7444")]), "http://[::1]:7444");
        let asked = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("tls.example.org"))]);
        assert_eq!(Base::of("https", &Uri::from_static("/"), &asked).to_string(), "https://tls.example.org");
    }

    #[test]
    fn a_host_that_is_none_is_left_out() {
        for host in ["a\"b", "a/b", "user@a", "", "<a>"] {
            assert_eq!(base("/", &[("host", host)]), "", "{host}");
        }
    }
}
