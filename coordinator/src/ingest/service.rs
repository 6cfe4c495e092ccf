//! The gRPC service of the agent port: the calls of `faultline.agent.v1.SessionService`, with batches as they came.
//!
//! A message that lies in another is a length and its bytes, so a batch is taken off the wire as those, without a copy. They
//! are checked and stored as they are: nothing is encoded again, and what a newer agent says in them is kept. Messages may be
//! compressed with gzip or zstd; the limit on their size holds for what they become.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use faultline_proto::agent::v1::{
    AssignmentAck, Goodbye, Heartbeat, Hello, SessionResponse, session_service_server::SERVICE_NAME,
};
use tonic::{
    Code, Request, Response, Status, Streaming,
    codegen::{Body, BoxFuture, Service, StdError},
    server::{Grpc, NamedService, StreamingService},
};
use tonic_prost::ProstCodec;

use super::{Ingest, session};
use crate::rpc;

/// `SessionRequest`, with a batch as it came.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Heard {
    #[prost(oneof = "Said", tags = "1, 2, 3, 4, 5")]
    pub(super) message: Option<Said>,
}

/// What an agent says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Said {
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(bytes = "bytes", tag = "2")]
    ResultBatch(Bytes),
    #[prost(message, tag = "3")]
    AssignmentAck(AssignmentAck),
    #[prost(message, tag = "4")]
    Heartbeat(Heartbeat),
    #[prost(message, tag = "5")]
    Goodbye(Goodbye),
}

/// Answers the calls.
#[derive(Clone)]
pub struct Sessions(pub(super) Arc<Ingest>);

impl StreamingService<Heard> for Sessions {
    type Response = SessionResponse;
    type ResponseStream = session::Stream;
    type Future = BoxFuture<Response<session::Stream>, Status>;

    fn call(&mut self, request: Request<Streaming<Heard>>) -> Self::Future {
        let ingest = Arc::clone(&self.0);
        Box::pin(async move { session::open(ingest, request).map(Response::new) })
    }
}

impl<B> Service<http::Request<B>> for Sessions
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let sessions = self.clone();
        Box::pin(async move {
            let is_session = request.uri().path().strip_prefix('/').and_then(|path| path.strip_suffix("/Session"));
            if is_session != Some(SERVICE_NAME) {
                return Ok(Status::new(Code::Unimplemented, "no such call").into_http());
            }
            let calls = Grpc::new(ProstCodec::default())
                .max_decoding_message_size(rpc::MAX_DECODING)
                .max_encoding_message_size(rpc::MAX_ENCODING);
            let mut calls = rpc::COMPRESSIONS.into_iter().fold(calls, Grpc::accept_compressed);
            Ok(calls.streaming(sessions, request).await)
        })
    }
}

impl NamedService for Sessions {
    const NAME: &'static str = SERVICE_NAME;
}
