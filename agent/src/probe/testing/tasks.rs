//! Owns the tasks that an HTTP/2 connection starts: they end with the run.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::task::JoinSet;

/// The tasks of one run; dropping it ends them.
#[derive(Default)]
pub(crate) struct Tasks {
    running: Arc<Mutex<JoinSet<()>>>,
}

/// Starts tasks on behalf of [`Tasks`]. Weak, since the tasks themselves hold it.
#[derive(Clone)]
pub(crate) struct Executor {
    running: Weak<Mutex<JoinSet<()>>>,
}

impl Tasks {
    pub(crate) fn executor(&self) -> Executor {
        Executor { running: Arc::downgrade(&self.running) }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        if let Some(running) = self.running.upgrade() {
            running.lock().unwrap_or_else(PoisonError::into_inner).spawn(future);
        }
    }
}
