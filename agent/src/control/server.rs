//! The daemon's end of the control socket.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
};

use super::{End, FAILED, Reply, Request, USAGE};
use crate::status::{Listening, Status};

/// An order, and where its steps and its end are told.
pub(crate) struct Order {
    pub(crate) request: Request,
    pub(crate) replies: mpsc::Sender<Reply>,
}

/// Takes orders for ever.
pub(crate) async fn serve(
    listening: Listening,
    snapshot: impl Fn() -> Status + Clone + Send + 'static,
    orders: mpsc::Sender<Order>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            stream = listening.accept() => {
                if connections.len() < MAX_CONNECTIONS {
                    connections.spawn(hear(stream, snapshot.clone(), orders.clone()));
                }
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }
}

async fn hear(stream: UnixStream, snapshot: impl Fn() -> Status, orders: mpsc::Sender<Order>) {
    let (reading, mut writing) = stream.into_split();
    let request = match tokio::time::timeout(PATIENCE, read(reading)).await {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => {
            write(&mut writing, &Reply::End(End::failed(USAGE, error.to_string()))).await.ok();
            return;
        }
        Err(_) => return,
    };
    if matches!(request, Request::Status) {
        write(&mut writing, &Reply::Status(Box::new(snapshot()))).await.ok();
        return;
    }
    let (replies, mut told) = mpsc::channel(REPLIES);
    if orders.try_send(Order { request, replies }).is_err() {
        let busy = End::failed(FAILED, "the agent is busy with another order: try again when that has ended");
        write(&mut writing, &Reply::End(busy)).await.ok();
        return;
    }
    while let Some(reply) = told.recv().await {
        if write(&mut writing, &reply).await.is_err() {
            return;
        }
    }
}

async fn read(stream: OwnedReadHalf) -> io::Result<Request> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_REQUEST)).read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a request is one line of at most 8 KiB"));
    }
    // What serde says may quote the request, and that holds a secret.
    serde_json::from_slice(&line).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidData, "no request that this agent knows: are both of one version?")
    })
}

async fn write(stream: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    let written = tokio::time::timeout(PATIENCE, stream.write_all(&line)).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// How long who connects may take to send, and to read a line.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_REQUEST: u64 = 8 * 1024;
const MAX_CONNECTIONS: usize = 8;
/// Lines that wait for the reader: more than an order has. Beyond they are not told.
const REPLIES: usize = 32;
