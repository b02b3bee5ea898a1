//! One way to the commands that change a conversation and answer nothing.
//!
//! A call of a server function is a kilobyte and a half of the browser's program, and these four
//! differ in their address and in one field only. The page calls them through this one; each keeps
//! its own address, so that for everybody else nothing is different.

use super::ApiError;
use headwater_protocol::ConversationId;
use serde::{Deserialize, Serialize};

/// The fields of the command: those that it does not have stay out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    /// Which conversation.
    pub id: ConversationId,
    /// For `rename`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// For `pin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// For `settings`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
}

impl Change {
    /// Of this conversation, with no field yet.
    pub fn of(id: ConversationId) -> Self {
        Self {
            id,
            title: None,
            pinned: None,
            settings: None,
        }
    }

    /// Sends it to the command at `path`, such as `/api/conversations/pin`.
    ///
    /// # Errors
    /// What the command says.
    #[cfg(feature = "hydrate")]
    pub async fn send(self, path: &'static str) -> Result<(), ApiError> {
        use leptos::server_fn::{
            Http, Protocol,
            client::browser::BrowserClient,
            codec::{Json, PostUrl},
            mock::BrowserMockServer,
        };
        type Command = Http<PostUrl, Json>;
        <Command as Protocol<Self, (), BrowserClient, BrowserMockServer, ApiError>>::run_client(
            path, self,
        )
        .await
    }

    /// The server sends nothing to itself.
    #[cfg(not(feature = "hydrate"))]
    pub fn send(self, path: &'static str) -> std::future::Ready<Result<(), ApiError>> {
        let _ = (self, path);
        std::future::ready(Ok(()))
    }
}
