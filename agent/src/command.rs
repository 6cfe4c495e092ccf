//! The commands that are more than a few lines: each file reads its arguments, does its work through the library and
//! prints.
//!
//! Rules: results go to standard output, trouble to standard error; a command returns its exit code and never exits.

pub(crate) mod doctor;
pub(crate) mod join;
pub(crate) mod leave;
pub(crate) mod prometheus;
pub(crate) mod run;
pub(crate) mod status;
