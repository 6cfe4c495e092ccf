//! Tells systemd that the agent is ready, alive and stopping: `sd_notify(3)`, without its library.
//!
//! Rules: does nothing where `NOTIFY_SOCKET` is not set; the watchdog is fed from the agent's own runtime at half the
//! asked period, so that a runtime that hangs starves it.

use std::{env, io, os::unix::net::UnixDatagram, time::Duration};

/// Says READY, and what the service manager shows of it.
pub(crate) fn ready(status: &str) {
    // A line of its own is a word of its own.
    let status: String = status.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_STATUS).collect();
    if let Err(error) = send(&format!("READY=1\nSTATUS={status}")) {
        tracing::warn!(%error, "notify");
    }
}

/// Feeds the watchdog for ever; returns only an error.
pub(crate) async fn feed_watchdog() -> io::Result<()> {
    let period = env::var("WATCHDOG_USEC").ok().and_then(|micros| micros.parse().ok()).map(Duration::from_micros);
    let Some(period) = period.filter(|period| !period.is_zero()) else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(period / 2);
    loop {
        ticks.tick().await;
        send("WATCHDOG=1")?;
    }
}

/// Says STOPPING.
pub(crate) fn stopping() {
    if let Err(error) = send("STOPPING=1") {
        tracing::warn!(%error, "notify");
    }
}

fn send(state: &str) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = path.to_str().and_then(|path| path.strip_prefix('@')) {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return socket.send_to_addr(state.as_bytes(), &address).map(drop);
    }
    socket.send_to(state.as_bytes(), path).map(drop)
}

/// Characters of a status: one line of a terminal, or two.
const MAX_STATUS: usize = 200;
