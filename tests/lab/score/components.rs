//! Cases as plain component lines, so that tools that know nothing of Faultline can be run on them.
//!
//! One file a case, lines of words parted by one space, in this order:
//!
//! ```text
//! C <n>                        how many components there are; ids are 0 to n-1
//! T <id> ...                   the components at fault; no ids in a quiet case
//! O <sent> <lost> <id> ...     one a cell (agent, target, layer) with runs in the judged window: runs, failures, path
//! E                            the end; without it the file is torn
//! ```
//!
//! Beside it stands `<case>.names`, which nothing needs: one line a component, `<id> <kind> <name>`, element kind and
//! canonical name as in the change objects.
//!
//! The judged window is the last 60 s before the fault ends: before the earliest end after the last onset, or before
//! the end of the record. `T` holds one component for each incident that is true in the window: of the elements that the
//! truth accepts, the first that any run goes through, else the first. Counts and paths are the peers' (`baseline`).

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use faultline_attribution::{Element, ElementKind, Timestamp};

use super::{
    baseline::{Cells, WINDOW},
    optimum::ended,
};
use crate::case::Case;

/// A case as component lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// How many components there are.
    pub count: usize,
    /// Kind and name of each, by id; empty where lines were read.
    pub components: Vec<(String, String)>,
    /// Ids of those at fault.
    pub truth: Vec<usize>,
    /// Runs, failures and path of each cell.
    pub cells: Vec<(u32, u32, Vec<usize>)>,
}

/// Why component lines cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// A line that is none of the four.
    #[error("line {line}: {text:?} is not a component line; see the four forms in the documentation of the format")]
    Form {
        /// Which line, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// An id without a component.
    #[error("line {line}: component {id} is not among the {count} of the C line")]
    Id {
        /// Which line, from 1.
        line: usize,
        /// The id.
        id: usize,
        /// How many there are.
        count: usize,
    },
    /// The file ends before its E line.
    #[error("no E line: the file is torn, export the case again")]
    Torn,
}

/// Writes a case to `<dir>/<id>-<seed>.components`, its names beside it, and returns the path.
pub fn export(case: &Case, dir: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("{}-{}.components", case.id, case.seed));
    let lines = Lines::of(case);
    fs::write(&path, lines.to_text())?;
    fs::write(path.with_extension("names"), lines.names())?;
    Ok(path)
}

impl Lines {
    /// The judged window of a case.
    pub fn of(case: &Case) -> Self {
        let until = judged_until(case);
        let mut cells = Cells::new(&case.world);
        for (_, input) in case.inputs.iter().take_while(|(arrived, _)| *arrived <= until) {
            cells.hear(input);
        }
        cells.forget_before(until.before(WINDOW));
        let active = cells.active().map(|cell| {
            let path = cells.components_of(cell).iter().map(|id| *id as usize).collect();
            (cell.tally.runs(), cell.tally.failures, path)
        });
        let mut lines = Self { cells: active.collect(), ..Self::default() };
        let guilty = case.truth.iter().filter(|incident| incident.onset < until && until <= ended(case, incident));
        let mut truth = Vec::new();
        for incident in guilty.filter(|incident| !incident.elements.is_empty()) {
            let named = |name: &&String| cells.components().all().iter().any(|element| element.name == **name);
            let name = incident.elements.iter().find(named).unwrap_or(&incident.elements[0]);
            truth.push(id_of(&mut cells, name));
        }
        truth.sort_unstable();
        truth.dedup();
        lines.truth = truth;
        let names = cells.components().all().iter();
        lines.components = names.map(|element| (element.kind.to_string(), element.name.clone())).collect();
        lines.count = lines.components.len();
        lines
    }

    /// The lines.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |words: std::fmt::Arguments<'_>| writeln!(text, "{words}").expect("a string takes all");
        line(format_args!("C {}", self.count));
        line(format_args!("T{}", words(&self.truth)));
        for (sent, lost, path) in &self.cells {
            line(format_args!("O {sent} {lost}{}", words(path)));
        }
        line(format_args!("E"));
        text
    }

    /// The names of the components, a line each.
    pub fn names(&self) -> String {
        let line = |(id, (kind, name)): (usize, &(String, String))| format!("{id} {kind} {name}\n");
        self.components.iter().enumerate().map(line).collect()
    }

    /// Reads lines back.
    pub fn parse(text: &str) -> Result<Self, LinesError> {
        let mut lines = Self::default();
        let mut count = 0;
        for (number, line) in (1..).zip(text.lines()) {
            let form = || LinesError::Form { line: number, text: line.to_owned() };
            let words: Vec<&str> = line.split(' ').collect();
            let ids = |words: &[&str]| -> Result<Vec<usize>, LinesError> {
                let ids = words.iter().map(|word| word.parse().map_err(|_| form()));
                let ids = ids.collect::<Result<Vec<usize>, _>>()?;
                match ids.iter().find(|id| **id >= count) {
                    Some(id) => Err(LinesError::Id { line: number, id: *id, count }),
                    None => Ok(ids),
                }
            };
            match words.as_slice() {
                ["C", n] => count = n.parse().map_err(|_| form())?,
                ["T", truth @ ..] => lines.truth = ids(truth)?,
                ["O", sent, lost, path @ ..] => {
                    let number = |word: &str| word.parse::<u32>().map_err(|_| form());
                    lines.cells.push((number(sent)?, number(lost)?, ids(path)?));
                }
                ["E"] => return Ok(Self { count, ..lines }),
                _ => return Err(form()),
            }
        }
        Err(LinesError::Torn)
    }
}

fn words(ids: &[usize]) -> String {
    ids.iter().fold(String::new(), |text, id| text + " " + &id.to_string())
}

/// The id of the component of that name; a new one where no run goes through it.
fn id_of(cells: &mut Cells, name: &str) -> usize {
    let held = cells.components().all().iter().position(|element| element.name == name);
    held.unwrap_or_else(|| {
        let element = Element::named(name).unwrap_or_else(|| Element::new(ElementKind::Endpoint, name));
        cells.components_mut().number(element) as usize
    })
}

/// The end of the judged window.
fn judged_until(case: &Case) -> Timestamp {
    let last = case.truth.iter().map(|incident| incident.onset).max();
    let ends =
        case.truth.iter().map(|incident| ended(case, incident)).filter(|end| last.is_some_and(|last| *end > last));
    ends.min().unwrap_or(case.end)
}
