//! What servers really send, through the whole server: what the person sees, what the log holds, what
//! is sent again.

use crate::{
    harness::{InProcess, ends_once, provider, stored},
    upstream::{Reply, Upstream},
};
use headwater_engine::{config::Kind, runs::recovery::Recovery};
use headwater_protocol::{
    BlockKind, ErrorCode, Event, ImageId, Started, Status,
    chat::{Answer, Message},
};
use reqwest::StatusCode;
use std::time::Duration;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

struct Case {
    server: InProcess,
    upstream: Upstream,
}

impl Case {
    async fn new(kind: Kind, body: &str) -> Self {
        Self::with(kind, vec![Reply::stream(body)]).await
    }

    async fn with(kind: Kind, replies: Vec<Reply>) -> Self {
        let upstream = Upstream::start(replies).await;
        let server = InProcess::with(|config| {
            config.recovery = Recovery {
                pause: Duration::from_millis(5),
                ..Recovery::default()
            };
            config.providers = vec![provider(kind, format!("http://{}", upstream.address))];
        })
        .await;
        Self { server, upstream }
    }

    /// Asks, in this conversation or in a new one.
    async fn ask(&self, conversation: Option<&Started>) -> (Started, Answer) {
        let conversation = conversation.map(|started| started.conversation.to_string());
        let mut form = vec![("text", "How many legs?"), ("model", "p/m")];
        form.extend(conversation.as_deref().map(|id| ("conversation", id)));
        let started = self.server.api.try_start(&form).await.expect("started");
        let answer = self.server.api.fold(started.run).await;
        ends_once(&self.server.engine, started.run).await;
        let loaded = self.server.api.load(&started).await;
        let last = loaded.messages.last().map(Message::visible_text);
        assert_eq!(last, Some(answer.visible_text()));
        (started, answer)
    }

    /// The requests with the question.
    fn asked(&self) -> Vec<String> {
        let mut requests = self.upstream.requests();
        requests.retain(|request| request.contains("How many legs?"));
        requests
    }
}

fn texts(answer: &Answer, kind: BlockKind) -> String {
    let blocks = answer.blocks.iter().filter(|block| block.kind == kind);
    blocks.map(|block| block.text.as_str()).collect()
}

#[tokio::test]
async fn thoughts_whose_beginning_is_not_marked_are_folded_away_and_not_sent_again() {
    let streams = [
        (
            Kind::Openai,
            fixture!("openai/closing-tag.sse"),
            "An ant has six legs.",
        ),
        (
            Kind::Ollama,
            fixture!("ollama/closing-tag.ndjson"),
            "An ant.",
        ),
    ];
    for (kind, body, text) in streams {
        let case = Case::new(kind, body).await;
        let (started, answer) = case.ask(None).await;
        assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
        assert_eq!(answer.visible_text(), text);
        let thought = texts(&answer, BlockKind::Reasoning);
        assert!(thought.contains("Six"), "{thought}");
        // It was shown as text first, and the log says so.
        let log = stored(&case.server.engine, started.run).await;
        let is_relabelled = |event: &Event| {
            matches!(
                event,
                Event::BlockRelabelled {
                    kind: BlockKind::Reasoning,
                    ..
                }
            )
        };
        assert_eq!(
            log.iter()
                .filter(|entry| is_relabelled(&entry.event))
                .count(),
            1
        );
        let page = format!("/plain/{}", started.conversation);
        let page = case.server.api.text(&page).await;
        assert!(
            page.contains(text.trim_end_matches('.')) && !page.contains("Six"),
            "{page}"
        );
        case.ask(Some(&started)).await;
        let asked = case.asked();
        let last = asked.last().expect("a second request");
        assert!(last.contains(text) && !last.contains("/think"), "{last}");
    }
}

#[tokio::test]
async fn thoughts_that_broke_off_and_went_on_are_folded_away_together() {
    let piece =
        |text: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{text:?}}}}}]}}\n\n");
    let first = piece("They ask for the legs of an ant.");
    let second = piece(" Six of them.\n</think>\n\n") + &piece("An ant has six.");
    let second = second + "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let replies = vec![Reply::stream(first), Reply::stream(second)];
    let case = Case::with(Kind::Openai, replies).await;
    let (_, answer) = case.ask(None).await;
    assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
    assert_eq!(answer.visible_text(), "An ant has six.");
    let thought = texts(&answer, BlockKind::Reasoning);
    assert_eq!(thought, "They ask for the legs of an ant. Six of them.\n");
}

#[tokio::test]
async fn a_stop_within_thoughts_that_seemed_to_be_text_keeps_no_text() {
    let case = Case::new(Kind::Openai, fixture!("openai/closing-tag.sse")).await;
    let (started, _) = case.ask(None).await;
    let log = stored(&case.server.engine, started.run).await;
    let thought = log
        .iter()
        .find(|entry| matches!(entry.event, Event::Delta { .. }));
    let live = headwater_engine::log::live::Live::new(
        started.run,
        started.conversation,
        1,
        0,
        case.server
            .engine
            .log
            .stored(started.run)
            .await
            .expect("readable"),
    );
    assert_eq!(
        live.visible_length_at(thought.expect("a delta").seq, None),
        0
    );
    assert_eq!(live.visible_length_at(log.len() as u64, None), 20);
}

#[tokio::test]
async fn a_failure_in_a_field_of_the_stream_is_understood_and_not_asked_again() {
    let case = Case::new(Kind::Openai, fixture!("openai/error-field.sse")).await;
    let (_, answer) = case.ask(None).await;
    let error = answer.error.expect("an error");
    assert_eq!(error.code, ErrorCode::ContextTooLong);
    for word in ["larger than the context", "7001", "2048"] {
        assert!(error.message.contains(word), "{error}");
    }
    assert_eq!(case.asked().len(), 1);
}

#[tokio::test]
async fn an_answer_without_a_word_is_an_error_and_asked_again_where_that_may_help() {
    let ended = |word: &str| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"{word}\"}}]}}\n\ndata: [DONE]\n\n"
        )
    };
    for (kind, body, code, times) in [
        (Kind::Openai, ended("stop"), ErrorCode::ProviderError, 3),
        (Kind::Openai, ended("length"), ErrorCode::Truncated, 1),
        (Kind::Openai, "data: [DONE]\n\n".into(), ErrorCode::Truncated, 3),
        (Kind::Openai, "{\"detail\":\"Forbidden\"}".into(), ErrorCode::Permission, 1),
        (Kind::Openai, "Service unavailable".into(), ErrorCode::Overloaded, 3),
        (Kind::Gemini, "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n".into(), ErrorCode::ProviderError, 3),
        (Kind::Ollama, "{\"error\":\"prompt is too long\"}\n".into(), ErrorCode::ContextTooLong, 1),
        (Kind::Anthropic, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"permission_error\",\"message\":\"no\"}}\n\n".into(), ErrorCode::Permission, 1),
        (Kind::Responses, "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n".into(), ErrorCode::ProviderError, 3),
    ] {
        let case = Case::new(kind, &body).await;
        let (_, answer) = case.ask(None).await;
        assert_eq!(answer.status, Some(Status::Error), "{body}");
        let error = answer.error.expect("an error");
        assert_eq!(error.code, code, "{body}: {error}");
        assert_eq!(case.asked().len(), times, "{body}");
    }
}

#[tokio::test]
async fn wrong_numbers_and_repetitions_lose_no_text_and_tell_none_twice() {
    for (kind, body, thought, text) in [
        (
            Kind::Anthropic,
            fixture!("anthropic/other-numbers.sse"),
            "",
            "I look. It is there.",
        ),
        (
            Kind::Responses,
            fixture!("responses/other-places.sse"),
            "A flower.",
            "A rose.",
        ),
        (
            Kind::Openai,
            fixture!("openai/growing.sse"),
            "",
            "The sea is deep.",
        ),
        (
            Kind::Openai,
            fixture!("openai/other-choice.sse"),
            "",
            "Not zero.",
        ),
        (
            Kind::Openai,
            fixture!("openai/reasoning-details.sse"),
            "Count them.",
            "Four.",
        ),
        (
            Kind::Gemini,
            fixture!("gemini/growing.sse"),
            "Look up.",
            "A kite is up.",
        ),
    ] {
        let case = Case::new(kind, body).await;
        let (_, answer) = case.ask(None).await;
        assert_eq!(
            answer.status,
            Some(Status::Ok),
            "{kind:?}: {:?}",
            answer.error
        );
        assert_eq!(answer.visible_text(), text, "{kind:?}");
        assert_eq!(texts(&answer, BlockKind::Reasoning), thought, "{kind:?}");
    }
}

#[tokio::test]
async fn an_image_in_an_answer_is_kept_shown_and_gone_with_the_conversation() {
    for (kind, body) in [
        (Kind::Openai, fixture!("openai/image.sse")),
        (Kind::Responses, fixture!("responses/image.sse")),
        (Kind::Gemini, fixture!("gemini/image.sse")),
        (Kind::Ollama, fixture!("ollama/image.ndjson")),
    ] {
        let case = Case::new(kind, body).await;
        let (started, answer) = case.ask(None).await;
        assert_eq!(
            answer.status,
            Some(Status::Ok),
            "{kind:?}: {:?}",
            answer.error
        );
        let images: Vec<ImageId> = answer.images().collect();
        assert_eq!(images.len(), 1, "{kind:?}");
        let address = images[0].address();
        let shown = case.server.api.get(&address).await;
        assert_eq!(shown.headers()["content-type"], "image/png");
        assert_eq!(shown.bytes().await.expect("bytes"), PNG);
        let page = format!("/plain/{}", started.conversation);
        let page = case.server.api.text(&page).await;
        assert!(page.contains(&address), "{page}");
        let id = started.conversation.to_string();
        let deleted = case
            .server
            .api
            .post("/api/conversations/delete", &[("id", &id)])
            .await;
        assert_eq!(deleted.status(), StatusCode::OK);
        let gone = case.server.api.get(&address).await;
        assert_eq!(gone.status(), StatusCode::NOT_FOUND, "{kind:?}");
    }
}
