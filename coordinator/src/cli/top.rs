//! `faultline top`: the whole picture on a terminal, live: banner, whether we can see, incidents, matrix.
//!
//! `state` is what is known and where the user looks, `draw` makes a frame of it; both know no terminal. Here is what does: the
//! stream, the keys and the screen. Rule: the terminal is as it was on every way out: keys, signals, errors and panics.

mod draw;
mod state;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal, Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
    time,
};

use self::{
    draw::draw,
    state::{Flow, Key, State},
};
use super::{
    FeedAddress, Usage,
    colour::Colour,
    follow::{Begin, Follower, News},
    runtime, say,
    subscriber::Source,
};

/// Spacing of bookmarks asked for: three of them without a word, and the screen is stale.
const BOOKMARKS: Duration = Duration::from_secs(5);

/// What waits to be drawn or done. When it is full, the stream and the keys wait.
const QUEUE: usize = 64;

/// A key is noticed within this, and so is the end.
const POLL: Duration = Duration::from_millis(100);

/// For how long `--once` waits for the picture.
const ONCE: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline top --feed http://probe.example.org:7444\n  faultline top --once --size 100x40 > picture.txt",
    after_help = "Exit codes: 0 left by a key or a signal, or the frame was printed; 1 it did not work; 2 wrong usage, or no terminal"
)]
pub(super) struct Top {
    #[command(flatten)]
    feed: FeedAddress,
    /// Print one frame as text and end
    #[arg(long)]
    once: bool,
    /// Columns and rows of the frame that --once prints
    #[arg(long, value_name = "COLUMNSxROWS", value_parser = size, default_value = "80x24", requires = "once")]
    size: (u16, u16),
    #[command(flatten)]
    colour: Colour,
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let parsed = text.split_once('x').and_then(|(columns, rows)| Some((columns.parse().ok()?, rows.parse().ok()?)));
    parsed
        .filter(|(columns, rows)| (40..=500).contains(columns) && (10..=500).contains(rows))
        .ok_or_else(|| format!("{text:?} is no size from 40x10 to 500x500, as in 80x24"))
}

impl Top {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if self.once {
            let frame = runtime()?.block_on(async {
                let mut frames = Frames::from(Source::of(&self.feed)?, self.size)?;
                time::timeout(ONCE, frames.first()).await.map_err(|_| anyhow::anyhow!("no picture within 20 s"))?
            })?;
            return match say(frame.trim_end()) {
                // Whoever read this is gone.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
                said => Ok(said.map(|()| ExitCode::SUCCESS)?),
            };
        }
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(
                Usage("this is no terminal: --once prints one frame, `faultline watch` every change".into()).into()
            );
        }
        let follower = Follower::new(Source::of(&self.feed)?, "faultline-top", Begin::Snapshot, BOOKMARKS);
        runtime()?.block_on(self.live(follower))
    }

    async fn live(&self, follower: Follower) -> anyhow::Result<ExitCode> {
        let mut signals =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
        let (began, is_coloured) = (Instant::now(), self.colour.is_on());
        let mut state = State::new(&self.feed.feed, BOOKMARKS);
        let (told, mut news) = mpsc::channel(QUEUE);
        let (pressed, mut keys) = mpsc::channel(QUEUE);
        let mut screen = Screen::enter()?;
        let is_over = Over(Arc::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(follower, told));
        let until = Arc::clone(&is_over.0);
        tasks.spawn_blocking(move || read_keys(&pressed, &until));
        // Time goes on without news: a stream that stopped shows.
        let mut seconds = time::interval(Duration::from_secs(1));
        loop {
            screen.0.draw(|frame| draw(frame, &state, began.elapsed(), is_coloured))?;
            let flow = tokio::select! {
                biased;
                _ = signals.0.recv() => Flow::Quit,
                _ = signals.1.recv() => Flow::Quit,
                _ = signals.2.recv() => Flow::Quit,
                key = keys.recv() => match key {
                    Some(Ok(Some(key))) => state.press(key, usize::from(screen.0.size()?.height / 2)),
                    Some(Ok(None)) => Flow::On,
                    Some(Err(error)) => return Err(error.into()),
                    None => Flow::Quit,
                },
                said = news.recv() => {
                    let Some(said) = said else { return Ok(ExitCode::SUCCESS) };
                    state.take(said?, began.elapsed());
                    // What came meanwhile is drawn with it.
                    for _ in 0..QUEUE {
                        let Ok(said) = news.try_recv() else { break };
                        state.take(said?, began.elapsed());
                    }
                    Flow::On
                },
                _ = seconds.tick() => Flow::On,
            };
            if flow == Flow::Quit {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// Hands on what the feed says.
async fn listen(mut follower: Follower, told: mpsc::Sender<anyhow::Result<News>>) {
    loop {
        let news = follower.next().await;
        let is_end = news.is_err();
        if told.send(news).await.is_err() || is_end {
            return;
        }
    }
}

/// Hands on keys until it is over; `None` for whatever only asks for another frame, as a new size does.
fn read_keys(pressed: &mpsc::Sender<io::Result<Option<Key>>>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let read = match event::poll(POLL) {
            Ok(false) => continue,
            Ok(true) => event::read().map(|event| meaning(&event)),
            Err(error) => Err(error),
        };
        let is_end = read.is_err();
        if pressed.blocking_send(read).is_err() || is_end {
            return;
        }
    }
}

/// What an event asks for.
fn meaning(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press | KeyEventKind::Repeat, .. }) = event else {
        return None;
    };
    if modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(code, KeyCode::Char('c' | 'd')).then_some(Key::Interrupt);
    }
    match code {
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::PageUp => Some(Key::PageUp),
        KeyCode::PageDown => Some(Key::PageDown),
        KeyCode::Home => Some(Key::Home),
        KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right => Some(Key::Tab),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Backspace => Some(Key::Backspace),
        KeyCode::Char(c) => Some(Key::Char(*c)),
        _ => None,
    }
}

/// The terminal while it is ours. A panic gives it back as well: ratatui hooks into it.
struct Screen(DefaultTerminal);

impl Screen {
    fn enter() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Ends the reader of keys when dropped.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What `faultline top` shows of a feed, as text: a frame each time that something comes.
pub struct Frames {
    follower: Follower,
    state: State,
    terminal: Terminal<TestBackend>,
    began: Instant,
}

impl Frames {
    /// Frames of so many columns and rows. Fails where the address is none.
    pub fn of(feed: &str, size: (u16, u16)) -> anyhow::Result<Self> {
        Self::from(Source::at(feed)?, size)
    }

    fn from(source: Source, (columns, rows): (u16, u16)) -> anyhow::Result<Self> {
        let state = State::new(source.feed(), BOOKMARKS);
        Ok(Self {
            follower: Follower::new(source, "faultline-top", Begin::Snapshot, BOOKMARKS),
            state,
            terminal: Terminal::new(TestBackend::new(columns, rows))?,
            began: Instant::now(),
        })
    }

    /// The frame after the next thing that the feed says; a line of text a row. Fails only where the feed can never be followed:
    /// a broken stream shows in the frame.
    pub async fn next(&mut self) -> anyhow::Result<String> {
        let news = self.follower.next().await?;
        self.state.take(news, self.began.elapsed());
        self.frame()
    }

    /// The frame of the whole state; fails if the coordinator does not answer.
    async fn first(&mut self) -> anyhow::Result<String> {
        match self.follower.next().await? {
            News::Trouble { why, .. } => anyhow::bail!("{why}"),
            news => self.state.take(news, self.began.elapsed()),
        }
        self.frame()
    }

    fn frame(&mut self) -> anyhow::Result<String> {
        let Self { state, terminal, began, .. } = self;
        terminal.draw(|frame| draw(frame, state, began.elapsed(), false))?;
        let buffer = terminal.backend().buffer();
        let (columns, rows) = (buffer.area.width, buffer.area.height);
        let row = |y| {
            let line: String = (0..columns).filter_map(|x| Some(buffer.cell((x, y))?.symbol())).collect();
            line.trim_end().to_owned() + "\n"
        };
        Ok((0..rows).map(row).collect())
    }
}

#[cfg(test)]
mod tests;
