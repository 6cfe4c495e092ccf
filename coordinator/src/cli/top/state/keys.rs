//! Keys: what each does to where the user looks.

use super::{Open, Pane, State};

/// Characters of a filter.
const MAX_FILTER: usize = 60;

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::top) enum Key {
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// To the first row.
    Home,
    /// The other pane.
    Tab,
    /// Open what is selected; end a filter.
    Enter,
    /// Close what is open; drop the filter.
    Escape,
    /// Take the last character back.
    Backspace,
    /// Anything typed.
    Char(char),
    /// Leave, whatever is open.
    Interrupt,
}

/// Whether to go on after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::top) enum Flow {
    /// Draw again.
    On,
    /// Leave.
    Quit,
}

impl State {
    /// Does what a key asks for. `page` is the rows of a screen.
    pub(in crate::cli::top) fn press(&mut self, key: Key, page: usize) -> Flow {
        if key == Key::Interrupt {
            return Flow::Quit;
        }
        if self.is_typing {
            self.type_in(key);
            return Flow::On;
        }
        match (key, &self.open) {
            (Key::Char('q'), Open::Board) => return Flow::Quit,
            (Key::Char('q') | Key::Escape | Key::Enter, Open::Detail(_) | Open::Help)
            | (Key::Char('?'), Open::Help) => self.show(Open::Board),
            (Key::Char('?'), _) => self.show(Open::Help),
            (Key::Char('/'), _) => {
                self.show(Open::Board);
                self.is_typing = true;
            }
            (Key::Escape, Open::Board) => self.filter_by(String::new()),
            (Key::Tab, Open::Board) => {
                self.pane = if self.pane == Pane::Matrix { Pane::Incidents } else { Pane::Matrix };
            }
            (Key::Enter, Open::Board) => {
                let chosen = self.incidents().get(self.selected).map(|incident| incident.incident.clone());
                if let Some(incident) = chosen.filter(|_| self.pane == Pane::Incidents) {
                    self.show(Open::Detail(incident));
                }
            }
            (Key::Up | Key::Char('k'), _) => self.go(|place| place.saturating_sub(1)),
            (Key::Down | Key::Char('j'), _) => self.go(|place| place.saturating_add(1)),
            (Key::PageUp, _) => self.go(|place| place.saturating_sub(page)),
            (Key::PageDown, _) => self.go(|place| place.saturating_add(page)),
            (Key::Home, _) => self.go(|_| 0),
            _ => {}
        }
        Flow::On
    }

    fn type_in(&mut self, key: Key) {
        match key {
            Key::Enter => self.is_typing = false,
            Key::Escape => {
                self.is_typing = false;
                self.filter_by(String::new());
            }
            Key::Backspace => {
                let mut filter = self.filter.clone();
                filter.pop();
                self.filter_by(filter);
            }
            Key::Char(c) if !c.is_control() && self.filter.chars().count() < MAX_FILTER => {
                self.filter_by(format!("{}{c}", self.filter));
            }
            _ => {}
        }
    }

    fn filter_by(&mut self, filter: String) {
        (self.filter, self.selected, self.first_row) = (filter, 0, 0);
    }

    fn show(&mut self, open: Open) {
        (self.open, self.scroll) = (open, 0);
    }

    /// Moves in what is open. Past the end is held where drawing knows the end.
    fn go(&mut self, to: impl Fn(usize) -> usize) {
        match (&self.open, self.pane) {
            (Open::Detail(_) | Open::Help, _) => self.scroll = to(self.scroll).min(1_000),
            (Open::Board, Pane::Incidents) => {
                let last = self.incidents().len().saturating_sub(1);
                self.selected = to(self.selected).min(last);
            }
            (Open::Board, Pane::Matrix) => {
                let last = self.cells.len().saturating_sub(1);
                self.first_row = to(self.first_row).min(last);
            }
        }
    }
}
