//! `headwater inspect`: the tree of a run with its times.

use crate::server::config::Config;
use headwater_engine::{
    log,
    observer::{Options, Trace, replay},
};
use headwater_protocol::{Error, ErrorCode, RunId};
use std::{
    io::{self, ErrorKind, Write},
    path::Path,
};

/// An output whose reader may leave: what is written from then on is lost, and that is no error.
struct Pipe<W>(W);

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

pub(super) async fn inspect(config: &Config, run: RunId) -> Result<(), Error> {
    trace(&config.engine.data, run, std::io::stdout()).await
}

/// Prints what a run did so far, whether a server is at work on the folder or not.
///
/// # Errors
/// `not_found`, `storage`; `invalid_request` where the output cannot be written.
pub(super) async fn trace(
    data: &Path,
    run: RunId,
    out: impl Write + Send + 'static,
) -> Result<(), Error> {
    let log = log::read(data, run)?;
    let is_running = !log.is_finished();
    let summary = replay(log, Trace::new(Pipe(out)), Options::default())?
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
