//! `headwater inspect`: the tree of a run with its times.

use crate::server::config::Config;
use headwater_engine::{
    log,
    observer::{Options, Trace, replay},
};
use headwater_protocol::{Error, ErrorCode, RunId};
use std::{io::Write, path::Path};

pub(super) async fn inspect(config: &Config, run: RunId) -> Result<(), Error> {
    trace(&config.engine.data, run, std::io::stdout()).await
}

/// Prints what a run did so far, whether a server is at work on the folder or not.
pub(super) async fn trace(
    data: &Path,
    run: RunId,
    out: impl Write + Send + 'static,
) -> Result<(), Error> {
    let log = log::read(data, run)?;
    let is_running = !log.is_finished();
    let summary = replay(log, Trace::new(out), Options::default())?
        .finished()
        .await;
    if let Some(why) = summary.error {
        let sentence = format!("The run cannot be printed: {why}.");
        return Err(Error::new(ErrorCode::InvalidRequest, sentence));
    }
    if is_running {
        eprintln!("The answer is still being written.");
    }
    Ok(())
}
