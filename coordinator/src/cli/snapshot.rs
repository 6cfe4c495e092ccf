//! `faultline snapshot`: what a restart goes on from, and the proof that it is what the log comes to.

use std::{process::ExitCode, time::Instant};

use faultline_attribution::Settings;

use super::{DataDir, Usage, runtime, say};
use crate::fold::{
    Snapshots,
    check::{self, Base},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Snapshot {
    /// List the snapshots of a data directory, newest first
    #[command(before_help = "Example:\n  faultline snapshot list --data-dir ./data")]
    List(DataDir),
    /// Fold the log up to the newest snapshot once more and compare every byte; a coordinator may be running on it
    #[command(
        before_help = "Example:\n  faultline snapshot check --data-dir ./data\n\nExit codes: 0 equal, 1 another, or nothing could be proved"
    )]
    Check(DataDir),
}

impl Snapshot {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (Self::List(data) | Self::Check(data)) = &self;
        if !data.data_dir.join("log.sqlite").is_file() {
            return Err(Usage(format!("--data-dir {}: no log there", data.data_dir.display())).into());
        }
        match &self {
            Self::List(data) => list(data),
            Self::Check(data) => runtime()?.block_on(check(data)),
        }
    }
}

fn list(data: &DataDir) -> anyhow::Result<ExitCode> {
    for found in Snapshots::of(&data.data_dir).newest_first() {
        let file = found.path.display();
        match found.read() {
            Ok(snapshot) => say(&format!("{file}  {}  record {}", snapshot.at, snapshot.cursor))?,
            Err(error) => say(&format!("{file}  not usable: {error}"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn check(data: &DataDir) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let checked = check::check(&data.data_dir, Settings::default()).await?;
    let (at, record) = (checked.snapshot.at, checked.snapshot.cursor);
    let base = match checked.base {
        Base::Whole => "its first record".to_owned(),
        Base::Since(cursor) => format!("the snapshot at record {cursor}, since older records are gone"),
    };
    let took = began.elapsed().as_secs_f64();
    if checked.differs.is_empty() {
        say(&format!("snapshot of {at} at record {record}: equal to the log folded from {base} ({took:.1} s)"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let differs = checked.differs.join(", ");
    say(&format!("snapshot of {at} at record {record}: NOT what the log comes to from {base}: {differs}"))?;
    Ok(ExitCode::FAILURE)
}
