//! TLS: every way in which a certificate or a handshake can be wrong.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use faultline_proto::{
    clock::Clock,
    types::v1::{Cause, Layer, Protocol, TlsSpec, assignment::Spec},
};
use rcgen::date_time_ymd;
use rustls::{
    ServerConfig,
    crypto::ring::{default_provider, sign},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::probe::{Outcome, ProbeSettings, Prober, Roots, testing::*};

#[tokio::test]
async fn a_good_handshake_passes_and_names_its_issuer() {
    let authority = Authority::new();
    let server = tls_server(authority.issue(HOST, |_| {}).server(&[]), |_session| async {}).await;
    let observed = run(&prober(&authority), tls(server.address)).await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    assert_eq!(observed.result.protocol(), Protocol::Tls13);
    let facts = observed.facts.expect("facts");
    assert_eq!(facts.issuer, "Test Authority");
    let [leaf] = facts.chain.as_slice() else { panic!("{facts:?}") };
    assert_eq!((leaf.names.as_slice(), leaf.key.as_str()), ([HOST.to_owned()].as_slice(), "ec-p256"));
}

#[tokio::test]
async fn each_bad_certificate_has_its_cause() {
    let (authority, other) = (Authority::new(), Authority::new());
    let expired = authority.issue(HOST, |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let early = authority.issue(HOST, |params| {
        params.not_before = date_time_ymd(2190, 1, 1);
        params.not_after = date_time_ymd(2191, 1, 1);
    });
    for (identity, cause) in [
        (expired, Cause::TlsCertExpired),
        (early, Cause::TlsCertNotYetValid),
        (authority.issue("other.test", |_| {}), Cause::TlsNameMismatch),
        (other.issue(HOST, |_| {}), Cause::TlsUnknownIssuer),
        (self_signed(HOST), Cause::TlsSelfSigned),
    ] {
        let server = tls_server(identity.server(&[]), |_session| async {}).await;
        let observed = run(&prober(&authority), tls(server.address)).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Tls, cause)));
        let facts = observed.facts.expect("facts");
        assert_ne!(facts.issuer, "", "{cause:?} hides the issuer");
        let [leaf] = facts.chain.as_slice() else { panic!("{cause:?} hides the chain") };
        assert!(leaf.not_before < leaf.not_after && leaf.names.len() == 1, "{cause:?} hides what is wrong: {leaf:?}");
        assert!(observed.result.timings.is_some_and(|timings| timings.connect_us > 0));
    }
}

#[tokio::test]
async fn a_chain_that_was_sound_does_not_vouch_for_the_next_one() {
    let (authority, other) = (Authority::new(), Authority::new());
    let prober = prober(&authority);
    let good = tls_server(authority.issue(HOST, |_| {}).server(&[]), |_session| async {}).await;
    let passed = [run(&prober, tls(good.address)).await, run(&prober, tls(good.address)).await];
    assert!(passed.iter().all(|observed| observed.outcome() == Some(Outcome::Passed)), "{passed:?}");
    for (identity, cause) in [
        (other.issue(HOST, |_| {}), Cause::TlsUnknownIssuer),
        (authority.issue("b.test", |_| {}), Cause::TlsNameMismatch),
    ] {
        let bad = tls_server(identity.server(&[]), |_session| async {}).await;
        for _ in 0..2 {
            assert_eq!(run(&prober, tls(bad.address)).await.outcome(), Some(failed(Layer::Tls, cause)));
        }
    }
}

#[tokio::test]
async fn a_known_chain_needs_its_key_each_time() {
    let authority = Authority::new();
    let prober = prober(&authority);
    let owner = authority.issue(HOST, |_| {});
    let chain = vec![owner.certificate.clone()];
    let stolen = sign::any_supported_type(&authority.issue(HOST, |_| {}).key).expect("a key");
    let thief = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, stolen))));
    let owner = tls_server(owner.server(&[]), |_session| async {}).await;
    let thief = tls_server(thief, |_session| async {}).await;
    assert_eq!(run(&prober, tls(owner.address)).await.outcome(), Some(Outcome::Passed));
    let observed = run(&prober, tls(thief.address)).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Tls, Cause::TlsProtocolError)));
}

#[tokio::test]
async fn a_certificate_that_ends_before_it_may_expires_soon() {
    let authority = Authority::new();
    let now = u64::try_from(Clock::system().now_micros()).expect("after 1970");
    let end = UNIX_EPOCH + Duration::from_micros(now) + Duration::from_hours(10 * 24);
    let soon = |params: &mut rcgen::CertificateParams| params.not_after = end.into();
    for (days, wanted) in
        [(0, Outcome::Passed), (9, Outcome::Passed), (11, failed(Layer::Tls, Cause::TlsCertExpiresSoon))]
    {
        let server = tls_server(authority.issue(HOST, soon).server(&[]), |_session| async {}).await;
        let Spec::Tls(spec) = tls(server.address) else { panic!("a tls spec") };
        let observed = run(&prober(&authority), Spec::Tls(TlsSpec { min_cert_days: days, ..spec })).await;
        assert_eq!(observed.outcome(), Some(wanted), "{days} days");
    }
}

#[tokio::test]
async fn a_certificate_that_was_given_is_good_for_its_own_names_and_time() {
    let old = |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2021, 1, 1);
    let authority = |params: &mut rcgen::CertificateParams| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    };
    for (identity, wanted) in [
        (self_signed(HOST), Outcome::Passed),
        (self_signed_as(HOST, authority), Outcome::Passed),
        (self_signed("other.test"), failed(Layer::Tls, Cause::TlsNameMismatch)),
        (self_signed_as(HOST, old), failed(Layer::Tls, Cause::TlsCertExpired)),
    ] {
        let settings =
            ProbeSettings { roots: Roots::Only(vec![identity.certificate.clone()]), ..settings(&Authority::new()) };
        let server = tls_server(identity.server(&[]), |_session| async {}).await;
        let observed = run(&Prober::new(settings).expect("a prober"), tls(server.address)).await;
        assert_eq!(observed.outcome(), Some(wanted));
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_timeout() {
    let server = tcp_server(|mut stream| async move {
        stream.read_to_end(&mut Vec::new()).await.ok();
    })
    .await;
    let observed = run_short(&prober(&Authority::new()), tls(server.address)).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Tls, Cause::TlsTimeout)));
}

#[tokio::test]
async fn a_reset_and_an_end_inside_the_handshake_are_resets() {
    let resetting = tcp_server(|mut stream| async move {
        stream.read_u8().await.ok();
        stream.set_zero_linger().ok();
    })
    .await;
    let ending = tcp_server(|mut stream| async move {
        let Ok(1..) = stream.read(&mut [0; 4096]).await else { return };
        stream.shutdown().await.ok();
    })
    .await;
    for server in [resetting, ending] {
        let observed = run(&prober(&Authority::new()), tls(server.address)).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Tls, Cause::TlsReset)));
    }
}

#[tokio::test]
async fn an_alert_is_told_apart_from_nonsense() {
    // Record type 21, TLS 1.2, two bytes: fatal, handshake_failure.
    let alert: &[u8] = &[21, 3, 3, 0, 2, 2, 40];
    for (answer, cause) in
        [(alert, Cause::TlsAlert), (b"HTTP/1.0 400 Bad Request\r\n\r\n".as_slice(), Cause::TlsProtocolError)]
    {
        let server = tcp_server(move |mut stream| async move {
            stream.write_all(answer).await.ok();
            stream.read_to_end(&mut Vec::new()).await.ok();
        })
        .await;
        let observed = run(&prober(&Authority::new()), tls(server.address)).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Tls, cause)));
    }
}

#[tokio::test]
async fn a_stapled_status_is_told_and_fails_nothing() {
    for (status, told) in [
        (tagged(0x80, &[]), "good"),
        (tagged(0xa1, &tagged(0x18, b"20250101000000Z")), "revoked"),
        (tagged(0x82, &[]), "unknown"),
        (vec![], "malformed"),
    ] {
        let authority = Authority::new();
        let identity = authority.issue(HOST, |_| {});
        let provider = Arc::new(default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert_with_ocsp(vec![identity.certificate], identity.key, response(&status))
            .expect("an identity");
        let server = tls_server(config, |_session| async {}).await;
        let observed = run(&prober(&authority), tls(server.address)).await;
        assert_eq!(observed.outcome(), Some(Outcome::Passed), "{told}");
        assert_eq!(observed.facts.expect("facts").ocsp, told);
    }
}

/// An OCSP response with this status for one certificate (RFC 6960, section 4.2.1), signed by nobody.
fn response(status: &[u8]) -> Vec<u8> {
    let sha1 = tagged(0x30, &tagged(0x06, &[0x2b, 0x0e, 0x03, 0x02, 0x1a]));
    let (digest, serial, time) = (tagged(0x04, &[7; 20]), tagged(0x02, &[1]), tagged(0x18, b"20260101000000Z"));
    let certificate = tagged(0x30, &[sha1.clone(), digest.clone(), digest.clone(), serial].concat());
    let single = tagged(0x30, &[certificate, status.to_vec(), time.clone()].concat());
    let data = tagged(0x30, &[tagged(0xa2, &digest), time, tagged(0x30, &single)].concat());
    let basic = tagged(0x30, &[data, sha1, tagged(0x03, &[0, 1, 2])].concat());
    let kind = tagged(0x06, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01]);
    let bytes = tagged(0x30, &[kind, tagged(0x04, &basic)].concat());
    tagged(0x30, &[tagged(0x0a, &[0]), tagged(0xa0, &bytes)].concat())
}

/// DER: tag, length, contents of less than 256 bytes.
fn tagged(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u8::try_from(contents.len()).expect("short");
    let mut bytes = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
    bytes.extend_from_slice(contents);
    bytes
}
