//! The text of a model for a step that reads it while it is written.
//!
//! It is read from the run's own log, like everything that anybody sees of a run: there is no second way for text.

use super::{Context, Prompt, fact};
use crate::{log::Source, provider::PARAGRAPH};
use futures::future::pending;
use headwater_protocol::{
    BlockKind, BlockNo, Entry, Error, Event, Seq, SpanKind, SpanNo, chat::HIDDEN,
};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
};
use tokio::sync::oneshot;

/// What a model has written since the last piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// More text, never empty.
    Text(String),
    /// All text so far is void: an attempt failed and another one begins anew in its place, or what looked like text
    /// were thoughts. What stands of it comes next.
    Again,
}

/// The text of a model as it comes, see [`Context::streamed`].
pub struct Pieces {
    source: Source,
    cursor: Seq,
    ready: VecDeque<Entry>,
    /// The span that the model is asked in.
    span: SpanNo,
    /// Those whose text is read.
    spans: HashSet<SpanNo>,
    /// The kinds of their blocks.
    blocks: HashMap<BlockNo, BlockKind>,
    /// The text that stands, block by block: where a part of it is void, the rest is told again.
    written: Vec<Written>,
    out: VecDeque<Piece>,
    /// The last entry of the model, once it has ended.
    end: Option<Seq>,
    ended: oneshot::Receiver<Seq>,
}

/// What a block has.
struct Written {
    span: SpanNo,
    block: BlockNo,
    text: String,
}

fn is_text(kind: BlockKind) -> bool {
    matches!(kind, BlockKind::Text | BlockKind::Refusal)
}

impl Pieces {
    /// The next piece; `None` behind the last one.
    pub async fn next(&mut self) -> Option<Piece> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Some(piece);
            }
            if let Some(entry) = self.ready.pop_front() {
                self.cursor = entry.seq;
                self.take(entry.event);
                continue;
            }
            if self.end.is_some_and(|end| self.cursor >= end) {
                return None;
            }
            tokio::select! {
                biased;
                end = &mut self.ended, if self.end.is_none() => {
                    // Without an end the step is over.
                    self.end = Some(end.unwrap_or(self.cursor));
                }
                entries = self.source.entries_after(self.cursor) => self.ready.extend(entries),
            }
        }
    }

    /// Whether the text of a span is that of the model: of its attempts or, where it is a chain, of steps that are
    /// not hidden.
    fn reads(&self, parent: Option<SpanNo>, kind: SpanKind, tags: &[String]) -> bool {
        if parent == Some(self.span) {
            // Beside the model there is the step that reads.
            return kind != SpanKind::Parser;
        }
        let is_within = parent.is_some_and(|parent| self.spans.contains(&parent));
        is_within && kind != SpanKind::Tool && !tags.iter().any(|tag| tag == HIDDEN)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::SpanStarted {
                span,
                parent,
                kind,
                tags,
                replaces,
                ..
            } => {
                if self.reads(parent, kind, &tags) {
                    self.spans.insert(span);
                }
                if let Some(old) = replaces {
                    self.spans.remove(&old);
                    self.void(|written| written.span == old);
                }
            }
            Event::BlockStarted {
                span, block, kind, ..
            } if self.spans.contains(&span) => {
                self.blocks.insert(block, kind);
            }
            // Thoughts whose beginning was not marked.
            Event::BlockRelabelled { block, kind, .. } if !is_text(kind) => {
                self.blocks.insert(block, kind);
                self.void(|written| written.block == block);
            }
            Event::Delta {
                span, block, text, ..
            } => {
                let is_read = self.blocks.get(&block).is_some_and(|kind| is_text(*kind));
                if is_read && self.spans.contains(&span) {
                    self.write(span, block, text);
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, span: SpanNo, block: BlockNo, text: String) {
        // Behind text of another step a model begins a paragraph.
        let text = match self.written.is_empty() {
            true => text.strip_prefix(PARAGRAPH).unwrap_or(&text).to_owned(),
            false => text,
        };
        if text.is_empty() {
            return;
        }
        match self.written.iter_mut().rfind(|last| last.block == block) {
            Some(known) => known.text.push_str(&text),
            None => self.written.push(Written {
                span,
                block,
                text: text.clone(),
            }),
        }
        self.out.push_back(Piece::Text(text));
    }

    /// Takes back what was written in some blocks, and tells the rest again.
    fn void(&mut self, gone: impl Fn(&Written) -> bool) {
        let before = self.written.len();
        self.written.retain(|written| !gone(written));
        if self.written.len() == before {
            return;
        }
        self.out.push_back(Piece::Again);
        let rest: String = self.written.iter().map(|left| left.text.as_str()).collect();
        if !rest.is_empty() {
            self.out.push_back(Piece::Text(rest));
        }
    }
}

impl Context {
    /// Asks a model, and reads its text in a step of kind parser while the model writes it. The text itself is no
    /// part of the answer; what the step [writes](Context::write) is. Where the reading ends first, the model is
    /// broken off.
    ///
    /// # Errors
    /// Those of [`Context::model`] and of the reading; `too_large` where the run holds more than a run may.
    pub async fn streamed<T, F>(
        &self,
        model: &str,
        prompt: impl Into<Prompt>,
        name: &str,
        read: impl FnOnce(Self, Pieces) -> F,
    ) -> Result<T, Error>
    where
        T: Serialize,
        F: Future<Output = Result<T, Error>>,
    {
        let prompt = prompt.into();
        let noted = fact(&prompt);
        let work = |cx: Self| async move {
            let (ends, ended) = oneshot::channel();
            let live = cx.run.base.live.clone();
            let pieces = Pieces {
                cursor: live.head().seq,
                source: Source::Live(live.clone()),
                ready: VecDeque::new(),
                span: cx.span,
                spans: HashSet::new(),
                blocks: HashMap::new(),
                written: Vec::new(),
                out: VecDeque::new(),
                end: None,
                ended,
            };
            let asking = async {
                cx.tagged(HIDDEN).model(model, prompt).await?;
                // With `durability = "power"` the last of it may be on its way.
                let mut all = cx.recorder();
                all.flush().await;
                all.committed().await;
                let _ = ends.send(live.head().seq);
                pending::<Result<Infallible, Error>>().await
            };
            let reading = cx.span(SpanKind::Parser, name, Value::Null, |cx| read(cx, pieces));
            tokio::select! {
                biased;
                Err(error) = asking => Err(error),
                done = reading => done,
            }
        };
        self.span(SpanKind::Chain, "streamed", noted, work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::Packed;
    use std::sync::Arc;

    fn delta(block: BlockNo, text: &str) -> Event {
        Event::Delta {
            span: 2,
            block,
            text: text.into(),
            from: None,
        }
    }

    fn block(block: BlockNo, kind: BlockKind) -> Event {
        Event::BlockStarted {
            span: 2,
            block,
            kind,
            tool: None,
        }
    }

    #[tokio::test]
    async fn thoughts_whose_beginning_was_not_marked_are_taken_back() {
        let model = Event::SpanStarted {
            span: 2,
            parent: Some(1),
            kind: SpanKind::ChatModel,
            name: "model".into(),
            tags: vec![HIDDEN.into()],
            metadata: Value::Null,
            input: Value::Null,
            replaces: None,
        };
        let mut log = Packed::default();
        for event in [
            model,
            block(1, BlockKind::Text),
            delta(1, "Hm."),
            Event::BlockRelabelled {
                span: 2,
                block: 1,
                kind: BlockKind::Reasoning,
            },
            delta(1, "Well."),
            block(2, BlockKind::Refusal),
            delta(2, "\n\nNo."),
        ] {
            log.push(0, &event);
        }
        let (_, ended) = oneshot::channel();
        let mut pieces = Pieces {
            end: Some(log.len()),
            source: Source::Stored(Arc::new(log)),
            cursor: 0,
            ready: VecDeque::new(),
            span: 1,
            spans: HashSet::new(),
            blocks: HashMap::new(),
            written: Vec::new(),
            out: VecDeque::new(),
            ended,
        };
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.push(piece);
        }
        let text = |text: &str| Piece::Text(text.into());
        assert_eq!(all, [text("Hm."), Piece::Again, text("No.")]);
    }
}
