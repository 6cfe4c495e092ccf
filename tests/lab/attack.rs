//! Attackers: peers that speak to a coordinator's ports as no honest one does, one attack at a time.
//!
//! Each is bounded in what it sends and how long it stays, speaks over real sockets (and real TLS where the port has it),
//! and says how it ended: what it could send, whether it was told to go away, when its connection was closed. Rules: an
//! attacker reads all the while, unless not reading is the attack; pings are answered, unless that is the attack.

mod bomb;
mod frames;
mod line;
mod script;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use faultline_proto::{
    PROTOCOL,
    agent::v1::{Hello, SessionRequest, session_request::Message as Say},
};
use prost::Message as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::{task::JoinSet, time::Instant};

pub use self::{
    bomb::{Bomb, Refused},
    frames::{Frame, Goaway, Settings},
    line::{Line, Told},
};
use crate::scripted::{Credentials, connect};

/// How often a silent attacker's kernel asks whether the connection is still there.
const ASK: Duration = Duration::from_secs(5);

/// Where an attacker knocks.
#[derive(Clone)]
pub enum Door {
    /// The agent port, with a certificate that may be good.
    Agents(Credentials),
    /// The feed port.
    Feed(SocketAddr),
    /// The feed port, from this address of the machine's.
    FeedFrom(SocketAddr, IpAddr),
}

/// What an attacker does on a connection that was opened as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Attack {
    /// Requests that are reset as soon as they are made
    RapidReset,
    /// Requests that make the server reset them
    ProvokedReset,
    /// One request's head in pieces without end
    Continuation,
    /// Data frames without data
    EmptyData,
    /// Data frames of one byte
    TinyData,
    /// Pings
    Ping,
    /// Settings
    Settings,
    /// Frames of a kind that nobody knows
    UnknownFrames,
    /// A head that names one large header over and over
    HeaderBomb,
    /// A message announced as larger than any may be
    Oversize,
    /// A message of groups in groups in groups
    Recursion,
    /// A message that was begun, and nothing more
    StalledMessage,
    /// A message that comes byte by byte
    DrippedMessage,
    /// A frame that comes byte by byte
    DrippedFrame,
    /// Answers asked for and never taken
    Unread,
    /// Answers asked for, and the socket never read again
    Deaf,
    /// More requests at once than may be
    ManyRequests,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::RapidReset,
        Self::ProvokedReset,
        Self::Continuation,
        Self::EmptyData,
        Self::TinyData,
        Self::Ping,
        Self::Settings,
        Self::UnknownFrames,
        Self::HeaderBomb,
        Self::Oversize,
        Self::Recursion,
        Self::StalledMessage,
        Self::DrippedMessage,
        Self::DrippedFrame,
        Self::Unread,
        Self::Deaf,
        Self::ManyRequests,
    ];

    /// The command line's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RapidReset => "rapid-reset",
            Self::ProvokedReset => "provoked-reset",
            Self::Continuation => "continuation",
            Self::EmptyData => "empty-data",
            Self::TinyData => "tiny-data",
            Self::Ping => "ping",
            Self::Settings => "settings",
            Self::UnknownFrames => "unknown-frames",
            Self::HeaderBomb => "header-bomb",
            Self::Oversize => "oversize",
            Self::Recursion => "recursion",
            Self::StalledMessage => "stalled-message",
            Self::DrippedMessage => "dripped-message",
            Self::DrippedFrame => "dripped-frame",
            Self::Unread => "unread",
            Self::Deaf => "deaf",
            Self::ManyRequests => "many-requests",
        }
    }
}

/// How an attack went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Steps of the script that were sent.
    pub sent: usize,
    /// Steps that the script has.
    pub of: usize,
    /// From the first step until the connection was closed; `None` when it was still open at the end.
    pub closed: Option<Duration>,
    /// What the server said meanwhile.
    pub told: Told,
}

impl Door {
    /// The path of a method that the port has.
    fn path(&self) -> &'static str {
        match self {
            Self::Agents(_) => "/faultline.agent.v1.SessionService/Session",
            Self::Feed(_) | Self::FeedFrom(..) => "/faultline.feed.v1.FeedService/Subscribe",
        }
    }

    /// A connection on which nothing was said yet.
    pub async fn dial(&self) -> io::Result<Line> {
        Ok(match self {
            Self::Agents(credentials) => Line::new(credentials.dial().await?),
            Self::Feed(_) | Self::FeedFrom(..) => self.knock().await?,
        })
    }

    /// A connection without even TLS.
    async fn knock(&self) -> io::Result<Line> {
        let (address, source) = match self {
            Self::Agents(credentials) => (credentials.address(), credentials.source()),
            Self::Feed(address) => (*address, None),
            Self::FeedFrom(address, source) => (*address, Some(*source)),
        };
        let stream = connect(address, source).await?;
        // The kernel may leave out one that its queue has no room for, and tells who says nothing only when asked.
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(ASK).with_interval(ASK))?;
        Ok(Line::new(stream))
    }

    /// What begins TLS, where the port has it.
    fn hello(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Agents(credentials) => credentials.client_hello(),
            Self::Feed(_) | Self::FeedFrom(..) => Ok(Vec::new()),
        }
    }

    /// What makes the port listen to messages: a session's hello.
    fn opening(&self) -> Option<Vec<u8>> {
        let hello =
            Hello { min_protocol: PROTOCOL, max_protocol: PROTOCOL, incarnation: vec![7; 16], ..Hello::default() };
        let hello = SessionRequest { message: Some(Say::Hello(hello)) };
        matches!(self, Self::Agents(_)).then(|| hello.encode_to_vec())
    }

    /// Runs the attack once, `steps` long where it has a length, and stays until the connection is closed, `stay` at most.
    pub async fn attack(&self, attack: Attack, steps: usize, stay: Duration) -> io::Result<Outcome> {
        let script = script::of(attack, self.path(), self.opening().as_deref(), steps);
        let of = script.steps.len();
        let line = self.dial().await?;
        let began = Instant::now();
        let (sent, told) = line.play(script, stay).await;
        let closed = told.closed_at.map(|at| at.saturating_duration_since(began));
        Ok(Outcome { sent, of, closed, told })
    }
}

/// Stages at which a connection may be left idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Idle {
    /// Connected, nothing said: not even TLS
    Tcp,
    /// TLS, no HTTP/2
    Tls,
    /// HTTP/2, no request
    Http2,
    /// TLS begun, byte by byte
    SlowTls,
    /// TLS begun, and the server's answer left lying
    Hello,
}

/// Opens this many connections and leaves them there; returns when the last of them was closed, and how many were not within
/// `stay`.
pub async fn idle(door: &Door, idle: Idle, count: usize, stay: Duration) -> (Duration, usize) {
    let began = Instant::now();
    let mut all = JoinSet::new();
    for _ in 0..count {
        let door = door.clone();
        // One that does not even open is none that is left.
        all.spawn(async move { leave(&door, idle, stay).await.unwrap_or(true) });
    }
    let mut open = 0;
    while let Some(closed) = all.join_next().await {
        open += usize::from(!closed.unwrap_or(false));
    }
    (began.elapsed(), open)
}

/// Whether the connection was closed in time.
async fn leave(door: &Door, idle: Idle, stay: Duration) -> io::Result<bool> {
    let (line, script) = match idle {
        Idle::Tcp => (door.knock().await?, script::silence()),
        Idle::SlowTls => (door.knock().await?, script::slow_tls()),
        Idle::Hello => (door.knock().await?, script::one(door.hello()?)),
        Idle::Tls => (door.dial().await?, script::silence()),
        Idle::Http2 => (door.dial().await?, script::preface()),
    };
    let (_, told) = line.play(script, stay).await;
    Ok(told.closed_at.is_some())
}
