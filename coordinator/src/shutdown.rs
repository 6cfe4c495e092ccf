//! The signal that all rooms end by.

use tokio::sync::watch;

/// Waits until shutdown begins. A coordinator that is gone counts as shutdown.
pub async fn begun(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|begun| *begun).await);
}
