//! `headwater replay`: prints a stored answer at the pace at which it was written.

use crate::server::config::Config;
use headwater_engine::log;
use headwater_protocol::{
    BlockNo, Error, ErrorCode, Event, RunId,
    chat::{Answer, beginning},
};
use std::{collections::HashMap, io::Write, ops::RangeInclusive, time::Duration};
use tokio::time::{Instant, sleep_until};

/// The possible factors of speed. A slower replay could take longer than a clock can measure.
const SPEEDS: RangeInclusive<f64> = 0.001..=1e9;

pub(super) async fn replay(
    config: &Config,
    run: RunId,
    speed: f64,
    as_events: bool,
) -> Result<(), Error> {
    if !SPEEDS.contains(&speed) {
        let (slow, fast) = (SPEEDS.start(), SPEEDS.end());
        return Err(Error::new(
            ErrorCode::InvalidRequest,
            format!("The speed must be a number from {slow} to {fast}."),
        ));
    }
    let log = log::read(&config.engine.data, run)?;
    let entries: Vec<_> = log.after(0).collect();
    let mut left = kept(&Answer::fold(
        entries.iter().map(|entry| (entry.seq, &entry.event)),
    ));
    let start = Instant::now();
    let mut out = std::io::stdout().lock();
    for entry in entries {
        sleep_until(start + Duration::from_millis(entry.at).div_f64(speed)).await;
        let line = match &entry.event {
            _ if as_events => serde_json::to_string(&entry).unwrap_or_default() + "\n",
            Event::Delta { block, text, .. } => take(&mut left, *block, text).to_owned(),
            Event::RunFinished { .. } => "\n".into(),
            _ => continue,
        };
        let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        if written.is_err() {
            // Nobody reads standard output any more.
            return Ok(());
        }
    }
    Ok(())
}

/// How many bytes of each block belong to the final answer: none of a superseded attempt, and only
/// the kept text after a stop.
fn kept(answer: &Answer) -> HashMap<BlockNo, usize> {
    let blocks = answer.blocks.iter();
    blocks
        .filter(|block| answer.is_visible(block))
        .map(|block| (block.block, block.text.len()))
        .collect()
}

/// The part of a delta that belongs to the final answer.
fn take<'t>(left: &mut HashMap<BlockNo, usize>, block: BlockNo, text: &'t str) -> &'t str {
    let left = left.entry(block).or_default();
    let text = beginning(text, *left);
    *left -= text.len();
    text
}
