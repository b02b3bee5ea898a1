//! `headwater replay`: a stored answer at its true pace.

use crate::{
    protocol::{BlockKind, Error, ErrorCode, Event, RunId},
    server::{
        config::Config,
        log::{db::Db, stored},
    },
};
use std::{collections::HashSet, io::Write, time::Duration};
use tokio::time::{Instant, sleep_until};

pub(super) async fn replay(
    config: &Config,
    run: RunId,
    speed: f64,
    as_events: bool,
) -> Result<(), Error> {
    if !(speed.is_finite() && speed > 0.0) {
        return Err(Error::new(
            ErrorCode::InvalidRequest,
            "The speed must be more than 0.",
        ));
    }
    let db = Db::open_to_read(&config.data)?;
    let log = db
        .read_now(|db| stored(db, run))?
        .ok_or_else(|| Error::new(ErrorCode::NotFound, "There is no such answer."))?;
    let start = Instant::now();
    let mut hidden = HashSet::new();
    let mut out = std::io::stdout().lock();
    for entry in log.after(0) {
        sleep_until(start + Duration::from_millis(entry.at).div_f64(speed)).await;
        if let Event::BlockStarted { block, kind, .. } = &entry.event
            && !matches!(kind, BlockKind::Text | BlockKind::Refusal)
        {
            hidden.insert(*block);
        }
        let line = match &entry.event {
            _ if as_events => serde_json::to_string(&entry).unwrap_or_default() + "\n",
            Event::Delta { block, text, .. } if !hidden.contains(block) => text.clone(),
            Event::RunFinished { .. } => "\n".into(),
            _ => continue,
        };
        let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        if written.is_err() {
            // Whoever read this has gone away.
            return Ok(());
        }
    }
    Ok(())
}
