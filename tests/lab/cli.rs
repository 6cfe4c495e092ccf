//! The commands of `faultline-lab`, one file each: arguments, `main`, exit code.
//!
//! Rule: results go to standard output, progress and complaints to standard error. 0 is right, 1 is wrong, 2 is wrong
//! usage, 3 is "could not be run".

pub(crate) mod bench;
pub(crate) mod calibrate;
pub(crate) mod chaos;
pub(crate) mod disk;
pub(crate) mod fuzz;
pub(crate) mod nightly;
pub(crate) mod parity;
pub(crate) mod partition;
pub(crate) mod quiet;
pub(crate) mod score;
pub(crate) mod simulate;
pub(crate) mod up;

use std::io::Write as _;

/// A line of the story. A reader that has gone away is no error.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// What a command says when it fails.
#[expect(clippy::print_stderr, reason = "this is what a command says when it fails")]
pub(crate) fn complain(message: &str) {
    eprintln!("faultline-lab: {message}");
}
