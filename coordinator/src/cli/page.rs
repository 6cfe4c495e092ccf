//! `faultline page`: the page as files, for a mirror on a network that fails for other reasons than the coordinator's.
//!
//! Rules: files are written beside their place and renamed, so that a reader sees the old one or the new one; the front page
//! comes last; nothing else in the folder is touched.

pub(super) mod picture;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::json;

use super::{FeedAddress, runtime, say};
use crate::feed::page::{View, asked::Asked, copied, scorecard};

/// Incidents that get a page in a copy, the newest ones.
const INCIDENTS: usize = 500;

/// The page as files
#[derive(Debug, clap::Subcommand)]
pub(super) enum Page {
    /// Write the front page, the pages of incidents, the stylesheet and a JSON snapshot into a folder
    Export(Export),
}

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline page export /srv/mirror --feed http://127.0.0.1:7444\n  faultline page export ./copy --data-dir ./data"
)]
pub(super) struct Export {
    /// The folder; made if it is not there
    folder: PathBuf,
    #[command(flatten)]
    feed: FeedAddress,
    /// Read this data directory instead of asking the feed; its coordinator need not run
    #[arg(long, visible_alias = "data")]
    data_dir: Option<PathBuf>,
}

impl Page {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Export(export) = self;
        export.run()
    }
}

impl Export {
    fn run(self) -> anyhow::Result<ExitCode> {
        let picture = match &self.data_dir {
            Some(data) => picture::of_log(data)?,
            None => runtime()?.block_on(picture::of_feed(&self.feed))?,
        };
        let asked = Asked::default();
        let copied = copied::Copied { at: picture.at, has_agents: picture.agents.is_some() };
        let agents = picture.agents.unwrap_or_default();
        let view = View {
            board: &picture.board,
            agents: &agents,
            now: picture.at,
            asked: &asked,
            official_lead: scorecard::official_lead(&picture.board, picture.at),
            copied: Some(copied),
        };
        let mut files = copied::files(&view, INCIDENTS);
        files.insert(0, ("snapshot.json".into(), snapshot(&view)?));
        fs::create_dir_all(self.folder.join("incidents")).map_err(|error| at(&self.folder, &error))?;
        for (path, content) in &files {
            let path = self.folder.join(path);
            replace(&path, content).map_err(|error| at(&path, &error))?;
        }
        say(&format!("{} files in {}, taken at {}", files.len(), self.folder.display(), picture.at))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn at(path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!("{}: {error}", path.display())
}

/// Puts a file in its place, whole.
fn replace(path: &Path, content: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = fs::File::create(&fresh)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

/// What programs read of a copy: the newest revision of each incident, the matrix and the sight.
fn snapshot(view: &View<'_>) -> serde_json::Result<String> {
    let board = view.board;
    serde_json::to_string_pretty(&json!({
        "taken_at": view.now,
        "feed_id": board.feed_id,
        "sequence": board.sequence,
        "visibility": board.sight(),
        "notices": board.all_notices(),
        "incidents": board.incidents().take(INCIDENTS).collect::<Vec<_>>(),
        "cells": board.cells().collect::<Vec<_>>(),
    }))
}
