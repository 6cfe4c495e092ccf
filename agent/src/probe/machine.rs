//! What this machine lacks, so that no target is blamed for it: sockets, and networks of a family.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use faultline_proto::types::v1::Reason;

/// Whether the error means that this machine ran out, not that the target is at fault.
pub(crate) fn is_out_of_sockets(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse | io::ErrorKind::OutOfMemory)
        || matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOBUFS))
}

const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOBUFS: i32 = 105;

/// Why nothing could be measured, when "network unreachable" came from this machine having no route for the family at
/// all; `None` when it has one, so that the target's network is what cannot be reached.
pub(crate) fn missing_network(target: IpAddr) -> Option<Reason> {
    if target.is_loopback() {
        return None;
    }
    let v4 = has_route(Family::V4);
    let v6 = has_route(Family::V6);
    match (target, v4, v6) {
        (_, false, false) => Some(Reason::NoNetwork),
        (IpAddr::V4(_), false, true) => Some(Reason::NoIpv4),
        (IpAddr::V6(_), true, false) => Some(Reason::NoIpv6),
        _ => None,
    }
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Whether the kernel would route to public addresses of the family. Connecting a datagram socket sends nothing.
pub(crate) fn has_route(family: Family) -> bool {
    let public = if family == Family::V4 { PUBLIC_V4 } else { PUBLIC_V6 };
    let Ok(to) = public.parse::<SocketAddr>() else { return false };
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    match UdpSocket::bind(any).and_then(|socket| socket.connect(to)) {
        Ok(()) => true,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::AddrNotAvailable
        ),
    }
}

const PUBLIC_V4: &str = "1.1.1.1:53";
const PUBLIC_V6: &str = "[2606:4700:4700::1111]:53";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_never_lacks_a_network() {
        assert_eq!(missing_network([127, 0, 0, 1].into()), None);
    }
}
