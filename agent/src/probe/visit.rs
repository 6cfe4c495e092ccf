//! Pages: the request of a spec, and those that its redirects ask for.
//!
//! Rules: headers and a body go to the URL's own origin alone; each hop goes over a connection of its own to an address that
//! policy has seen; a method that changes something is not sent on to another place, as browsers have it.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use ::http::{HeaderMap, Method};
use bytes::Bytes;
use faultline_proto::{
    convert, page,
    types::v1::{Cause, HttpSpec, Protocol},
};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::{
    REFUSED, Shared, connect, dns,
    http::{self, Answered, Ask, Redirect, Wanted},
    http3,
    outcome::{Progress, Stop},
    tls,
};

/// A page to fetch.
#[derive(Clone, Debug)]
pub(crate) struct Errand<'a> {
    pub(crate) url: Url,
    pub(crate) method: Method,
    /// Headers besides those of every probe.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Redirects to follow; zero judges the status as it is.
    pub(crate) redirects: u32,
    /// Version to speak; unspecified means the best that both know, over TCP.
    pub(crate) version: Protocol,
    /// Address to connect to in place of the host's.
    pub(crate) place: Option<IpAddr>,
    /// Whom the server is taken for in place of the URL's host.
    pub(crate) server_name: Option<Cow<'a, str>>,
    /// Days for which every certificate must still be valid.
    pub(crate) min_cert_days: u32,
    /// Whether http URLs are fetched, without TLS.
    pub(crate) may_be_clear: bool,
    /// What the answer must be; any will do without it.
    pub(crate) wanted: Option<&'a Wanted<'a>>,
}

impl<'a> Errand<'a> {
    /// What the spec asks for.
    pub(super) fn of(
        spec: &HttpSpec,
        wanted: &'a Wanted<'a>,
        place: Option<IpAddr>,
        is_http3: bool,
    ) -> Result<Self, Stop> {
        Ok(Self {
            url: Url::parse(&spec.url).map_err(|_| REFUSED)?,
            method: page::method(spec).ok_or(REFUSED)?,
            headers: page::own_headers(spec).map_err(|_| REFUSED)?,
            body: Bytes::new(),
            redirects: spec.redirects,
            version: if is_http3 { Protocol::Http3 } else { spec.version() },
            place: connect_to(spec)?.or(place),
            server_name: None,
            min_cert_days: spec.min_cert_days,
            may_be_clear: false,
            wanted: Some(wanted),
        })
    }
}

impl Shared {
    /// The request, and those that its redirects ask for.
    pub(super) async fn visit(&self, errand: &Errand<'_>, progress: &mut Progress) -> Result<(), Stop> {
        let (mut url, mut method, none) = (errand.url.clone(), errand.method.clone(), HeaderMap::new());
        let mut hops = 0;
        loop {
            let is_home = url.origin() == errand.url.origin();
            let headers = if is_home { &errand.headers } else { &none };
            let body = if is_home && method == errand.method { errand.body.clone() } else { Bytes::new() };
            let hops_left = (errand.redirects > 0).then(|| errand.redirects - hops);
            let ask = Ask {
                url: &url,
                method: &method,
                headers,
                body,
                hops_left,
                version: errand.version,
                wanted: errand.wanted,
            };
            let answered = self.hop(ask, errand, is_home, progress).await;
            // Where a target sends its clients is the target's business, and where they may go is ours.
            let is_refused = hops > 0 && answered == Err(REFUSED);
            let answered = if is_refused { Err(http::failed(Cause::HttpRedirect)) } else { answered };
            let Some(Redirect { place, keeps_method }) = answered? else { return Ok(()) };
            let may_go = |next: &Url| {
                let is_anonymous = next.username().is_empty() && next.password().is_none();
                is_anonymous && (next.scheme() == "https" || (next.scheme() == "http" && errand.may_be_clear))
            };
            url = url.join(&place).ok().filter(may_go).ok_or(http::failed(Cause::HttpRedirect))?;
            if !keeps_method && method != Method::HEAD {
                method = Method::GET;
            }
            hops += 1;
            progress.next_hop();
        }
    }

    async fn hop(&self, ask: Ask<'_>, errand: &Errand<'_>, is_home: bool, progress: &mut Progress) -> Answered {
        let (host, port) = host_and_port(ask.url)?;
        let address = self.address((&host, port), errand.place.filter(|_| is_home), progress).await?;
        let name = errand.server_name.as_deref().filter(|_| is_home).unwrap_or(&host);
        if ask.url.scheme() == "http" {
            if !errand.may_be_clear {
                return Err(REFUSED);
            }
            let stream = connect::connect(address, self.source, progress).await?;
            return http::fetch_clear(stream, ask, progress).await;
        }
        if errand.version == Protocol::Http3 {
            let name = (name, errand.min_cert_days);
            let connection = http3::connect(&self.handshakes, self.source, address, name, progress).await?;
            return http3::fetch(connection, ask, progress).await;
        }
        let wanted = (http::alpn(errand.version), errand.min_cert_days);
        let stream = self.session((name, address), wanted, progress).await?;
        http::fetch(stream, ask, progress).await
    }

    /// The address to connect to, once policy has seen it: the given one, else the first of the host.
    pub(super) async fn address(
        &self,
        (host, port): (&str, u16),
        given: Option<IpAddr>,
        progress: &mut Progress,
    ) -> Result<SocketAddr, Stop> {
        let address = match given {
            Some(given) => given,
            None => dns::resolve(&self.resolver, host, progress).await?,
        };
        let address = SocketAddr::new(address, port);
        progress.address = Some(address.ip());
        self.policy.allows(address).map_err(|_| REFUSED)?;
        Ok(address)
    }

    /// A TLS session with the host at the address, over a connection of its own.
    pub(super) async fn session(
        &self,
        (host, address): (&str, SocketAddr),
        wanted: (&[&[u8]], u32),
        progress: &mut Progress,
    ) -> Result<TlsStream<TcpStream>, Stop> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| REFUSED)?;
        let stream = connect::connect(address, self.source, progress).await?;
        tls::handshake(&self.handshakes, name, wanted, stream, progress).await
    }
}

/// The URL's host, without an IPv6 literal's brackets, and its port.
pub(super) fn host_and_port(url: &Url) -> Result<(String, u16), Stop> {
    let host = url.host_str().ok_or(REFUSED)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((host, url.port_or_known_default().ok_or(REFUSED)?))
}

/// The address that takes the place of the host's, if the spec has one.
pub(super) fn connect_to(spec: &HttpSpec) -> Result<Option<IpAddr>, Stop> {
    convert::address(&spec.connect_to).map_err(|_| REFUSED)
}
