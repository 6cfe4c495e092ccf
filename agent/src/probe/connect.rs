//! The connect layer over TCP: one SYN, from the agent's source address where one is set.
//!
//! Rules: refused, unreachable, reset and silent are four causes; an agent without sockets or without a network for
//! the family has measured nothing.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
};

use faultline_proto::types::v1::{Cause, Layer, Reason};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream};

use super::{
    machine::{is_out_of_sockets, missing_network},
    outcome::{Phase, Progress, Stop},
};

/// An open connection to the address.
pub(crate) async fn connect(
    address: SocketAddr,
    source: Option<IpAddr>,
    progress: &mut Progress,
) -> Result<TcpStream, Stop> {
    progress.address = Some(address.ip());
    let opened = progress.budget.within(open(address, source)).await;
    progress.end(Phase::Connect);
    match opened {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(refusal(&error, address.ip(), &CONNECT)),
        Err(_) => Err(Stop::Failed(Layer::Connect, Cause::ConnectTimeout)),
    }
}

/// A TCP connection without Nagle's delay, from `source` when its family is the address's.
pub(crate) async fn open(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// Has a connected datagram socket hear of each ICMP refusal, and not of closed ports alone. Where the kernel has no such option,
/// what a router says is silence. Source: ip(7) and ipv6(7), `IP_RECVERR`.
pub(crate) fn hear_refusals(socket: &impl AsFd, peer: IpAddr) {
    let heard = if peer.is_ipv4() {
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)
    } else {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)
    };
    if let Err(error) = heard {
        tracing::trace!(%error, "no option for refusals");
    }
}

/// The causes that a transport uses for the operating system's answers.
pub(crate) struct Causes {
    pub(crate) layer: Layer,
    pub(crate) refused: Cause,
    pub(crate) reset: Cause,
    pub(crate) timeout: Cause,
    pub(crate) unreachable: Cause,
}

const CONNECT: Causes = Causes {
    layer: Layer::Connect,
    refused: Cause::ConnectRefused,
    reset: Cause::ConnectReset,
    timeout: Cause::ConnectTimeout,
    unreachable: Cause::ConnectUnreachable,
};

/// What an operating system's refusal to reach `target` means.
pub(crate) fn refusal(error: &io::Error, target: IpAddr, causes: &Causes) -> Stop {
    if is_out_of_sockets(error) {
        return Stop::Unmeasured(Reason::OutOfSockets);
    }
    let cause = match error.kind() {
        io::ErrorKind::ConnectionRefused => causes.refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => causes.reset,
        io::ErrorKind::TimedOut => causes.timeout,
        io::ErrorKind::NetworkUnreachable => match missing_network(target) {
            Some(reason) => return Stop::Unmeasured(reason),
            None => causes.unreachable,
        },
        _ => causes.unreachable,
    };
    Stop::Failed(causes.layer, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_out_of_sockets_blames_nobody() {
        for errno in [23, 24, 99] {
            let stop = refusal(&io::Error::from_raw_os_error(errno), [192, 0, 2, 1].into(), &CONNECT);
            assert_eq!(stop, Stop::Unmeasured(Reason::OutOfSockets), "errno {errno}");
        }
    }

    #[test]
    fn what_the_network_says_keeps_its_cause() {
        for (errno, cause) in
            [(111, Cause::ConnectRefused), (104, Cause::ConnectReset), (113, Cause::ConnectUnreachable)]
        {
            let stop = refusal(&io::Error::from_raw_os_error(errno), [127, 0, 0, 1].into(), &CONNECT);
            assert_eq!(stop, Stop::Failed(Layer::Connect, cause), "errno {errno}");
        }
    }
}
