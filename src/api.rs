//! Every server function: the one module that names both sides.
//!
//! Each has an explicit `endpoint`, because the default contains a hash of the checkout's path.
//! Commands are POST with form fields, so that a plain HTML form and `curl -d` work; questions are
//! GET. All answers are JSON but for the event stream.

#![expect(
    missing_docs,
    reason = "the server macro makes a public struct of each argument list"
)]
#![expect(
    clippy::too_many_arguments,
    reason = "each is a field of the form, by its name"
)]

pub mod error;
#[cfg(feature = "ssr")]
mod events;
pub mod sse;

use crate::base;
pub use error::ApiError;
use headwater_protocol::{
    Catalog, ConversationId, MessageId, RunHead, RunId, Seq, Started, Stopped,
    chat::{Conversation, Summary},
    socket::Format,
};
use leptos::prelude::*;
use leptos::server_fn::codec::{GetUrl, PostUrl};
pub use sse::{Sse, SseBody};

/// Sends a message and starts the run that answers it.
///
/// - `conversation`: `None` begins a new one.
/// - `parent`: the message answered. Where it is no longer the last one and `branch` is not set,
///   the answer is `conflict` (409) and nothing is stored. `None` skips the check.
/// - `branch`: the new message becomes a sibling of what already answers `parent` (editing).
/// - `client_id`: the same id starts one run, however often it is sent.
///
/// - `settings`: those of a new conversation, as in [`set_conversation`].
/// - `images`: identifiers of images that were sent to `/api/images` before, separated by commas.
///
/// A plain HTML form is answered by a redirect to a page that needs no script.
#[server(endpoint = "runs/start", input = PostUrl)]
pub async fn start_run(
    text: String,
    #[server(default)] conversation: Option<ConversationId>,
    #[server(default)] parent: Option<MessageId>,
    #[server(default)] model: Option<String>,
    #[server(default)] client_id: Option<String>,
    #[server(default)] branch: Option<bool>,
    #[server(default)] settings: Option<String>,
    #[server(default)] images: Option<String>,
) -> Result<Started, ApiError> {
    let settings = settings.as_deref().unwrap_or_default();
    let command = headwater_engine::StartRun {
        text,
        conversation,
        parent,
        model,
        client_id,
        branch: branch.unwrap_or(false),
        settings: headwater_engine::db::settings::check(settings).map_err(ApiError)?,
        images: crate::server::images::from_list(images.as_deref()),
    };
    crate::server::engine()?
        .start(command)
        .await
        .map_err(ApiError)
}

/// Follows a run as server-sent events. Further parameters of the address:
///
/// - `after`: the last entry that the reader has; or the `Last-Event-ID` header, whichever is later.
/// - `snapshot=true`: the state so far comes as one `snapshot` event in place of its history.
/// - `format` and those of a filter: see [`crate::server::streams`].
#[server(endpoint = "runs/events", input = GetUrl, output = Sse)]
pub async fn run_events(run: RunId) -> Result<SseBody, ApiError> {
    events::follow_from_request(run).await
}

/// The address of [`run_events`] for an `EventSource`.
pub fn run_events_url(run: RunId, after: Seq, format: Format) -> String {
    base::address("/api/runs/events?") + &stream_query(run, after, format)
}

/// The address of one poll for the same, which waits `wait` seconds at most.
pub fn run_poll_url(run: RunId, after: Seq, format: Format, wait: u32) -> String {
    let query = stream_query(run, after, format);
    base::address(&format!("/api/runs/poll?{query}&wait={wait}"))
}

fn stream_query(run: RunId, after: Seq, format: Format) -> String {
    match format {
        Format::Events => format!("run={run}&after={after}"),
        format => format!("run={run}&after={after}&format={}", format.word()),
    }
}

/// What a run belongs to.
#[server(endpoint = "runs/find", input = GetUrl)]
pub async fn find_run(run: RunId) -> Result<RunHead, ApiError> {
    crate::server::engine()?.head(run).await.map_err(ApiError)
}

/// Stops a run. Its text is kept up to the entry `seen`, the last that the reader showed.
#[server(endpoint = "runs/stop", input = PostUrl)]
pub async fn stop_run(
    run: RunId,
    #[server(default)] seen: Option<Seq>,
) -> Result<Stopped, ApiError> {
    crate::server::engine()?
        .stop(run, seen)
        .await
        .map_err(ApiError)
}

/// Continues an incomplete answer in the same message.
#[server(endpoint = "runs/continue", input = PostUrl)]
pub async fn continue_run(
    run: RunId,
    #[server(default)] model: Option<String>,
) -> Result<Started, ApiError> {
    crate::server::engine()?
        .continue_run(run, model)
        .await
        .map_err(ApiError)
}

/// Answers the same message again. The old answer stays as another branch.
#[server(endpoint = "runs/retry", input = PostUrl)]
pub async fn retry_run(
    run: RunId,
    #[server(default)] model: Option<String>,
) -> Result<Started, ApiError> {
    crate::server::engine()?
        .retry(run, model)
        .await
        .map_err(ApiError)
}

/// A page of the list of conversations, pinned first, then the newest.
///
/// - `query`: only those that contain it in their title, questions or answers, without regard to
///   case in any alphabet.
/// - `limit`: how many at most, 50 if not said, 200 at most. Fewer are the last ones.
/// - `after`: those behind this place, the [`headwater_protocol::chat::ListPlace`] of the last one on the page
///   before. Conversations that come meanwhile are before it, so none is skipped or repeated.
#[server(endpoint = "conversations/list", input = GetUrl)]
pub async fn list_conversations(
    #[server(default)] query: Option<String>,
    #[server(default)] limit: Option<usize>,
    #[server(default)] after: Option<String>,
) -> Result<Vec<Summary>, ApiError> {
    let listing = headwater_engine::Listing {
        query,
        limit,
        after: headwater_engine::db::conversations::place_in_list(after.as_deref())
            .map_err(ApiError)?,
    };
    crate::server::engine()?
        .list(listing)
        .await
        .map_err(ApiError)
}

/// A conversation with messages of its current branch: the newest ones. A running answer is
/// included as far as it is; follow its run after [`headwater_protocol::chat::Answer::seq`].
///
/// - `before`: in place of the newest those before this message. Where the first message has a
///   parent there are more before it, and it is the next `before`.
/// - `limit`: how many, 40 if not said, 200 at most; fewer where they are long.
#[server(endpoint = "conversations/load", input = GetUrl)]
pub async fn load_conversation(
    id: ConversationId,
    #[server(default)] before: Option<MessageId>,
    #[server(default)] limit: Option<usize>,
) -> Result<Conversation, ApiError> {
    let part = headwater_engine::Window {
        before,
        limit,
        ..headwater_engine::Window::default()
    };
    crate::server::engine()?
        .load(id, part)
        .await
        .map_err(ApiError)
}

/// Makes the branch that contains `message` the current one, and loads it back to that message,
/// unless that is further up than can be loaded at once.
#[server(endpoint = "conversations/select", input = PostUrl)]
pub async fn select_branch(
    id: ConversationId,
    message: MessageId,
) -> Result<Conversation, ApiError> {
    crate::server::engine()?
        .select(id, message)
        .await
        .map_err(ApiError)
}

/// Renames a conversation. Titles are at most 200 characters; an empty one is refused.
#[server(endpoint = "conversations/rename", input = PostUrl)]
pub async fn rename_conversation(id: ConversationId, title: String) -> Result<(), ApiError> {
    crate::server::engine()?
        .rename(id, title)
        .await
        .map_err(ApiError)
}

/// Sets how the answers of a conversation are generated, from the next one on. `settings` is a JSON
/// object of [`headwater_protocol::chat::Settings`]; what it does not name is left to the server and
/// the provider.
#[server(endpoint = "conversations/settings", input = PostUrl)]
pub async fn set_conversation(id: ConversationId, settings: String) -> Result<(), ApiError> {
    let settings = headwater_engine::db::settings::check(&settings).map_err(ApiError)?;
    crate::server::engine()?
        .set(id, settings)
        .await
        .map_err(ApiError)
}

/// Pins a conversation to the top of the list, or unpins it.
#[server(endpoint = "conversations/pin", input = PostUrl)]
pub async fn pin_conversation(id: ConversationId, pinned: bool) -> Result<(), ApiError> {
    crate::server::engine()?
        .pin(id, pinned)
        .await
        .map_err(ApiError)
}

/// Deletes a conversation with everything in it; a running answer is stopped first.
#[server(endpoint = "conversations/delete", input = PostUrl)]
pub async fn delete_conversation(id: ConversationId) -> Result<(), ApiError> {
    crate::server::engine()?.delete(id).await.map_err(ApiError)
}

/// The models that can be chosen, and the providers that cannot be reached now.
#[server(endpoint = "models/list", input = GetUrl)]
pub async fn list_models() -> Result<Catalog, ApiError> {
    Ok(crate::server::engine()?.catalog().await)
}
