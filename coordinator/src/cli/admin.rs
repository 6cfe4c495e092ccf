//! Calls to the coordinator of a data directory.

use std::path::Path;

use super::{Usage, runtime};
use crate::admin::{self, Answer, Call, Done, Why};

/// What the coordinator did; an error where it did not, or none runs.
pub(super) fn ask(data: &Path, call: &Call) -> anyhow::Result<Done> {
    match runtime()?.block_on(admin::ask(data, call))? {
        Answer::Done(done) => Ok(done),
        Answer::Refused(refused) if refused.why == Why::Malformed => Err(Usage(refused.message).into()),
        Answer::Refused(refused) => Err(refused.into()),
    }
}

/// What a command says of an answer to another question.
pub(super) fn another(done: &Done) -> anyhow::Error {
    anyhow::anyhow!("the coordinator answered something else: {done}: is it of this version?")
}
