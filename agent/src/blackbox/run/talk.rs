//! What is said on the connection of a tcp module: lines that are waited for, answers to them, and the change to TLS.
//!
//! Rules: a line is at most [`MAX_LINE`] long, what matched fills the templates of what is sent and told, and nothing that came
//! before TLS began counts after it.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::super::modules::{Expect, Step};
use crate::probe::{Look, Stop};

/// A connection, with or without TLS.
pub(super) enum Wire {
    Clear(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// Why a talk ended before its last step.
#[derive(Debug)]
pub(super) enum Ended {
    /// The peer had said everything, and no line of it matched; or it said other bytes.
    Mismatch { is_line: bool },
    /// The peer fell silent.
    Timeout,
    /// The connection broke, or a line was too long.
    Broken,
    /// TLS could not begin.
    Tls(Stop),
}

/// What was told by the steps that have passed: each with its labels.
pub(super) type Told = Vec<Vec<(String, String)>>;

/// Goes through the steps.
pub(super) async fn talk(
    look: &mut Look,
    wire: Wire,
    server_name: &str,
    steps: &[Step],
    told: &mut Told,
) -> Result<(), Ended> {
    let mut line = Lines { wire, held: Vec::new() };
    for step in steps {
        let budget = look.progress.budget;
        budget.within(line.go_through(step, told)).await.map_err(|_| Ended::Timeout)??;
        if step.starttls {
            line = match line.wire {
                Wire::Clear(stream) => {
                    let session = look.encrypt(server_name, stream).await.map_err(Ended::Tls)?;
                    Lines { wire: Wire::Encrypted(Box::new(session)), held: Vec::new() }
                }
                encrypted @ Wire::Encrypted(_) => Lines { wire: encrypted, held: line.held },
            };
        }
    }
    Ok(())
}

struct Lines {
    wire: Wire,
    /// Read, and no part of a line yet.
    held: Vec<u8>,
}

impl Lines {
    async fn go_through(&mut self, step: &Step, told: &mut Told) -> Result<(), Ended> {
        let mut send = step.send.clone().unwrap_or_default().into_bytes();
        match &step.expect {
            None => {}
            Some(Expect::Bytes(bytes)) => {
                while self.held.len() < bytes.len() {
                    if !self.read_more().await? {
                        return Err(Ended::Mismatch { is_line: false });
                    }
                }
                let rest = self.held.split_off(bytes.len());
                if std::mem::replace(&mut self.held, rest) != bytes.as_ref() {
                    return Err(Ended::Mismatch { is_line: false });
                }
                if !step.labels.is_empty() {
                    told.push(step.labels.clone());
                }
            }
            Some(Expect::Line(pattern)) => loop {
                let line = self.line().await?.ok_or(Ended::Mismatch { is_line: true })?;
                let Some(captures) = pattern.captures(&line) else { continue };
                let filled = |template: &[u8]| {
                    let mut text = Vec::new();
                    captures.expand(template, &mut text);
                    text
                };
                send = filled(&send);
                let value = |template: &str| String::from_utf8_lossy(&filled(template.as_bytes())).into_owned();
                if !step.labels.is_empty() {
                    told.push(step.labels.iter().map(|(name, template)| (name.clone(), value(template))).collect());
                }
                break;
            },
        }
        if !send.is_empty() {
            send.push(b'\n');
            self.write(&send).await.map_err(|_| Ended::Broken)?;
        }
        Ok(())
    }

    /// The next line without its end; `None` when the peer has said everything.
    async fn line(&mut self) -> Result<Option<Vec<u8>>, Ended> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let rest = self.held.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.held, rest);
                line.truncate(end - usize::from(end > 0 && line[end - 1] == b'\r'));
                return Ok(Some(line));
            }
            if !self.read_more().await? {
                let last = std::mem::take(&mut self.held);
                return Ok((!last.is_empty()).then_some(last));
            }
        }
    }

    /// Whether something came.
    async fn read_more(&mut self) -> Result<bool, Ended> {
        if self.held.len() >= MAX_LINE {
            return Err(Ended::Broken);
        }
        let mut buffer = [0; 4096];
        let read = match &mut self.wire {
            Wire::Clear(stream) => stream.read(&mut buffer).await,
            Wire::Encrypted(session) => session.read(&mut buffer).await,
        };
        let length = match read {
            // A peer that ends without saying so to TLS has ended.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            read => read.map_err(|_| Ended::Broken)?,
        };
        self.held.extend_from_slice(&buffer[..length]);
        Ok(length > 0)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Clear(stream) => stream.write_all(bytes).await,
            Wire::Encrypted(session) => {
                session.write_all(bytes).await?;
                session.flush().await
            }
        }
    }
}

/// Source: `blackbox_exporter` reads lines with a buffer of 64 KiB (Go's `bufio.MaxScanTokenSize`).
const MAX_LINE: usize = 64 * 1024;
