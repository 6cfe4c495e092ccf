//! A web server of HTTP/1.1, written to the byte, so that it can be wrong in every way; and one of HTTP/2.
//!
//! | path | what |
//! |---|---|
//! | `/NNN` | that status, with the body `{"status":"UP"}` |
//! | `/to?URL`, `/loop`, `/nowhere` | a redirect to that URL, to itself, without a `Location` |
//! | `/post /host /probe /auth` | 200 where the request is right: `POST` with the body `ping`, `Host: shop.parity.test`, `X-Probe: yes`, user `u` with password `p:w`; else 400 |
//! | `/modified /modified-bad` | `Last-Modified`, good and not |
//! | `/keep?URL /get` | a redirect that keeps method and body; 200 for a `GET` without a body |
//! | `/headers /hints` | 32 KiB of headers; an answer of 103 before the real one |
//! | `/tail /endless` | 600,000 bytes and `END`; a body without end |
//! | `/chunked /unbounded /gzip /big` | no length; ended by the connection; gzip; 200,000 bytes |
//! | `/cut-head /cut-body /no-answer` | ends in the middle, or before |
//! | `/two-lengths /bad-length /bad-chunk /cut-chunk /both-lengths /long-body` | lengths that are wrong |
//! | `/no-reason /line-feeds /folded /space /latin` | heads that strict readers refuse |
//! | `/drip` | a byte of 1000 every 500 ms |
//! | `/silent /silent-body` | says nothing (more) |
//! | `/garbage /old` | no HTTP; HTTP/1.0 |

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// Serves the requests of one connection.
pub(super) async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = Request::read(&mut stream).await {
        let (answer, next) = answer(&request);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
        match next {
            Next::Request => {}
            Next::End => {
                stream.shutdown().await.ok();
                return;
            }
            Next::Drip => {
                let mut ticks = tokio::time::interval(DRIP);
                while stream.write_all(b"x").await.is_ok() && stream.flush().await.is_ok() {
                    ticks.tick().await;
                }
            }
            Next::Endless => while stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {},
            Next::Silence => while let Ok(1..) = stream.read(&mut [0; 4096]).await {},
        }
    }
}

/// Serves HTTP/2 where the client speaks it.
pub(super) async fn serve_h2(stream: TlsStream<TcpStream>) {
    let serve = service_fn(|request: hyper::Request<Incoming>| async move {
        let status = request.uri().path().trim_start_matches('/').parse().unwrap_or(200_u16);
        let mut answer = hyper::Response::new(Full::new(Bytes::from_static(UP.as_bytes())));
        *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
        Ok::<_, Infallible>(answer)
    });
    // How the client ends it is the client's business.
    auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), serve).await.ok();
}

struct Request {
    method: String,
    path: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: String,
}

enum Next {
    Request,
    End,
    Silence,
    Endless,
    Drip,
}

impl Request {
    async fn read(stream: &mut BufReader<impl AsyncRead + Unpin>) -> Option<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let mut words = lines.first()?.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let headers = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        let mut request = Self { method, path, headers, body: String::new() };
        let length = request.header("content-length").parse().unwrap_or_default();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        request.body = String::from_utf8_lossy(&body).into_owned();
        Some(request)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

fn answer(request: &Request) -> (Vec<u8>, Next) {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let whole = |head: &str, body: &str| {
        let body = if request.method == "HEAD" { "" } else { body };
        (format!("{head}content-length: {}\r\n\r\n{body}", UP.len()).into_bytes(), Next::Request)
    };
    let checked = |is_right: bool| {
        let status = if is_right { "200 OK" } else { "400 Bad Request" };
        whole(&format!("HTTP/1.1 {status}\r\n"), UP)
    };
    let ended = |text: &str| (text.as_bytes().to_vec(), Next::End);
    let moved = |place: &str| {
        let text = format!("HTTP/1.1 302 Found\r\n{place}content-length: 0\r\n\r\n");
        (text.into_bytes(), Next::Request)
    };
    match path {
        "/to" => moved(&format!("location: {query}\r\n")),
        "/loop" => moved("location: /loop\r\n"),
        "/nowhere" => moved(""),
        "/keep" => {
            let text = format!("HTTP/1.1 307 Keep\r\nlocation: {query}\r\ncontent-length: 0\r\n\r\n");
            (text.into(), Next::Request)
        }
        "/get" => checked(request.method == "GET" && request.body.is_empty()),
        "/tail" => {
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}END", FAR + 3, "x".repeat(FAR));
            (text.into(), Next::Request)
        }
        "/endless" => (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec(), Next::Endless),
        "/headers" => {
            let headers = format!("x-filler: {}\r\n", "v".repeat(52)).repeat(512);
            whole(&format!("HTTP/1.1 200 OK\r\n{headers}"), UP)
        }
        "/hints" => whole("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n", UP),
        "/post" => checked(request.method == "POST" && request.body == "ping"),
        "/host" => checked(request.header("host") == "shop.parity.test"),
        "/probe" => checked(request.header("x-probe") == "yes"),
        // Source: `printf u:p:w | base64`.
        "/auth" => checked(request.header("authorization") == "Basic dTpwOnc="),
        "/modified" => whole("HTTP/1.1 200 OK\r\nlast-modified: Wed, 29 Oct 2025 15:41:13 GMT\r\n", UP),
        "/modified-bad" => whole("HTTP/1.1 200 OK\r\nlast-modified: yesterday\r\n", UP),
        "/state" => whole("HTTP/1.1 200 OK\r\nx-state: amber\r\nx-state: green\r\n", UP),
        "/chunked" => {
            let text =
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{\"statu\r\n8\r\ns\":\"UP\"}\r\n0\r\n\r\n";
            (text.into(), Next::Request)
        }
        "/unbounded" => ended(&format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{UP}")),
        "/gzip" => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", GZIP.len());
            ([head.as_bytes(), GZIP].concat(), Next::Request)
        }
        "/big" => {
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {BIG}\r\n\r\n{}", "x".repeat(BIG));
            (text.into(), Next::Request)
        }
        "/cut-head" => ended("HTTP/1.1 200 OK\r\ncontent-le"),
        "/cut-body" => ended("HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"sta"),
        "/no-answer" => ended(""),
        "/silent" => (Vec::new(), Next::Silence),
        "/silent-body" => (b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"sta".to_vec(), Next::Silence),
        "/two-lengths" => ended(&format!("HTTP/1.1 200 OK\r\ncontent-length: 15\r\ncontent-length: 9\r\n\r\n{UP}")),
        "/bad-length" => ended(&format!("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{UP}")),
        "/bad-chunk" => ended("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nmany\r\nx\r\n0\r\n\r\n"),
        "/cut-chunk" => ended("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{\"sta"),
        "/both-lengths" => {
            ended("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nUP\r\n0\r\n\r\n")
        }
        "/long-body" => ended(&format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{UP}")),
        "/no-reason" => whole("HTTP/1.1 200\r\n", UP),
        "/line-feeds" => ended(&format!("HTTP/1.1 200 OK\ncontent-length: 15\n\n{UP}")),
        "/folded" => whole("HTTP/1.1 200 OK\r\nx-state: green\r\n  and amber\r\n", UP),
        "/space" => whole("HTTP/1.1 200 OK\r\nx-state : green\r\n", UP),
        "/latin" => {
            let head = format!("\r\ncontent-length: {}\r\n\r\n{UP}", UP.len());
            ([b"HTTP/1.1 200 OK\r\nx-name: caf\xe9", head.as_bytes()].concat(), Next::Request)
        }
        "/drip" => (b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_vec(), Next::Drip),
        "/garbage" => ended("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        "/old" => ended(&format!("HTTP/1.0 200 OK\r\n\r\n{UP}")),
        "/empty" => (b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), Next::Request),
        _ => {
            let status = path.trim_start_matches('/').parse().unwrap_or(200_u16);
            whole(&format!("HTTP/1.1 {status} Status\r\n"), UP)
        }
    }
}

const UP: &str = "{\"status\":\"UP\"}";
/// Source: `gzip` of [`UP`].
const GZIP: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 42, 46, 73, 44, 41, 45, 86, 178, 82, 10, 13, 80, 170, 5, 0, 105, 255,
    187, 170, 15, 0, 0, 0,
];
/// Not close to the timeout, so that all see as many bytes.
const DRIP: std::time::Duration = std::time::Duration::from_millis(500);
const BIG: usize = 200_000;
const FAR: usize = 600_000;
