//! A record as a zone file has it, with tabs between its fields: what `validate_*_rrs` look at, spelled as `blackbox_exporter`
//! spells it.
//!
//! Rules: names are as they stand in the message (no Unicode); text is quoted, its quotes, backslashes and what cannot be printed
//! escaped (RFC 1035, section 5.1); data of a type that is not known is hexadecimal, with class and type as numbers (RFC 3597,
//! section 5).

use std::fmt::Write;

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use hickory_resolver::proto::{
    rr::{
        Name, RData, Record, RecordType,
        rdata::{SVCB, svcb::SvcParamValue},
    },
    serialize::binary::BinDecodable,
};

pub(super) fn text(record: &Record) -> String {
    let Record { name, dns_class, ttl, data, .. } = record;
    let (kind, name) = (record.record_type(), name.to_ascii());
    let data = match data {
        RData::Unknown { rdata, .. } => known(kind, &rdata.anything).ok_or(&rdata.anything),
        data => Ok(self::data(data)),
    };
    match data {
        Ok(data) => format!("{name}\t{ttl}\t{dns_class}\t{kind}\t{data}"),
        Err(bytes) => {
            let (class, kind) = (u16::from(*dns_class), u16::from(kind));
            format!("{name}\t{ttl}\tCLASS{class}\tTYPE{kind}\t\\# {} {}", bytes.len(), HEXLOWER.encode(bytes))
        }
    }
}

fn data(data: &RData) -> String {
    let name = Name::to_ascii;
    match data {
        RData::CNAME(to) => name(to),
        RData::NS(to) => name(to),
        RData::PTR(to) => name(to),
        RData::MX(mx) => format!("{} {}", mx.preference, name(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name(&srv.target)),
        RData::SOA(soa) => {
            let names = format!("{} {}", name(&soa.mname), name(&soa.rname));
            format!("{names} {} {} {} {} {}", soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum)
        }
        RData::TXT(text) => text.txt_data.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(" "),
        RData::HINFO(host) => format!("{} {}", quoted(&host.cpu), quoted(&host.os)),
        RData::NAPTR(rule) => {
            let texts = [&rule.flags, &rule.services, &rule.regexp].map(|text| quoted(text)).join(" ");
            format!("{} {} {texts} {}", rule.order, rule.preference, name(&rule.replacement))
        }
        RData::CAA(caa) => format!("{} {} {}", caa.flags(), caa.tag, quoted(&caa.value)),
        RData::TLSA(tlsa) => {
            let [usage, selector, matching] = [tlsa.cert_usage.into(), tlsa.selector.into(), u8::from(tlsa.matching)];
            format!("{usage} {selector} {matching} {}", HEXLOWER.encode(&tlsa.cert_data))
        }
        RData::SSHFP(key) => {
            let [algorithm, kind] = [key.algorithm.into(), u8::from(key.fingerprint_type)];
            format!("{algorithm} {kind} {}", HEXUPPER.encode(&key.fingerprint))
        }
        RData::HTTPS(https) => service(https),
        RData::SVCB(svcb) => service(svcb),
        other => other.to_string(),
    }
}

fn service(svcb: &SVCB) -> String {
    let mut text = format!("{} {}", svcb.svc_priority, svcb.target_name.to_ascii());
    for (key, value) in &svcb.svc_params {
        let value = match value {
            SvcParamValue::Alpn(protocols) => protocols.0.join(","),
            SvcParamValue::Ipv4Hint(hints) => listed(&hints.0),
            SvcParamValue::Ipv6Hint(hints) => listed(&hints.0),
            other => other.to_string(),
        };
        // Writing to a string cannot fail.
        write!(text, " {key}=\"{value}\"").unwrap_or_default();
    }
    text
}

fn listed<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Data of types that only this room reads. Source: RFC 4034, sections 2.2 and 5.3; RFC 6672, section 2.1.
fn known(kind: RecordType, bytes: &[u8]) -> Option<String> {
    let numbered = |encoding: &data_encoding::Encoding| {
        let [a, b, c, d, rest @ ..] = bytes else { return None };
        Some(format!("{} {c} {d} {}", u16::from_be_bytes([*a, *b]), encoding.encode(rest)))
    };
    match kind {
        RecordType::DS | RecordType::CDS => numbered(&HEXUPPER),
        RecordType::DNSKEY | RecordType::CDNSKEY => numbered(&BASE64),
        RecordType::DNAME => Some(Name::from_bytes(bytes).ok()?.to_ascii()),
        _ => None,
    }
}

fn quoted(part: &[u8]) -> String {
    let mut text = String::from('"');
    for byte in part {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => write!(text, "\\{byte:03}").unwrap_or_default(),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_resolver::proto::rr::rdata::{
        CAA, HINFO, HTTPS, MX, NULL, TXT,
        svcb::{Alpn, SvcParamKey},
    };

    use super::*;

    /// Source of what is expected: patterns of the whole record that `blackbox_exporter` 0.23 and 0.28 matched.
    #[test]
    fn records_are_spelled_as_blackbox_exporter_spells_them() {
        let name = |text: &str| Name::from_str(text).expect("a name");
        let unknown = |code: u16, bytes: &[u8]| RData::Unknown { code: code.into(), rdata: NULL::with(bytes.to_vec()) };
        let mut caa = CAA::new_issue(true, None, Vec::new());
        caa.value = b"a \"b\"".to_vec();
        let alpn = SvcParamValue::Alpn(Alpn(vec!["h2".to_owned(), "h3".to_owned()]));
        for (data, expected) in [
            (RData::MX(MX::new(10, name("xn--mller-kva.test."))), "IN\tMX\t10 xn--mller-kva.test."),
            (RData::TXT(TXT::from_bytes(vec![b"a \"b\" \\", b"\x07;"])), "IN\tTXT\t\"a \\\"b\\\" \\\\\" \"\\007;\""),
            (RData::HINFO(HINFO::new("PDP-11".to_owned(), "UNIX V6".to_owned())), "IN\tHINFO\t\"PDP-11\" \"UNIX V6\""),
            (RData::CAA(caa), "IN\tCAA\t128 issue \"a \\\"b\\\"\""),
            (
                RData::HTTPS(HTTPS(SVCB::new(1, Name::root(), vec![(SvcParamKey::Alpn, alpn)]))),
                "IN\tHTTPS\t1 . alpn=\"h2,h3\"",
            ),
            (unknown(43, &[0x30, 0x39, 13, 2, 0xab]), "IN\tDS\t12345 13 2 AB"),
            (unknown(48, &[1, 1, 3, 13, 0xef, 0xef, 0xef]), "IN\tDNSKEY\t257 3 13 7+/v"),
            (unknown(39, b"\x01b\x04test\0"), "IN\tDNAME\tb.test."),
            (unknown(65280, &[0xde, 0xad]), "CLASS1\tTYPE65280\t\\# 2 dead"),
        ] {
            let record = Record::from_rdata(name("a.test."), 300, data);
            assert_eq!(text(&record), format!("a.test.\t300\t{expected}"));
        }
    }
}
