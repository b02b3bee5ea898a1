//! What a conversation is, and the one fold that turns a run's log into what a person sees.
//!
//! The server (to store and to render), the browser (to show) and the tests (to judge) call the
//! same [`Answer::apply`], so that screen and disk cannot disagree. It is pure: no clock, no I/O.

mod answer;
mod arguments;
mod fold;
mod list;
mod settings;

pub use answer::{Answer, Block, Call, Span, StageSince};
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

/// A conversation with messages of its current branch: the newest ones, or a page of earlier ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its identifier.
    pub id: ConversationId,
    /// Its name.
    pub title: String,
    /// `provider/model` of the last run, offered for the next.
    #[serde(default)]
    pub model: Option<String>,
    /// How its answers are asked for.
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
    /// Messages of the current branch one after the other. Where there are more before the first
    /// one, it has a parent.
    pub messages: Vec<Message>,
}

impl Conversation {
    /// The first message, if there are more before it: the cursor to the page before.
    pub fn earlier(&self) -> Option<MessageId> {
        let first = self.messages.first()?;
        first.parent.map(|_| first.id)
    }

    /// The last message of the current branch: what the next message answers.
    pub fn head(&self) -> Option<MessageId> {
        self.messages.last().map(|message| message.id)
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its identifier.
    pub id: MessageId,
    /// What it answers; `None` for the first.
    pub parent: Option<MessageId>,
    /// Who wrote it.
    pub role: Role,
    /// When it was begun.
    pub created: UnixMs,
    /// What a person wrote; empty for the assistant's, whose text is in `answers`.
    pub text: String,
    /// The images that a person sent with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageId>,
    /// The runs that wrote the assistant's message, in order: the first one, then one for each time
    /// it was continued.
    pub answers: Vec<Answer>,
    /// All messages that answer the same parent, this one included, in the order they were made.
    pub branches: Vec<MessageId>,
}

impl Message {
    /// Bytes of all text in it, also of what is folded away on the page.
    pub fn weight(&self) -> usize {
        let blocks = self.answers.iter().flat_map(|answer| &answer.blocks);
        self.text.len() + blocks.map(|block| block.text.len()).sum::<usize>()
    }

    /// The whole visible text: a person's words, or the texts of all runs one after the other.
    pub fn visible_text(&self) -> String {
        match self.role {
            Role::User => self.text.clone(),
            Role::Assistant => self.answers.iter().map(Answer::visible_text).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
