//! The feed port: gRPC, gRPC-Web, the page and its events on one address, behind one guard, with TLS where there is a
//! certificate.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method, header},
    middleware,
};
use faultline_proto::{
    DESCRIPTORS, feed::v1::feed_service_server::FeedServiceServer,
    measure::v1alpha1::measure_service_server::MeasureServiceServer,
};
use http::Extensions;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken};
use tonic::{codec::CompressionEncoding, service::Routes};
use tonic_web::GrpcWebLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{Hub, archive::Archive, grpc::Feed, web};
use crate::{
    access::{Access, Peer, Policy, guard, operators_only, tls::Certificate},
    claims::{self, Intake},
    ingest::Ingest,
    measure::Measure,
    rpc::{self, turns::Turns},
    serve::{Options, ServeError},
};

/// Largest message that a subscriber may send: its questions are short.
const MAX_QUESTION: usize = 64 << 10;

/// How answers go out compressed, to those who ask for it.
const COMPRESSIONS: [CompressionEncoding; 2] = [CompressionEncoding::Zstd, CompressionEncoding::Gzip];

/// The feed port, before it opens.
pub struct FeedPort {
    access: Arc<Access>,
    archive: Archive,
    cors: Option<CorsLayer>,
    certificate: Option<Arc<Certificate>>,
}

impl FeedPort {
    /// The port that these options ask for.
    ///
    /// # Errors
    ///
    /// When its certificate is no good, or there is none and others could read what goes over it.
    pub fn new(options: &Options) -> Result<Self, ServeError> {
        let policy = &options.access;
        let certificate = match &policy.tls {
            Some((chain, key)) => Some(Arc::new(Certificate::read(chain, key)?)),
            None if policy.plaintext || options.feed_listen.ip().to_canonical().is_loopback() => None,
            None => return Err(ServeError::Plaintext(options.feed_listen)),
        };
        let access = Arc::new(Access::new(policy, &options.data_dir, options.clock));
        let archive = Archive::of(options.data_dir.clone(), options.clock);
        Ok(Self { access, archive, cors: cors(policy), certificate })
    }

    /// Serves until shutdown, and keeps its certificate fresh.
    ///
    /// # Errors
    ///
    /// When the contracts that it describes itself by cannot be read.
    pub async fn serve(
        self,
        listener: TcpListener,
        hub: Arc<Hub>,
        ingest: Arc<Ingest>,
        claims: Arc<Intake>,
        known: web::Known,
        stopped: CancellationToken,
    ) -> Result<(), ServeError> {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<FeedServiceServer<Feed>>().await;
        reporter.set_serving::<MeasureServiceServer<Measure>>().await;
        let described = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let reflection = described().build_v1().map_err(|error| ServeError::Task(error.to_string()))?;
        // What distributions still ship of grpcurl asks in the older version alone.
        let older = described().build_v1alpha().map_err(|error| ServeError::Task(error.to_string()))?;
        let feed = Feed::new(Arc::clone(&hub), Arc::clone(&self.access), stopped.clone());
        let mut service = FeedServiceServer::new(feed)
            .max_decoding_message_size(MAX_QUESTION)
            .max_encoding_message_size(rpc::MAX_ENCODING);
        let (catalog, access) = (Arc::clone(&known.catalog), Arc::clone(&self.access));
        let measure = Measure::new(Arc::clone(&hub), Arc::clone(&ingest), catalog, access, stopped.clone());
        let mut measure = MeasureServiceServer::new(measure)
            .max_decoding_message_size(MAX_QUESTION)
            .max_encoding_message_size(rpc::MAX_ENCODING);
        for compression in COMPRESSIONS {
            service = service.accept_compressed(compression).send_compressed(compression);
            measure = measure.accept_compressed(compression).send_compressed(compression);
        }
        let health = health.max_decoding_message_size(MAX_QUESTION).max_encoding_message_size(rpc::MAX_ENCODING);
        let reflection =
            reflection.max_decoding_message_size(MAX_QUESTION).max_encoding_message_size(rpc::MAX_ENCODING);
        let older = older.max_decoding_message_size(MAX_QUESTION).max_encoding_message_size(rpc::MAX_ENCODING);
        let grpc = Routes::new(service).add_service(measure).add_service(health);
        let grpc = grpc.add_service(reflection).add_service(older);
        // What nobody serves is answered by the pages: gRPC-Web would refuse a browser that is lost as malformed.
        let grpc = grpc.prepare().into_axum_router().reset_fallback().layer(GrpcWebLayer::new());
        let agents = Arc::new(move || ingest.agents());
        let pages = web::router(hub, agents, known, self.archive, Arc::clone(&self.access), stopped.clone());
        let crowds = claims::web::router(claims).layer(middleware::from_fn(operators_only));
        let mut router = grpc.merge(pages).merge(crowds).layer(middleware::from_fn_with_state(self.access, guard));
        if let Some(cors) = self.cors {
            // Outermost: a browser asks what it may before it says who it is.
            router = router.layer(cors);
        }
        let leaving = stopped.clone();
        let goodbye = async {
            leaving.cancelled().await;
            reporter.set_not_serving::<FeedServiceServer<Feed>>().await;
            reporter.set_not_serving::<MeasureServiceServer<Measure>>().await;
        };
        let certificate = self.certificate.clone();
        let fresh = async {
            if let Some(certificate) = certificate {
                certificate.keep_fresh(leaving.clone()).await;
            }
        };
        tokio::join!(serve(listener, self.certificate, router, stopped), goodbye, fresh);
        Ok(())
    }
}

async fn serve(
    listener: TcpListener,
    certificate: Option<Arc<Certificate>>,
    router: Router,
    stopped: CancellationToken,
) {
    let greeter = Greeter {
        tls: certificate.map(|certificate| Arc::new(certificate.config())),
        turns: Turns::new(rpc::HANDSHAKES),
    };
    let greet = move |stream, address| greeter.clone().greet(stream, address);
    rpc::serve(listener, rpc::FEED, router, greet, stopped).await;
}

/// Shakes hands with readers.
#[derive(Clone)]
struct Greeter {
    tls: Option<Arc<ServerConfig>>,
    turns: Turns,
}

impl Greeter {
    async fn greet(
        self,
        stream: TcpStream,
        address: SocketAddr,
    ) -> io::Result<(Either<TcpStream, TlsStream<TcpStream>>, Extensions)> {
        let mut known = Extensions::new();
        let is_local = address.ip().to_canonical().is_loopback();
        known.insert(Peer { address, is_private: self.tls.is_some() || is_local });
        let Some(tls) = self.tls else { return Ok((Either::Left(stream), known)) };
        let turn = self.turns.take(address.ip()).await;
        let stream = rpc::in_time(TlsAcceptor::from(tls).accept(stream)).await?;
        drop(turn);
        Ok((Either::Right(stream), known))
    }
}

/// What pages of other origins may ask in a visitor's browser.
fn cors(policy: &Policy) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = policy.cors.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let origins =
        if origins.iter().any(|origin| origin == "*") { AllowOrigin::any() } else { AllowOrigin::list(origins) };
    let word = HeaderName::from_static;
    let asked = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        word("last-event-id"),
        word("x-grpc-web"),
        word("x-user-agent"),
        word("grpc-timeout"),
    ];
    let told =
        [header::ETAG, header::RETRY_AFTER, word("grpc-status"), word("grpc-message"), word("grpc-status-details-bin")];
    let layer = CorsLayer::new().allow_origin(origins).allow_methods([Method::GET, Method::HEAD, Method::POST]);
    Some(layer.allow_headers(asked).expose_headers(told))
}
