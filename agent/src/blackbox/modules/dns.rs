//! What a module of the dns prober asks for and expects. The target of such a module is the server.

use std::{net::IpAddr, str::FromStr};

use hickory_resolver::proto::rr::{DNSClass, Name, RecordType};
use serde_saphyr::Spanned;

use super::{
    Family,
    file::{DnsFile, RecordsFile},
    pattern::Pattern,
    reading::{Reading, line},
    tls::{Tls, tls},
};
use crate::probe::rcode_of;

/// A module of the dns prober.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Which addresses of the server are asked.
    pub family: Family,
    /// Address that is asked from.
    pub source: Option<IpAddr>,
    /// How the server is asked. Its port is 53 by default, and 853 over TLS.
    pub transport: Transport,
    /// TLS, for [`Transport::Tls`].
    pub tls: Tls,
    /// What is asked for; fully qualified.
    pub query_name: Name,
    /// `ANY` by default.
    pub query_type: RecordType,
    /// `IN` by default.
    pub query_class: DNSClass,
    /// Whether the server is to ask others (RD).
    pub recursion_desired: bool,
    /// Response codes that pass, `NOERROR` alone by default.
    pub valid_rcodes: Vec<u16>,
    /// What answers must be.
    pub answers: Records,
    /// What records of the authority section must be.
    pub authorities: Records,
    /// What additional records must be.
    pub additionals: Records,
}

/// How a server is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// `transport_protocol: udp`.
    #[default]
    Udp,
    /// `transport_protocol: tcp`.
    Tcp,
    /// The latter with `dns_over_tls`.
    Tls,
}

/// Expectations of a section of the answer, whose records are texts as in a zone file, with tabs between their fields
/// (`example.org.`, `300`, `IN`, `A`, `192.0.2.1`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// No record may match one of these.
    pub fail_if_matches: Vec<Pattern>,
    /// Each record must match each of these, unlike what the name says: so `blackbox_exporter` has it (0.23, and its master).
    pub fail_if_all_match: Vec<Pattern>,
    /// Each record must match each of these, and there must be one.
    pub fail_if_not_matches: Vec<Pattern>,
    /// Some record must match one of these.
    pub fail_if_none_matches: Vec<Pattern>,
}

impl Records {
    /// Whether these records pass.
    pub fn pass<T: AsRef<str>>(&self, records: &[T]) -> bool {
        let is_matched = |pattern: &Pattern, record: &T| pattern.is_match(record.as_ref().as_bytes());
        let any = |patterns: &[Pattern]| {
            patterns.iter().any(|pattern| records.iter().any(|record| is_matched(pattern, record)))
        };
        let all = |patterns: &[Pattern]| {
            patterns.iter().all(|pattern| records.iter().all(|record| is_matched(pattern, record)))
        };
        let lacks_records = records.is_empty() && !self.fail_if_not_matches.is_empty();
        let lacks_match = !self.fail_if_none_matches.is_empty() && !any(&self.fail_if_none_matches);
        !any(&self.fail_if_matches)
            && all(&self.fail_if_all_match)
            && all(&self.fail_if_not_matches)
            && !lacks_records
            && !lacks_match
    }
}

pub(super) fn dns(at: Option<Spanned<DnsFile>>, reading: &mut Reading<'_>) -> Dns {
    let section = at.as_ref().map(line);
    let file = at.map(|at| at.value).unwrap_or_default();
    Dns {
        family: reading.family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        source: file.source_ip_address.unwrap_or_default().0,
        transport: transport(&file, reading),
        tls: tls(file.tls_config, reading),
        query_name: query_name(section, file.query_name.as_ref(), reading),
        query_type: query_type(file.query_type.as_ref(), reading),
        query_class: query_class(file.query_class.as_ref(), reading),
        recursion_desired: file.recursion_desired.unwrap_or(true),
        valid_rcodes: rcodes(file.valid_rcodes, reading),
        answers: records(file.validate_answer_rrs),
        authorities: records(file.validate_authority_rrs),
        additionals: records(file.validate_additional_rrs),
    }
}

/// A module without a section asks for the root, as for `blackbox_exporter`; one with a section must say what it asks for.
fn query_name(section: Option<u64>, name: Option<&Spanned<String>>, reading: &mut Reading<'_>) -> Name {
    let mut qualified = Name::root();
    match (section, name) {
        (Some(line), None) => reading.wrong_at(line, "dns.query_name is needed"),
        (_, Some(at)) if at.value.is_empty() => reading.wrong(at, "dns.query_name is needed"),
        (_, Some(at)) => match Name::from_ascii(&at.value) {
            Ok(name) => qualified = name,
            Err(error) => reading.wrong(at, &format!("dns.query_name {:?}: {error}", at.value)),
        },
        (None, None) => {}
    }
    qualified.set_fqdn(true);
    qualified
}

fn transport(file: &DnsFile, reading: &mut Reading<'_>) -> Transport {
    let over_tcp = match &file.transport_protocol {
        Some(at) if !matches!(at.value.as_str(), "" | "udp" | "tcp") => {
            reading.wrong(at, &format!("dns.transport_protocol {:?} is neither \"udp\" nor \"tcp\"", at.value));
            false
        }
        protocol => protocol.as_ref().is_some_and(|at| at.value == "tcp"),
    };
    match file.dns_over_tls.as_ref().filter(|wanted| wanted.value) {
        Some(at) if !over_tcp => {
            reading.wrong(at, "dns.dns_over_tls needs transport_protocol: tcp");
            Transport::Tls
        }
        Some(_) => Transport::Tls,
        None if over_tcp => Transport::Tcp,
        None => Transport::Udp,
    }
}

fn query_type(value: Option<&Spanned<String>>, reading: &mut Reading<'_>) -> RecordType {
    let Some(at) = value.filter(|at| !at.value.is_empty()) else { return RecordType::ANY };
    let other = || OTHER_TYPES.iter().find(|(name, _)| *name == at.value).map(|(_, code)| RecordType::from(*code));
    RecordType::from_str(&at.value).ok().or_else(other).unwrap_or_else(|| {
        reading.wrong(at, &format!("dns.query_type {:?} is no type of a record", at.value));
        RecordType::ANY
    })
}

fn query_class(value: Option<&Spanned<String>>, reading: &mut Reading<'_>) -> DNSClass {
    let Some(at) = value.filter(|at| !at.value.is_empty()) else { return DNSClass::IN };
    match at.value.as_str() {
        "IN" => return DNSClass::IN,
        "CH" => return DNSClass::CH,
        "CS" | "HS" | "NONE" | "ANY" => reading.refuse("query_class", at, "only IN and CH are asked for"),
        other => reading.wrong(at, &format!("dns.query_class {other:?} is none of IN, CH, CS, HS, NONE and ANY")),
    }
    DNSClass::IN
}

fn rcodes(file: Option<Vec<Spanned<String>>>, reading: &mut Reading<'_>) -> Vec<u16> {
    let Some(file) = file else { return vec![0] };
    let extended = |word: &str| EXTENDED_RCODES.iter().find(|(name, _)| *name == word).map(|(_, code)| *code);
    let mut rcodes = Vec::new();
    for at in file {
        match rcode_of(&at.value).or_else(|| extended(&at.value)) {
            Some(code) => rcodes.push(code),
            None => reading.wrong(&at, &format!("dns.valid_rcodes {:?} is no response code", at.value)),
        }
    }
    rcodes
}

fn records(file: Option<RecordsFile>) -> Records {
    let file = file.unwrap_or_default();
    Records {
        fail_if_matches: file.fail_if_matches_regexp.unwrap_or_default(),
        fail_if_all_match: file.fail_if_all_match_regexp.unwrap_or_default(),
        fail_if_not_matches: file.fail_if_not_matches_regexp.unwrap_or_default(),
        fail_if_none_matches: file.fail_if_none_matches_regexp.unwrap_or_default(),
    }
}

/// Codes beyond those that a plain header can hold. Source: IANA, DNS RCODEs.
const EXTENDED_RCODES: &[(&str, u16)] = &[
    ("BADSIG", 16),
    ("BADVERS", 16),
    ("BADKEY", 17),
    ("BADTIME", 18),
    ("BADMODE", 19),
    ("BADNAME", 20),
    ("BADALG", 21),
    ("BADTRUNC", 22),
    ("BADCOOKIE", 23),
];

/// Types that hickory has no name for; their records are counted, not read. Source: IANA, Resource Record (RR) TYPEs.
const OTHER_TYPES: &[(&str, u16)] = &[
    ("MD", 3),
    ("MF", 4),
    ("MB", 7),
    ("MG", 8),
    ("MR", 9),
    ("MINFO", 14),
    ("RP", 17),
    ("AFSDB", 18),
    ("X25", 19),
    ("ISDN", 20),
    ("RT", 21),
    ("NSAP-PTR", 23),
    ("PX", 26),
    ("GPOS", 27),
    ("LOC", 29),
    ("NXT", 30),
    ("EID", 31),
    ("NIMLOC", 32),
    ("ATMA", 34),
    ("KX", 36),
    ("APL", 42),
    ("IPSECKEY", 45),
    ("DHCID", 49),
    ("HIP", 55),
    ("NINFO", 56),
    ("RKEY", 57),
    ("TALINK", 58),
    ("ZONEMD", 63),
    ("SPF", 99),
    ("UINFO", 100),
    ("UID", 101),
    ("GID", 102),
    ("UNSPEC", 103),
    ("NID", 104),
    ("L32", 105),
    ("L64", 106),
    ("LP", 107),
    ("EUI48", 108),
    ("EUI64", 109),
    ("TKEY", 249),
    ("IXFR", 251),
    ("MAILB", 253),
    ("MAILA", 254),
    ("URI", 256),
    ("AVC", 258),
    ("TA", 32768),
    ("DLV", 32769),
];
