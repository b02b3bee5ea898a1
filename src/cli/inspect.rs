//! `headwater inspect`: the tree of a run with its times.

use crate::server::config::Config;
use headwater_engine::{
    log,
    observer::{Options, Trace, replay},
};
use headwater_protocol::{Error, RunId};
use std::{io::Write, path::Path};

pub(super) async fn inspect(config: &Config, run: RunId) -> Result<(), Error> {
    trace(&config.engine.data, run, std::io::stdout()).await
}

/// Prints what a run did, whether a server is at work on the folder or not. If nobody reads the output
/// any more, that is no error.
pub(super) async fn trace(
    data: &Path,
    run: RunId,
    out: impl Write + Send + 'static,
) -> Result<(), Error> {
    let observation = replay(log::read(data, run)?, Trace::new(out), Options::default())?;
    observation.finished().await;
    Ok(())
}
