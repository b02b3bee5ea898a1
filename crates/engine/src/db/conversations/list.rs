//! The list of conversations, page by page, and the search in it.

use super::{LiveAnswers, uuid};
use crate::db::{DbError, search};
use headwater_protocol::{
    ConversationId, Error, ErrorCode,
    chat::{ListPlace, Summary},
};
use rusqlite::{Connection, Row, params};

/// How many conversations are listed by default.
pub const DEFAULT_PAGE: usize = 50;

/// The most conversations that are listed at once.
pub const MAX_PAGE: usize = 200;

/// Which conversations to list.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Only conversations whose title, questions or answers contain this text, compared in the form of
    /// [`search::folded`]. `None`, an empty text and white space stand for all conversations.
    pub query: Option<String>,
    /// The most conversations, [`DEFAULT_PAGE`] by default and [`MAX_PAGE`] at most.
    pub limit: Option<usize>,
    /// Only conversations after this place in the order.
    pub after: Option<ListPlace>,
}

impl Listing {
    /// Whether all texts must be read, which may take long.
    pub fn is_search(&self) -> bool {
        !self.words().is_empty()
    }

    /// The folded text to search for; empty for all conversations.
    fn words(&self) -> String {
        let mut words = search::folded(self.query.as_deref().unwrap_or_default());
        words.truncate(words.trim_end().len());
        words
    }
}

/// Parses [`Listing::after`]. `None` and an empty text stand for the start of the list.
///
/// # Errors
/// `invalid_request` if the text is no place.
pub fn place_in_list(text: Option<&str>) -> Result<Option<ListPlace>, Error> {
    let text = text.filter(|text| !text.is_empty());
    text.map(str::parse).transpose().map_err(|why| {
        Error::new(
            ErrorCode::InvalidRequest,
            format!("The field “after” is not readable: {why}."),
        )
    })
}

/// A page of conversations in the order of [`ListPlace`]: pinned first, then the newest. A page with
/// fewer than the limit is the last one.
///
/// # Errors
/// `storage`.
pub fn list(
    db: &Connection,
    live: &dyn LiveAnswers,
    listing: &Listing,
) -> Result<Vec<Summary>, DbError> {
    let words = listing.words();
    let limit = listing.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let running: Vec<ConversationId> = live.conversations();
    let read = |row: &Row<'_>| -> rusqlite::Result<Summary> {
        let id = ConversationId(uuid(row, 0)?);
        Ok(Summary {
            id,
            title: row.get(1)?,
            pinned: row.get(2)?,
            updated: row.get::<_, i64>(3)?.unsigned_abs(),
            running: running.contains(&id),
        })
    };
    let find = || -> rusqlite::Result<_> {
        let from = listing.after.unwrap_or(ListPlace::START);
        let mut query = db.prepare_cached(
            "SELECT id, title, pinned, updated FROM conversation
             WHERE (pinned, updated, id) < (?1, ?2, ?3)
             ORDER BY pinned DESC, updated DESC, id DESC",
        )?;
        let mut rows = query.query(params![
            from.pinned,
            i64::try_from(from.updated).unwrap_or(i64::MAX),
            from.id.0.as_bytes()
        ])?;
        let mut found = Vec::new();
        while found.len() < limit {
            let Some(row) = rows.next()? else { break };
            let summary = read(row)?;
            if words.is_empty() || search::has(db, summary.id, &words)? {
                found.push(summary);
            }
        }
        Ok(found)
    };
    Ok(find()?)
}
