//! A file means what it says, and what is wrong with one is told by line, without what is secret.

use std::fs;

use super::*;
use crate::webhook::folder::Folder;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn parse(text: &str) -> Result<Webhook, String> {
    Webhook::parse(Path::new("webhooks/ops.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn a_file_is_written_for_the_owner_only_and_reads_back_the_same() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = tempfile::tempdir().expect("dir");
    let folder = Folder::of(data.path());
    let webhook = Webhook {
        url: "https://hooks.example.org/t/path?key=1".parse().expect("url"),
        format: Format::Cloudevents,
        secrets: vec![Secret::random(), Secret::random()],
        routing_key_file: None,
        heartbeat: Some("90s".parse().expect("heartbeat")),
        revisions: Revisions::Newest,
        link: Some("https://status.example.org/".parse().expect("link")),
        ca_file: Some("/etc/ca.pem".into()),
        allow_private: true,
        disabled: Some("moved".into()),
        filter: Filter {
            states: vec![State::Attributed],
            verdicts: vec![Verdict::Aws],
            elements: vec!["aws/us-east-1".into()],
            sight: false,
        },
    };
    let path = folder.write("ops", &webhook).expect("written");
    assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
    assert_eq!(folder.webhook("ops").expect("read"), webhook);
    assert_eq!(folder.names().expect("names"), (vec!["ops".to_owned()], 0));
    folder.remove("ops").expect("removed");
    assert!(matches!(folder.webhook("ops"), Err(ConfigError::Unknown(_))));
    assert!(matches!(folder.file("../ca/root"), Err(ConfigError::Name(_))));
}

#[test]
fn what_is_left_out_has_the_default_of_the_header() {
    let read = parse(&format!("url = \"https://a.example/x\"\nsecrets = [\"{SECRET}\"]\n")).expect("read");
    assert_eq!((read.format, read.revisions, read.allow_private), (Format::Cloudevents, Revisions::Each, false));
    assert!(read.filter.sight && read.filter.states.is_empty() && read.heartbeat.is_none());
}

#[test]
fn what_is_wrong_is_told_by_file_and_line() {
    let ok = format!("secrets = [\"{SECRET}\"]\nurl = \"https://a.example/\"\n");
    for (text, expected) in [
        (format!("{ok}frmat = \"slack\"\n"), "ops.toml:3: unknown field `frmat`"),
        (format!("{ok}heartbeat = \"1s\"\n"), "ops.toml:3: heartbeat \"1s\" is not within 10s to 1day"),
        (format!("{ok}[filter]\nstates = [\"broken\"]\n"), "ops.toml:4: unknown variant `broken`"),
        (format!("{ok}[filter]\nstate = []\n"), "ops.toml:4: unknown field `state`"),
        (format!("{ok}format = \"slack\"\nheartbeat = \"60s\"\n"), "ops.toml:4: heartbeat is for cloudevents"),
        (format!("{ok}format = \"pagerduty\"\n"), "ops.toml:3: format pagerduty needs routing_key_file"),
        (format!("{ok}routing_key_file = \"k\"\n"), "ops.toml:3: routing_key_file is for pagerduty"),
        (format!("{ok}link = \"javascript:x\"\n"), "ops.toml:3: link \"javascript:x\""),
        (
            format!("secrets = [\"{SECRET}\"]\nurl = \"http://a.example/\"\n"),
            "ops.toml:2: url http://a.example: http only",
        ),
        ("url = \"https://a.example/\"\n".to_owned(), "needs secrets"),
        (format!("{ok}secrets2 = 1\n"), "ops.toml:3"),
        (
            format!("{ok}[filter]\nelements = [\"aws//s3\"]\n"),
            "ops.toml:4: element \"aws//s3\": an element has no empty part",
        ),
        ("url = \"ftp://a.example/\"\n".to_owned(), "ops.toml:1: url begins with \"ftp\""),
        ("url = \"https://me:pw@a.example/\"\n".to_owned(), "ops.toml:1: url https://a.example carries"),
    ] {
        let error = parse(&text).expect_err(&text);
        assert!(error.contains(expected), "{error}\nlacks {expected}");
    }
}

#[test]
fn no_error_and_no_list_shows_what_is_secret() {
    let path = "T000/B000/XXXXSECRET";
    let bad = "whsec_AAAASECRET";
    for text in [
        format!("url = \"https://hooks.example.org/{path}\"\nsecrets = [\"{bad}\"]\n"),
        format!("url = \"https://hooks.example.org:99999/{path}\"\n"),
        format!("url = \"http://hooks.example.org/{path}\"\n"),
        format!("secrets = [\"{SECRET}\", 5]\nurl = \"https://hooks.example.org/{path}\"\n"),
    ] {
        let error = parse(&text).expect_err(&text);
        assert!(!error.contains("SECRET") && !error.contains(SECRET), "{error}");
    }
    let read = parse(&format!("url = \"https://h.example:8443/{path}\"\nsecrets = [\"{SECRET}\"]\n")).expect("read");
    assert_eq!(read.url.to_string(), "https://h.example:8443");
    assert!(!format!("{read:?}").contains("SECRET") && !format!("{read:?}").contains(SECRET));
}

#[test]
fn an_address_in_another_notation_is_that_address() {
    for (text, host) in [
        ("https://2130706433/", "https://127.0.0.1"),
        ("https://0x7f.1/", "https://127.0.0.1"),
        ("https://0177.0.0.1:8443/", "https://127.0.0.1:8443"),
        ("https://[::ffff:10.0.0.1]/", "https://[::ffff:a00:1]"),
    ] {
        assert_eq!(text.parse::<Destination>().expect(text).to_string(), host);
    }
}
