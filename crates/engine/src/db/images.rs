//! Pictures that people send with their messages, and those that models make.
//!
//! A picture is stored once, under the hash of its bytes, before the message or the log shows it.
//! What it is, its first bytes say, and not whoever sends it: only formats that every vendor takes
//! and that no browser runs anything from.

use crate::{db::DbError, provider::Image};
use headwater_protocol::{
    ConversationId, Error, ErrorCode, ImageId, MAX_IMAGE_BYTES, MessageId, UnixMs, chat::Message,
};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// The most pictures of one message.
pub const MAX_IMAGES: usize = 10;

/// The most that the pictures of one message, and those of one request, have together, in bytes:
/// 20 MB in base64, which is Gemini's limit for a request, the smallest of the vendors'.
pub const MAX_IMAGES_BYTES: usize = 15_000_000;

/// How long a picture may wait for its message, in milliseconds: a day.
const WAITS: UnixMs = 24 * 60 * 60 * 1000;

/// Pictures by their identifiers.
pub type Images = HashMap<ImageId, Image>;

/// What is said of a picture that is larger than [`MAX_IMAGE_BYTES`].
pub fn too_large() -> Error {
    Error::new(
        ErrorCode::TooLarge,
        format!(
            "A picture may have {} MB at most.",
            MAX_IMAGE_BYTES / 1_000_000
        ),
    )
}

/// The identifier of a picture.
pub fn id_of(data: &[u8]) -> ImageId {
    ImageId(hex(&Sha256::digest(data)))
}

/// Keeps a picture that a model made, with the message that its run writes. `run` is the run's number
/// in the database; one that was deleted keeps nothing.
///
/// # Errors
/// `storage`.
pub fn keep_of_run(db: &Connection, run: i64, id: &ImageId, image: &Image) -> Result<(), DbError> {
    // It waits for no message, so it goes with this one's conversation, however young it is.
    db.prepare_cached(
        "INSERT INTO image (id, media_type, data, at)
         SELECT ?1, ?2, ?3, 0 WHERE EXISTS (SELECT 1 FROM run WHERE no = ?4)
         ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![id.0, image.media_type, image.data.as_ref(), run])?;
    db.prepare_cached(
        "INSERT INTO message_image (message, place, image)
         SELECT run.message, 1 + coalesce(max(m.place), -1), ?2
         FROM run LEFT JOIN message_image AS m ON m.message = run.message
         WHERE run.no = ?1 GROUP BY run.no
         HAVING NOT EXISTS (SELECT 1 FROM message_image AS known
                            WHERE known.message = run.message AND known.image = ?2)",
    )?
    .execute(params![run, id.0])?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keeps a picture, and drops those that no message shows and that have waited long enough.
pub(crate) fn insert(
    db: &Connection,
    id: &ImageId,
    media_type: &str,
    data: &[u8],
    at: UnixMs,
) -> Result<(), DbError> {
    db.execute(
        "DELETE FROM image WHERE at < ?1
         AND NOT EXISTS (SELECT 1 FROM message_image AS m WHERE m.image = image.id)",
        [at.saturating_sub(WAITS) as i64],
    )?;
    db.execute(
        "INSERT INTO image (id, media_type, data, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET at = excluded.at",
        params![id.0, media_type, data, at as i64],
    )?;
    Ok(())
}

/// Gives a message its pictures.
///
/// # Errors
/// `not_found` for one that was not sent before, `invalid_request` for too many, `too_large` for
/// more than [`MAX_IMAGES_BYTES`] together, `storage`.
pub fn attach(db: &Connection, message: MessageId, images: &[ImageId]) -> Result<(), DbError> {
    if images.len() > MAX_IMAGES {
        return Err(DbError::refused(
            ErrorCode::InvalidRequest,
            format!("A message may have {MAX_IMAGES} pictures at most."),
        ));
    }
    for (place, image) in images.iter().enumerate() {
        let found = db
            .prepare_cached(
                "INSERT INTO message_image (message, place, image)
                 SELECT ?1, ?2, id FROM image WHERE id = ?3",
            )?
            .execute(params![message.0.as_bytes(), place as i64, image.0])?;
        // It waits no longer.
        db.prepare_cached("UPDATE image SET at = 0 WHERE id = ?1")?
            .execute([&image.0])?;
        if found == 0 {
            return Err(DbError::refused(
                ErrorCode::NotFound,
                "A picture of this message is not there any more. Attach it again.",
            ));
        }
    }
    let total: i64 = db
        .prepare_cached(
            "SELECT COALESCE(SUM(LENGTH(i.data)), 0) FROM message_image AS m
             JOIN image AS i ON i.id = m.image WHERE m.message = ?1",
        )?
        .query_row([message.0.as_bytes()], |row| row.get(0))?;
    if total > MAX_IMAGES_BYTES as i64 {
        return Err(DbError::refused(
            ErrorCode::TooLarge,
            format!(
                "The pictures of a message may have {} MB together.",
                MAX_IMAGES_BYTES / 1_000_000
            ),
        ));
    }
    Ok(())
}

/// Takes a conversation's pictures from its messages, and removes those that no other conversation
/// shows. One that was uploaded again since its message was sent waits for a draft, and stays for as
/// long as such may wait.
///
/// # Errors
/// `storage`.
pub(super) fn delete(db: &Connection, id: ConversationId, at: UnixMs) -> Result<(), DbError> {
    db.execute(
        "DELETE FROM image WHERE at < ?2
         AND id IN
            (SELECT m.image FROM message_image AS m JOIN message ON message.id = m.message
             WHERE message.conversation = ?1)
         AND NOT EXISTS
            (SELECT 1 FROM message_image AS m JOIN message ON message.id = m.message
             WHERE m.image = image.id AND message.conversation != ?1)",
        params![id.0.as_bytes(), at.saturating_sub(WAITS) as i64],
    )?;
    db.execute(
        "DELETE FROM message_image
             WHERE message IN (SELECT id FROM message WHERE conversation = ?1)",
        [id.0.as_bytes()],
    )?;
    Ok(())
}

/// The pictures of a message, in order.
///
/// # Errors
/// `storage`.
pub fn of_message(db: &Connection, message: MessageId) -> Result<Vec<ImageId>, DbError> {
    Ok(db
        .prepare_cached("SELECT image FROM message_image WHERE message = ?1 ORDER BY place")?
        .query_map([message.0.as_bytes()], |row| row.get(0).map(ImageId))?
        .collect::<rusqlite::Result<_>>()?)
}

/// The pictures of a branch that go into one request: the newest ones, as far as there is room for
/// [`MAX_IMAGES_BYTES`]. Those of one message fit by themselves.
///
/// # Errors
/// `storage`.
pub fn of_branch(db: &Connection, branch: &[Message]) -> Result<Images, DbError> {
    let mut images = Images::new();
    let mut room = MAX_IMAGES_BYTES;
    for id in branch.iter().rev().flat_map(|message| &message.images) {
        if images.contains_key(id) {
            continue;
        }
        let Some(image) = read(db, id)? else { continue };
        let Some(left) = room.checked_sub(image.data.len()) else {
            break;
        };
        room = left;
        images.insert(id.clone(), image);
    }
    Ok(images)
}

pub(crate) fn read(db: &Connection, id: &ImageId) -> Result<Option<Image>, DbError> {
    Ok(db
        .prepare_cached("SELECT media_type, data FROM image WHERE id = ?1")?
        .query_row([&id.0], |row| {
            Ok(Image {
                media_type: row.get(0)?,
                data: row.get::<_, Vec<u8>>(1)?.into(),
            })
        })
        .optional()?)
}
