//! One relayed connection.
//!
//! Rules: bytes are never lost but where the link says so, so that every step can be dropped between two of its waits: what was
//! read and not yet written stays in the [`Pipe`]. A link that was in force when the connection began does to it what it does
//! to new ones.

use std::{
    io::{self, ErrorKind},
    net::Shutdown,
    time::Duration,
};

use faultline_proto::clock::Clock;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream, sync::watch};

use super::{End, Ending, Link, Path, Way, stopped, tcp};

/// Both ends of a connection, and what is on the way between them.
pub(super) struct Connection {
    near: TcpStream,
    far: TcpStream,
    up: Pipe,
    down: Pipe,
    path: Path,
    /// How many connections of this path were accepted before it.
    place: u64,
    newest: watch::Sender<u64>,
}

/// One direction.
struct Pipe {
    way: Way,
    buffer: Vec<u8>,
    /// What of the buffer was read and is not yet written.
    held: std::ops::Range<usize>,
    moved: u64,
    is_over: bool,
}

/// Why both ways stopped.
enum Stop {
    /// Both ends have said all.
    Over,
    /// The link does something to the connection as a whole.
    Link(Link),
    /// So many bytes have passed.
    Broken(Ending),
}

impl Connection {
    pub(super) fn new(near: TcpStream, far: TcpStream, path: Path, place: u64, newest: watch::Sender<u64>) -> Self {
        Self { near, far, up: Pipe::new(Way::Up), down: Pipe::new(Way::Down), path, place, newest }
    }

    pub(super) async fn run(mut self) -> io::Result<()> {
        // What overtakes is not overtaken.
        let began = *self.path.link.borrow();
        let spares = matches!(began, Link::Overtaken { .. }).then_some(began);
        match self.pump(spares).await {
            Ok(Stop::Over | Stop::Broken(Ending::Fin)) => Ok(()),
            Ok(Stop::Link(Link::HalfOpen { gone })) => self.half_open(gone).await,
            Ok(Stop::Link(Link::Overtaken { held, .. })) => self.overtaken(held).await,
            Ok(Stop::Broken(Ending::Rst) | Stop::Link(_)) => {
                self.reset();
                Ok(())
            }
            Err(error) => {
                // An end that is gone is gone for the other one too.
                self.reset();
                Err(error)
            }
        }
    }

    async fn pump(&mut self, mut spares: Option<Link>) -> io::Result<Stop> {
        let Self { near, far, up, down, path, place, newest } = self;
        let mut link = path.link.clone();
        let ends = |link: &Link| {
            spares = spares.filter(|spares| spares == link);
            matches!(link, Link::Refused | Link::HalfOpen { .. })
                || (matches!(link, Link::Overtaken { .. }) && spares.is_none())
        };
        let both = async {
            let upwards = up.run(near, far, path, |_| ());
            let downwards = down.run(far, near, path, |moved| {
                newest.send_if_modified(|newest| is_up(newest, *place, moved, path));
            });
            // A way that is over leaves the other one open, as TCP does; a broken one ends both.
            tokio::pin!(upwards, downwards);
            tokio::select! {
                ended = &mut upwards => match ended? {
                    Stop::Over => downwards.await,
                    stop => Ok(stop),
                },
                ended = &mut downwards => match ended? {
                    Stop::Over => upwards.await,
                    stop => Ok(stop),
                },
            }
        };
        tokio::select! {
            stop = both => stop,
            link = link.wait_for(ends) => Ok(Stop::Link(*link.map_err(|_| stopped())?)),
        }
    }

    fn reset(&self) {
        tcp::reset_on_close(&self.near);
        tcp::reset_on_close(&self.far);
    }

    /// Drops one end, and keeps the other in the dark until the link is another.
    async fn half_open(self, gone: End) -> io::Result<()> {
        let Self { near, far, mut path, .. } = self;
        let (gone, kept) = match gone {
            End::Agent => (near, far),
            End::Coordinator => (far, near),
        };
        tcp::reset_on_close(&gone);
        drop(gone);
        tcp::reset_on_close(&kept);
        path.link.wait_for(|link| !matches!(link, Link::HalfOpen { .. })).await.map(drop).map_err(|_| stopped())
    }

    /// Holds back what the agent sends, resets it, and delivers that once a newer connection is up.
    async fn overtaken(mut self, held: usize) -> io::Result<()> {
        let mut late = self.up.take();
        while late.len() < held {
            let read = self.up.read(&self.near).await?;
            if read == 0 {
                break;
            }
            late.extend(self.up.take());
        }
        tcp::reset_on_close(&self.near);
        let Self { near, far, place, newest, .. } = self;
        drop(near);
        let mut newest = newest.subscribe();
        newest.wait_for(|newest| *newest > place).await.map_err(|_| stopped())?;
        let mut written = 0;
        while written < late.len() {
            far.ready(Interest::WRITABLE).await?;
            match far.try_write(&late[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether this connection is the newest that is up: it has brought the agent as much as the link asks.
fn is_up(newest: &mut u64, place: u64, moved: u64, path: &Path) -> bool {
    let until = match *path.link.borrow() {
        Link::Overtaken { until, .. } => until,
        _ => 1,
    };
    let is_news = place > *newest && moved >= until;
    if is_news {
        *newest = place;
    }
    is_news
}

impl Pipe {
    fn new(way: Way) -> Self {
        Self { way, buffer: vec![0; BUFFER], held: 0..0, moved: 0, is_over: false }
    }

    /// Moves bytes until one end has said all or the link breaks the connection.
    async fn run(&mut self, from: &TcpStream, to: &TcpStream, path: &Path, moved: impl Fn(u64)) -> io::Result<Stop> {
        let mut link = path.link.clone();
        let (mut broken, mut left) = (Link::Whole, 0);
        while !self.is_over {
            let way = self.way;
            let now = *link.wait_for(|link| link.moves(way)).await.map_err(|_| stopped())?;
            if let Link::Broken { after, .. } = now
                && now != broken
            {
                left = after;
            }
            broken = now;
            if self.held.is_empty() {
                let read = tokio::select! {
                    biased;
                    // What was read as the path stopped waits with the rest.
                    _ = link.wait_for(|link| *link != now) => continue,
                    read = self.read(from) => read?,
                };
                if read == 0 {
                    self.is_over = true;
                    SockRef::from(to).shutdown(Shutdown::Write)?;
                }
                continue;
            }
            let most = match now {
                Link::Broken { .. } if way == Way::Up => usize::try_from(left).unwrap_or(usize::MAX),
                Link::Throttled { bytes_per_second } => portion(bytes_per_second),
                _ => usize::MAX,
            };
            let wrote = tokio::select! {
                biased;
                _ = link.wait_for(|link| *link != now) => continue,
                wrote = self.write(to, most) => wrote?,
            };
            moved(self.moved);
            match now {
                Link::Broken { ending, .. } if way == Way::Up => {
                    left = left.saturating_sub(wrote);
                    if left == 0 {
                        return Ok(Stop::Broken(ending));
                    }
                }
                Link::Throttled { bytes_per_second } => throttle(path.clock, wrote, bytes_per_second).await,
                _ => {}
            }
        }
        Ok(Stop::Over)
    }

    /// Reads into an empty pipe; zero at the end.
    async fn read(&mut self, from: &TcpStream) -> io::Result<usize> {
        loop {
            from.ready(Interest::READABLE).await?;
            match from.try_read(&mut self.buffer) {
                Ok(count) => {
                    self.held = 0..count;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes some of what is held, `most` bytes at most.
    async fn write(&mut self, to: &TcpStream, most: usize) -> io::Result<u64> {
        let end = self.held.end.min(self.held.start.saturating_add(most));
        if end == self.held.start {
            return Ok(0);
        }
        loop {
            to.ready(Interest::WRITABLE).await?;
            match to.try_write(&self.buffer[self.held.start..end]) {
                Ok(count) => {
                    self.held.start += count;
                    let count = u64::try_from(count).unwrap_or(u64::MAX);
                    self.moved += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What is held, and holds nothing then.
    fn take(&mut self) -> Vec<u8> {
        let held = std::mem::replace(&mut self.held, 0..0);
        self.buffer[held].to_vec()
    }
}

const BUFFER: usize = 16 * 1024;

/// What passes at once of a throttled way: a tenth of a second's worth.
fn portion(bytes_per_second: u32) -> usize {
    usize::try_from(bytes_per_second / 10).unwrap_or(usize::MAX).max(1)
}

async fn throttle(clock: Clock, bytes: u64, bytes_per_second: u32) {
    let micros = bytes.saturating_mul(1_000_000) / u64::from(bytes_per_second.max(1));
    clock.sleep(Duration::from_micros(micros)).await;
}
