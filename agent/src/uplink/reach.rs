//! The way to a host: each of its addresses, IPv6 and IPv4 alike, and the first connection that comes.
//!
//! Rules: no address waits for another to time out: each begins a moment after the one before it, families in turn; what was tried
//! is told with the time that it took. Source: RFC 8305, sections 4 and 5.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{net::TcpStream, time::Instant};

use crate::probe::dial;

/// One address.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Which.
    pub(crate) address: SocketAddr,
    /// How long it took to connect, or to fail.
    pub(crate) took: Duration,
    /// Why it failed; `None` where it did not.
    pub(crate) error: Option<String>,
}

/// What came of it.
pub(crate) struct Reached {
    /// The addresses that connected or failed, in that order.
    pub(crate) attempts: Vec<Attempt>,
    /// The first connection.
    pub(crate) stream: io::Result<TcpStream>,
}

/// How much is to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A connection.
    First,
    /// How each family does, too.
    Families,
}

/// Connects to the host.
pub(crate) async fn reach(host: &str, port: u16, source: Option<IpAddr>, look: Look) -> Reached {
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => one_of(in_turn(found.collect()), source, look).await,
        Err(error) => Reached { attempts: Vec::new(), stream: Err(error) },
    }
}

async fn one_of(found: Vec<SocketAddr>, source: Option<IpAddr>, look: Look) -> Reached {
    let spacing = if look == Look::First { SPACING } else { Duration::ZERO };
    let mut trying: FuturesUnordered<_> = found
        .into_iter()
        .take(MOST)
        .zip(0..)
        .map(|(address, place)| try_at(address, source, spacing * place))
        .collect();
    let (mut attempts, mut stream) = (Vec::new(), Err(io::Error::new(io::ErrorKind::NotFound, "no address")));
    let mut until = None;
    loop {
        let next = tokio::select! {
            biased;
            next = trying.next() => next,
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => None,
        };
        let Some((attempt, tried)) = next else { break };
        attempts.push(attempt);
        if stream.is_err() {
            stream = tried;
        }
        if stream.is_ok() {
            match look {
                Look::First => break,
                Look::Families => until = until.or_else(|| Some(Instant::now() + OTHERS)),
            }
        }
    }
    Reached { attempts, stream }
}

async fn try_at(address: SocketAddr, source: Option<IpAddr>, after: Duration) -> (Attempt, io::Result<TcpStream>) {
    tokio::time::sleep(after).await;
    let began = Instant::now();
    let tried = tokio::time::timeout(LIMIT, dial(address, source)).await;
    let tried = tried.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let error = tried.as_ref().err().map(ToString::to_string);
    (Attempt { address, took: began.elapsed(), error }, tried)
}

/// As the resolver has them, but one of each family after the other.
fn in_turn(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_six_first = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| address.is_ipv6() == is_six_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    std::iter::from_fn(|| Some([first.next(), second.next()]))
        .take_while(|pair| pair.iter().any(Option::is_some))
        .flatten()
        .flatten()
        .collect()
}

/// How long one address is tried.
const LIMIT: Duration = Duration::from_secs(4);
/// Between the beginnings of two. Source: RFC 8305, section 8.
const SPACING: Duration = Duration::from_millis(250);
/// How long the others are waited for once one is there.
const OTHERS: Duration = Duration::from_secs(1);
/// Addresses that are tried.
const MOST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let found = ["[::1]:1", "[::2]:1", "[::3]:1", "192.0.2.1:1"].map(at).to_vec();
        assert_eq!(in_turn(found), ["[::1]:1", "192.0.2.1:1", "[::2]:1", "[::3]:1"].map(at));
        assert!(in_turn(Vec::new()).is_empty());
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_told_and_the_other_is_taken() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let here = listener.local_addr().expect("an address");
        let refuses: SocketAddr = ([127, 0, 0, 9], here.port()).into();
        for look in [Look::First, Look::Families] {
            let Reached { attempts, stream } = one_of(vec![refuses, here], None, look).await;
            assert_eq!(stream.expect("connected").peer_addr().expect("a peer"), here);
            let told: Vec<_> = attempts.iter().map(|attempt| (attempt.address, attempt.error.is_none())).collect();
            assert!(told.contains(&(refuses, false)) && told.contains(&(here, true)), "{attempts:?}");
        }
        drop(listener);
        let Reached { attempts, stream } = reach("127.0.0.1", here.port(), None, Look::Families).await;
        assert_eq!(stream.expect_err("closed").kind(), io::ErrorKind::ConnectionRefused);
        assert!(attempts.len() == 1 && attempts[0].error.is_some(), "{attempts:?}");
    }
}
