//! Deliver: keeps a courier for each webhook's file, and notices when a file comes, changes or goes.
//!
//! Rules: a webhook whose file is wrong sends nothing and is named with line and value; the others go on. A file that goes
//! ends its courier, and what it was up to stays known: who saves a file may take it away for a moment. A panic of a courier
//! ends the coordinator.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    config::{ConfigError, Webhook},
    courier::Courier,
    folder::{Folder, MAX_WEBHOOKS},
    store::Store,
};
use crate::feed::Hub;

/// How often the files are looked at, in real time.
pub(super) const SCAN: Duration = Duration::from_secs(2);

/// A courier that runs.
struct Running {
    text: String,
    abort: AbortHandle,
    turn: Arc<Mutex<()>>,
}

/// The webhooks of a data directory.
struct Webhooks {
    data: PathBuf,
    hub: Arc<Hub>,
    store: Option<Arc<Store>>,
    running: BTreeMap<String, Running>,
    couriers: JoinSet<()>,
}

/// What a look at the folder found.
type Found = Vec<(String, Result<(String, Webhook), ConfigError>)>;

/// Delivers until stopped. An error is a courier's panic.
pub async fn run(data: PathBuf, hub: Arc<Hub>, stop: CancellationToken) -> Result<(), String> {
    let mut webhooks = Webhooks { data, hub, store: None, running: BTreeMap::new(), couriers: JoinSet::new() };
    loop {
        webhooks.look().await;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(Err(ended)) = webhooks.couriers.join_next() => {
                if ended.is_panic() {
                    return Err(format!("a webhook's courier: {ended}"));
                }
            }
            () = tokio::time::sleep(SCAN) => {}
        }
    }
}

impl Webhooks {
    async fn look(&mut self) {
        let folder = Folder::of(&self.data);
        let Ok(looked) = tokio::task::spawn_blocking(move || read(&folder)).await else { return };
        let found = match looked {
            Ok((found, beyond)) => {
                let notice = format!("webhooks: {beyond} files beyond {MAX_WEBHOOKS} are not read");
                self.notice("", (beyond > 0).then_some(notice));
                found
            }
            Err(error) => return self.notice("", Some(format!("webhooks: {error}"))),
        };
        let is_gone = |name: &String| !found.iter().any(|(known, _)| known == name);
        for name in self.running.keys().filter(|name| is_gone(name)).cloned().collect::<Vec<_>>() {
            self.end(&name);
            tracing::info!(webhook = name, "webhook removed");
        }
        let shown: Vec<String> = self.hub.board().webhooks.keys().filter(|name| !name.is_empty()).cloned().collect();
        for name in shown.iter().filter(|name| is_gone(name)) {
            self.notice(name, None);
        }
        for (name, read) in found {
            match read {
                Ok((text, webhook)) => self.keep(name, text, webhook),
                Err(error) => {
                    self.end(&name);
                    self.notice(&name, Some(format!("webhook {name}: nothing is sent: {error}")));
                }
            }
        }
    }

    /// Keeps a courier for what the file says.
    fn keep(&mut self, name: String, text: String, webhook: Webhook) {
        if self.running.get(&name).is_some_and(|running| running.text == text) {
            return;
        }
        let turn = self.running.get(&name).map(|running| Arc::clone(&running.turn)).unwrap_or_default();
        self.end(&name);
        if let Some(why) = &webhook.disabled {
            return self.notice(&name, Some(format!("webhook {name}: disabled in its file: {why}")));
        }
        let store = match self.store() {
            Ok(store) => store,
            Err(error) => return self.notice(&name, Some(format!("webhook {name}: nothing is sent: {error}"))),
        };
        self.notice(&name, None);
        let courier = Courier {
            name: name.clone(),
            webhook,
            store,
            hub: Arc::clone(&self.hub),
            turn: Arc::clone(&turn),
            is_disabled: AtomicBool::new(false),
        };
        let abort = self.couriers.spawn(async move { courier.run().await });
        self.running.insert(name, Running { text, abort, turn });
    }

    fn end(&mut self, name: &str) {
        if let Some(running) = self.running.remove(name) {
            running.abort.abort();
        }
    }

    /// The store, made with the first webhook.
    fn store(&mut self) -> Result<Arc<Store>, super::store::StoreError> {
        if let Some(store) = &self.store {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(Store::open(&self.data)?);
        self.store = Some(Arc::clone(&store));
        Ok(store)
    }

    /// Shows what is wrong, and says it once.
    fn notice(&self, name: &str, text: Option<String>) {
        let mut board = self.hub.board();
        let before = board.webhooks.get(name);
        match text {
            Some(text) if before != Some(&text) => {
                tracing::warn!(notice = text, "webhooks");
                board.webhooks.insert(name.to_owned(), text);
            }
            Some(_) => {}
            None => drop(board.webhooks.remove(name)),
        }
    }
}

fn read(folder: &Folder) -> Result<(Found, usize), ConfigError> {
    let (names, beyond) = folder.names()?;
    let one = |name: &str| {
        let text = folder.text(name)?;
        let webhook = Webhook::parse(&folder.file(name)?, &text)?;
        Ok((text, webhook))
    };
    Ok((
        names
            .into_iter()
            .map(|name| {
                let read = one(&name);
                (name, read)
            })
            .collect(),
        beyond,
    ))
}
