//! The logs of runs in the database: of a run that is being written the first entry only, as a segment
//! (older versions wrote more of them), and all of it in a single row after its end. What comes between
//! is in the [journal](crate::journal).

use super::{DbError, search};
use crate::packed::{self, Packed};
use headwater_protocol::{Error, RunId, Status, word};
use rusqlite::{Connection, OptionalExtension, params};

/// The number of a run in the database; `None` if there is no such run.
///
/// # Errors
/// `storage`.
pub fn number(db: &Connection, run: RunId) -> Result<Option<i64>, DbError> {
    let no = db
        .prepare_cached("SELECT no FROM run WHERE id = ?1")?
        .query_row(params![run.0.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(no)
}

/// Reads what the database has of a run's log: all of it if the run has ended, else its first entry.
/// Without such a run, the log is empty.
///
/// # Errors
/// `storage`.
pub fn stored_by_no(db: &Connection, no: i64) -> Result<Packed, DbError> {
    if let Some(packed) = whole(db, no)? {
        return Ok(packed);
    }
    let packed = segments(db, no)?;
    match packed.is_empty() {
        // Between the two reads the run may have ended and its segments have become one row.
        true => Ok(whole(db, no)?.unwrap_or_default()),
        false => Ok(packed),
    }
}

/// The log of a finished run. A damaged log is read as far as possible, and gets an end that says so.
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

/// The log of a run that is being written, up to the first damaged segment.
fn segments(db: &Connection, no: i64) -> Result<Packed, DbError> {
    segments_until(db, no).map(|(packed, _)| packed)
}

/// The log of a run that is being written, and what is wrong after its readable part.
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

/// Appends the readable part of a segment to a log. Returns what is wrong after it.
pub(super) fn extend(packed: &mut Packed, segment: &[u8]) -> Option<Error> {
    let (segment, why) = Packed::readable(segment);
    packed.join(&segment);
    why
}

/// Writes the first segment of a run, inside the transaction that makes the run.
///
/// # Errors
/// SQLite's.
pub fn write_first(db: &Connection, no: i64, packed: &Packed) -> rusqlite::Result<()> {
    add_segment(db, no, packed)?;
    db.prepare_cached("UPDATE run SET segment = ?2 WHERE no = ?1")?
        .execute(params![no, db.last_insert_rowid()])?;
    Ok(())
}

/// Writes the next segment of a run. If the run was deleted meanwhile, nothing is stored.
pub(crate) fn add_segment(db: &Connection, no: i64, packed: &Packed) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO segment (run, bytes)
         SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM run WHERE no = ?1)",
    )?
    .execute(params![no, packed.as_bytes()])?;
    Ok(())
}

/// Stores the log of a finished run as one row, and makes its answer findable. `text` is the answer in
/// the form of [`search::folded`].
///
/// # Errors
/// SQLite's.
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

/// Replaces the segments of a run by one row, marks the run as finished, and deletes segments that no
/// open run needs. If the run was deleted meanwhile, nothing is stored.
pub(crate) fn compact(
    db: &Connection,
    no: i64,
    packed: &Packed,
    status: Status,
) -> rusqlite::Result<()> {
    let status = word(status);
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

/// The number of the first file of the journal that may be needed.
pub(crate) fn oldest_journal(db: &Connection) -> Result<u64, DbError> {
    let mut oldest = db.prepare_cached("SELECT oldest FROM journal")?;
    let oldest: i64 = oldest.query_row([], |row| row.get(0))?;
    Ok(oldest.unsigned_abs())
}

/// Notes that files of the journal below this number are not needed.
pub(crate) fn set_oldest_journal(db: &Connection, oldest: u64) -> rusqlite::Result<()> {
    let mut set = db.prepare_cached("UPDATE journal SET oldest = ?1")?;
    set.execute([oldest.cast_signed()]).map(|_| ())
}
