//! Images that people send with their messages, and images that models make.
//!
//! An image is stored once, under the hash of its bytes, before a message or a log refers to it. Its
//! first bytes decide about its type, not the sender: only formats that every provider takes and in
//! which browsers run nothing are stored.

use crate::{db::DbError, provider::Image};
use headwater_protocol::{
    ConversationId, Error, ErrorCode, ImageId, MAX_IMAGE_BYTES, MessageId, UnixMs, chat::Message,
};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// The most images of one message.
pub const MAX_IMAGES: usize = 10;

/// The most bytes that the images of one message, and those of one request to a provider, may have
/// together. In base64 they have 20 MB, the [limit of Gemini](https://ai.google.dev/gemini-api/docs/image-understanding)
/// for a request, which is the smallest of all providers.
pub const MAX_IMAGES_BYTES: usize = 15_000_000;

/// How long an uploaded image is kept without a message, in milliseconds: a day.
const DRAFT_LIFETIME: UnixMs = 24 * 60 * 60 * 1000;

/// Images by their identifiers.
pub type Images = HashMap<ImageId, Image>;

/// The refusal of an image larger than [`MAX_IMAGE_BYTES`].
pub fn too_large() -> Error {
    Error::new(
        ErrorCode::TooLarge,
        format!(
            "An image may have {} MB at most.",
            MAX_IMAGE_BYTES / 1_000_000
        ),
    )
}

/// The identifier of an image: the SHA-256 of its bytes, in hex.
pub fn id_of(data: &[u8]) -> ImageId {
    ImageId(hex::encode(Sha256::digest(data)))
}

/// Stores an image that a model made, with the message that its run writes. `run` is the number of
/// the run in the database. If the run was deleted, nothing is stored.
///
/// # Errors
/// `storage`.
pub fn keep_of_run(db: &Connection, run: i64, id: &ImageId, image: &Image) -> Result<(), DbError> {
    // The time 0 says that it waits for no message: it is deleted with its conversation.
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

/// Stores an image, and deletes images that have waited for a message for too long.
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
        [at.saturating_sub(DRAFT_LIFETIME) as i64],
    )?;
    db.execute(
        "INSERT INTO image (id, media_type, data, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET at = excluded.at",
        params![id.0, media_type, data, at as i64],
    )?;
    Ok(())
}

/// Attaches uploaded images to a message.
///
/// # Errors
/// `not_found` if an image was not uploaded, `invalid_request` for more than [`MAX_IMAGES`],
/// `too_large` for more than [`MAX_IMAGES_BYTES`] together, `storage`.
pub fn attach(db: &Connection, message: MessageId, images: &[ImageId]) -> Result<(), DbError> {
    if images.len() > MAX_IMAGES {
        return Err(DbError::refused(
            ErrorCode::InvalidRequest,
            format!("A message may have {MAX_IMAGES} images at most."),
        ));
    }
    for (place, image) in images.iter().enumerate() {
        let found = db
            .prepare_cached(
                "INSERT INTO message_image (message, place, image)
                 SELECT ?1, ?2, id FROM image WHERE id = ?3",
            )?
            .execute(params![message.0.as_bytes(), place as i64, image.0])?;
        // The time 0 says that it waits for no message any more.
        db.prepare_cached("UPDATE image SET at = 0 WHERE id = ?1")?
            .execute([&image.0])?;
        if found == 0 {
            return Err(DbError::refused(
                ErrorCode::NotFound,
                "An image of this message is not there any more. Attach it again.",
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
                "The images of a message may have {} MB together.",
                MAX_IMAGES_BYTES / 1_000_000
            ),
        ));
    }
    Ok(())
}

/// Detaches the images of a conversation, and deletes those that no other conversation shows. An
/// image that was uploaded again since then may belong to a draft, and is kept for as long as an
/// image may wait for its message.
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
        params![id.0.as_bytes(), at.saturating_sub(DRAFT_LIFETIME) as i64],
    )?;
    db.execute(
        "DELETE FROM message_image
             WHERE message IN (SELECT id FROM message WHERE conversation = ?1)",
        [id.0.as_bytes()],
    )?;
    Ok(())
}

/// The images of a message, in the order in which they were attached.
///
/// # Errors
/// `storage`.
pub fn of_message(db: &Connection, message: MessageId) -> Result<Vec<ImageId>, DbError> {
    Ok(db
        .prepare_cached("SELECT image FROM message_image WHERE message = ?1 ORDER BY place")?
        .query_map([message.0.as_bytes()], |row| row.get(0).map(ImageId))?
        .collect::<rusqlite::Result<_>>()?)
}

/// The images of a branch that go into one request: the newest ones, up to [`MAX_IMAGES_BYTES`]. The
/// images of a single message always fit.
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

/// An image, or `None` if it is not stored (any more).
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
