//! One question to one provider: what is asked, and what is counted of it.

use super::{Job, overlap::Overlap, recorder::Recorder};
use crate::{
    prompt::{self, TurnBuilder},
    provider::{ChatMessage, ChatRequest, Role},
};
use headwater_protocol::{Event, SpanKind, SpanNo, Usage};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Asked of a model that cannot go on from a half-written answer by itself.
const GO_ON: &str = "Your last answer was cut off. Continue it exactly where it stopped. Do not \
                     repeat anything, do not comment, begin with the next character.";

/// One call of a provider.
pub(super) struct Call {
    /// Its span.
    pub(super) span: SpanNo,
    /// Which of the job's candidates is asked.
    pub(super) candidate: usize,
    /// Compares the beginning of a continuation with what it goes on from.
    pub(super) overlap: Option<Overlap>,
    /// When it began.
    pub(super) begun: Instant,
    /// Whether the provider has got the request: only then it may have counted tokens.
    pub(super) reached: bool,
    /// What the provider counted.
    pub(super) counted: Option<Usage>,
    /// Bytes of text, reasoning and arguments that it wrote.
    pub(super) written: usize,
    /// Whether its text begins a paragraph: there is text before the tools that it was told of.
    pub(super) paragraph: bool,
    /// What `paragraph` was before the first text.
    pub(super) after_text: bool,
    /// Bytes of the request.
    asked: usize,
}

impl Call {
    /// Notes the beginning of a call, and makes its request. `replaces` is the span whose place this
    /// one takes, `rival` says that another call tries to take it too.
    pub(super) fn begin(
        job: &Job,
        candidate: usize,
        replaces: Option<SpanNo>,
        rival: bool,
        recorder: &mut Recorder,
    ) -> (Self, ChatRequest) {
        let (request, goes_on) = request(job, candidate, replaces);
        let span = recorder.next_span();
        recorder.note(Event::SpanStarted {
            span,
            parent: None,
            kind: SpanKind::ChatModel,
            name: job.candidates[candidate].full.clone(),
            tags: Vec::new(),
            metadata: json!({ "messages": request.messages.len() }),
            input: Value::Null,
            replaces: replaces.filter(|_| !rival),
        });
        let turns: usize = request.messages.iter().map(ChatMessage::text_len).sum();
        let others = [&request.system, &request.prefill];
        let call = Self {
            span,
            candidate,
            paragraph: matches!(goes_on, GoesOn::Paragraph),
            after_text: matches!(goes_on, GoesOn::Paragraph),
            overlap: match goes_on {
                GoesOn::Asked(overlap) => Some(overlap),
                _ => None,
            },
            begun: Instant::now(),
            reached: false,
            counted: None,
            written: 0,
            asked: turns + others.into_iter().flatten().map(String::len).sum::<usize>(),
        };
        (call, request)
    }

    /// What the provider counted; otherwise an estimate at four bytes a token, which is OpenAI's
    /// rule of thumb for English, marked as such.
    pub(super) fn usage(&self) -> Usage {
        match self.counted {
            Some(usage) => usage,
            None if self.reached => Usage {
                input: (self.asked / 4) as u64,
                output: (self.written / 4) as u64,
                estimated: true,
                ..Usage::default()
            },
            None => Usage::default(),
        }
    }
}

/// How the text of a call joins what is there.
enum GoesOn {
    /// There is none before it, or it goes on by itself.
    Plainly,
    /// It was asked in words to go on; this removes what it repeats.
    Asked(Overlap),
    /// It begins a paragraph.
    Paragraph,
}

/// The request for a candidate.
fn request(job: &Job, candidate: usize, replaced: Option<SpanNo>) -> (ChatRequest, GoesOn) {
    let candidate = &job.candidates[candidate];
    let mut request = job.request.clone();
    request.model.clone_from(&candidate.model);
    request.messages = prompt::turns(&job.before, &job.images, &candidate.full);
    if candidate.tools {
        request.tools = job.tools.definitions();
    }
    let mut said = TurnBuilder::new(&candidate.full);
    for answer in &job.earlier {
        said.add(answer, None);
    }
    job.live.with_answer(|answer| said.add(answer, replaced));
    let prefill = candidate.provider.can_prefill(&candidate.model);
    let goes_on = go_on(&mut request, said, prefill);
    (request, goes_on)
}

/// Adds to a conversation what this message holds by now, and, where the model was speaking, that it
/// is to go on.
fn go_on(request: &mut ChatRequest, said: TurnBuilder<'_>, prefill: bool) -> GoesOn {
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
            true => GoesOn::Paragraph,
            false => GoesOn::Plainly,
        };
    };
    let written = half.text();
    if prefill {
        request.prefill = Some(written);
        return GoesOn::Plainly;
    }
    let overlap = Overlap::new(&written);
    let go_on = ChatMessage::new(Role::User, GO_ON);
    request.messages.extend([half, go_on]);
    GoesOn::Asked(overlap)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
