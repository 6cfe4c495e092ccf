//! Published lists in, answers out.

use std::net::IpAddr;

use super::*;

/// Overlaps as they are published: an umbrella, a service, an edge inside a region, a place inside a global block.
const AWS: &str = r#"{"syncToken": "1", "createDate": "2025-10-17-23-58-40", "prefixes": [
  {"ip_prefix": "52.94.0.0/22", "region": "us-east-1", "service": "AMAZON", "network_border_group": "us-east-1"},
  {"ip_prefix": "52.94.0.0/22", "region": "us-east-1", "service": "DYNAMODB", "network_border_group": "us-east-1"},
  {"ip_prefix": "3.5.140.0/22", "region": "ap-northeast-2", "service": "AMAZON", "network_border_group": "ap-northeast-2"},
  {"ip_prefix": "13.32.0.0/15", "region": "GLOBAL", "service": "AMAZON", "network_border_group": "GLOBAL"},
  {"ip_prefix": "13.32.0.0/15", "region": "GLOBAL", "service": "CLOUDFRONT", "network_border_group": "GLOBAL"},
  {"ip_prefix": "64.252.64.0/18", "region": "GLOBAL", "service": "CLOUDFRONT", "network_border_group": "GLOBAL"},
  {"ip_prefix": "64.252.81.0/24", "region": "sa-east-1", "service": "EC2", "network_border_group": "sa-east-1"},
  {"ip_prefix": "75.2.0.0/17", "region": "us-west-2", "service": "GLOBALACCELERATOR", "network_border_group": "GLOBAL"},
  {"ip_prefix": "205.251.192.0/21", "region": "GLOBAL", "service": "ROUTE53", "network_border_group": "GLOBAL"},
  {"ip_prefix": "198.51.100.0/24", "region": "us-east-1", "service": "S3", "network_border_group": "us-east-1"},
  {"ip_prefix": "198.51.100.0/24", "region": "us-west-2", "service": "EC2", "network_border_group": "us-west-2"}],
 "ipv6_prefixes": [
  {"ipv6_prefix": "2600:1f00::/24", "region": "GLOBAL", "service": "AMAZON", "network_border_group": "GLOBAL"},
  {"ipv6_prefix": "2600:1f18::/33", "region": "us-east-1", "service": "EC2", "network_border_group": "us-east-1"}]}"#;

const AZURE: &str = r#"{"changeNumber": 373, "cloud": "Public", "values": [
  {"name": "AzureCloud", "properties": {"region": "", "addressPrefixes": ["20.201.0.0/17", "52.239.168.0/22"]}},
  {"name": "AzureCloud.brazilsouth", "properties": {"region": "brazilsouth", "addressPrefixes": ["20.201.0.0/17"]}},
  {"name": "AzureCloud.eastus", "properties": {"region": "eastus", "addressPrefixes": ["52.239.168.0/22"]}},
  {"name": "AzureCloud.centralfrance", "properties": {"region": "centralfrance", "addressPrefixes": ["20.40.128.0/19"]}},
  {"name": "Storage.EastUS", "properties": {"region": "eastus", "addressPrefixes": ["52.239.168.0/22"]}},
  {"name": "ApplicationInsightsAvailability", "properties": {"region": "", "addressPrefixes": ["20.40.129.32/28"]}},
  {"name": "ActionGroup", "properties": {"region": "", "addressPrefixes": ["13.106.38.142/32"]}},
  {"name": "AzureFrontDoor.Frontend", "properties": {"region": "", "addressPrefixes": ["13.107.246.0/24"]}},
  {"name": "AzureFrontDoor.Backend", "properties": {"region": "", "addressPrefixes": ["147.243.0.0/16"]}}]}"#;

const GCP: &str = r#"{"syncToken": "1", "creationTime": "2025-07-24T19:16:28", "prefixes": [
  {"ipv4Prefix": "34.35.0.0/16", "service": "Google Cloud", "scope": "africa-south1"},
  {"ipv4Prefix": "34.96.64.0/18", "service": "Google Cloud", "scope": "global"},
  {"ipv6Prefix": "2600:1900:8000::/44", "service": "Google Cloud", "scope": "africa-south1"}]}"#;

const FASTLY: &str = r#"{"addresses": ["151.101.0.0/16"], "ipv6_addresses": ["2a04:4e40::/32"]}"#;

pub(super) fn ranges() -> Ranges {
    Ranges::parse([
        (Document::Aws, "aws", AWS),
        (Document::Azure, "azure", AZURE),
        (Document::Gcp, "gcp", GCP),
        (Document::CloudflareV4, "v4", "173.245.48.0/20\n104.16.0.0/13"),
        (Document::CloudflareV6, "v6", "2606:4700::/32\n"),
        (Document::Fastly, "fastly", FASTLY),
    ])
    .expect("ranges")
}

/// Address, prefix, provider, region, tags.
type Row = (&'static str, &'static str, Provider, Option<&'static str>, &'static [&'static str]);

#[test]
fn the_longest_prefix_wins_and_a_service_beats_its_umbrella() {
    use Provider::{Aws, Azure, Cloudflare, Fastly, Gcp};
    let rows: [Row; 15] = [
        ("52.94.1.2", "52.94.0.0/22", Aws, Some("us-east-1"), &["DYNAMODB"]),
        ("3.5.140.9", "3.5.140.0/22", Aws, Some("ap-northeast-2"), &["AMAZON"]),
        ("13.33.1.1", "13.32.0.0/15", Aws, None, &["CLOUDFRONT"]),
        ("64.252.81.7", "64.252.81.0/24", Aws, Some("sa-east-1"), &["EC2"]),
        ("64.252.82.7", "64.252.64.0/18", Aws, None, &["CLOUDFRONT"]),
        // Two services that name two regions for one prefix name none.
        ("198.51.100.1", "198.51.100.0/24", Aws, None, &["EC2", "S3"]),
        ("2600:1f18::1", "2600:1f18::/33", Aws, Some("us-east-1"), &["EC2"]),
        ("52.239.169.4", "52.239.168.0/22", Azure, Some("eastus"), &["Storage.EastUS"]),
        ("13.107.246.40", "13.107.246.0/24", Azure, None, &["AzureFrontDoor.Frontend"]),
        // A tag without a region has that of the prefix around it, by its public name.
        ("20.40.129.40", "20.40.129.32/28", Azure, Some("francecentral"), &["ApplicationInsightsAvailability"]),
        ("34.35.1.1", "34.35.0.0/16", Gcp, Some("africa-south1"), &["Google Cloud"]),
        ("34.96.65.1", "34.96.64.0/18", Gcp, None, &["Google Cloud"]),
        ("104.20.1.1", "104.16.0.0/13", Cloudflare, None, &["cloudflare"]),
        ("::ffff:104.20.1.1", "104.16.0.0/13", Cloudflare, None, &["cloudflare"]),
        ("2a04:4e40::1", "2a04:4e40::/32", Fastly, None, &["fastly"]),
    ];
    let ranges = ranges();
    for (address, prefix, provider, region, tags) in rows {
        let (found, range) = ranges.lookup(address.parse().expect("address")).expect(address);
        assert_eq!(found.to_string(), prefix, "{address}");
        assert_eq!((range.provider, range.region.as_deref()), (provider, region), "{address}");
        assert_eq!(range.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), tags, "{address}");
    }
    assert!(ranges.lookup("192.0.2.1".parse().expect("address")).is_none());
}

#[test]
fn a_range_says_which_cdn_or_host_answers() {
    let rows = [
        ("13.33.1.1", "Cdn aws/cloudfront"),
        ("13.107.246.40", "Cdn azure/front-door"),
        ("147.243.1.1", "Hosted azure -"),
        ("151.101.1.1", "Cdn cdn/fastly"),
        ("2606:4700::1", "Cdn cdn/cloudflare"),
        ("205.251.192.1", "Dns route53"),
        ("75.2.1.1", "Hosted aws -"),
        ("52.94.1.2", "Hosted aws us-east-1"),
    ];
    for (address, expected) in rows {
        let ranges = ranges();
        let said = match ranges.says(address.parse().expect("address")).expect(address) {
            Says::Cdn(cdn) => format!("Cdn {cdn}"),
            Says::Dns(operator) => format!("Dns {operator}"),
            Says::Hosted(provider, region) => format!("Hosted {provider} {}", region.map_or("-", |region| region)),
        };
        assert_eq!(said, expected, "{address}");
    }
}

#[test]
fn azure_hosts_what_it_does_not_own_and_not_all_of_azure_is_in_the_lists() {
    let ranges = ranges();
    let look = |address: &str| ranges.lookup(address.parse::<IpAddr>().expect("address"));
    // GitHub publishes 20.201.28.151 as its own: it is hosted on Azure, and no tag says whose site it is.
    let (_, range) = look("20.201.28.151").expect("in Azure");
    assert_eq!((range.provider, range.region.as_deref()), (Provider::Azure, Some("brazilsouth")));
    assert_eq!(range.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["AzureCloud", "AzureCloud.brazilsouth"]);
    // GitHub's own network is in nobody's list.
    assert!(look("140.82.121.4").is_none());
    // A tag reaches beyond AzureCloud.
    assert!(look("13.106.38.142").is_some_and(|(_, range)| range.provider == Provider::Azure));
    // Name servers of Azure DNS (ns1-01 and ns2-01) are in no tag.
    assert!(look("40.90.4.1").is_none() && look("64.4.48.1").is_none());
}

#[test]
fn two_publishers_make_a_prefix_say_nothing() {
    let both = [
        (Document::Fastly, "fastly", r#"{"addresses": ["192.0.2.0/24"]}"#),
        (Document::CloudflareV4, "v4", "192.0.2.0/24\n192.0.0.0/16"),
    ];
    let ranges = Ranges::parse(both).expect("ranges");
    assert!(ranges.lookup("192.0.2.1".parse().expect("address")).is_none());
    assert!(ranges.lookup("192.0.3.1".parse().expect("address")).is_some());
    let again = Ranges::from_bytes(&ranges.to_bytes()).expect("reads");
    assert!(again.lookup("192.0.2.1".parse().expect("address")).is_none());
}

#[test]
fn errors_name_file_publisher_and_what_is_wrong() {
    let rows: [(Document, &str, &[&str]); 6] = [
        (
            Document::Aws,
            r#"{"prefixes": [{"ip_prefix": "52.94.0.0/33", "region": "r", "service": "s"}]}"#,
            &["f.json: ranges of aws: prefixes[0].ip_prefix = \"52.94.0.0/33\" is not an address prefix"],
        ),
        (
            Document::Aws,
            r#"{"prefixes": [{"ip_prefix": "52.94.0.0/22", "service": "s"}]}"#,
            &["missing field `region`", "line 1 column"],
        ),
        (Document::Azure, "<html>", &["ranges of azure: not the JSON that it publishes: expected value at line 1"]),
        (Document::Gcp, r#"{"prefixes": []}"#, &["ranges of gcp: it holds no prefix at all"]),
        (Document::CloudflareV4, "10.0.0.0/8\n0.0.0.0/0", &["line 2 = \"0.0.0.0/0\" is wider than /8"]),
        (Document::Fastly, r#"{"addresses": ["x"]}"#, &["ranges of fastly: addresses[0] = \"x\""]),
    ];
    for (document, text, expected) in rows {
        let error = Ranges::parse([(document, "f.json", text)]).expect_err("refused").to_string();
        for part in expected {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn a_folder_is_read_by_what_its_files_say() {
    use Document::{Aws, Azure, CloudflareV4, Fastly, Gcp};
    let folder = tempfile::tempdir().expect("dir");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("write");
    for (name, text) in
        [("a.json", AZURE), ("b.json", AWS), ("c.txt", "173.245.48.0/20"), ("d.json", FASTLY), ("e.json", GCP)]
    {
        write(name, text);
    }
    write("aws.note", "{}");
    let ranges = Ranges::load_dir(folder.path()).expect("ranges");
    let documents: Vec<_> = ranges.sources().iter().map(|source| source.document).collect();
    assert_eq!(documents, [Azure, Aws, CloudflareV4, Fastly, Gcp]);
    assert_eq!(ranges.sources()[1].edition, "2025-10-17-23-58-40");

    write("z.json", FASTLY);
    let error = Ranges::load_dir(folder.path()).expect_err("twice").to_string();
    assert!(error.contains("z.json") && error.contains("d.json") && error.contains("keep one"), "{error}");
    write("z.json", r#"{"other": 1}"#);
    assert!(matches!(Ranges::load_dir(folder.path()), Err(RangesError::Shape { .. })));
}

#[test]
fn the_compact_form_says_the_same() {
    let whole = ranges();
    let bytes = whole.to_bytes();
    let compact = Ranges::from_bytes(&bytes).expect("reads");
    assert!(compact.len() < whole.len(), "{} of {}", compact.len(), whole.len());
    assert_eq!(compact.sources(), whole.sources());
    assert!(compact.says_the_same(&whole) && compact.to_bytes() == bytes, "compact twice is compact");
    for address in edges_of(&whole) {
        assert_eq!(compact.says(address), whole.says(address), "{address}");
    }
    assert!(matches!(Ranges::from_bytes(&[9, 0, 0, 0, 0, 0]), Err(compact::CompactError::Format(9))));
    assert!(Ranges::from_bytes(&bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn halves_that_say_the_same_become_one() {
    let halves = "104.16.0.0/14\n104.20.0.0/14\n104.16.1.0/24";
    let ranges = Ranges::parse([(Document::CloudflareV4, "v4", halves)]).expect("ranges");
    assert_eq!(Ranges::from_bytes(&ranges.to_bytes()).expect("reads").len(), 1);
}

/// First and last address of each prefix, and those beside it: where answers can change.
fn edges_of(ranges: &Ranges) -> Vec<IpAddr> {
    let v4 = ranges.v4.keys().flat_map(|net| [net.network().to_bits(), net.broadcast().to_bits()]);
    let v6 = ranges.v6.keys().flat_map(|net| [net.network().to_bits(), net.broadcast().to_bits()]);
    let v4 =
        v4.flat_map(|bits| [bits.saturating_sub(1), bits, bits.saturating_add(1)].map(|bits| IpAddr::V4(bits.into())));
    let v6 =
        v6.flat_map(|bits| [bits.saturating_sub(1), bits, bits.saturating_add(1)].map(|bits| IpAddr::V6(bits.into())));
    v4.chain(v6).collect()
}
