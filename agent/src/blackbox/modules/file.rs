//! The module file as it is written: every key that `blackbox_exporter` knows, and no other.
//!
//! Rules: a key without a value is a key that is absent, as for `blackbox_exporter`; a value that is only ever refused keeps its
//! line and nothing else.
//!
//! Source: the schema of `blackbox_exporter` 0.28 and of its master after it (`websocket`), and of the HTTP client settings of
//! Prometheus that it takes in.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::Spanned;

use super::{
    pattern::Pattern,
    value::{Name, Size, Source, Status, Timeout, Value, Verb},
};

/// A value and its line.
pub(super) type At<T> = Option<Spanned<T>>;
/// A value of any shape, which is refused.
pub(super) type Any = At<IgnoredAny>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) modules: Option<BTreeMap<String, Spanned<Option<ModuleFile>>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ModuleFile {
    pub(super) prober: At<String>,
    pub(super) timeout: Option<Timeout>,
    pub(super) http: Option<HttpFile>,
    pub(super) tcp: Option<TcpFile>,
    pub(super) dns: At<DnsFile>,
    pub(super) icmp: Option<IcmpFile>,
    pub(super) grpc: Option<GrpcFile>,
    pub(super) unix: Option<UnixFile>,
    pub(super) websocket: Any,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HttpFile {
    pub(super) valid_status_codes: Option<Vec<Status>>,
    pub(super) valid_http_versions: At<Vec<String>>,
    pub(super) preferred_ip_protocol: At<String>,
    pub(super) ip_protocol_fallback: Option<bool>,
    /// Nothing to skip without a proxy.
    pub(super) skip_resolve_phase_with_proxy: Option<bool>,
    pub(super) no_follow_redirects: Option<bool>,
    pub(super) follow_redirects: Option<bool>,
    pub(super) fail_if_ssl: Option<bool>,
    pub(super) fail_if_not_ssl: At<bool>,
    pub(super) method: Option<Verb>,
    pub(super) headers: Option<BTreeMap<Name, Option<Value>>>,
    pub(super) http_headers: Option<BTreeMap<Name, Option<HttpHeaderFile>>>,
    pub(super) fail_if_body_matches_regexp: Option<Vec<Pattern>>,
    pub(super) fail_if_body_not_matches_regexp: Option<Vec<Pattern>>,
    pub(super) fail_if_body_json_matches_cel: At<String>,
    pub(super) fail_if_body_json_not_matches_cel: At<String>,
    pub(super) fail_if_header_matches: Option<Vec<HeaderFile>>,
    pub(super) fail_if_header_not_matches: Option<Vec<HeaderFile>>,
    pub(super) body: Option<String>,
    pub(super) body_file: At<String>,
    pub(super) body_size_limit: Option<Size>,
    pub(super) compression: At<String>,
    pub(super) enable_http2: Option<bool>,
    pub(super) enable_http3: At<bool>,
    pub(super) tls_config: Option<TlsFile>,
    pub(super) basic_auth: At<BasicAuthFile>,
    pub(super) authorization: At<AuthorizationFile>,
    pub(super) bearer_token: At<Value>,
    pub(super) bearer_token_file: At<String>,
    pub(super) oauth2: Any,
    pub(super) proxy_url: At<String>,
    /// Nothing to spare without a proxy.
    pub(super) no_proxy: Option<String>,
    pub(super) proxy_from_environment: At<bool>,
    pub(super) proxy_connect_header: Any,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HttpHeaderFile {
    pub(super) values: Option<Vec<Value>>,
    pub(super) secrets: Option<Vec<Value>>,
    pub(super) files: At<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderFile {
    pub(super) header: Name,
    pub(super) regexp: Pattern,
    #[serde(default)]
    pub(super) allow_missing: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BasicAuthFile {
    pub(super) username: Option<String>,
    pub(super) username_file: At<String>,
    pub(super) username_ref: At<String>,
    pub(super) password: Option<String>,
    pub(super) password_file: At<String>,
    pub(super) password_ref: At<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuthorizationFile {
    #[serde(rename = "type")]
    pub(super) scheme: Option<String>,
    pub(super) credentials: Option<String>,
    pub(super) credentials_file: At<String>,
    pub(super) credentials_ref: At<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsFile {
    pub(super) insecure_skip_verify: Option<bool>,
    pub(super) ca: At<String>,
    pub(super) ca_file: At<String>,
    pub(super) ca_ref: At<String>,
    pub(super) cert: At<String>,
    pub(super) cert_file: At<String>,
    pub(super) cert_ref: At<String>,
    pub(super) key: At<String>,
    pub(super) key_file: At<String>,
    pub(super) key_ref: At<String>,
    pub(super) server_name: At<String>,
    pub(super) min_version: At<String>,
    pub(super) max_version: At<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TcpFile {
    pub(super) preferred_ip_protocol: At<String>,
    pub(super) ip_protocol_fallback: Option<bool>,
    pub(super) source_ip_address: Option<Source>,
    pub(super) query_response: Option<Vec<StepFile>>,
    pub(super) tls: Option<bool>,
    pub(super) tls_config: Option<TlsFile>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StepFile {
    pub(super) expect: Option<Pattern>,
    pub(super) expect_bytes: At<String>,
    pub(super) labels: Option<Vec<Spanned<LabelFile>>>,
    pub(super) send: Option<String>,
    pub(super) starttls: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LabelFile {
    pub(super) name: Option<String>,
    pub(super) value: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DnsFile {
    pub(super) preferred_ip_protocol: At<String>,
    pub(super) ip_protocol_fallback: Option<bool>,
    pub(super) dns_over_tls: At<bool>,
    pub(super) tls_config: Option<TlsFile>,
    pub(super) source_ip_address: Option<Source>,
    pub(super) transport_protocol: At<String>,
    pub(super) query_class: At<String>,
    pub(super) query_name: At<String>,
    pub(super) query_type: At<String>,
    pub(super) recursion_desired: Option<bool>,
    pub(super) valid_rcodes: Option<Vec<Spanned<String>>>,
    pub(super) validate_answer_rrs: Option<RecordsFile>,
    pub(super) validate_authority_rrs: Option<RecordsFile>,
    pub(super) validate_additional_rrs: Option<RecordsFile>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the schema's")]
pub(super) struct RecordsFile {
    pub(super) fail_if_matches_regexp: Option<Vec<Pattern>>,
    pub(super) fail_if_all_match_regexp: Option<Vec<Pattern>>,
    pub(super) fail_if_not_matches_regexp: Option<Vec<Pattern>>,
    pub(super) fail_if_none_matches_regexp: Option<Vec<Pattern>>,
}

/// Keys of a prober that is refused as a whole; their values are not looked at.
macro_rules! refused {
    ($($file:ident { $($key:ident),+ })+) => {$(
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $file { $($key: Option<IgnoredAny>),+ }
    )+};
}

refused! {
    IcmpFile { preferred_ip_protocol, ip_protocol_fallback, source_ip_address, payload_size, dont_fragment, ttl }
    GrpcFile { service, tls, tls_config, preferred_ip_protocol, ip_protocol_fallback }
    UnixFile { query_response, tls, tls_config }
}
