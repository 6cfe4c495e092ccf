//! The servers that everybody probes, and the coordinator's side of a session, in one process.
//!
//! Rules: no session tickets, so that every handshake is a full one; names of [`ZONE`](super::ZONE) are all this host; nothing
//! fails on purpose. What it learns of agents is in `tally`; their sessions are in `session`.

mod identity;
mod names;
mod session;
mod tally;
mod web;

use std::{
    future::Future,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

pub use self::tally::{Plan, Seen};
use self::{identity::Authority, tally::Tally};
use super::{Places, part};

/// A question to this part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Where it answers: [`Places`].
    Places,
    /// What agents that join are to do from here on; forgets what was seen.
    Assign(Plan),
    /// What was seen since: [`Seen`].
    Seen,
}

/// What all servers of the process share.
pub(super) type Shared = Arc<Mutex<Tally>>;

/// Serves until standard input ends.
pub async fn main() -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(OPEN_FILES).context("more open files")?;
    let shared: Shared = Arc::default();
    let mut tasks = JoinSet::new();
    let places = open(&shared, &mut tasks).await?;
    let answers = part::answer(async |ask| {
        Ok(match ask {
            Ask::Places => serde_json::to_value(&places)?,
            Ask::Assign(plan) => {
                lock(&shared).assign(plan, &places);
                serde_json::Value::Null
            }
            Ask::Seen => serde_json::to_value(lock(&shared).seen())?,
        })
    });
    tokio::select! {
        done = answers => done,
        Some(ended) = tasks.join_next() => anyhow::bail!("a server ended: {ended:?}"),
    }
}

const OPEN_FILES: u64 = 16_384;

/// Addresses of TCP: each connect leaves a four-tuple behind for a second, and a host has 28,000 ports.
const TCP_HOSTS: u8 = 16;

pub(super) async fn open(shared: &Shared, tasks: &mut JoinSet<()>) -> anyhow::Result<Places> {
    let authority = Authority::new()?;
    let local = Ipv4Addr::LOCALHOST;
    let https1 = TcpListener::bind((local, 0)).await?;
    let https2 = TcpListener::bind((local, 0)).await?;
    let sessions = TcpListener::bind((local, 0)).await?;
    let dns = UdpSocket::bind((local, 0)).await?;
    let http3 = web::endpoint(&authority, (local, 0).into())?;
    let mut tcp = Vec::new();
    for host in 1..=TCP_HOSTS {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 1, host), 0)).await?;
        tcp.push(listener.local_addr()?);
        tasks.spawn(each(listener, web::hold));
    }
    let places = Places {
        ca_pem: authority.ca_pem(),
        agent_pem: authority.agent_pem(),
        agent_key: authority.agent_key(),
        https1: https1.local_addr()?,
        https2: https2.local_addr()?,
        tcp,
        dns: dns.local_addr()?,
        http3: http3.local_addr()?,
        sessions: sessions.local_addr()?,
    };
    tasks.spawn(each(https1, web::pages(authority.server(&[b"http/1.1"])?)));
    tasks.spawn(each(https2, web::pages(authority.server(&[b"h2"])?)));
    tasks.spawn(each(sessions, session::sessions(authority.mutual()?, shared)));
    tasks.spawn(names::serve(dns, Arc::clone(shared)));
    tasks.spawn(web::serve_http3(http3));
    Ok(places)
}

/// Serves each connection of the listener in a task of its own.
async fn each<S: Future<Output = ()> + Send + 'static>(listener: TcpListener, serve: impl Fn(TcpStream) -> S) {
    let mut visits = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    stream.set_nodelay(true).ok();
                    visits.spawn(serve(stream));
                }
            }
            Some(_) = visits.join_next() => {}
        }
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Tally> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
