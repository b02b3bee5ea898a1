//! One call of a model: its stream, and the counts for its receipt.

use crate::{
    provider::{ChatMessage, ProviderEvent},
    runs::{
        Job,
        join::Join,
        recorder::{Recorder, SpanStart},
        request::request,
    },
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use headwater_protocol::{Error, ErrorCode, SpanKind, SpanNo, Usage};
use serde_json::json;
use tokio::time::Instant;

/// Bytes of text a token has by [OpenAI's rule of thumb for English][rule].
///
/// [rule]: https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them
const BYTES_PER_TOKEN: usize = 4;

/// What a provider yields next.
pub(super) type Item = Result<ProviderEvent, Error>;

/// A call of a model that has been asked for. Dropping it closes the provider.
pub(super) struct ModelCall {
    pub(super) span: SpanNo,
    /// The place of the model in [`Job::candidates`].
    pub(super) candidate: usize,
    pub(super) begun: Instant,
    /// Joins the text of the call to the text before it.
    pub(super) join: Join,
    /// Whether the provider has the request. Before that it cannot have counted tokens.
    pub(super) reached: bool,
    /// The provider's own count of tokens.
    pub(super) counted: Option<Usage>,
    /// Bytes of text, reasoning and arguments that came.
    pub(super) written: usize,
    /// Bytes of text in the request.
    asked: usize,
    stream: BoxStream<'static, Item>,
}

impl ModelCall {
    /// Notes the beginning of the span, and makes the request. The provider gets it with the first
    /// [`ModelCall::next`].
    ///
    /// `replaces` is the span whose place the call takes. `is_hedge` says that another call tries to
    /// take it, too.
    pub(super) fn begin(
        job: &Job,
        candidate: usize,
        replaces: Option<SpanNo>,
        is_hedge: bool,
        recorder: &mut Recorder,
    ) -> Self {
        let (request, join) = request(job, candidate, replaces, |span| recorder.is_own(span));
        let name = &job.candidates[candidate].full;
        let span = recorder.begin_span(SpanStart {
            metadata: json!({ "messages": request.messages.len() }),
            input: job.input.clone(),
            replaces: replaces.filter(|_| !is_hedge),
            ..SpanStart::new(SpanKind::ChatModel, name)
        });
        let turns: usize = request.messages.iter().map(ChatMessage::text_len).sum();
        let others = [&request.system, &request.prefill];
        let others: usize = others.into_iter().flatten().map(String::len).sum();
        let provider = job.candidates[candidate].provider.clone();
        Self {
            span,
            candidate,
            begun: Instant::now(),
            join,
            reached: false,
            counted: None,
            written: 0,
            asked: turns + others,
            stream: stream::once(async move { provider.stream(request) })
                .flatten()
                .boxed(),
        }
    }

    /// What the provider yields next. The end of the stream is an error: a whole answer ends with
    /// [`ProviderEvent::Finished`], and nobody asks for more behind that.
    pub(super) async fn next(&mut self) -> Item {
        let item = self.stream.next().await;
        item.unwrap_or_else(|| Err(truncated()))
    }

    /// Closes the provider.
    pub(super) fn close(&mut self) {
        self.stream = stream::empty().boxed();
    }

    /// The provider's count of tokens, or an estimate that is marked as such.
    pub(super) fn usage(&self) -> Usage {
        match self.counted {
            Some(usage) => usage,
            None if self.reached => Usage {
                input: (self.asked / BYTES_PER_TOKEN) as u64,
                output: (self.written / BYTES_PER_TOKEN) as u64,
                estimated: true,
                ..Usage::default()
            },
            None => Usage::default(),
        }
    }
}

fn truncated() -> Error {
    Error::new(
        ErrorCode::Truncated,
        "The provider ended the stream without saying that the answer was whole.",
    )
    .at("writing")
}
