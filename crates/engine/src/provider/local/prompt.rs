//! Turns a request into the tokens that the model reads, within its context.

use super::{
    halt::{Cancel, Halt},
    model::LocalModel,
    template::Message,
};
use crate::provider::{ChatRequest, Role};
use headwater_protocol::{Error, ErrorCode};

/// The default system prompt. Models of this size ramble without one.
const SYSTEM: &str = "You are a helpful AI assistant.";

/// Roughly the number of tokens that a template puts around each message.
const AROUND_MESSAGE: usize = 8;

/// The most tokens that are kept free for the answer.
const MAX_RESERVE: usize = 512;

/// What the model reads.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) ids: Vec<u32>,
    /// How many of the oldest messages were left out.
    pub(super) left_out: u32,
    /// The number of spaces at the end of the prefill that are not in `ids`. Tokens begin with the
    /// space before a word, so the model cannot continue after a lone space. It writes the space
    /// again, and that one is not shown.
    pub(super) spaces: usize,
}

/// One or more consecutive messages of the same role.
struct Turn {
    message: Message,
    messages: u32,
    tokens: usize,
}

/// Renders the request. If it is too long, the oldest turns are left out, and more of them than
/// necessary: so the following prompts start with the same text, and the cache can be used.
///
/// # Errors
/// [`ErrorCode::ContextTooLong`] if the last turn alone does not fit,
/// [`ErrorCode::InvalidRequest`] if there are no messages, [`Halt::Cancelled`].
pub(super) fn build(
    model: &LocalModel,
    request: &ChatRequest,
    cancel: &Cancel,
) -> Result<Prompt, Halt> {
    if request.messages.is_empty() {
        let error = Error::new(ErrorCode::InvalidRequest, "There is no message to answer.");
        return Err(error.into());
    }
    let room = Room::of(model);
    let prefill = model
        .vocabulary
        .strip_control(request.prefill.as_deref().unwrap_or_default(), cancel)?;
    let fed = prefill.trim_end_matches(' ');
    let given = request.system.as_deref().map(str::trim);
    let system = Message {
        role: "system",
        text: model.vocabulary.strip_control(
            given.filter(|text| !text.is_empty()).unwrap_or(SYSTEM),
            cancel,
        )?,
    };
    let count = |text: &str| {
        let tokens = model.vocabulary.count(text, room.for_prompt, cancel)?;
        Ok::<_, Halt>(tokens + AROUND_MESSAGE)
    };
    let fixed = count(&system.text)? + count(fed)?;
    let mut turns = turns(model, request, cancel)?;
    for turn in &mut turns {
        turn.tokens = count(&turn.message.text)?;
    }
    let mut start = first_turn(&turns, fixed, &room)?;
    loop {
        cancel.check()?;
        let messages: Vec<Message> = std::iter::once(&system)
            .chain(turns[start..].iter().map(|turn| &turn.message))
            .cloned()
            .collect();
        let mut text = model.template.render(&messages)?;
        text.push_str(fed);
        let ids = model.vocabulary.encode(&text)?;
        if ids.len() <= room.for_prompt {
            return Ok(Prompt {
                ids,
                left_out: turns[..start].iter().map(|turn| turn.messages).sum(),
                spaces: prefill.len() - fed.len(),
            });
        }
        // The estimate was a little too low.
        start = next_user(&turns, start).ok_or_else(|| room.too_long(ids.len()))?;
    }
}

/// The messages as turns with alternating roles, as templates expect them. After a failed run, two
/// messages of the person are consecutive.
fn turns(model: &LocalModel, request: &ChatRequest, cancel: &Cancel) -> Result<Vec<Turn>, Halt> {
    let mut turns: Vec<Turn> = Vec::new();
    for message in &request.messages {
        let role = match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let text = model.vocabulary.strip_control(&message.text(), cancel)?;
        match turns.last_mut() {
            Some(turn) if turn.message.role == role => {
                turn.message.text.push_str("\n\n");
                turn.message.text.push_str(&text);
                turn.messages += 1;
            }
            _ => turns.push(Turn {
                message: Message { role, text },
                messages: 1,
                tokens: 0,
            }),
        }
    }
    Ok(turns)
}

/// The next turn of the person after `start`. The last one is the turn to answer.
fn next_user(turns: &[Turn], start: usize) -> Option<usize> {
    (start + 1..turns.len()).find(|&i| turns[i].message.role == "user")
}

/// The first turn of the prompt.
fn first_turn(turns: &[Turn], fixed: usize, room: &Room) -> Result<usize, Error> {
    let total: usize = fixed + turns.iter().map(|turn| turn.tokens).sum::<usize>();
    let excess = total.saturating_sub(room.for_prompt);
    if excess == 0 {
        return Ok(0);
    }
    let goal = excess.next_multiple_of((room.for_prompt / 4).max(1));
    let (mut start, mut gone) = (0, 0);
    while gone < goal
        && let Some(next) = next_user(turns, start)
    {
        gone += turns[start..next]
            .iter()
            .map(|turn| turn.tokens)
            .sum::<usize>();
        start = next;
    }
    // The counts are estimates. Only a prompt that is clearly too long is refused without rendering
    // it.
    let rest = total - gone;
    if rest > room.for_prompt + room.for_prompt / 32 + 4 * AROUND_MESSAGE {
        return Err(room.too_long(rest));
    }
    Ok(start)
}

/// How the context is divided, in tokens.
struct Room {
    context: usize,
    for_prompt: usize,
}

impl Room {
    fn of(model: &LocalModel) -> Self {
        let context = model.network.context();
        Self {
            context,
            for_prompt: context - MAX_RESERVE.min(context / 4),
        }
    }

    fn too_long(&self, tokens: usize) -> Error {
        let sentence = format!(
            "The last message is too long for this model: with the instructions it takes {tokens} \
             tokens or more, and there is room for {} ({} in all, the rest is kept for the answer). \
             Send a shorter one, or choose a model with a longer context.",
            self.for_prompt, self.context
        );
        Error::new(ErrorCode::ContextTooLong, sentence).at("reading the prompt")
    }
}
