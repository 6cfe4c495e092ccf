//! `faultline backup` and `faultline restore`: a coordinator's data in one folder, and back.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use faultline_attribution::Timestamp;
use faultline_proto::clock::Clock;

use super::{DataDir, say};
use crate::backup::{self, Feed};

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline backup /backup/faultline-monday --data-dir /var/lib/faultline")]
pub(super) struct Backup {
    /// Folder that is empty or not there; it will hold keys
    #[arg(value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    data: DataDir,
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline restore /backup/faultline-monday --data-dir /var/lib/faultline")]
pub(super) struct Restore {
    /// The backup
    #[arg(value_name = "BACKUP")]
    from: PathBuf,
    #[command(flatten)]
    data: DataDir,
    /// Tell subscribers that their feed was replaced: for when changes were published after the backup was taken
    #[arg(long)]
    new_feed_id: bool,
}

impl Backup {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let now = Timestamp::from_micros(Clock::system().now_micros());
        let mut progress = super::Progress::every(Duration::from_secs(1));
        let mib = |bytes: u64| bytes >> 20;
        let manifest = backup::backup(&self.data.data_dir, &self.to, now, |done, all| {
            progress.say(|| format!("log: {} of {} MiB", mib(done), mib(all)));
        })?;
        progress.end();
        let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
        say(&format!(
            "wrote {} files, {} MiB, to {}: up to record {} and change {}",
            manifest.files.len(),
            mib(bytes),
            self.to.display(),
            manifest.last_record,
            manifest.last_change
        ))?;
        say("it holds the keys of the certificate authority: keep it as you keep them")?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Restore {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let feed = if self.new_feed_id { Feed::New } else { Feed::Same };
        let manifest = backup::restore(&self.from, &self.data.data_dir, feed)?;
        let data = self.data.data_dir.display();
        say(&format!("restored what was backed up at {} to {data}", manifest.made_at))?;
        say("agents come back by themselves and need no new certificates; they send again what they still hold")?;
        if feed == Feed::Same {
            say(&format!(
                "subscribers go on from change {}; if later ones were published, restore with --new-feed-id instead",
                manifest.last_change
            ))?;
        }
        say(&format!("next: faultline serve --data-dir {data}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
