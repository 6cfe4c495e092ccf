//! A connection that plays a script and notes what it is told.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    frames::{ACK, DATA, Frame, GOAWAY, Goaway, HEAD, HEADERS, PING, RESET, SETTINGS, Settings, frame, number},
    script::Script,
};

/// Any stream of bytes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection.
pub struct Line(Box<dyn Stream>);

/// What a server said.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// What it announced.
    pub settings: Settings,
    /// Why it ended the connection, if it said so.
    pub goaway: Option<Goaway>,
    /// Streams that it reset.
    pub resets: usize,
    /// Heads of answers, trailers among them.
    pub answers: usize,
    /// Bytes of answers.
    pub data: usize,
    /// When it closed the connection.
    pub closed_at: Option<Instant>,
}

impl Line {
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Box::new(stream))
    }

    /// Plays the script, and stays until the server closes the connection, `stay` at most. Returns how many steps were sent.
    pub(super) async fn play(self, script: Script, stay: Duration) -> (usize, Told) {
        let until = Instant::now() + stay;
        let (reader, writer) = tokio::io::split(self.0);
        // Answers to the server's own frames; one that does not fit is one that the attacker owes.
        let (owed, owing) = mpsc::channel(64);
        let mut told =
            Told { settings: Settings { connection_window: 65_535, ..Settings::default() }, ..Told::default() };
        let mut sent = 0;
        let is_reading = script.is_reading;
        {
            let listens = async {
                if is_reading {
                    listen(reader, &mut told, &owed).await;
                } else {
                    // Not reading, the attacker only learns of the end by its own writes.
                    let _reader = reader;
                    std::future::pending::<()>().await;
                }
            };
            let speaks = speak(writer, script, &mut sent, owing);
            // The server's closing ends both; a broken line, too.
            let both = async {
                tokio::pin!(listens);
                tokio::select! {
                    () = &mut listens => {}
                    broken = speaks => if broken.is_ok() || is_reading { listens.await },
                }
            };
            if timeout_at(until, both).await.is_err() {
                return (sent, told);
            }
        }
        told.closed_at.get_or_insert_with(Instant::now);
        (sent, told)
    }
}

/// Sends the steps, and between them what is owed. Returns when all is said and nobody will ask for more, or the line broke.
async fn speak(
    mut writer: WriteHalf<Box<dyn Stream>>,
    script: Script,
    sent: &mut usize,
    mut owing: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    for step in script.steps {
        while let Ok(answer) = owing.try_recv() {
            writer.write_all(&answer).await?;
        }
        writer.write_all(&step).await?;
        if !script.pause.is_zero() {
            writer.flush().await?;
            tokio::time::sleep(script.pause).await;
        }
        *sent += 1;
    }
    writer.flush().await?;
    loop {
        let answer = if let Some(heartbeat) = script.heartbeat {
            // Something harmless to write, to learn of the end by.
            match tokio::time::timeout(heartbeat, owing.recv()).await {
                Ok(answer) => answer,
                Err(_) => Some(frame(PING, 0, 0, &[0; 8])),
            }
        } else {
            owing.recv().await
        };
        let Some(answer) = answer else { return Ok(()) };
        writer.write_all(&answer).await?;
        writer.flush().await?;
    }
}

/// Reads until the server closes the connection.
async fn listen(mut reader: ReadHalf<Box<dyn Stream>>, told: &mut Told, owed: &mpsc::Sender<Vec<u8>>) {
    let mut held = Vec::new();
    let mut block = vec![0; 16 << 10];
    while let Ok(read @ 1..) = reader.read(&mut block).await {
        held.extend_from_slice(&block[..read]);
        while let Some(frame) = next(&mut held) {
            note(told, &frame, owed);
        }
    }
    told.closed_at = Some(Instant::now());
}

fn next(held: &mut Vec<u8>) -> Option<Frame> {
    let prefix = held.get(..HEAD)?;
    let length = usize::try_from(number(&[0, prefix[0], prefix[1], prefix[2]])).ok()?;
    let (kind, flags, stream) = (prefix[3], prefix[4], number(&prefix[5..]));
    let content = held.get(HEAD..HEAD + length)?.to_vec();
    held.drain(..HEAD + length);
    Some(Frame { kind, flags, stream, content })
}

fn note(told: &mut Told, heard: &Frame, owed: &mpsc::Sender<Vec<u8>>) {
    told.settings.take(heard);
    match heard.kind {
        GOAWAY => told.goaway = Goaway::read(heard),
        RESET => told.resets += 1,
        HEADERS => told.answers += 1,
        DATA => told.data += heard.content.len(),
        PING if heard.flags & ACK == 0 => drop(owed.try_send(frame(PING, ACK, 0, &heard.content))),
        SETTINGS if heard.flags & ACK == 0 => drop(owed.try_send(frame(SETTINGS, ACK, 0, &[]))),
        _ => {}
    }
}
