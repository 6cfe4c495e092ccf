//! Runs a command for each change: the Change as JSON on its standard input, the facts in its environment.
//!
//! Rules: no shell, so that nothing in a headline is ever read as a command; one at a time, in order; one that takes too long is
//! killed; what it prints goes to standard error, so that standard output stays the lines of `watch`.

use std::{ffi::OsString, io, process::ExitStatus, process::Stdio, time::Duration};

use faultline_attribution::Change;
use tokio::{io::AsyncWriteExt as _, process::Command, time};

use crate::cli::colour::clean;

/// A command and how long it may take.
pub(super) struct Exec<'a> {
    /// The program and its arguments; not empty.
    pub(super) command: &'a [OsString],
    /// It is killed after this.
    pub(super) timeout: Duration,
}

/// What went wrong with one run.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExecError {
    /// It did not start.
    #[error("--exec {}: {source}", command.display())]
    Start {
        /// Which.
        command: OsString,
        /// Why.
        source: io::Error,
    },
    /// It ended otherwise than with 0.
    #[error("--exec {}: ended with {status} for {change}", command.display())]
    Failed {
        /// Which.
        command: OsString,
        /// How.
        status: ExitStatus,
        /// For what.
        change: String,
    },
    /// It took too long.
    #[error("--exec {}: killed after {timeout:?} for {change} (--exec-timeout allows more)", command.display())]
    TimedOut {
        /// Which.
        command: OsString,
        /// How long it had.
        timeout: Duration,
        /// For what.
        change: String,
    },
}

/// The environment that a change gives a command.
pub(super) fn environment(change: &Change, sequence: u64, is_from_snapshot: bool) -> Vec<(&'static str, String)> {
    vec![
        ("FAULTLINE_INCIDENT", clean(change.incident.as_str())),
        ("FAULTLINE_REVISION", change.revision.to_string()),
        ("FAULTLINE_STATE", change.state.as_str().to_owned()),
        ("FAULTLINE_VERDICT", change.verdict.as_str().to_owned()),
        ("FAULTLINE_KIND", change.kind.map_or("", |kind| kind.as_str()).to_owned()),
        ("FAULTLINE_ELEMENT", clean(&change.element)),
        ("FAULTLINE_CONFIDENCE", format!("{:.3}", change.confidence)),
        ("FAULTLINE_HEADLINE", clean(&change.headline)),
        ("FAULTLINE_AT", change.at.to_string()),
        ("FAULTLINE_ONSET_AT", change.onset_at.to_string()),
        ("FAULTLINE_SEQUENCE", sequence.to_string()),
        ("FAULTLINE_FROM_SNAPSHOT", is_from_snapshot.to_string()),
    ]
}

impl Exec<'_> {
    /// Runs it for a change and waits for its end.
    pub(super) async fn run(&self, change: &Change, environment: Vec<(&'static str, String)>) -> Result<(), ExecError> {
        let Some((program, arguments)) = self.command.split_first() else { return Ok(()) };
        let start = |source| ExecError::Start { command: program.clone(), source };
        let json = serde_json::to_vec(change).map_err(|error| start(error.into()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(io::stderr())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let input = child.stdin.take();
        let feed = async {
            if let Some(mut input) = input {
                // A command that does not read its input is no failure.
                drop(input.write_all(&json).await);
                drop(input.write_all(b"\n").await);
            }
        };
        let said = format!("{} revision {}", change.incident, change.revision);
        let ended = time::timeout(self.timeout, async { tokio::join!(feed, child.wait()).1 }).await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(ExecError::Failed { command: program.clone(), status, change: said }),
            Ok(Err(source)) => Err(start(source)),
            Err(_) => {
                // An error means that it has ended meanwhile.
                drop(child.kill().await);
                Err(ExecError::TimedOut { command: program.clone(), timeout: self.timeout, change: said })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[tokio::test]
    async fn a_command_gets_the_change_and_its_facts_and_no_shell_reads_them() {
        let folder = tempfile::tempdir().expect("dir");
        let kept = folder.path().join("kept");
        let mut change = samples::change();
        change.headline = "Azure; touch injected `id` $(id)\0".into();
        let script =
            format!("cat > {0}; printf '%s|%s' \"$FAULTLINE_STATE\" \"$FAULTLINE_HEADLINE\" >> {0}", kept.display());
        let command = words(&["sh", "-c", &script]);
        let exec = Exec { command: &command, timeout: Duration::from_mins(1) };
        exec.run(&change, environment(&change, 7, false)).await.expect("runs");
        let text = std::fs::read_to_string(&kept).expect("kept");
        let (json, facts) = text.split_once('\n').expect("two lines");
        assert_eq!(serde_json::from_str::<Change>(json).expect("a change"), change);
        assert_eq!(facts, "attributed|Azure; touch injected `id` $(id)\u{fffd}");
    }

    #[tokio::test]
    async fn a_failure_says_which_change_it_missed() {
        let change = samples::change();
        let rows: [(&[&str], u64, &str); 4] = [
            (&["false"], 60_000, "ended with exit status: 1 for inc-20251029T154113Z-1 revision 2"),
            (&["sleep", "600"], 50, "killed after 50ms for inc-20251029T154113Z-1 revision 2"),
            (&["/no/such/program"], 60_000, "No such file"),
            (&["true"], 60_000, ""),
        ];
        for (command, timeout, wanted) in rows {
            let command = words(command);
            let exec = Exec { command: &command, timeout: Duration::from_millis(timeout) };
            let said = exec.run(&change, Vec::new()).await.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(wanted) && said.is_empty() == wanted.is_empty(), "{said}");
        }
    }
}
