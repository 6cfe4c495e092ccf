//! A certificate in the words of `probe_ssl_last_chain_info`: those of Go's `crypto/x509`.
//!
//! Names are written as Go's `pkix.Name` writes them, which is RFC 2253 with an order of its own: `SERIALNUMBER`, `CN`, `OU`,
//! `O`, `POSTALCODE`, `STREET`, `L`, `ST`, `C`, each with its values joined by `+` (of the first two, the last alone), then every
//! other attribute from the last to the first as `OID=#HEX`, where the hexadecimal is the value encoded anew.
//!
//! Rules: text of a peer is cut to `MAX_BYTES` a label.

use std::fmt::Write;

use rustls_pki_types::CertificateDer;
use x509_parser::{
    asn1_rs::{Tag, oid},
    certificate::X509Certificate,
    extensions::GeneralName,
    oid_registry::Oid,
    prelude::FromDer,
    x509::{AttributeTypeAndValue, X509Name},
};

use crate::probe::fingerprint;

/// The labels of `probe_ssl_last_chain_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainInfo {
    /// SHA-256 of the encoding, in hexadecimal.
    pub fingerprint_sha256: String,
    /// Who signed it.
    pub issuer: String,
    /// The serial number in hexadecimal, without leading zero bytes.
    pub serialnumber: String,
    /// Whom it is for.
    pub subject: String,
    /// The DNS names that it is good for, with commas between them.
    pub subjectalternative: String,
}

impl ChainInfo {
    /// The words for a peer's own certificate; its fingerprint alone where it cannot be read.
    pub fn read(leaf: &CertificateDer<'_>) -> Self {
        let fingerprint_sha256 = hex(&fingerprint(leaf));
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
            return Self { fingerprint_sha256, ..Self::default() };
        };
        let serial = certificate.raw_serial();
        let significant = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
        Self {
            fingerprint_sha256,
            issuer: cut(name(certificate.issuer())),
            serialnumber: cut(hex(&serial[significant..])),
            subject: cut(name(certificate.subject())),
            subjectalternative: cut(dns_names(&certificate)),
        }
    }
}

fn dns_names(certificate: &X509Certificate<'_>) -> String {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return String::new() };
    let names = alternatives.value.general_names.iter().filter_map(|general| match general {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    names.collect::<Vec<_>>().join(",")
}

fn name(name: &X509Name<'_>) -> String {
    let attributes: Vec<_> = name.iter_attributes().collect();
    let mut parts = Vec::new();
    for (oid, word, is_single) in ATTRIBUTES {
        let mut values: Vec<_> = attributes.iter().filter(|part| part.attr_type() == oid).collect();
        if *is_single {
            values.drain(..values.len().saturating_sub(1));
        }
        let values: Vec<_> = values.iter().map(|part| format!("{word}={}", escaped(&text(part)))).collect();
        if !values.is_empty() {
            parts.push(values.join("+"));
        }
    }
    let is_known = |part: &AttributeTypeAndValue<'_>| ATTRIBUTES.iter().any(|(oid, _, _)| part.attr_type() == oid);
    for part in attributes.iter().rev().filter(|part| !is_known(part)) {
        parts.push(format!("{}=#{}", part.attr_type(), encoded(&text(part))));
    }
    parts.join(",")
}

fn text(part: &AttributeTypeAndValue<'_>) -> String {
    let value = part.attr_value();
    if value.tag() == Tag::BmpString {
        let units = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        return char::decode_utf16(units).map(|next| next.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    }
    String::from_utf8_lossy(value.data).into_owned()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, next) in text.char_indices() {
        let is_end = at == 0 || at + next.len_utf8() == text.len();
        let is_special = matches!(next, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        if is_special || (next == ' ' && is_end) || (next == '#' && at == 0) {
            escaped.push('\\');
        }
        escaped.push(next);
    }
    escaped
}

/// DER of the text as Go encodes it: a `PrintableString` where it can be one, else a `UTF8String`.
fn encoded(text: &str) -> String {
    let is_printable = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+,-./ :=?".contains(&byte);
    let tag = if text.bytes().all(is_printable) { Tag::PrintableString } else { Tag::Utf8String };
    let text = &text.as_bytes()[..text.len().min(MAX_BYTES)];
    let len = text.len().to_be_bytes();
    let length = &len[len.iter().position(|byte| *byte != 0).unwrap_or(len.len() - 1)..];
    let mut der = vec![u8::try_from(tag.0).unwrap_or_default()];
    if text.len() > 127 {
        der.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
    }
    der.extend_from_slice(length);
    der.extend_from_slice(text);
    hex(&der)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a string cannot fail.
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_BYTES));
    text
}

/// Attributes that have a word, in the order in which they are written, and whether only the last one counts.
const ATTRIBUTES: &[(Oid<'static>, &str, bool)] = &[
    (oid!(2.5.4.5), "SERIALNUMBER", true),
    (oid!(2.5.4.3), "CN", true),
    (oid!(2.5.4.11), "OU", false),
    (oid!(2.5.4.10), "O", false),
    (oid!(2.5.4.17), "POSTALCODE", false),
    (oid!(2.5.4.9), "STREET", false),
    (oid!(2.5.4.7), "L", false),
    (oid!(2.5.4.8), "ST", false),
    (oid!(2.5.4.6), "C", false),
];

/// Of a label. Source: a certificate of a hundred names, as many as Let's Encrypt puts into one, of 40 bytes.
const MAX_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    /// Source of what is expected: what `blackbox_exporter` 0.23 said of this very certificate; for the serial number, which it
    /// does not tell, `openssl x509`.
    #[test]
    fn names_are_written_as_go_writes_them() {
        let der = CertificateDer::from(BASE64.decode(CERTIFICATE.as_bytes()).expect("base64"));
        let subject = [
            r"SERIALNUMBER=9,CN=\ #\+=x\, \\ \<w\>\;\ ,OU=ou1+OU=ou2,O=o1+O=ö2,POSTALCODE=1,STREET=s,L=l,ST=x,C=DE",
            "1.2.840.113549.1.9.1=#0c056140622e63,2.5.4.12=#130174,0.9.2342.19200300.100.1.25=#13026463",
        ];
        let expected = ChainInfo {
            fingerprint_sha256: "c5dcc68acf5688214c95eeebbe08e52a6935830f6e296d0a3b8905cc1ba8c28c".to_owned(),
            issuer: r"OU=a,O=Faultline\, Inc.,C=DE".to_owned(),
            serialnumber: "ab0c".to_owned(),
            subject: subject.join(","),
            subjectalternative: "localhost,*.example.org".to_owned(),
        };
        assert_eq!(ChainInfo::read(&der), expected);
    }

    #[test]
    fn what_cannot_be_read_has_its_fingerprint() {
        let info = ChainInfo::read(&CertificateDer::from(vec![0x30, 0x82]));
        assert_eq!((info.fingerprint_sha256.len(), info.subject.as_str()), (64, ""));
    }

    #[test]
    fn long_values_have_long_lengths() {
        assert!(encoded(&"a".repeat(200)).starts_with("1381c861"));
        assert!(encoded(&"*".repeat(300)).starts_with("0c82012c2a"));
    }

    const CERTIFICATE: &str = "MIICbzCCAhWgAwIBAgIDAKsMMAoGCCqGSM49BAMCMDMxCzAJBgNVBAYTAkRFMRgwFgYDVQQKDA9GYXVsdGxpbmUsIEluYy4xCjAI\
         BgNVBAsMAWEwIBcNMjYxMTI2MTEwMTQ1WhgPMjEyNjExMDIxMTAxNDVaMIHbMQswCQYDVQQKDAJvMTEMMAoGA1UECgwDw7YyMQow\
         CAYDVQQHDAFsMQswCQYDVQQGEwJERTEMMAoGA1UECwwDb3UxMQwwCgYDVQQLDANvdTIxCjAIBgNVBAkMAXMxCjAIBgNVBBEMATEx\
         CjAIBgNVBAUTATkxCjAIBgNVBAMMAWExFzAVBgNVBAMMDiAjKz14LCBcIDx3PjsgMQowCAYDVQQIDAF4MRIwEAYKCZImiZPyLGQB\
         GRYCZGMxCjAIBgNVBAwMAXQxFDASBgkqhkiG9w0BCQEWBWFAYi5jMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAkC6iUskSKAJ\
         2BFAkro5QDaNaC/anenaD1gUb8z3GCA7Q/9HaFvChOM5roJUapu3xpzygcQhhLcKJDmX99NpoKNtMGswKQYDVR0RBCIwIIIJbG9j\
         YWxob3N0gg0qLmV4YW1wbGUub3JnhwR/AAABMB0GA1UdDgQWBBSEK9lnBJ/a941diGVcALNrE9hKGTAfBgNVHSMEGDAWgBTOty1c\
         NxXps34MLXiVKlr1v0A+DDAKBggqhkjOPQQDAgNIADBFAiEA5WRnYNnn8J4YhZ/hF2A+Tgycdbvop3MNxm1iLa/X47wCIDRUBraH\
         P5j8bdKfTKVPPoK0uytUs5ptOz/8wxLH2vL3";
}
