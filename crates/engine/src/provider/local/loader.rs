//! Loads the model once, in the background, while the server already answers.

use super::{
    halt::{Cancel, Halt, internal},
    model::LocalModel,
};
use headwater_protocol::Error;
use parking_lot::{Condvar, Mutex};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

/// How often a thread that waits for the model checks whether its answer was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(20);

enum Load {
    Idle,
    Running,
    Ready(Arc<LocalModel>),
    Failed(Error),
}

/// The model, which may still be loading.
pub(super) struct Loader {
    path: PathBuf,
    max_context: usize,
    load: Mutex<Load>,
    changed: Condvar,
}

impl Loader {
    pub(super) fn new(path: PathBuf, max_context: usize) -> Self {
        Self {
            path,
            max_context,
            load: Mutex::new(Load::Idle),
            changed: Condvar::new(),
        }
    }

    /// A loader with a loaded model, so that tests can share one.
    #[cfg(test)]
    pub(super) fn with(model: Arc<LocalModel>) -> Self {
        Self {
            path: PathBuf::new(),
            max_context: 0,
            load: Mutex::new(Load::Ready(model)),
            changed: Condvar::new(),
        }
    }

    /// The model, if it is loaded.
    pub(super) fn ready(&self) -> Option<Arc<LocalModel>> {
        match &*self.load.lock() {
            Load::Ready(model) => Some(model.clone()),
            _ => None,
        }
    }

    /// Starts loading unless it has started already. After a failure it starts again, because the
    /// file may exist by now.
    pub(super) fn start(self: &Arc<Self>) {
        let mut load = self.load.lock();
        if matches!(*load, Load::Running | Load::Ready(_)) {
            return;
        }
        *load = Load::Running;
        let loader = self.clone();
        let thread = thread::Builder::new().name("model-load".into());
        if let Err(error) = thread.spawn(move || loader.run()) {
            *load = Load::Failed(internal(&error.to_string()));
        }
    }

    fn run(&self) {
        let read = || LocalModel::load(&self.path, self.max_context);
        // Our checks should prevent every panic in candle. If one happens, it becomes an error.
        let result = catch_unwind(AssertUnwindSafe(read))
            .unwrap_or_else(|_| Err(internal("a panic while the model was loaded")));
        *self.load.lock() = match result {
            Ok(model) => Load::Ready(Arc::new(model)),
            Err(error) => Load::Failed(error),
        };
        self.changed.notify_all();
    }

    /// Waits for the model.
    ///
    /// # Errors
    /// [`Halt::Cancelled`], or why the model cannot be loaded.
    pub(super) fn wait(self: &Arc<Self>, cancel: &Cancel) -> Result<Arc<LocalModel>, Halt> {
        self.start();
        let mut load = self.load.lock();
        loop {
            match &*load {
                Load::Ready(model) => return Ok(model.clone()),
                Load::Failed(error) => return Err(error.clone().into()),
                Load::Idle | Load::Running => {}
            }
            cancel.check()?;
            self.changed.wait_for(&mut load, LOOK_EVERY);
        }
    }
}
