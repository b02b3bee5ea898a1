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
    /// All text so far is void: an attempt failed, and another one begins anew in its place.
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
    /// Whether there was text since the beginning, or since it began anew.
    spoke: bool,
    /// The last entry of the model, once it has ended.
    end: Option<Seq>,
    ended: oneshot::Receiver<Seq>,
}

impl Pieces {
    /// The next piece; `None` behind the last one.
    pub async fn next(&mut self) -> Option<Piece> {
        loop {
            while let Some(entry) = self.ready.pop_front() {
                self.cursor = entry.seq;
                if let Some(piece) = self.take(entry.event) {
                    return Some(piece);
                }
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

    fn take(&mut self, event: Event) -> Option<Piece> {
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
                let replaced = replaces.is_some_and(|old| self.spans.remove(&old));
                (replaced && std::mem::take(&mut self.spoke)).then_some(Piece::Again)
            }
            Event::BlockStarted {
                span, block, kind, ..
            } => {
                if self.spans.contains(&span) {
                    self.blocks.insert(block, kind);
                }
                None
            }
            Event::Delta {
                span, block, text, ..
            } => {
                let is_text = self.blocks.get(&block) == Some(&BlockKind::Text);
                if !is_text || !self.spans.contains(&span) {
                    return None;
                }
                // Behind text of another step a model begins a paragraph.
                let text = match std::mem::replace(&mut self.spoke, true) {
                    true => text,
                    false => text.strip_prefix(PARAGRAPH).unwrap_or(&text).to_owned(),
                };
                (!text.is_empty()).then_some(Piece::Text(text))
            }
            _ => None,
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
                spoke: false,
                end: None,
                ended,
            };
            let asking = async {
                cx.tagged(HIDDEN).model(model, prompt).await?;
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
