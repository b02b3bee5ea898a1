//! The end of logs that nobody writes any more: those of a process that died, and damaged ones.
//!
//! What is there is kept, and the log gets its last entry.

use super::{Packed, db::storage, extend, finish, fold, hash, segments_until};
use crate::{
    chat::Answer,
    protocol::{Error, ErrorCode, Event, Status, Timing, Usage},
    server::search,
};
use rusqlite::Connection;
use std::collections::HashMap;

/// The numbers of all runs without an end.
pub(super) fn open_runs(db: &Connection) -> Result<Vec<i64>, Error> {
    db.prepare_cached("SELECT no FROM run WHERE status IS NULL ORDER BY no")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .map_err(storage)
}

/// Ends all open runs, whose process has died. Returns how many there were.
pub(super) fn close_all(db: &mut Connection) -> Result<usize, Error> {
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
pub(super) fn close(db: &Connection, no: i64) -> Result<(), Error> {
    let (packed, why) = segments_until(db, no)?;
    close_as(db, no, packed, why)
}

fn close_as(db: &Connection, no: i64, mut packed: Packed, why: Option<Error>) -> Result<(), Error> {
    let status = match fold(&packed).status {
        Some(status) => status,
        None => end(&mut packed, why.unwrap_or_else(interrupted)),
    };
    let text = search::folded(&fold(&packed).visible_text());
    finish(db, no, &packed, status, &text).map_err(storage)
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

fn interrupted() -> Error {
    Error::new(
        ErrorCode::Interrupted,
        "The server stopped while this was being written.",
    )
    .at("writing")
}

/// Adds the last entries to a log that breaks off because of `why`, and returns how it ends.
pub(super) fn end(packed: &mut Packed, why: Error) -> Status {
    let at = packed.items_after(0).last().map_or(0, |(_, at, _)| at);
    let status = match why.code {
        ErrorCode::Interrupted => Status::Interrupted,
        _ => Status::Error,
    };
    for event in ending(&fold(packed), status, &why) {
        packed.push(at, &event);
    }
    status
}

fn ending(answer: &Answer, status: Status, error: &Error) -> Vec<Event> {
    let mut events: Vec<Event> = answer
        .spans
        .iter()
        .filter(|span| span.status.is_none())
        .map(|span| Event::SpanFinished {
            span: span.span,
            status,
            output: serde_json::Value::Null,
            finish: None,
            usage: None,
            timing: None,
            error: Some(error.clone()),
        })
        .collect();
    let text = answer.visible_text();
    events.push(Event::RunFinished {
        status,
        usage: Usage {
            estimated: true,
            ..answer.usage
        },
        timing: Timing {
            accepted: answer.accepted,
            ..Timing::default()
        },
        error: Some(error.clone()),
        length: text.len() as u64,
        hash: hash(&text),
    });
    events
}
