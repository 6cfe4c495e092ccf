//! Places where a test may end the process, by name: before and after each write, commit and acknowledgement.
//!
//! Rules: a name is `room.step.before` or `room.step.after`; it occurs once, and stands in its crate's list, so that a kill
//! test knows whether it has been everywhere. Only builds with the feature `failpoints` can be killed so; in others
//! [`reach`] is nothing. `FAILPOINTS="spool.commit.before=3*off->return"` in the environment of such a build ends it the fourth
//! time it gets there, at once and without a destructor, as SIGKILL would.

use std::{fs, io, path::Path};

/// Ends the process here if the environment says so.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_name: &str) {}

/// Ends the process here if the environment says so.
#[cfg(feature = "failpoints")]
pub fn reach(name: &str) {
    use std::sync::Once;

    static READ: Once = Once::new();
    // What is set holds for as long as the process lives.
    READ.call_once(|| std::mem::forget(fail::FailScenario::setup()));
    fail::fail_point!(name, |_| die(name));
}

#[cfg(feature = "failpoints")]
#[expect(clippy::print_stderr, reason = "the last words of a process that ends on the spot")]
fn die(name: &str) {
    eprintln!("{LAST_WORDS}{name}");
    std::process::abort();
}

/// What a process says as it ends at a failpoint, before the name.
pub const LAST_WORDS: &str = "ended at failpoint ";

/// The names that `reach` is called with in the sources of this folder, sorted: what a crate's list must hold.
pub fn named_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(named_in(&path)?);
        } else {
            let source = fs::read_to_string(&path)?;
            let after = source.split("failpoint::reach(\"").skip(1);
            found.extend(after.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    found.sort_unstable();
    Ok(found)
}
