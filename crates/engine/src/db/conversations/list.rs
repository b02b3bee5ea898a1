//! The list of conversations, page by page, and the search in it.

use super::{LiveAnswers, uuid};
use crate::db::{search, storage};
use headwater_protocol::{
    ConversationId, Error, ErrorCode,
    chat::{ListPlace, Summary},
};
use rusqlite::{Connection, Row, params};

/// How many conversations are listed where nobody says how many.
pub const DEFAULT_PAGE: usize = 50;

/// The most conversations that are listed at once.
pub const MAX_PAGE: usize = 200;

/// What is asked of the list.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Only those whose title, questions or answers contain it, as [`search::folded`] sees them;
    /// nothing and white space stand for all.
    pub query: Option<String>,
    /// How many at most; [`DEFAULT_PAGE`] if not said, never more than [`MAX_PAGE`].
    pub limit: Option<usize>,
    /// Those behind this place.
    pub after: Option<ListPlace>,
}

impl Listing {
    /// Whether texts are to be read, which may take long.
    pub fn is_search(&self) -> bool {
        !self.words().is_empty()
    }

    /// What is searched for, folded; empty for all conversations.
    fn words(&self) -> String {
        let mut words = search::folded(self.query.as_deref().unwrap_or_default());
        words.truncate(words.trim_end().len());
        words
    }
}

/// Reads [`Listing::after`]; nothing stands for the start.
///
/// # Errors
/// `invalid_request`.
pub fn place_in_list(text: Option<&str>) -> Result<Option<ListPlace>, Error> {
    let text = text.filter(|text| !text.is_empty());
    text.map(str::parse).transpose().map_err(|why| {
        Error::new(
            ErrorCode::InvalidRequest,
            format!("The field “after” is not readable: {why}."),
        )
    })
}

/// Conversations, pinned first, then by time, in the order of [`ListPlace`]. Fewer than the limit
/// are the last.
///
/// # Errors
/// `storage`.
pub fn list(
    db: &Connection,
    live: &dyn LiveAnswers,
    listing: &Listing,
) -> Result<Vec<Summary>, Error> {
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
    let find = || {
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
    find().map_err(storage)
}
