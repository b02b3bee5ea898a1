//! The provider over a tiny model: queue, places, stops, trimming, sessions, panics.

use super::{
    super::pool::MAX_WAITING, PANIC, hear, idle_after, limited, provider, request, tiny::Tiny,
};
use crate::provider::{Provider, ProviderEvent};
use futures::StreamExt;
use headwater_protocol::{BlockKind, ErrorCode, FinishReason, Stage};
use std::time::Duration;

#[tokio::test]
async fn tells_events_in_order_and_counts() {
    let provider = provider(&Tiny::new("llama").load(1024), |_| {});
    let heard = hear(&provider, limited(request("c", &["Hello"]), 20)).await;
    assert_eq!(heard.error, None);
    let events = &heard.events;
    assert_eq!(events[0], ProviderEvent::Connected);
    let text = BlockKind::Text;
    assert!(
        matches!(&events[1], ProviderEvent::BlockStarted { index: 0, kind, .. } if *kind == text)
    );
    let n = events.len();
    assert!(matches!(
        events[n - 3],
        ProviderEvent::BlockFinished { index: 0, .. }
    ));
    assert!(matches!(events[n - 2], ProviderEvent::Usage(_)));
    let ProviderEvent::Finished { reason, word } = &events[n - 1] else {
        panic!("{events:?}");
    };
    match word.as_str() {
        "length" => assert_eq!((*reason, heard.usage.output), (FinishReason::Length, 20)),
        _ => assert_eq!(*reason, FinishReason::Stop),
    }
    assert!(heard.usage.input > 40 && heard.usage.cache_read == 0 && !heard.usage.estimated);
    assert!(!heard.text.is_empty());
}

#[tokio::test]
async fn nothing_happens_before_the_first_poll() {
    let provider = provider(&Tiny::new("llama").load(1024), |_| {});
    let stream = provider.stream(request("c", &["Hello"]));
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!((provider.busy(), provider.waiting()), (0, 0));
    drop(stream);
}

#[tokio::test]
async fn waiting_requests_see_their_place_and_move_up() {
    let provider = provider(&Tiny::new("llama").load(1024), |c| {
        c.parallel = 1;
        c.max_new_tokens = 900;
    });
    let mut first = provider.stream(request("1", &["a"]));
    assert_eq!(first.next().await, Some(Ok(ProviderEvent::Connected)));
    let queued = |ahead| Some(Ok(ProviderEvent::Stage(Stage::Queued { ahead })));
    let mut second = provider.stream(request("2", &["b"]));
    assert_eq!(second.next().await, queued(1));
    let mut third = provider.stream(limited(request("3", &["c"]), 3));
    assert_eq!(third.next().await, queued(2));
    assert_eq!((provider.busy(), provider.waiting()), (1, 2));

    // The one in the middle gives up: the last one moves up, and starts when the first one goes.
    drop(second);
    assert_eq!(provider.waiting(), 1);
    assert_eq!(third.next().await, queued(1));
    drop(first);
    assert_eq!(third.next().await, Some(Ok(ProviderEvent::Connected)));
    let rest: Vec<_> = third.collect().await;
    assert!(matches!(
        rest.last(),
        Some(Ok(ProviderEvent::Finished { .. }))
    ));
    idle_after(&provider).await;
}

#[tokio::test]
async fn more_requests_than_can_wait_are_refused_with_a_sentence() {
    let provider = provider(&Tiny::new("llama").load(1024), |c| {
        c.parallel = 1;
        c.max_new_tokens = 900;
    });
    let mut first = provider.stream(request("1", &["a"]));
    assert_eq!(first.next().await, Some(Ok(ProviderEvent::Connected)));
    let mut waiting = Vec::new();
    for number in 1..=MAX_WAITING {
        let mut stream = provider.stream(request(&number.to_string(), &["b"]));
        let ahead = u32::try_from(number).unwrap();
        let queued = ProviderEvent::Stage(Stage::Queued { ahead });
        assert_eq!(stream.next().await, Some(Ok(queued)));
        waiting.push(stream);
    }
    let heard = hear(&provider, request("x", &["c"])).await;
    assert_eq!(
        heard.error.map(|error| error.code),
        Some(ErrorCode::Overloaded)
    );
    // The next one may come as soon as one has gone.
    drop(waiting.remove(3));
    let mut next = provider.stream(request("y", &["d"]));
    assert!(next.next().await.is_some_and(|event| event.is_ok()));
    drop(waiting);
    drop(first);
}

#[tokio::test]
async fn several_answers_at_once_and_none_sees_a_queue() {
    let provider = provider(&Tiny::new("llama").load(1024), |c| c.parallel = 3);
    let answers = (0..3).map(|i| hear(&provider, limited(request(&i.to_string(), &["x"]), 30)));
    let heard = futures::future::join_all(answers).await;
    for heard in &heard {
        assert_eq!(heard.stages, []);
    }
    // The same question at temperature 0 gives the same answer on each thread.
    assert!(heard.windows(2).all(|pair| pair[0].text == pair[1].text));
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_thread_only_until_it_goes() {
    let provider = provider(&Tiny::new("llama").load(1024), |c| c.max_new_tokens = 900);
    let mut stream = provider.stream(request("c", &["a"]));
    stream.next().await;
    // The channel is full after a moment and the thread waits.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(provider.busy(), 1);
    drop(stream);
    let ms = idle_after(&provider).await;
    assert!(ms < 1000, "{ms} ms");
}

#[tokio::test]
async fn a_second_turn_reads_only_what_is_new() {
    let provider = provider(&Tiny::new("qwen3").load(1024), |_| {});
    let first = hear(&provider, limited(request("c", &["Hello"]), 8)).await;
    let turns = ["Hello", "an answer", "And?"];
    let second = hear(&provider, limited(request("c", &turns), 8)).await;
    assert!(
        second.usage.cache_read >= first.usage.input - 1,
        "{second:?}"
    );
    // The result is that of a fresh session.
    let fresh = hear(&provider, limited(request("other", &turns), 8)).await;
    assert!(fresh.usage.cache_read == 0 && fresh.text == second.text);
    // An answer without a conversation leaves nothing behind.
    hear(&provider, limited(request("", &turns), 8)).await;
    let again = hear(&provider, limited(request("", &turns), 8)).await;
    assert_eq!(again.usage.cache_read, 0);
}

#[tokio::test]
async fn sessions_stay_within_their_memory() {
    let provider = provider(&Tiny::new("llama").load(1024), |c| {
        // 256 positions of this model take 2 layers * 2 * 2 heads * 16 * 4 bytes * 256 = 128 KiB.
        c.session_cache_bytes = 300 << 10;
    });
    for name in ["a", "b", "c", "d"] {
        hear(&provider, limited(request(name, &["Hello"]), 4)).await;
        assert!(provider.pool.sessions.bytes() <= 300 << 10);
    }
    let kept = hear(&provider, limited(request("d", &["Hello"]), 4)).await;
    assert!(kept.usage.cache_read > 0);
    let gone = hear(&provider, limited(request("a", &["Hello"]), 4)).await;
    assert_eq!(gone.usage.cache_read, 0);
    // A conversation that is too large by itself is not kept.
    let long = "x".repeat(800);
    hear(&provider, limited(request("e", &[&long]), 4)).await;
    assert!(provider.pool.sessions.bytes() <= 300 << 10);
}

#[tokio::test]
async fn the_oldest_turns_leave_and_the_reader_is_told() {
    let provider = provider(&Tiny::new("llama").load(512), |_| {});
    let long = "y".repeat(120);
    let turns = [&long, "A", &long, "B", &long, "C", "the last"];
    let turns = turns.map(|turn| turn as &str);
    let heard = hear(&provider, limited(request("c", &turns), 5)).await;
    assert_eq!(heard.error, None);
    let trimmed = heard.stages.iter().filter_map(|stage| match stage {
        Stage::ContextTrimmed { messages } => Some(*messages),
        _ => None,
    });
    let trimmed: Vec<u32> = trimmed.collect();
    assert_eq!(trimmed.len(), 1, "{:?}", heard.stages);
    assert!(matches!(trimmed[0], 2 | 4), "{trimmed:?}");
    assert!(heard.usage.input <= 384, "{:?}", heard.usage);

    // The next turn leaves out the same ones, so that the session can be used again.
    let turns: Vec<&str> = turns.into_iter().chain(["D", "more"]).collect();
    let heard = hear(&provider, limited(request("c", &turns), 5)).await;
    assert!(heard.usage.cache_read > 150, "{:?}", heard.usage);
}

#[tokio::test]
async fn a_message_that_does_not_fit_is_refused_with_numbers() {
    let provider = provider(&Tiny::new("llama").load(512), |_| {});
    for text in ["z".repeat(400), "z".repeat(500_000)] {
        let heard = hear(&provider, request("c", &["a", "b", &text])).await;
        let error = heard.error.unwrap();
        assert_eq!(error.code, ErrorCode::ContextTooLong);
        assert!(error.message.contains("384") && error.message.contains("512"));
    }
    let heard = hear(&provider, request("c", &[])).await;
    assert_eq!(heard.error.unwrap().code, ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn a_full_context_ends_the_answer_with_length() {
    let provider = provider(&Tiny::new("llama").load(128), |c| {
        c.sampling.temperature = 0.0
    });
    let heard = hear(&provider, request("c", &["a"])).await;
    assert_eq!(heard.error, None);
    let all = heard.usage.input + heard.usage.output;
    match heard.finish.as_deref() {
        // The last token is written and not fed.
        Some("length") => assert_eq!(all, 129),
        other => assert_eq!(other, Some("stop")),
    }
}

#[tokio::test]
async fn reading_a_long_prompt_tells_how_far_it_is() {
    let provider = provider(&Tiny::new("llama").load(8192), |_| {});
    let text = "word ".repeat(140);
    let heard = hear(&provider, limited(request("c", &[&text]), 2)).await;
    let percents: Vec<u8> = heard
        .stages
        .iter()
        .map(|stage| match stage {
            Stage::ReadingPrompt { percent } => *percent,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(percents[0], 0);
    assert!(
        percents.is_sorted() && (3..=20).contains(&percents.len()),
        "{percents:?}"
    );
}

#[tokio::test]
async fn goes_on_from_half_an_answer() {
    let model = Tiny::new("llama").load(1024);
    let provider = provider(&model, |_| {});
    assert!(provider.can_prefill("smollm2"));
    let whole = hear(&provider, limited(request("c", &["Hello"]), 1)).await;
    let mut half = limited(request("d", &["Hello"]), 1);
    half.prefill = Some("Sure ".into());
    let rest = hear(&provider, half).await;
    // "Sure" is five bytes less one: the space is left to the model.
    assert_eq!(rest.usage.input, whole.usage.input + 4);
}

#[tokio::test]
async fn a_panic_costs_one_answer_and_not_the_thread() {
    let provider = provider(&Tiny::new("llama").load(1024), |c| c.parallel = 1);
    for _ in 0..3 {
        let heard = hear(&provider, request(PANIC, &["a"])).await;
        assert_eq!(heard.error.unwrap().code, ErrorCode::Internal);
    }
    let heard = hear(&provider, limited(request("c", &["a"]), 2)).await;
    assert_eq!(heard.error, None);
    idle_after(&provider).await;
}

#[tokio::test]
async fn another_model_is_not_taken_for_this_one() {
    let provider = provider(&Tiny::new("llama").load(1024), |_| {});
    let mut asked = limited(request("c", &["a"]), 2);
    asked.model = "gpt-9".into();
    let error = hear(&provider, asked.clone()).await.error.unwrap();
    assert_eq!(error.code, ErrorCode::NotFound);
    asked.model = "model".into();
    assert_eq!(hear(&provider, asked).await.error, None);
}

#[tokio::test]
async fn a_provider_that_is_gone_takes_nothing_new_and_finishes_what_it_has() {
    let provider = provider(&Tiny::new("llama").load(1024), |_| {});
    let late = provider.stream(request("c", &["a"]));
    let mut running = provider.stream(limited(request("d", &["a"]), 20));
    running.next().await;
    drop(provider);
    let rest: Vec<_> = running.collect().await;
    assert!(matches!(
        rest.last(),
        Some(Ok(ProviderEvent::Finished { .. }))
    ));
    let refused: Vec<_> = late.collect().await;
    assert!(matches!(&refused[..], [Err(error)] if error.code == ErrorCode::ShuttingDown));
}
