//! Runs that are stored as open although nobody writes them, because their process died.
//!
//! Their logs are kept and get their last entry.

use super::{
    DbError,
    logs::{extend, finish, segments_until},
    search,
};
use crate::packed::{self, Packed};
use headwater_protocol::Error;
use rusqlite::Connection;
use std::collections::HashMap;

/// The numbers of all runs without an end.
pub(crate) fn open_runs(db: &Connection) -> Result<Vec<i64>, DbError> {
    Ok(db
        .prepare_cached("SELECT no FROM run WHERE status IS NULL ORDER BY no")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}

/// Closes all open runs at the start of a process. Returns how many there were.
pub(crate) fn close_all(db: &mut Connection) -> Result<usize, DbError> {
    let open = open_runs(db)?;
    let mut logs = open_logs(db)?;
    for no in &open {
        let (packed, why) = logs.remove(no).unwrap_or_default();
        let transaction = db.transaction()?;
        close_as(&transaction, *no, packed, why)?;
        transaction.commit()?;
    }
    Ok(open.len())
}

/// Closes one open run.
pub(crate) fn close(db: &Connection, no: i64) -> Result<(), DbError> {
    let (packed, why) = segments_until(db, no)?;
    close_as(db, no, packed, why)
}

fn close_as(db: &Connection, no: i64, mut log: Packed, why: Option<Error>) -> Result<(), DbError> {
    let status = match packed::fold(&log).status {
        Some(status) => status,
        None => packed::end(&mut log, why.unwrap_or_else(packed::interrupted)),
    };
    let text = search::folded(&packed::fold(&log).visible_text());
    Ok(finish(db, no, &log, status, &text)?)
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
