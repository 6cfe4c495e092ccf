//! The stage's coordinator in a process of its own, so that what it holds can be read, and so that it can be killed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use faultline_proto::clock::Clock;
use serde::{Deserialize, Serialize};

use crate::{
    load::{
        part::{self, Part},
        usage::{self, Memory},
    },
    stage,
};

/// A coordinator that runs.
pub struct Alone {
    part: Part,
    program: PathBuf,
    data: PathBuf,
    /// Where agents connect.
    pub agents: SocketAddr,
    /// Where people and subscribers connect.
    pub feed: SocketAddr,
}

#[derive(Serialize, Deserialize)]
struct Ports {
    agents: SocketAddr,
    feed: SocketAddr,
}

impl Alone {
    /// Starts the lab's binary at this path as a coordinator on a prepared data directory.
    pub async fn start(program: &Path, data: &Path) -> anyhow::Result<Self> {
        Self::start_at(program, data, 0).await
    }

    async fn start_at(program: &Path, data: &Path, port: u16) -> anyhow::Result<Self> {
        let (data_dir, port) = (data.display().to_string(), port.to_string());
        let arguments = ["coordinator", "--data-dir", &data_dir, "--agents-port", &port];
        let mut started = Part::start_of(program, &arguments, Stdio::inherit())?;
        let Ports { agents, feed } = started.ask(&()).await?;
        Ok(Self { part: started, program: program.to_owned(), data: data.to_owned(), agents, feed })
    }

    /// Kills it and starts another one in its place.
    pub async fn replace(self) -> anyhow::Result<Self> {
        self.part.kill().await?;
        Self::start_at(&self.program, &self.data, self.agents.port()).await
    }

    /// What it holds.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        usage::memory(self.part.pid)
    }

    /// CPU that it has used, nanoseconds.
    pub fn cpu_ns(&self) -> anyhow::Result<u64> {
        usage::cpu_ns(self.part.pid)
    }

    /// Ends it.
    pub async fn end(self) -> anyhow::Result<()> {
        self.part.end().await
    }
}

/// The process itself: says where it listens, and runs until its input ends.
pub async fn main(data: &Path, port: u16) -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let coordinator = stage::start_at(data, Clock::system(), port).await?;
    let ports = Ports { agents: coordinator.agents_address, feed: coordinator.feed_address };
    part::answer(async |(): ()| Ok(serde_json::to_value(&ports)?)).await?;
    coordinator.stop().await;
    Ok(())
}
