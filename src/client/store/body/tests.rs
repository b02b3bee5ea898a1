use super::*;
use headwater_protocol::{Seq, SpanKind, SpanNo, Status, Timing, Usage};
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

/// A body whose first run has just begun, and its next number.
struct Writer {
    body: Body,
    seq: Seq,
}

impl Writer {
    fn new() -> Self {
        let mut body = Body::default();
        body.begin(run(1));
        Self { body, seq: 0 }
    }

    fn write(&mut self, event: Event) -> &mut Self {
        self.seq += 1;
        assert_eq!(self.body.apply(self.seq, &event), Applied::New);
        self
    }

    fn block(&mut self, span: SpanNo, block: BlockNo, kind: BlockKind) -> &mut Self {
        self.write(Event::BlockStarted {
            span,
            block,
            kind,
            tool: None,
        })
    }

    fn delta(&mut self, span: SpanNo, block: BlockNo, text: &str) -> &mut Self {
        self.write(Event::Delta {
            span,
            block,
            text: text.into(),
            from: None,
        })
    }

    fn finish(&mut self, status: Status, length: u64) -> &mut Self {
        self.write(Event::RunFinished {
            status,
            usage: Usage::default(),
            timing: Timing::default(),
            error: None,
            length,
            hash: String::new(),
        })
    }

    /// What is on the screen must be what the answers say.
    fn check(&mut self) {
        self.body.paint();
        let text: String = self.body.answers.iter().map(Answer::visible_text).collect();
        assert_eq!(self.body.text.source(), text);
        assert_eq!(self.body.shown, text.len());
        assert_eq!(self.body.painted(), self.body.cursor());
        let fresh = Body::new(self.body.answers.clone());
        assert_eq!(fresh.reasoning, self.body.reasoning);
        assert_eq!(fresh.seams, self.body.seams);
        assert_eq!(fresh.words(), self.body.words());
    }
}

fn run(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

fn span(span: SpanNo, replaces: Option<SpanNo>) -> Event {
    Event::SpanStarted {
        span,
        parent: None,
        kind: SpanKind::ChatModel,
        name: String::new(),
        tags: vec![],
        metadata: Value::Null,
        input: Value::Null,
        replaces,
    }
}

#[test]
fn text_grows_at_its_end_without_being_made_anew() {
    let mut writer = Writer::new();
    writer
        .write(span(1, None))
        .block(1, 1, BlockKind::Reasoning)
        .delta(1, 1, "Let me ")
        .delta(1, 1, "see.");
    writer
        .block(1, 2, BlockKind::Text)
        .delta(1, 2, "One tw")
        .check();
    let generation = writer.body.generation;
    writer.delta(1, 2, "o three").check();
    writer.finish(Status::Ok, 13).check();
    assert_eq!(writer.body.text.source(), "One two three");
    assert_eq!(writer.body.reasoning, "Let me see.");
    assert_eq!(writer.body.words(), 3);
    assert_eq!(writer.body.generation, generation);
}

#[test]
fn an_attempt_that_takes_anothers_place_takes_its_text_away() {
    let mut writer = Writer::new();
    writer
        .write(span(1, None))
        .block(1, 1, BlockKind::Text)
        .delta(1, 1, "first")
        .check();
    let generation = writer.body.generation;
    writer
        .write(span(2, Some(1)))
        .block(2, 2, BlockKind::Text)
        .delta(2, 2, "second")
        .check();
    assert_eq!(writer.body.text.source(), "second");
    assert!(writer.body.generation > generation);
}

#[test]
fn after_a_stop_nothing_more_is_shown_and_nothing_is_redrawn() {
    let mut writer = Writer::new();
    writer
        .write(span(1, None))
        .block(1, 1, BlockKind::Text)
        .delta(1, 1, "kept")
        .check();
    let generation = writer.body.generation;
    let painted = writer.body.painted();
    writer.body.freeze();
    writer.delta(1, 1, " not kept");
    assert!(!writer.body.paint());
    assert_eq!(writer.body.text.source(), "kept");
    assert_eq!(
        writer.body.painted(),
        painted,
        "what is not shown was not seen"
    );
    writer.finish(Status::Cancelled, 4).check();
    assert_eq!(writer.body.text.source(), "kept");
    assert_eq!(writer.body.generation, generation);
}

#[test]
fn a_stop_that_failed_shows_what_came_meanwhile() {
    let mut writer = Writer::new();
    writer
        .write(span(1, None))
        .block(1, 1, BlockKind::Text)
        .delta(1, 1, "a")
        .check();
    writer.body.freeze();
    writer.delta(1, 1, "b");
    writer.body.thaw();
    writer.check();
    assert_eq!(writer.body.text.source(), "ab");
}

#[test]
fn a_continuation_leaves_a_seam() {
    let mut writer = Writer::new();
    writer
        .write(span(1, None))
        .block(1, 1, BlockKind::Text)
        .delta(1, 1, "Half a ");
    writer.finish(Status::Interrupted, 7).check();
    writer.body.begin(run(2));
    writer.seq = 0;
    writer.check();
    writer
        .write(span(1, None))
        .block(1, 1, BlockKind::Text)
        .delta(1, 1, "sentence.")
        .check();
    assert_eq!(writer.body.text.source(), "Half a sentence.");
    assert_eq!(writer.body.seams, [7]);
}

#[test]
fn a_longer_text_of_the_same_run_is_never_replaced_by_a_shorter_one() {
    let mut writer = Writer::new();
    writer
        .write(span(1, None))
        .block(1, 1, BlockKind::Text)
        .delta(1, 1, "a");
    let early = writer.body.answers.clone();
    writer.delta(1, 1, "b").check();
    assert!(!writer.body.adopt(early.clone()));
    assert_eq!(writer.body.answers[0].visible_text(), "ab");
    let mut behind = Body::new(early.clone());
    assert!(behind.adopt(writer.body.answers.clone()));
    behind.paint();
    assert_eq!(behind.text.source(), "ab");
    writer.body.invalidate(run(1));
    assert!(writer.body.adopt(early));
    writer.check();
    assert_eq!(writer.body.text.source(), "a");
}

#[test]
fn words_may_come_in_pieces_and_without_spaces() {
    let mut words = Words::default();
    for piece in ["Hel", "lo  wor", "ld ", "", "日本", "語 and"] {
        words.push(piece);
    }
    assert_eq!(words.count(), 6);
}

proptest! {
    /// Blocks of all kinds that grow in any order, attempts that replace others, painted at any
    /// moment.
    #[test]
    fn what_is_shown_is_what_was_folded(
        steps in prop::collection::vec((0..4u8, 0..5u32, "[a-z äß日]{1,3}", any::<bool>()), 0..60),
        cut in 0..4u64,
    ) {
        const KINDS: [BlockKind; 3] = [BlockKind::Text, BlockKind::Reasoning, BlockKind::ToolInput];
        let mut writer = Writer::new();
        let (mut spans, mut blocks) = (1, Vec::new());
        writer.write(span(1, None));
        for (step, number, text, paint) in steps {
            match step {
                0 => {
                    blocks.push(spans);
                    let kind = KINDS[number as usize % 3];
                    writer.block(spans, blocks.len() as BlockNo, kind);
                }
                1 if number == 0 => {
                    spans += 1;
                    writer.write(span(spans, paint.then_some(spans - 1)));
                }
                _ if !blocks.is_empty() => {
                    let at = blocks.len() - 1 - (number as usize * number as usize / 8) % blocks.len();
                    writer.delta(blocks[at], at as BlockNo + 1, &text);
                }
                _ => {}
            }
            if paint {
                writer.check();
            }
        }
        writer.check();
        let length = writer.body.answers[0].visible_length();
        writer.finish(Status::Ok, length.saturating_sub(cut)).check();
    }
}

#[test]
fn text_that_was_thinking_is_folded_away_and_images_are_collected() {
    let mut writer = Writer::new();
    writer
        .write(span(1, None))
        .block(1, 1, BlockKind::Text)
        .delta(1, 1, "They ask.\n")
        .check();
    assert_eq!(writer.body.words(), 2);
    writer
        .write(Event::BlockRelabelled {
            span: 1,
            block: 1,
            kind: BlockKind::Reasoning,
        })
        .block(1, 2, BlockKind::Text)
        .delta(1, 2, "Six.")
        .check();
    assert_eq!(writer.body.reasoning, "They ask.\n");
    assert_eq!(writer.body.text.source(), "Six.");
    writer
        .block(1, 3, BlockKind::Data)
        .write(Event::BlockFinished {
            span: 1,
            block: 3,
            length: 0,
            value: serde_json::json!({"image": "abc", "media_type": "image/png"}),
        })
        .delta(1, 2, " Legs.")
        .finish(Status::Ok, 10)
        .check();
    assert_eq!(writer.body.images, [ImageId("abc".into())]);
    assert_eq!(writer.body.text.source(), "Six. Legs.");
}
