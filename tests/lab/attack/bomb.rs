//! Messages that are small on the wire and large once decompressed.

use std::{future::Future, net::SocketAddr};

use anyhow::Context as _;
use faultline_proto::{
    agent::v1::{Hello, SessionRequest, session_request::Message as Say},
    feed::v1::{ResumeAfter, SubscribeRequest, feed_service_client::FeedServiceClient, subscribe_request::Start},
};
use tonic::{Code, Status, codec::CompressionEncoding, transport::Endpoint};

use crate::scripted::Credentials;

/// How it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bomb {
    /// About one to a thousand
    Gzip,
    /// About one to ten thousand
    Zstd,
}

/// What the server said to it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The code.
    pub code: Code,
    /// The message.
    pub message: String,
}

impl Bomb {
    fn encoding(self) -> CompressionEncoding {
        match self {
            Self::Gzip => CompressionEncoding::Gzip,
            Self::Zstd => CompressionEncoding::Zstd,
        }
    }

    /// Says hello to the agent port with a version of this many bytes.
    pub async fn to_agents(self, credentials: &Credentials, bytes: usize) -> anyhow::Result<Refused> {
        let mut client = credentials.connect().await?.send_compressed(self.encoding());
        let hello = Hello { version: "x".repeat(bytes), ..Hello::default() };
        let request = SessionRequest { message: Some(Say::Hello(hello)) };
        refused(async { client.session(tokio_stream::iter([request])).await?.into_inner().message().await.map(drop) })
            .await
    }

    /// Resumes the feed after a place whose name has this many bytes.
    pub async fn to_feed(self, address: SocketAddr, bytes: usize) -> anyhow::Result<Refused> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let mut client = FeedServiceClient::new(channel).send_compressed(self.encoding());
        let after = ResumeAfter { feed_id: "x".repeat(bytes), ..ResumeAfter::default() };
        let request = SubscribeRequest { start: Some(Start::ResumeAfter(after)), ..SubscribeRequest::default() };
        refused(async { client.subscribe(request).await?.into_inner().message().await.map(drop) }).await
    }
}

async fn refused(call: impl Future<Output = Result<(), Status>>) -> anyhow::Result<Refused> {
    let status = call.await.err().context("it was taken")?;
    Ok(Refused { code: status.code(), message: status.message().to_owned() })
}
