//! The gRPC service `faultline.enroll.v1.EnrollmentService`, on both sides of the agent port.
//!
//! Rule: who may call what hangs on the connection alone: machines without a certificate may enrol or recover and nothing else,
//! whatever they ask for (`newcomers_only_enroll`); agents may renew, and as themselves.

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    http::{Request as HttpRequest, Response as HttpResponse},
    middleware::Next,
};
use faultline_proto::enroll::v1::{
    EnrollRequest, EnrollResponse, GetChallengeRequest, GetChallengeResponse, RecoverRequest, RecoverResponse,
    RenewRequest, RenewResponse,
    enrollment_service_server::{EnrollmentService, EnrollmentServiceServer},
};
use tonic::{Code, Request, Response, Status, async_trait};

use super::{Denied, Enrolment};
use crate::{
    ingest::listener::{AgentPeer, Newcomer},
    refusal,
};

/// Largest message of this service. Source: a request for a certificate has 2 KiB at most, a join string some 100 bytes.
const MAX_MESSAGE: usize = 4 << 10;

/// All that a machine without a certificate may call.
const NEWCOMERS: [&str; 3] = [
    "/faultline.enroll.v1.EnrollmentService/Enroll",
    "/faultline.enroll.v1.EnrollmentService/GetChallenge",
    "/faultline.enroll.v1.EnrollmentService/Recover",
];

/// Answers the calls.
#[derive(Clone)]
pub struct Enrolments(Arc<Enrolment>);

impl Enrolments {
    /// The gRPC service.
    pub fn service(enrolment: Arc<Enrolment>) -> EnrollmentServiceServer<Self> {
        EnrollmentServiceServer::new(Self(enrolment)).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Does what blocks on the disk where that holds nobody up.
    async fn apart<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Enrolment) -> Result<T, Denied> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let enrolment = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || act(&enrolment)).await;
        let done = done.unwrap_or_else(|error| Err(Denied::Failed(error.to_string())));
        done.map(Response::new).map_err(|denied| denied.status())
    }
}

#[async_trait]
impl EnrollmentService for Enrolments {
    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let (address, request) = of_newcomer(request)?;
        self.apart(move |enrolment| enrolment.enroll(address, &request)).await
    }

    async fn get_challenge(
        &self,
        request: Request<GetChallengeRequest>,
    ) -> Result<Response<GetChallengeResponse>, Status> {
        let (address, request) = of_newcomer(request)?;
        self.0.challenge(address, &request.agent).map(Response::new).map_err(|denied| denied.status())
    }

    async fn recover(&self, request: Request<RecoverRequest>) -> Result<Response<RecoverResponse>, Status> {
        let (address, request) = of_newcomer(request)?;
        self.apart(move |enrolment| enrolment.recover(address, &request)).await
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let Some(agent) = request.extensions().get::<AgentPeer>().map(|peer| peer.agent.clone()) else {
            return Err(certificate_required());
        };
        let request = request.into_inner();
        self.apart(move |enrolment| enrolment.renew(agent.as_str(), &request.csr_der)).await
    }
}

/// The address and the request of a machine without a certificate.
fn of_newcomer<T>(request: Request<T>) -> Result<(IpAddr, T), Status> {
    match request.extensions().get::<Newcomer>().map(|newcomer| newcomer.address.ip()) {
        Some(address) => Ok((address, request.into_inner())),
        None => Err(refusal::status(Code::FailedPrecondition, "ENROLLED_ALREADY", "an agent has joined already")),
    }
}

/// Lets whoever has no certificate call nothing but what makes one.
pub(crate) async fn newcomers_only_enroll(request: HttpRequest<Body>, next: Next) -> HttpResponse<Body> {
    if request.extensions().get::<Newcomer>().is_some() && !NEWCOMERS.contains(&request.uri().path()) {
        return certificate_required().into_http();
    }
    next.run(request).await
}

fn certificate_required() -> Status {
    refusal::status(Code::Unauthenticated, "CERTIFICATE_REQUIRED", "this needs an agent's certificate: join first")
}
