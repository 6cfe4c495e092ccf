//! A talk as of SMTP, up to `STARTTLS` and on over TLS.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

/// Greets, offers `STARTTLS`, and says goodbye over TLS.
pub(super) async fn serve(stream: TcpStream, acceptor: TlsAcceptor) {
    let mut clear = BufReader::new(stream);
    if !is_asked_for_tls(&mut clear, "250-SIZE 1000\r\n250 STARTTLS\r\n").await {
        return;
    }
    if clear.write_all(b"220 go ahead\r\n").await.is_err() {
        return;
    }
    let Ok(mut session) = acceptor.accept(clear.into_inner()).await else { return };
    let Ok(1..) = session.read(&mut [0; 64]).await else { return };
    if session.write_all(b"221 bye\r\n").await.is_ok() {
        session.shutdown().await.ok();
    }
}

/// Greets, and offers no TLS.
pub(super) async fn serve_clear(stream: TcpStream) {
    let mut clear = BufReader::new(stream);
    is_asked_for_tls(&mut clear, "250 SIZE 1000\r\n").await;
}

async fn is_asked_for_tls(clear: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>, offer: &str) -> bool {
    if clear.write_all(b"220-hello\r\n220 mail.parity.test ESMTP postfix\r\n").await.is_err() {
        return false;
    }
    let mut line = String::new();
    while let Ok(1..) = clear.read_line(&mut line).await {
        if line.starts_with("STARTTLS") {
            return true;
        }
        if clear.write_all(offer.as_bytes()).await.is_err() {
            return false;
        }
        line.clear();
    }
    false
}
