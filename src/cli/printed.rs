//! An answer on standard output.
//!
//! It uses the same fold as the page. But a terminal cannot take text back. If printed text is no
//! longer part of the answer, standard error says so, and the current text is printed on a new
//! line.

use headwater_protocol::{
    Event, Seq, Status,
    chat::{Answer, Applied},
};
use std::io::{self, Write};

/// An answer and what was printed of it.
#[derive(Debug, Default)]
pub(super) struct Printed<W> {
    out: W,
    answer: Answer,
    /// The current text of the answer as far as it was printed.
    text: String,
    /// Whether [`Printed::text`] may not be what the answer begins with.
    stale: bool,
}

impl<W: Write> Printed<W> {
    /// An answer without text.
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            answer: Answer::default(),
            text: String::new(),
            stale: false,
        }
    }

    /// The answer so far.
    pub(super) fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Applies an entry and prints the text that it adds. Returns a sentence for standard error if
    /// printed text is no longer part of the answer.
    ///
    /// # Errors
    /// The output cannot be written, usually because its reader is gone.
    pub(super) fn apply(
        &mut self,
        seq: Seq,
        event: &Event,
    ) -> io::Result<(Applied, Option<&'static str>)> {
        let applied = self.answer.apply(seq, event);
        if applied != Applied::New {
            return Ok((applied, None));
        }
        let said = match event {
            Event::Delta { block, text, .. } => {
                self.delta(*block, text)?;
                None
            }
            Event::SpanStarted {
                replaces: Some(_), ..
            }
            | Event::SpanFinished {
                status: Status::Superseded,
                ..
            } => self.reprint("The answer is begun anew; what stands is on a new line.")?,
            Event::BlockRelabelled { .. } => {
                self.reprint("Some of this was the model's thinking; the answer is on a new line.")?
            }
            Event::RunFinished { .. } | Event::Snapshot { .. } => {
                self.reprint("Not all of this was kept; the text that was is on a new line.")?
            }
            _ => None,
        };
        Ok((applied, said))
    }

    fn delta(&mut self, number: u32, text: &str) -> io::Result<()> {
        let mut blocks = self.answer.blocks.iter().rev();
        let last = blocks.find(|block| self.answer.is_visible(block));
        if last.is_some_and(|block| block.block == number) {
            if !self.stale {
                self.text.push_str(text);
                self.out.write_all(text.as_bytes())?;
                self.out.flush()?;
            }
        } else {
            // Text in the middle of the answer is printed at the end.
            let visible =
                blocks.any(|block| block.block == number && self.answer.is_visible(block));
            self.stale |= visible;
        }
        Ok(())
    }

    /// Prints the missing text, or all text if the printed text is no longer part of the answer.
    fn reprint(&mut self, sentence: &'static str) -> io::Result<Option<&'static str>> {
        let text = self.answer.visible_text();
        self.stale = false;
        let said = match text.strip_prefix(&self.text) {
            Some(more) => {
                self.out.write_all(more.as_bytes())?;
                None
            }
            None => {
                self.out.write_all(b"\n")?;
                self.out.write_all(text.as_bytes())?;
                Some(sentence)
            }
        };
        self.text = text;
        self.out.flush()?;
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::{BlockKind, SpanKind, Timing, Usage};
    use serde_json::Value;

    fn span(span: u32, replaces: Option<u32>) -> Event {
        Event::SpanStarted {
            span,
            parent: None,
            kind: SpanKind::ChatModel,
            name: "a/b".into(),
            tags: Vec::new(),
            metadata: Value::Null,
            input: Value::Null,
            replaces,
        }
    }

    fn block(span: u32, block: u32, kind: BlockKind) -> Event {
        Event::BlockStarted {
            span,
            block,
            kind,
            tool: None,
        }
    }

    fn delta(block: u32, text: &str) -> Event {
        Event::Delta {
            span: 1,
            block,
            text: text.into(),
            from: None,
        }
    }

    fn end(length: u64) -> Event {
        Event::RunFinished {
            status: Status::Ok,
            usage: Usage::default(),
            timing: Timing::default(),
            error: None,
            length,
            hash: String::new(),
        }
    }

    /// What is printed, and how often it was said that something does not stand.
    fn printed(events: &[Event]) -> (String, usize) {
        let mut printed = Printed::new(Vec::new());
        let mut said = 0;
        for (seq, event) in (1..).zip(events) {
            let (applied, sentence) = printed.apply(seq, event).expect("memory takes all");
            assert_eq!(applied, Applied::New);
            said += usize::from(sentence.is_some());
        }
        assert_eq!(printed.text, printed.answer.visible_text());
        (String::from_utf8(printed.out).expect("text"), said)
    }

    #[test]
    fn what_is_printed_ends_with_what_the_page_shows() {
        use BlockKind::{Reasoning, Text};
        let begin = [span(1, None), block(1, 1, Text), delta(1, "One, ")];
        let with = |events: &[Event]| printed(&[&begin, events].concat());
        assert_eq!(with(&[delta(1, "two."), end(9)]), ("One, two.".into(), 0));
        assert_eq!(with(&[end(3)]), ("One, \nOne".into(), 1));
        let thought = [block(1, 2, Reasoning), delta(2, "Hm."), end(5)];
        assert_eq!(with(&thought), ("One, ".into(), 0));
        let anew = [
            span(2, Some(1)),
            block(2, 2, Text),
            delta(2, "New."),
            end(4),
        ];
        assert_eq!(with(&anew), ("One, \nNew.".into(), 1));
        let beside = [
            block(1, 2, Text),
            delta(2, "b"),
            delta(1, "a"),
            delta(2, "c"),
            end(8),
        ];
        assert_eq!(with(&beside), ("One, b\nOne, abc".into(), 1));
        let thinking = [
            Event::BlockRelabelled {
                span: 1,
                block: 1,
                kind: Reasoning,
            },
            block(1, 2, Text),
            delta(2, "So."),
            end(3),
        ];
        assert_eq!(with(&thinking), ("One, \nSo.".into(), 1));
    }
}
