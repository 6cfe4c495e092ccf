//! Machines without a certificate at the agent port, over real TLS: they may join, and nothing else; who has joined stays who it is.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use faultline_agent::{
    Config, Setup,
    enroll::{self, Existing, JoinError, Joined, Joining},
};
use faultline_coordinator::{
    admin::{self, Answer, Call, Done},
    enroll::strings::Wanted,
    pki::agent_of,
};
use faultline_proto::{
    agent::v1::{SessionRequest, session_service_client::SessionServiceClient},
    enroll::v1::{
        EnrollRequest, RenewRequest, enroll_request::Proof, enrollment_service_client::EnrollmentServiceClient,
    },
    join::{ENROLL_NAME, JoinString, SERVER_NAME},
};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::*;

/// A coordinator whose certificate also has the name that newcomers ask for, so that a plain client can be one.
pub(super) async fn set_up() -> Stage {
    set_up_at(Clock::system()).await
}

/// The same by another clock.
pub(super) async fn set_up_at(clock: Clock) -> Stage {
    let data = tempfile::tempdir().expect("a temporary directory");
    Authority::init(data.path(), "test.internal", &[ENROLL_NAME.to_owned()], clock.now_micros()).expect("an authority");
    std::fs::write(data.path().join("catalog.toml"), stage::catalog()).expect("a catalog");
    let coordinator = stage::start(data.path(), clock).await.expect("the coordinator starts");
    Stage { data, coordinator }
}

pub(super) async fn create(stage: &Stage, uses: u32) -> JoinString {
    let place = Place::default();
    let wanted = Wanted { label: "fra".into(), uses, life_s: 3600, place, needs_approval: false };
    match admin::ask(stage.data.path(), &Call::CreateToken(Box::new(wanted))).await.expect("an answer") {
        Answer::Done(Done::Made { join_string, .. }) => join_string.parse().expect("a join string"),
        other => panic!("{other:?}"),
    }
}

pub(super) fn joining(stage: &Stage, join_string: &JoinString) -> Joining {
    let address = stage.coordinator.agents_address;
    Joining {
        host: address.ip().to_string(),
        port: address.port(),
        join_string: join_string.clone(),
        existing: Existing::Stays,
    }
}

/// In a folder without a configuration.
pub(super) async fn attempt(
    stage: &Stage,
    join_string: &JoinString,
    folder: &Path,
    clock: Clock,
) -> Result<Joined, JoinError> {
    let setup = Setup::read(&folder.join("agent.toml")).expect("nothing said");
    enroll::join(&setup, &joining(stage, join_string), clock, &mut drop).await
}

pub(super) async fn join(stage: &Stage, join_string: &JoinString, folder: &Path) -> String {
    match attempt(stage, join_string, folder, Clock::system()).await.expect("joins") {
        Joined::As(agent) => agent,
        Joined::Already => panic!("had joined"),
    }
}

/// A connection that asks for this name, with the identity in this file or none.
pub(super) async fn dial(stage: &Stage, name: &'static str, identity: Option<&Path>) -> io::Result<Channel> {
    dial_from(stage, name, identity, None, &rustls::version::TLS13).await
}

/// The same from this address, and in this version of TLS.
pub(super) async fn dial_from(
    stage: &Stage,
    name: &'static str,
    identity: Option<&Path>,
    source: Option<IpAddr>,
    version: &'static SupportedProtocolVersion,
) -> io::Result<Channel> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(stage.data.path().join("ca/root.pem")).expect("a root");
    roots.add(root).expect("an anchor");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let chain = CertificateDer::pem_file_iter(file).expect("a file").map(|der| der.expect("PEM")).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(file).expect("a key")).expect("a pair")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (address, config): (SocketAddr, _) = (stage.coordinator.agents_address, Arc::new(config));
    let once = service_fn(move |_: Uri| {
        let connector = TlsConnector::from(Arc::clone(&config));
        async move {
            let stream = scripted::connect(address, source).await?;
            let name = ServerName::try_from(name).expect("a name");
            connector.connect(name, stream).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://coordinator").connect_with_connector(once).await.map_err(io::Error::other)
}

pub(super) fn csr(params: &CertificateParams) -> Vec<u8> {
    params.serialize_request(&KeyPair::generate().expect("a key")).expect("a request").der().to_vec()
}

pub(super) fn bare() -> CertificateParams {
    CertificateParams::new(Vec::<String>::new()).expect("parameters")
}

#[tokio::test]
async fn who_has_joined_opens_a_session_and_joining_again_changes_nothing() {
    let stage = set_up().await;
    let (folder, join_string) = (tempfile::tempdir().expect("a folder"), create(&stage, 1).await);
    let agent = join(&stage, &join_string, folder.path()).await;
    let identity = folder.path().join("identity.pem");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&identity).expect("an identity"));
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(&identity).expect("an identity");
    let again = attempt(&stage, &join_string, folder.path(), Clock::system()).await;
    assert_eq!(again.expect("joined"), Joined::Already);
    assert_eq!(std::fs::read(&identity).expect("an identity"), before);

    let config = Config::parse("", &folder.path().join("agent.toml")).expect("a configuration");
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let mut tasks = JoinSet::new();
    tasks.spawn(faultline_agent::run(config, Clock::system(), async move {
        left.await.ok();
    }));
    let is_up = || stage.coordinator.ingest.agents().iter().any(|view| view.agent.as_str() == agent);
    let began = Instant::now();
    while !is_up() {
        assert!(began.elapsed() < Duration::from_mins(1), "no session of {agent}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    leave.send(()).expect("running");
    tasks.join_next().await.expect("a task").expect("no panic").expect("an orderly end");
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn a_coordinator_of_another_root_is_told_nothing() {
    let stage = set_up().await;
    let (folder, join_string) = (tempfile::tempdir().expect("a folder"), create(&stage, 1).await);
    let another = JoinString { pin: "A".repeat(43), ..join_string.clone() };
    let error = attempt(&stage, &another, folder.path(), Clock::system()).await.expect_err("another");
    assert!(matches!(error, JoinError::Pin { .. }), "{error}");
    assert!(!folder.path().join("joined.toml").exists());
    join(&stage, &join_string, folder.path()).await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn a_refusal_says_no_more_than_may_be_known() {
    let stage = set_up().await;
    let (folder, join_string) = (tempfile::tempdir().expect("a folder"), create(&stage, 1).await);
    let wrong = JoinString { secret: "A".repeat(43), ..join_string.clone() };
    let error = attempt(&stage, &wrong, folder.path(), Clock::system()).await.expect_err("refused");
    assert_eq!(error.to_string(), "the coordinator refused: no such join string");
    join(&stage, &join_string, folder.path()).await;
    let late = tempfile::tempdir().expect("a folder");
    let error = attempt(&stage, &join_string, late.path(), Clock::system()).await.expect_err("refused");
    assert!(error.to_string().contains("was good for 1 agents"), "{error}");
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn without_a_certificate_there_is_nothing_but_joining() {
    let stage = set_up().await;
    let channel = dial(&stage, ENROLL_NAME, None).await.expect("a newcomer's connection");
    let session = SessionServiceClient::new(channel.clone()).session(tokio_stream::empty::<SessionRequest>()).await;
    assert_eq!(reason(&session.expect_err("refused")), "CERTIFICATE_REQUIRED");
    let renew = RenewRequest { csr_der: csr(&bare()) };
    let renewed = EnrollmentServiceClient::new(channel.clone()).renew(renew).await;
    assert_eq!(reason(&renewed.expect_err("refused")), "CERTIFICATE_REQUIRED");
    // Under any other name there is no connection to speak of: the call on it fails.
    if let Ok(channel) = dial(&stage, SERVER_NAME, None).await {
        let proof = Some(Proof::JoinString(create(&stage, 1).await.to_string()));
        let request = EnrollRequest { csr_der: csr(&bare()), proof, ..EnrollRequest::default() };
        let refused = EnrollmentServiceClient::new(channel).enroll(request).await.expect_err("no certificate");
        assert!(refused.details().is_empty(), "nobody answered: {refused}");
    }
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn a_name_in_a_request_is_ignored_and_an_agent_renews_as_itself_alone() {
    let stage = set_up().await;
    stage.issue("victim");
    let forged = || {
        let mut params = bare();
        let uri = "spiffe://test.internal/agent/victim".try_into().expect("a URI");
        params.subject_alt_names = vec![SanType::URI(uri)];
        csr(&params)
    };
    let (folder, join_string) = (tempfile::tempdir().expect("a folder"), create(&stage, 2).await);
    let mut newcomer = EnrollmentServiceClient::new(dial(&stage, ENROLL_NAME, None).await.expect("a connection"));
    let proof = Some(Proof::JoinString(join_string.to_string()));
    let request = EnrollRequest { csr_der: forged(), proof, ..EnrollRequest::default() };
    let answer = newcomer.enroll(request.clone()).await.expect("joins").into_inner();
    let named = agent_of(&CertificateDer::from(answer.certificate_chain_der[0].clone())).expect("a name");
    assert!(named == answer.agent && named.starts_with("fra-"), "{named}");

    let agent = join(&stage, &join_string, folder.path()).await;
    let identity = folder.path().join("identity.pem");
    let channel = dial(&stage, SERVER_NAME, Some(&identity)).await.expect("an agent's connection");
    let mut client = EnrollmentServiceClient::new(channel);
    let renewed = client.renew(RenewRequest { csr_der: forged() }).await.expect("renewed").into_inner();
    assert_eq!(agent_of(&CertificateDer::from(renewed.certificate_chain_der[0].clone())), Some(agent));
    let refused = client.enroll(request).await.expect_err("an agent already");
    assert_eq!(reason(&refused), "ENROLLED_ALREADY");
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn who_asks_again_since_the_answer_was_lost_is_one_agent() {
    let stage = set_up().await;
    let join_string = create(&stage, 1).await;
    let proof = Some(Proof::JoinString(join_string.to_string()));
    let request = EnrollRequest { csr_der: csr(&bare()), proof, ..EnrollRequest::default() };
    let mut names = Vec::new();
    for _ in 0..2 {
        let channel = dial(&stage, ENROLL_NAME, None).await.expect("a connection");
        let answer = EnrollmentServiceClient::new(channel).enroll(request.clone()).await.expect("joins");
        names.push(answer.into_inner().agent);
    }
    assert_eq!(names[0], names[1]);
    assert_eq!(std::fs::read_dir(stage.data.path().join("agents")).expect("agents").count(), 1);
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn nobody_is_talked_down_to_an_older_tls() {
    let stage = set_up().await;
    let folder = tempfile::tempdir().expect("a folder");
    join(&stage, &create(&stage, 1).await, folder.path()).await;
    let identity = folder.path().join("identity.pem");
    for (name, identity) in [(ENROLL_NAME, None), (SERVER_NAME, Some(identity.as_path()))] {
        assert!(dial_from(&stage, name, identity, None, &rustls::version::TLS12).await.is_err(), "{name}");
        assert!(dial_from(&stage, name, identity, None, &rustls::version::TLS13).await.is_ok(), "{name}");
    }
    stage.coordinator.stop().await;
}
