//! A crowd that changes its mind several times a second, pushed in as operators do: many changes, so that a slice has enough of
//! them to compare.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::ensure;
use faultline_attribution::Timestamp;
use faultline_coordinator::access::tokens::{Role, Tokens};
use faultline_proto::clock::Clock;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time};

/// How often one of the crowds changes its mind.
const PAUSE: Duration = Duration::from_millis(200);

/// Claims that one crowd may make; the coordinator publishes as many within an hour.
const A_CROWD: u64 = 60;

/// Reports in a window of a crowd that accuses, and of one that does not.
const COUNTS: [u64; 2] = [6000, 8];

/// A crowd.
pub(super) struct Crowd {
    requests: SendRequest<Full<Bytes>>,
    token: String,
    _connection: JoinSet<()>,
}

impl Crowd {
    /// Makes its token and connects.
    pub(super) async fn join(data: &Path, feed: SocketAddr) -> anyhow::Result<Self> {
        let until = Timestamp::from_micros(Clock::system().now_micros()).after(Duration::from_hours(24));
        let token = Tokens::of(data).create("bench-crowd", vec![Role::Operator], None, until)?;
        let stream = TcpStream::connect(feed).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        Ok(Self { requests, token, _connection: tasks })
    }

    /// Changes its mind until it is dropped.
    pub(super) async fn babble(mut self) -> anyhow::Result<()> {
        for turn in 0_u64.. {
            time::sleep(PAUSE).await;
            let (crowd, count) = (turn / A_CROWD, COUNTS[usize::from(turn % 2 == 1)]);
            let body = format!("source,about,count,baseline\ncrowd-{crowd},aws,{count},8\n");
            let request = Request::post("/api/v1/claims")
                .header(header::HOST, "localhost")
                .header(header::CONTENT_TYPE, "text/csv")
                .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
                .body(Full::new(Bytes::from(body)))?;
            self.requests.ready().await?;
            let answer = self.requests.send_request(request).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            ensure!(status == StatusCode::OK, "a claim was answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(())
    }
}
