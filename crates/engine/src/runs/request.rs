//! The request that a model gets.

use super::{Job, join::Join};
use crate::{
    prompt::{self, TurnBuilder},
    provider::{ChatMessage, ChatRequest, Role},
};
use headwater_protocol::SpanNo;

/// Asked of a model that cannot continue a half-written answer by itself.
const GO_ON: &str = "Your last answer was cut off. Continue it exactly where it stopped. Do not \
                     repeat anything, do not comment, begin with the next character.";

/// The request for a candidate, and how its text joins what is there. `replaced` is the span whose
/// place it takes, so it is not told of that, and neither of spans that are not `own`: those of other
/// parts of a chain.
pub(super) fn request(
    job: &Job,
    candidate: usize,
    replaced: Option<SpanNo>,
    own: impl Fn(SpanNo) -> bool,
) -> (ChatRequest, Join) {
    let candidate = &job.candidates[candidate];
    let mut request = job.request.clone();
    request.model.clone_from(&candidate.model);
    request.messages = prompt::turns(&job.before, &job.images, &candidate.full);
    if candidate.tools {
        request.tools = job.tools.definitions();
    }
    let mut said = TurnBuilder::new(&candidate.full);
    for answer in &job.earlier {
        said.add(answer, |span| !answer.is_hidden(span));
    }
    let others_spoke = job.live.with_answer(|answer| {
        said.add(answer, |span| own(span) && replaced != Some(span));
        answer.has_text_of(|span| !own(span))
    });
    let prefill = candidate.provider.can_prefill(&candidate.model);
    let spoke = !said.is_empty();
    let join = match go_on(&mut request, said, prefill) {
        _ if others_spoke && !spoke => Join::as_paragraph(),
        join => join,
    };
    (request, join)
}

/// Adds what this message holds so far to the request. Where the model was speaking, it is asked to
/// go on: by `prefill`, if it can continue a given beginning, and otherwise in words.
fn go_on(request: &mut ChatRequest, said: TurnBuilder<'_>, prefill: bool) -> Join {
    let mut said = said.turns();
    if request.tools.is_empty() {
        prompt::without_tools(&mut request.messages);
        prompt::without_tools(&mut said);
    }
    let spoke = |turn: &ChatMessage| turn.role == Role::Assistant && turn.text_len() > 0;
    let half = said.pop_if(|turn| turn.role == Role::Assistant);
    let spoke = said.iter().any(spoke);
    request.messages.append(&mut said);
    prompt::normalize(&mut request.messages, &request.tools);
    let Some(half) = half.filter(|turn| !turn.text().trim().is_empty()) else {
        return match spoke {
            true => Join::as_paragraph(),
            false => Join::default(),
        };
    };
    let written = half.text();
    if prefill {
        request.prefill = Some(written);
        return Join::default();
    }
    let join = Join::without_overlap(&written);
    let go_on = ChatMessage::new(Role::User, GO_ON);
    request.messages.extend([half, go_on]);
    join
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
