//! The few things that only a browser can do, with nothing in their place on the server.
//!
//! Commands and views compile for both sides because of this; the server never calls them.

use super::Queued;
use crate::api::ApiError;
use headwater_protocol::{ConversationId, Error, ErrorCode, ImageId, UnixMs};
use std::pin::Pin;
use uuid::Uuid;

#[cfg(feature = "hydrate")]
mod dom;
#[cfg(feature = "hydrate")]
pub(super) use dom::{
    Channel, HIDDEN_STEP_MS, Listener, Paints, Timer, hash, hidden, online, warn,
};

/// What a tab tells the others, and the sidebar of its own page, about a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// An answer has begun.
    Started,
    /// An answer has ended.
    #[cfg(feature = "hydrate")]
    Finished,
    /// Its title, its place in the list or its current branch changed.
    Changed,
    /// It is gone.
    Deleted,
}

#[cfg(feature = "hydrate")]
impl News {
    const WORDS: [(Self, &str); 4] = [
        (Self::Started, "started"),
        (Self::Finished, "finished"),
        (Self::Changed, "changed"),
        (Self::Deleted, "deleted"),
    ];

    /// As it is told: the word and the identifier.
    pub(super) fn say(self, id: ConversationId) -> String {
        let word = Self::WORDS
            .iter()
            .find(|(news, _)| *news == self)
            .map_or("", |(_, word)| word);
        format!("{word} {id}")
    }

    /// Understands [`News::say`]; whatever a newer page says is passed over.
    pub(super) fn hear(said: &str) -> Option<(Self, ConversationId)> {
        let (word, id) = said.split_once(' ')?;
        let (news, _) = Self::WORDS.iter().find(|(_, known)| *known == word)?;
        Some((*news, id.parse().ok()?))
    }
}

/// Calls until the server has answered, at most `tries` times more after the first. Only for
/// commands that may arrive twice.
pub(super) async fn persist<T, F>(tries: u32, mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut pause = 300;
    for _ in 0..tries {
        match call().await {
            Err(ApiError(error))
                if matches!(error.code, ErrorCode::Connection | ErrorCode::ShuttingDown) =>
            {
                sleep(pause).await;
                pause *= 2;
            }
            answer => return answer.map_err(|ApiError(error)| error),
        }
    }
    call().await.map_err(|ApiError(error)| error)
}

/// Runs a task of the page. It outlives whatever began it, because a command must reach the
/// server: after each `await` it asks whether what it wants to change is still there.
pub(super) fn spawn(task: impl Future<Output = ()> + 'static) {
    spawn_boxed(Box::pin(task));
}

/// One type of task for all of them: what runs a task is there only once.
fn spawn_boxed(task: Pin<Box<dyn Future<Output = ()>>>) {
    #[cfg(feature = "hydrate")]
    leptos::task::spawn_local(task);
    #[cfg(not(feature = "hydrate"))]
    drop(task);
}

/// Waits.
pub(super) async fn sleep(ms: u32) {
    #[cfg(feature = "hydrate")]
    dom::sleep(ms).await;
    #[cfg(not(feature = "hydrate"))]
    let _ = ms;
}

/// The time by the clock of the machine.
pub(super) fn now() -> UnixMs {
    #[cfg(feature = "hydrate")]
    return js_sys::Date::now() as UnixMs;
    #[cfg(not(feature = "hydrate"))]
    0
}

/// A file that the person chose; there is none on the server.
#[cfg(feature = "hydrate")]
pub(crate) type File = web_sys::File;
/// A file that the person chose; there is none on the server.
#[cfg(not(feature = "hydrate"))]
pub(crate) type File = std::convert::Infallible;

/// Sends a picture to the server.
pub(super) async fn upload(file: File) -> Result<ImageId, Error> {
    #[cfg(feature = "hydrate")]
    return dom::upload(file).await;
    #[cfg(not(feature = "hydrate"))]
    match file {}
}

/// An identifier made here: of a message that the server does not know yet, or of a command.
pub(super) fn random_id() -> Uuid {
    #[cfg(feature = "hydrate")]
    return uuid::Builder::from_random_bytes(dom::random()).into_uuid();
    #[cfg(not(feature = "hydrate"))]
    Uuid::nil()
}

/// Keeps a queue over a reload of the tab. Two tabs may keep copies of one message: it has one
/// `client_id`, so it is sent once.
pub(super) fn store_queue(id: ConversationId, queue: &[Queued]) {
    #[cfg(feature = "hydrate")]
    dom::store(
        &queue_key(id),
        (!queue.is_empty())
            .then(|| serde_json::to_string(queue).ok())
            .flatten(),
    );
    #[cfg(not(feature = "hydrate"))]
    let _ = (id, queue);
}

/// What [`store_queue`] kept.
pub(super) fn stored_queue(id: ConversationId) -> Vec<Queued> {
    #[cfg(feature = "hydrate")]
    return dom::stored(&queue_key(id))
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    #[cfg(not(feature = "hydrate"))]
    {
        let _ = id;
        Vec::new()
    }
}

#[cfg(feature = "hydrate")]
fn queue_key(id: ConversationId) -> String {
    format!("headwater.queue.{id}")
}
