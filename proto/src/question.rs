//! What a DNS probe may ask, and how: read from a URL by catalogs and by hand, and checked again by each agent's policy.
//!
//! | URL                                             | transport                        |
//! |-------------------------------------------------|----------------------------------|
//! | `dns://SERVER/NAME?type=A`                      | UDP, TCP where an answer was cut |
//! | `dns://SERVER/NAME?type=A&transport=tcp`        | TCP                              |
//! | `dot://SERVER/NAME?type=A`                      | TLS (RFC 7858)                   |
//! | `doh://SERVER/NAME?type=A&path=/dns-query`      | HTTP/2 (RFC 8484)                |
//! | `doq://SERVER/NAME?type=A`                      | QUIC (RFC 9250)                  |
//! | `doh3://SERVER/NAME?type=A&path=/dns-query`     | HTTP/3                           |
//!
//! SERVER is an address or a name with an optional port, and of `dns` also `system` or `authoritative`.

use url::Url;

use crate::{
    pattern,
    types::v1::{DnsSpec, Protocol},
};

/// Record types that may be asked for.
pub const RECORD_TYPES: [&str; 10] = ["A", "AAAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "TXT"];

/// Schemes of URLs that name a question, and the transport of each.
pub const SCHEMES: [(&str, Protocol); 5] = [
    ("dns", Protocol::Unspecified),
    ("dot", Protocol::DnsTls),
    ("doh", Protocol::DnsHttps),
    ("doq", Protocol::DnsQuic),
    ("doh3", Protocol::DnsHttp3),
];

/// The question that the URL names; an error that says what is wrong with it.
pub fn parse(url: &Url) -> Result<DnsSpec, String> {
    let known = SCHEMES.iter().find(|(scheme, _)| *scheme == url.scheme());
    let Some((_, mut transport)) = known.copied() else {
        return Err(format!("scheme {:?} asks no name", url.scheme()));
    };
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err(format!("no server, as in \"{}://192.0.2.53/example.com?type=A\"", url.scheme()));
    }
    let name = url.path().trim_start_matches('/').trim_end_matches('.').to_owned();
    if name.is_empty() {
        return Err(format!("no name to resolve, as in \"{}://{host}/example.com?type=A\"", url.scheme()));
    }
    let (mut record_type, mut path) = ("A".to_owned(), String::new());
    let is_http = matches!(transport, Protocol::DnsHttps | Protocol::DnsHttp3);
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "type" if RECORD_TYPES.contains(&value.as_ref()) => record_type = value.into_owned(),
            "path" if is_http && value.starts_with('/') => path = value.into_owned(),
            "transport" if transport == Protocol::Unspecified && value == "tcp" => transport = Protocol::DnsTcp,
            _ => {
                let types = RECORD_TYPES.join(", ");
                return Err(format!("?{key}={value}: type, one of {types}; of doh path; of dns transport=tcp"));
            }
        }
    }
    let server = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.trim_matches(['[', ']']).to_owned(),
    };
    Ok(DnsSpec { name, record_type, server, transport: transport.into(), path, ..DnsSpec::default() })
}

/// Errors with what is wrong with the transport and the expectations of the spec.
pub fn check(spec: &DnsSpec) -> Result<(), String> {
    let transport = spec.transport();
    if transport != Protocol::DnsTcp && !SCHEMES.iter().any(|(_, known)| *known == transport) {
        return Err(format!("transport {} carries no questions", spec.transport));
    }
    if NO_SERVER.contains(&spec.server.as_str()) && transport != Protocol::Unspecified {
        return Err(format!("server {:?} is asked by datagram alone: name a server", spec.server));
    }
    if spec.min_answers > MAX_MIN_ANSWERS {
        return Err(format!("min_answers {} is above {MAX_MIN_ANSWERS}", spec.min_answers));
    }
    if spec.answer_matches.len() > MAX_ANSWER_PATTERNS {
        return Err(format!(
            "answer_matches has {} patterns, {MAX_ANSWER_PATTERNS} at most",
            spec.answer_matches.len()
        ));
    }
    spec.answer_matches.iter().try_for_each(|text| pattern::compile(text).map(drop))
}

/// Servers that are no single one's name.
const NO_SERVER: [&str; 2] = ["system", "authoritative"];
/// Source: no zone that is well has a hundred answers; the agent looks at no more.
const MAX_MIN_ANSWERS: u32 = 100;
const MAX_ANSWER_PATTERNS: usize = 4;

/// The port of the transport.
pub fn port(transport: Protocol) -> u16 {
    match transport {
        Protocol::DnsTls | Protocol::DnsQuic => 853,
        Protocol::DnsHttps | Protocol::DnsHttp3 => 443,
        _ => 53,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(url: &str) -> Result<DnsSpec, String> {
        parse(&Url::parse(url).expect("a url"))
    }

    #[test]
    fn each_form_of_url_is_its_question() {
        let is = |url: &str, server: &str, record_type: &str, transport: Protocol, path: &str| {
            let spec = spec(url).expect(url);
            assert_eq!((spec.server.as_str(), spec.record_type.as_str()), (server, record_type), "{url}");
            assert_eq!((spec.name.as_str(), spec.transport(), spec.path.as_str()), ("example.com", transport, path));
        };
        is("dns://system/example.com.?type=AAAA", "system", "AAAA", Protocol::Unspecified, "");
        is("dns://192.0.2.1:5300/example.com", "192.0.2.1:5300", "A", Protocol::Unspecified, "");
        is("dns://192.0.2.1/example.com?transport=tcp", "192.0.2.1", "A", Protocol::DnsTcp, "");
        is("dot://[2001:db8::53]/example.com", "2001:db8::53", "A", Protocol::DnsTls, "");
        is("dot://[2001:db8::53]:8853/example.com", "[2001:db8::53]:8853", "A", Protocol::DnsTls, "");
        is("doh://dns.example/example.com?path=/q&type=NS", "dns.example", "NS", Protocol::DnsHttps, "/q");
        is("doq://dns.example/example.com", "dns.example", "A", Protocol::DnsQuic, "");
        is("doh3://dns.example/example.com", "dns.example", "A", Protocol::DnsHttp3, "");
    }

    #[test]
    fn what_a_spec_asks_for_in_vain_is_named() {
        let good = spec("dns://system/example.com").expect("good");
        assert_eq!(check(&good), Ok(()));
        let fault = |edit: &dyn Fn(&mut DnsSpec)| {
            let mut spec = good.clone();
            edit(&mut spec);
            check(&spec).expect_err("a fault")
        };
        assert!(fault(&|spec| spec.set_transport(Protocol::DnsTls)).contains("\"system\" is asked by datagram alone"));
        assert!(fault(&|spec| spec.set_transport(Protocol::Http1)).contains("carries no questions"));
        assert!(fault(&|spec| spec.min_answers = 101).contains("min_answers 101 is above 100"));
        assert!(fault(&|spec| spec.answer_matches = vec![String::new(); 5]).contains("5 patterns, 4 at most"));
        assert!(fault(&|spec| spec.answer_matches = vec!["(".into()]).contains("unclosed group"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fault = |url: &str| spec(url).expect_err(url);
        assert!(fault("dns://system/").contains("no name to resolve"));
        assert!(fault("dns://system/example.com?type=ANY").contains("?type=ANY: type, one of A, AAAA"));
        assert!(fault("dot://192.0.2.1/example.com?path=/q").contains("?path=/q"));
        assert!(fault("doq://192.0.2.1/example.com?transport=tcp").contains("?transport=tcp"));
        assert!(fault("https://192.0.2.1/example.com").contains("asks no name"));
    }
}
