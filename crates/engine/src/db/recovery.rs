//! Runs that are stored as being written and that nobody writes: those of a process that died.
//!
//! What is there is kept, and the log gets its last entry.

use super::{
    logs::{extend, finish, segments_until},
    search, storage,
};
use crate::packed::{self, Packed};
use headwater_protocol::Error;
use rusqlite::Connection;
use std::collections::HashMap;

/// The numbers of all runs without an end.
pub(crate) fn open_runs(db: &Connection) -> Result<Vec<i64>, Error> {
    db.prepare_cached("SELECT no FROM run WHERE status IS NULL ORDER BY no")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .map_err(storage)
}

/// Ends all open runs, whose process has died. Returns how many there were.
pub(crate) fn close_all(db: &mut Connection) -> Result<usize, Error> {
    let open = open_runs(db)?;
    let mut logs = open_logs(db)?;
    for no in &open {
        let (packed, why) = logs.remove(no).unwrap_or_default();
        let transaction = db.transaction().map_err(storage)?;
        close_as(&transaction, *no, packed, why)?;
        transaction.commit().map_err(storage)?;
    }
    Ok(open.len())
}

/// Ends one open run.
pub(crate) fn close(db: &Connection, no: i64) -> Result<(), Error> {
    let (packed, why) = segments_until(db, no)?;
    close_as(db, no, packed, why)
}

fn close_as(db: &Connection, no: i64, mut log: Packed, why: Option<Error>) -> Result<(), Error> {
    let status = match packed::fold(&log).status {
        Some(status) => status,
        None => packed::end(&mut log, why.unwrap_or_else(packed::interrupted)),
    };
    let text = search::folded(&packed::fold(&log).visible_text());
    finish(db, no, &log, status, &text).map_err(storage)
}

/// All logs of open runs, in one pass, each with what is wrong behind it: a server may have died
/// with many of them.
fn open_logs(db: &Connection) -> Result<HashMap<i64, (Packed, Option<Error>)>, Error> {
    let mut logs: HashMap<i64, (Packed, Option<Error>)> = HashMap::new();
    let mut query = db
        .prepare(
            "SELECT segment.run, segment.bytes FROM segment JOIN run ON run.no = segment.run
             WHERE run.status IS NULL AND segment.no >= run.segment ORDER BY segment.no",
        )
        .map_err(storage)?;
    let mut rows = query.query([]).map_err(storage)?;
    while let Some(row) = rows.next().map_err(storage)? {
        let (packed, why) = logs.entry(row.get(0).map_err(storage)?).or_default();
        if why.is_none() {
            *why = extend(packed, &row.get::<_, Vec<u8>>(1).map_err(storage)?);
        }
    }
    Ok(logs)
}
