//! The messages of the WebSocket at [`PATH`]: texts of JSON, one object each.
//!
//! A client sends [`Request`]s. The server answers each with one reply, and sends the frames of
//! subscriptions, whose name is the identifier of the command that made them:
//!
//! ```text
//! → {"id":7,"command":"subscribe","run":"…","after":12}
//! ← {"reply":7,"ok":{},"seq":15}
//! ← {"subscription":7,"data":{"type":"ping"}}
//! ← {"subscription":7,"id":13,"data":{"type":"delta",…}}
//! ← {"subscription":7,"ended":true}
//! → {"id":8,"command":"stop","run":"…"}
//! ← {"reply":8,"error":{"code":"not_found","message":"…"}}
//! ```
//!
//! `data` is byte for byte what the event stream of the run has after `data:`, and `id` what it has
//! after `id:`. `seq` is the last entry of the run's log when the command had been carried out.

use crate::{ConversationId, Error, ImageId, MessageId, RunId, Seq};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

/// The path of the WebSocket.
pub const PATH: &str = "/api/ws";

/// Why the server closes a connection, as WebSocket [close codes](https://www.rfc-editor.org/rfc/rfc6455#section-7.4).
pub mod close {
    /// The server ends. Come back to the next one.
    pub const GOING_AWAY: u16 = 1001;
    /// A message was longer than the server takes.
    pub const TOO_LARGE: u16 = 1009;
    /// A message was no command: no JSON object, or without `id` or `command`.
    pub const UNREADABLE: u16 = 4400;
    /// The client did not read, or gave no sign of life, for too long. Resume when it can.
    pub const TOO_SLOW: u16 = 4408;
    /// The client went on sending commands after it had been refused some.
    pub const TOO_MANY: u16 = 4429;
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// A number that the reply repeats. The client chooses it; it must not be the name of a subscription
    /// that is open.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub command: Command,
}

/// The commands. Fields that a command does not know are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Sends a message and starts the run that answers it, like `POST /api/runs/start`.
    Start(Box<Start>),
    /// Stops a run. Its text is kept up to the entry `seen`.
    Stop {
        /// The run.
        run: RunId,
        /// The last entry that the reader showed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<Seq>,
    },
    /// Answers the same message again.
    Retry(Again),
    /// Continues an incomplete answer in the same message.
    Continue(Again),
    /// Decides on a call of a tool that asks. No tool asks yet, so it is always refused.
    Approve,
    /// Follows a run.
    Subscribe(Subscribe),
    /// Ends a subscription. Frames that are on their way still come, before the reply.
    Unsubscribe {
        /// Its name.
        subscription: u64,
    },
    /// Makes several subscriptions at once, as after a broken connection.
    Resume {
        /// Each with the name that it gets.
        subscriptions: Vec<Named>,
    },
    /// Asks for a sign of life, because scripts in browsers can send no ping of the WebSocket protocol.
    Ping,
}

/// The fields of [`Command::Start`]; see `POST /api/runs/start`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    /// The message.
    pub text: String,
    /// The conversation; `None` begins a new one.
    pub conversation: Option<ConversationId>,
    /// The message answered.
    pub parent: Option<MessageId>,
    /// `provider/model`.
    pub model: Option<String>,
    /// The same one starts one run, however often it is sent.
    pub client_id: Option<String>,
    /// Whether the message becomes a sibling of what already answers `parent`.
    pub branch: bool,
    /// The settings of a new conversation, an object of [`Settings`](crate::chat::Settings). The server
    /// checks its fields one by one.
    pub settings: Option<Value>,
    /// Images that were uploaded before.
    pub images: Vec<ImageId>,
}

/// A run that is answered once more, or further.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Again {
    /// The run.
    pub run: RunId,
    /// Another model in place of the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// What a subscription follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscribe {
    /// The run.
    pub run: RunId,
    /// The last entry that the reader has.
    #[serde(default)]
    pub after: Seq,
    /// Whether the state so far comes as one event in place of its history.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
    /// What `data` is.
    #[serde(default)]
    pub format: Format,
}

/// A subscription of [`Command::Resume`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// The name that it gets.
    pub id: u64,
    /// What it follows.
    #[serde(flatten)]
    pub subscribe: Subscribe,
}

/// What the data of a frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// An [`Event`](crate::Event).
    #[default]
    Events,
    /// An [`Entry`](crate::Entry), which has its time.
    Entries,
}

impl Format {
    /// The word for it in an address or a message.
    pub fn word(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Entries => "entries",
        }
    }

    /// The format with this word.
    pub fn of(word: &str) -> Option<Self> {
        let mut all = [Self::Events, Self::Entries].into_iter();
        all.find(|format| format.word() == word)
    }
}

/// What the server sends.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Message<'a> {
    /// The command that this is the reply to.
    pub reply: Option<u64>,
    /// What came of it, if it was carried out.
    #[serde(borrow)]
    pub ok: Option<&'a RawValue>,
    /// Why it was not.
    pub error: Option<Error>,
    /// The last entry of the run's log when it had been carried out.
    pub seq: Option<Seq>,
    /// The subscription that this is of.
    pub subscription: Option<u64>,
    /// The number of the frame's entry, if it is one.
    pub id: Option<Seq>,
    /// The data of the frame.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    /// Whether the subscription is over.
    pub ended: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_they_are_written() {
        let run = RunId(uuid::Uuid::from_u128(7));
        let again = || Again {
            run,
            model: Some("a/b".into()),
        };
        let subscribe = |format| Subscribe {
            run,
            after: 3,
            snapshot: true,
            format,
        };
        let all = [
            Command::Start(Box::default()),
            Command::Stop { run, seen: Some(4) },
            Command::Retry(again()),
            Command::Continue(again()),
            Command::Approve,
            Command::Subscribe(subscribe(Format::Entries)),
            Command::Unsubscribe { subscription: 2 },
            Command::Resume {
                subscriptions: vec![Named {
                    id: 5,
                    subscribe: subscribe(Format::Events),
                }],
            },
            Command::Ping,
        ];
        for (id, command) in (1..).zip(all) {
            let request = Request { id, command };
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(
                serde_json::from_str::<Request>(&text).unwrap(),
                request,
                "{text}"
            );
        }
    }

    #[test]
    fn fields_that_may_be_left_out_have_their_usual_values() {
        let text = r#"{"id":1,"command":"subscribe","run":"00000000-0000-0000-0000-000000000007","more":1}"#;
        let request: Request = serde_json::from_str(text).unwrap();
        let expected = Command::Subscribe(Subscribe {
            run: RunId(uuid::Uuid::from_u128(7)),
            after: 0,
            snapshot: false,
            format: Format::Events,
        });
        assert_eq!(request.command, expected);
    }

    #[test]
    fn the_data_of_a_frame_is_its_very_text() {
        let text = r#"{"subscription":7,"id":13,"data":{"b":1, "a" :[2]},"new":true}"#;
        let message: Message<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(message.data.unwrap().get(), r#"{"b":1, "a" :[2]}"#);
        assert_eq!((message.subscription, message.id), (Some(7), Some(13)));
    }
}
