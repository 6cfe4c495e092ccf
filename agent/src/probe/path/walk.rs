//! A walk: datagrams whose hop limit ends on the way, and the routers that say so.
//!
//! Rules: no privilege is needed: each datagram leaves from a socket of its own, whose error queue brings the ICMP
//! answer (ip(7), `IP_RECVERR`); first UDP to ports where nobody listens, then, beyond the last that answered, TCP SYNs
//! to the probed port, since many networks drop the former; at most [`MAX_TTL`] of each and [`ROUND`] for their answers.

use std::{
    io::{self, IoSliceMut, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
    time::Duration,
};

use futures::stream::{FuturesUnordered, StreamExt};
use nix::{
    errno::Errno,
    libc::{SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6, sock_extended_err, sockaddr_in6},
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
        sockopt::{Ipv4RecvErr, Ipv6RecvErr},
    },
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::Interest,
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout_at},
};

use super::{Hop, Path};

/// Who answers on the way to the address; within two seconds. An error when this process may not look.
pub async fn walk(target: SocketAddr, source: Option<IpAddr>) -> io::Result<Path> {
    let mut path = Path::default();
    for kind in [Kind::Datagram, Kind::Syn] {
        let first = path.last().map_or(1, |hop| hop.ttl.saturating_add(1));
        if !path.reaches(target.ip()) {
            round(kind, first, (target, source), &mut path).await?;
        }
    }
    Ok(path)
}

/// Whether the error says that no walk will ever work here.
pub(super) fn is_forbidden(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EPERM | Errno::EACCES | Errno::ENOPROTOOPT | Errno::ENOSYS | Errno::EOPNOTSUPP)
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Datagram,
    Syn,
}

/// What became of one datagram.
enum Answer {
    /// A router, or the target where it is its address.
    From(IpAddr),
    /// The target, whatever it said.
    Target,
    /// Nobody can say: the datagram did not leave.
    Lost,
}

async fn round(
    kind: Kind,
    first: u8,
    (target, source): (SocketAddr, Option<IpAddr>),
    path: &mut Path,
) -> io::Result<()> {
    let until = Instant::now() + ROUND;
    let mut asked = FuturesUnordered::new();
    for ttl in first..=MAX_TTL {
        let Some(probe) = Probe::send(kind, ttl, target, source)? else { continue };
        asked.push(async move { (ttl, probe.answer().await, probe.sent.elapsed()) });
    }
    let mut waiting: Vec<u8> = (first..=MAX_TTL).collect();
    while let Ok(Some((ttl, answer, round_trip))) = timeout_at(until, asked.next()).await {
        let address = match answer {
            Answer::From(address) => Some(address),
            Answer::Target => Some(target.ip()),
            Answer::Lost => None,
        };
        waiting.retain(|waiting| *waiting != ttl);
        if let Some(address) = address {
            path.add(Hop { ttl, address, round_trip });
            if address == target.ip() {
                waiting.retain(|waiting| *waiting < ttl); // beyond it, it is the target that answers
            }
        }
        if waiting.is_empty() {
            break;
        }
    }
    Ok(())
}

/// A datagram on its way.
struct Probe {
    socket: Sent,
    target: IpAddr,
    local: Option<IpAddr>,
    sent: Instant,
}

/// The socket that it left from.
enum Sent {
    Datagram(UdpSocket),
    Syn(TcpStream),
}

impl Probe {
    /// Sends one; `None` when it could not leave. An error when this process may not look.
    fn send(kind: Kind, ttl: u8, target: SocketAddr, source: Option<IpAddr>) -> io::Result<Option<Self>> {
        let domain = Domain::for_address(target);
        let socket = match kind {
            Kind::Datagram => Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?,
            Kind::Syn => Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?,
        };
        socket.set_nonblocking(true)?;
        if target.is_ipv4() {
            setsockopt(&socket, Ipv4RecvErr, &true)?;
            socket.set_ttl_v4(ttl.into())?;
        } else {
            setsockopt(&socket, Ipv6RecvErr, &true)?;
            socket.set_unicast_hops_v6(ttl.into())?;
        }
        if let Some(source) = source.filter(|source| source.is_ipv4() == target.is_ipv4()) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        let port = if kind == Kind::Syn { target.port() } else { FIRST_PORT + u16::from(ttl) };
        let sent = Instant::now();
        let is_sent = match socket.connect(&SocketAddr::new(target.ip(), port).into()) {
            Ok(()) => kind == Kind::Syn || socket.send(PAYLOAD).is_ok(),
            Err(error) => error.raw_os_error() == Some(Errno::EINPROGRESS as i32),
        };
        if !is_sent {
            return Ok(None);
        }
        let local = socket.local_addr().ok().and_then(|local| local.as_socket()).map(|local| local.ip());
        let socket = match kind {
            Kind::Datagram => Sent::Datagram(UdpSocket::from_std(socket.into())?),
            Kind::Syn => Sent::Syn(TcpStream::from_std(socket.into())?),
        };
        Ok(Some(Self { socket, target: target.ip(), local, sent }))
    }

    /// Waits for what becomes of it, if anything does.
    async fn answer(&self) -> Answer {
        let answer = match &self.socket {
            Sent::Datagram(socket) => {
                socket.async_io(Interest::READABLE.add(Interest::ERROR), || self.heard(&socket.into())).await
            }
            Sent::Syn(socket) => {
                socket.async_io(Interest::WRITABLE.add(Interest::ERROR), || self.heard(&socket.into())).await
            }
        };
        answer.unwrap_or(Answer::Lost)
    }

    fn heard(&self, socket: &SockRef<'_>) -> io::Result<Answer> {
        match queued(socket) {
            // Of a neighbour that does not answer, this machine's own address tells.
            Ok(Some(from)) if from == self.target || Some(from) != self.local => Ok(Answer::From(from)),
            Err(Errno::EAGAIN) => self.said(socket),
            _ => Ok(Answer::Lost),
        }
    }

    /// What the socket says where its error queue says nothing.
    fn said(&self, socket: &SockRef<'_>) -> io::Result<Answer> {
        match (&self.socket, socket.take_error()?.map(|error| error.kind())) {
            (_, Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)) => Ok(Answer::Target),
            (_, Some(_)) => Ok(Answer::Lost),
            (Sent::Syn(_), None) if socket.peer_addr().is_ok() => Ok(Answer::Target),
            (Sent::Syn(_), None) => Err(io::ErrorKind::WouldBlock.into()),
            (Sent::Datagram(_), None) => (&**socket).read(&mut [0; 1]).map(|_| Answer::Target),
        }
    }
}

/// The next answer in the error queue, if it came from the network: whose it is.
fn queued(socket: &Socket) -> Result<Option<IpAddr>, Errno> {
    let (mut quoted, mut control) = ([0; 64], nix::cmsg_space!(sock_extended_err, sockaddr_in6));
    let mut quoted = [IoSliceMut::new(&mut quoted)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut quoted, Some(&mut control), flags)?;
    Ok(message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4RecvErr(error, Some(from)) if error.ee_origin == SO_EE_ORIGIN_ICMP => {
            Some(Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr)).into())
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(from)) if error.ee_origin == SO_EE_ORIGIN_ICMP6 => {
            Some(Ipv6Addr::from(from.sin6_addr.s6_addr).into())
        }
        _ => None,
    }))
}

/// Source: traceroute(8) goes no farther either.
pub(super) const MAX_TTL: u8 = 30;
/// Time for the answers of a round: below the second after which a SYN is sent again (RFC 6298, section 2).
const ROUND: Duration = Duration::from_millis(900);
/// Source: traceroute(8): ports where hardly anybody listens, one more for each hop.
const FIRST_PORT: u16 = 33_434;
/// Says who it is to whoever looks.
const PAYLOAD: &[u8] = b"faultline path";

#[cfg(test)]
pub(super) async fn by_syn(target: SocketAddr) -> io::Result<Path> {
    let mut path = Path::default();
    round(Kind::Syn, 1, (target, None), &mut path).await?;
    Ok(path)
}
