//! The text that a reader of a run had seen at one of its entries.

use super::Record;
use headwater_protocol::{Event, Seq, chat::Answer};

/// How many entries are folded at once. More of them could keep a page from answering.
const STEP: Seq = 400;

/// The fold of the first entries of a run.
#[derive(Debug, Default)]
pub(super) struct Replay {
    answer: Answer,
    text: String,
    /// Whether the text is not what was shown last with more at its end.
    pub(super) anew: bool,
}

impl Replay {
    /// Goes towards an entry, and for an earlier one from the first entry.
    pub(super) fn step(&mut self, record: &Record, until: Seq) {
        if self.answer.seq > until {
            *self = Self {
                anew: true,
                ..Self::default()
            };
        }
        // Most entries add text to the end. What else may change the text is rare, and looked at once.
        let mut other = false;
        for seq in self.answer.seq + 1..=until.min(self.answer.seq + STEP) {
            let json = record.row(seq).map_or("", |row| &row.json);
            let event = serde_json::from_str(json).unwrap_or(Event::Unknown);
            self.answer.apply(seq, &event);
            match event {
                Event::Delta { block, text, .. } => {
                    let mut blocks = self.answer.blocks.iter();
                    let block = blocks.rfind(|known| known.block == block);
                    let last = self.answer.blocks.last();
                    if block.is_some_and(|block| self.answer.is_visible(block)) {
                        self.text.push_str(&text);
                        other |= block.map(|block| block.block) != last.map(|block| block.block);
                    }
                }
                Event::SpanStarted { .. }
                | Event::SpanFinished { .. }
                | Event::BlockRelabelled { .. }
                | Event::RunFinished { .. } => other = true,
                _ => {}
            }
        }
        if other {
            let text = self.answer.visible_text();
            self.anew |= !text.starts_with(&self.text);
            self.text = text;
        }
    }

    /// The last entry that is folded.
    pub(super) fn seq(&self) -> Seq {
        self.answer.seq
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::{BlockKind, SpanKind};
    use serde_json::Value;

    fn record(events: &[Event]) -> Record {
        let mut record = Record::default();
        for (place, event) in events.iter().enumerate() {
            let json = serde_json::to_string(event).expect("JSON");
            record.push(place as Seq + 1, 0, &json, event);
        }
        record
    }

    fn attempt(span: u32, replaces: Option<u32>) -> [Event; 2] {
        [
            Event::SpanStarted {
                span,
                parent: None,
                kind: SpanKind::ChatModel,
                name: "model".into(),
                tags: Vec::new(),
                metadata: Value::Null,
                input: Value::Null,
                replaces,
            },
            Event::BlockStarted {
                span,
                block: span,
                kind: BlockKind::Text,
                tool: None,
            },
        ]
    }

    fn delta(span: u32, text: &str) -> Event {
        Event::Delta {
            span,
            block: span,
            text: text.into(),
            from: None,
        }
    }

    #[test]
    fn every_moment_has_the_text_that_was_shown_then() {
        let mut events = attempt(1, None).to_vec();
        events.extend((0..50).map(|n| delta(1, &format!("{n} "))));
        events.extend(attempt(2, Some(1)));
        events.extend((0..50).map(|n| delta(2, &format!("{n}. "))));
        let record = record(&events);
        let mut replay = Replay::default();
        // Forwards, backwards and in jumps.
        let moments = (1..=record.len()).chain((1..=record.len()).rev());
        for until in moments.chain([104, 3, 53, 54, 1, 80]) {
            let before = replay.text().to_owned();
            replay.step(&record, until);
            let anew = std::mem::take(&mut replay.anew);
            let fold = Answer::fold((1..).zip(&events).take(until as usize));
            assert_eq!(replay.text(), fold.visible_text(), "{until}");
            assert_eq!(replay.seq(), until);
            if !anew {
                assert!(replay.text().starts_with(&before), "{until}");
            }
        }
    }

    #[test]
    fn a_long_way_is_gone_in_parts() {
        let mut events = attempt(1, None).to_vec();
        events.extend((0..3_000).map(|_| delta(1, "a")));
        let record = record(&events);
        let mut replay = Replay::default();
        let mut steps = 0;
        while replay.seq() < record.len() {
            replay.step(&record, record.len());
            steps += 1;
        }
        assert_eq!((steps, replay.text().len()), (8, 3_000));
    }
}
