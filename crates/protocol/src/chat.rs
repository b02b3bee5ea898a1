//! What a conversation is, and the one fold that turns a run's log into what a person sees.
//!
//! The server (to store and to render), the browser (to show) and the tests (to judge) call the
//! same [`Answer::apply`], so that screen and disk cannot disagree. It is pure: no clock, no I/O.

mod answer;
mod arguments;
mod fold;
mod list;
mod settings;

pub use answer::{Answer, Block, Call, HIDDEN, Span, StageSince};
pub use arguments::Arguments;
pub use fold::{Applied, beginning};
pub use list::{ListPlace, Summary};
pub use settings::{Effort, Settings};

use crate::{ConversationId, ImageId, MessageId, UnixMs};
use serde::{Deserialize, Serialize};

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// A conversation with messages of its current branch: the latest ones, or a page of earlier ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// The identifier.
    pub id: ConversationId,
    /// The name, which the person can change.
    pub title: String,
    /// The model of the last run as `provider/model`. The page offers it for the next message.
    #[serde(default)]
    pub model: Option<String>,
    /// What is asked of the model beyond the messages.
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
    /// Consecutive messages of the current branch, oldest first. If there are earlier ones, the
    /// first message here has a parent.
    pub messages: Vec<Message>,
}

impl Conversation {
    /// The cursor for the page of earlier messages: the first message here. `None` if there are no
    /// earlier ones.
    pub fn earlier(&self) -> Option<MessageId> {
        let first = self.messages.first()?;
        first.parent.map(|_| first.id)
    }

    /// The last message here: the parent of the next message.
    pub fn head(&self) -> Option<MessageId> {
        self.messages.last().map(|message| message.id)
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The identifier.
    pub id: MessageId,
    /// The message before this one; `None` for the first.
    pub parent: Option<MessageId>,
    /// Who wrote it.
    pub role: Role,
    /// When the message was sent or, for the model's, begun.
    pub created: UnixMs,
    /// What the person wrote. Empty for the assistant, whose text is in `answers`.
    pub text: String,
    /// The images that the person attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageId>,
    /// The runs that wrote the assistant's message, in order: the first run, and one more for each
    /// “Continue”.
    pub answers: Vec<Answer>,
    /// All messages with the same parent, this one included, oldest first. The page switches
    /// between them.
    pub branches: Vec<MessageId>,
}

impl Message {
    /// The size of all text in bytes, including what the page folds away, such as reasoning. Pages
    /// of a conversation are limited by it.
    pub fn weight(&self) -> usize {
        let blocks = self.answers.iter().flat_map(|answer| &answer.blocks);
        self.text.len() + blocks.map(|block| block.text.len()).sum::<usize>()
    }

    /// The visible text: what the person wrote, or the texts of all runs in order.
    pub fn visible_text(&self) -> String {
        match self.role {
            Role::User => self.text.clone(),
            Role::Assistant => self.answers.iter().map(Answer::visible_text).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
