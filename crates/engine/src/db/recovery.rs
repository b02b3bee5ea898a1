//! Runs that are stored as open although nobody writes them, because their process died.
//!
//! Their logs are kept and get their last entry.

use super::{
    DbError,
    logs::{extend, finish, segments_until, set_oldest_journal},
    search,
};
use crate::{
    journal::Journaled,
    packed::{self, Packed},
};
use headwater_protocol::Error;
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};

/// The numbers of all runs without an end.
pub(crate) fn open_runs(db: &Connection) -> Result<Vec<i64>, DbError> {
    Ok(db
        .prepare_cached("SELECT no FROM run WHERE status IS NULL ORDER BY no")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}

/// Closes these runs at the start of a process, with what the journal has of them, and notes that
/// files of the journal below `next` are not needed any more: in one synced transaction. Returns how
/// many of the runs had no end.
pub(crate) fn close_all(
    db: &mut Connection,
    open: Vec<i64>,
    journaled: &HashMap<i64, Journaled>,
    next: u64,
) -> Result<usize, DbError> {
    db.pragma_update(None, "synchronous", "FULL")?;
    let mut logs = open_logs(db)?;
    let transaction = db.transaction()?;
    let mut closed = 0;
    for no in open {
        let (packed, why) = logs.remove(&no).unwrap_or_default();
        let cut = close_as(&transaction, no, packed, why, journaled.get(&no))?;
        closed += usize::from(cut);
    }
    set_oldest_journal(&transaction, next)?;
    transaction.commit()?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(closed)
}

/// Closes one open run.
pub(crate) fn close(
    db: &Connection,
    no: i64,
    journaled: Option<&Journaled>,
) -> Result<(), DbError> {
    let (packed, why) = segments_until(db, no)?;
    close_as(db, no, packed, why, journaled).map(|_| ())
}

/// Whether one of these numbers is not that of a run (any more).
pub(crate) fn any_unknown(db: &Connection, runs: &HashSet<i64>) -> Result<bool, DbError> {
    let mut query = db.prepare_cached("SELECT 1 FROM run WHERE no = ?1")?;
    for no in runs {
        if !query.exists([no])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether the run had no end.
fn close_as(
    db: &Connection,
    no: i64,
    mut log: Packed,
    mut why: Option<Error>,
    journaled: Option<&Journaled>,
) -> Result<bool, DbError> {
    if why.is_none()
        && let Some(more) = journaled
    {
        why = more.extend(&mut log);
    }
    // The missing end changes no text.
    let answer = packed::fold(&log);
    let status = match answer.status {
        Some(status) => status,
        None => packed::end(&mut log, why.unwrap_or_else(packed::interrupted)),
    };
    let text = search::folded(&answer.visible_text());
    finish(db, no, &log, status, &text)?;
    Ok(answer.status.is_none())
}

/// The logs of all open runs, each with what is wrong after its readable part. They are read in one
/// pass, because a server may have died with many open runs.
fn open_logs(db: &Connection) -> Result<HashMap<i64, (Packed, Option<Error>)>, DbError> {
    let mut logs: HashMap<i64, (Packed, Option<Error>)> = HashMap::new();
    let mut query = db.prepare(
        "SELECT segment.run, segment.bytes FROM segment JOIN run ON run.no = segment.run
             WHERE run.status IS NULL AND segment.no >= run.segment ORDER BY segment.no",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (packed, why) = logs.entry(row.get(0)?).or_default();
        if why.is_none() {
            *why = extend(packed, &row.get::<_, Vec<u8>>(1)?);
        }
    }
    Ok(logs)
}
