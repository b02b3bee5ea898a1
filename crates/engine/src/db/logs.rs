//! The logs of runs in the database: segments while a run is written, one row from its end on.

use super::{DbError, search};
use crate::packed::{self, Packed};
use headwater_protocol::{Error, RunId, Status};
use rusqlite::{Connection, OptionalExtension, params};

/// Reads a run's log, from one piece or from its segments.
///
/// # Errors
/// `storage`.
pub fn stored(db: &Connection, run: RunId) -> Result<Option<Packed>, DbError> {
    let no: Option<i64> = db
        .prepare_cached("SELECT no FROM run WHERE id = ?1")?
        .query_row(params![run.0.as_bytes()], |row| row.get(0))
        .optional()?;
    no.map(|no| stored_by_no(db, no)).transpose()
}

/// Reads a run's log by its number in the database; empty where there is none.
///
/// # Errors
/// `storage`.
pub fn stored_by_no(db: &Connection, no: i64) -> Result<Packed, DbError> {
    if let Some(packed) = whole(db, no)? {
        return Ok(packed);
    }
    let packed = segments(db, no)?;
    match packed.is_empty() {
        // Between the two looks the run may have ended, and its segments been put together.
        true => Ok(whole(db, no)?.unwrap_or_default()),
        false => Ok(packed),
    }
}

/// The log of a finished run. Where it is damaged, what can be read of it and an end that says so.
pub(crate) fn whole(db: &Connection, no: i64) -> Result<Option<Packed>, DbError> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached("SELECT bytes FROM log WHERE run = ?1")?
        .query_row([no], |row| row.get(0))
        .optional()?;
    Ok(bytes.map(|bytes| {
        let (mut packed, why) = Packed::readable(&bytes);
        if !packed.is_finished() {
            packed::end(&mut packed, why.unwrap_or_else(packed::damaged));
        }
        packed
    }))
}

/// The log of a run that is being written, as far as it can be read.
fn segments(db: &Connection, no: i64) -> Result<Packed, DbError> {
    segments_until(db, no).map(|(packed, _)| packed)
}

/// The log of a run that is being written, and what is wrong behind it.
pub(super) fn segments_until(db: &Connection, no: i64) -> Result<(Packed, Option<Error>), DbError> {
    let mut packed = Packed::default();
    let mut query = db.prepare_cached(
        "SELECT bytes FROM segment
             WHERE no >= (SELECT segment FROM run WHERE no = ?1) AND run = ?1 ORDER BY no",
    )?;
    let mut rows = query.query([no])?;
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(0)?;
        if let Some(why) = extend(&mut packed, &bytes) {
            return Ok((packed, Some(why)));
        }
    }
    Ok((packed, None))
}

/// Adds a segment to the end of a log, and says what is wrong with it.
pub(super) fn extend(packed: &mut Packed, segment: &[u8]) -> Option<Error> {
    let (segment, why) = Packed::readable(segment);
    for entry in segment.after(0) {
        packed.push(entry.at, &entry.event);
    }
    why
}

/// Writes the first segment of a run, inside of the transaction that makes the run.
pub fn write_first(db: &Connection, no: i64, packed: &Packed) -> rusqlite::Result<()> {
    add_segment(db, no, packed)?;
    db.prepare_cached("UPDATE run SET segment = ?2 WHERE no = ?1")?
        .execute(params![no, db.last_insert_rowid()])?;
    Ok(())
}

/// Writes the next segment of a run. One that was deleted meanwhile leaves nothing.
pub(crate) fn add_segment(db: &Connection, no: i64, packed: &Packed) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO segment (run, bytes)
         SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM run WHERE no = ?1)",
    )?
    .execute(params![no, packed.as_bytes()])?;
    Ok(())
}

/// Stores the log of a run that has ended in one piece, and makes its answer findable: `text` is
/// what [`search::folded`] makes of it.
///
/// # Errors
/// What SQLite says.
pub fn finish(
    db: &Connection,
    no: i64,
    packed: &Packed,
    status: Status,
    text: &str,
) -> rusqlite::Result<()> {
    compact(db, no, packed, status)?;
    search::put_answer(db, no, text)
}

/// Replaces a run's segments by one row, marks it finished, and removes the segments that no open
/// run needs any more. A run that was deleted meanwhile leaves nothing.
pub(crate) fn compact(
    db: &Connection,
    no: i64,
    packed: &Packed,
    status: Status,
) -> rusqlite::Result<()> {
    let status = status_word(status);
    let there = db
        .prepare_cached("UPDATE run SET status = ?2 WHERE no = ?1")?
        .execute(params![no, status])?;
    if there > 0 {
        db.prepare_cached("INSERT OR REPLACE INTO log (run, bytes) VALUES (?1, ?2)")?
            .execute(params![no, packed.as_bytes()])?;
    }
    // Runs get their numbers and their first segments in the same order.
    let oldest: Option<i64> = db
        .prepare_cached("SELECT segment FROM run WHERE status IS NULL ORDER BY no LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    db.prepare_cached("DELETE FROM segment WHERE no < ?1")?
        .execute([oldest.unwrap_or(i64::MAX)])?;
    Ok(())
}

/// The words that [`Status`] has in the database are its words on the wire.
pub fn status_word(status: Status) -> String {
    serde_json::to_value(status)
        .ok()
        .and_then(|word| word.as_str().map(str::to_owned))
        .unwrap_or_default()
}
