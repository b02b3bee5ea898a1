//! One question to one provider: what is asked, and what is counted of it.

use super::{Job, overlap::Overlap, recorder::Recorder};
use crate::{
    protocol::{Event, SpanKind, SpanNo, Usage},
    server::provider::{ChatMessage, ChatRequest, Part, Role},
};
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
    /// Bytes of the request.
    asked: usize,
}

impl Call {
    /// Notes the beginning of a call, and makes its request. `written` is the text of the message so
    /// far, `replaces` the span whose place this one takes.
    pub(super) fn begin(
        job: &Job,
        candidate: usize,
        replaces: Option<SpanNo>,
        written: &str,
        recorder: &mut Recorder,
    ) -> (Self, ChatRequest) {
        let (request, overlap) = request(job, candidate, written);
        let span = recorder.next_span();
        recorder.note(Event::SpanStarted {
            span,
            parent: None,
            kind: SpanKind::ChatModel,
            name: job.candidates[candidate].full.clone(),
            tags: Vec::new(),
            metadata: json!({ "messages": job.request.messages.len() }),
            input: Value::Null,
            replaces,
        });
        let turns: usize = request.messages.iter().map(ChatMessage::text_len).sum();
        let others = [&request.system, &request.prefill];
        let call = Self {
            span,
            candidate,
            overlap,
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

/// The request for a candidate: where text is written already, the candidate is to go on from it.
/// What comes with it removes a repetition, if the model was asked in words.
fn request(job: &Job, candidate: usize, written: &str) -> (ChatRequest, Option<Overlap>) {
    let candidate = &job.candidates[candidate];
    let mut request = job.request.clone();
    request.model.clone_from(&candidate.model);
    if candidate.full != job.model {
        // Another model's thoughts carry another model's signatures.
        for message in &mut request.messages {
            message
                .parts
                .retain(|part| !matches!(part, Part::Reasoning { .. }));
        }
    }
    if written.is_empty() {
        return (request, None);
    }
    if candidate.provider.can_prefill(&candidate.model) {
        request.prefill = Some(written.to_owned());
        return (request, None);
    }
    let turns = [(Role::Assistant, written), (Role::User, GO_ON)];
    request
        .messages
        .extend(turns.map(|(role, text)| ChatMessage::new(role, text)));
    (request, Some(Overlap::new(written)))
}
