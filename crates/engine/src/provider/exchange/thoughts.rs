//! Separates reasoning from the blocks of text, for every vendor.

use super::Ready;
use crate::provider::{
    ProviderEvent,
    think::{Piece, ThinkParser},
};
use headwater_protocol::BlockKind;
use serde_json::Value;
use std::collections::HashMap;

/// Filters the events of a decoder and renumbers the blocks, because one block of text can become
/// one of reasoning and one of text.
#[derive(Debug, Default)]
pub(super) struct Thoughts {
    think: ThinkParser,
    /// The open blocks, by the decoder's numbers.
    open: HashMap<u32, Open>,
    /// The decoder's number of the block whose text is being split.
    current: Option<u32>,
    /// The number of the next block.
    next: u32,
    /// Whether reasoning was found in the text.
    pub(super) found: bool,
}

#[derive(Clone, Copy, Debug)]
enum Open {
    /// Text, with the number and the kind of the block that it is written to.
    Text(Option<(u32, BlockKind)>),
    Other(u32),
}

impl Thoughts {
    /// Takes an event of the decoder.
    pub(super) fn take(&mut self, event: ProviderEvent, out: &mut Ready) {
        match event {
            ProviderEvent::BlockStarted { index, kind, tool } => {
                self.flush(out);
                let open = match kind {
                    BlockKind::Text => Open::Text(None),
                    kind => {
                        let index = self.number();
                        out.push_back(ProviderEvent::BlockStarted { index, kind, tool });
                        Open::Other(index)
                    }
                };
                self.open.insert(index, open);
            }
            ProviderEvent::Delta { index, text } => match self.open.get(&index) {
                Some(Open::Other(index)) => {
                    let index = *index;
                    out.push_back(ProviderEvent::Delta { index, text });
                }
                _ => self.sort(index, &text, out),
            },
            ProviderEvent::BlockFinished { index, value } => self.finish(index, value, out),
            ProviderEvent::BlockRelabelled { index, kind } => {
                if let Some(Open::Other(index) | Open::Text(Some((index, _)))) =
                    self.open.get(&index)
                {
                    let index = *index;
                    out.push_back(ProviderEvent::BlockRelabelled { index, kind });
                }
            }
            other => out.push_back(other),
        }
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    fn sort(&mut self, index: u32, text: &str, out: &mut Ready) {
        if self.current != Some(index) {
            self.flush(out);
            self.current = Some(index);
        }
        let mut pieces = Vec::new();
        self.think.push(text, &mut pieces);
        self.tell(index, pieces, out);
    }

    /// Releases text that was held back as the possible start of a tag.
    fn flush(&mut self, out: &mut Ready) {
        if let Some(index) = self.current.take() {
            let mut pieces = Vec::new();
            self.think.flush(&mut pieces);
            self.tell(index, pieces, out);
        }
    }

    fn tell(&mut self, index: u32, pieces: Vec<Piece>, out: &mut Ready) {
        for piece in pieces {
            let block = match self.open.get(&index) {
                Some(Open::Text(block)) => *block,
                _ => None,
            };
            let now = match piece {
                Piece::WasReasoning => {
                    self.found = true;
                    if let Some((index, _)) = block {
                        let kind = BlockKind::Reasoning;
                        out.push_back(ProviderEvent::BlockRelabelled { index, kind });
                        close(index, Value::Null, out);
                    }
                    None
                }
                Piece::Text(kind, text) => {
                    self.found |= kind == BlockKind::Reasoning;
                    let number = match block {
                        Some((number, known)) if known == kind => number,
                        other => {
                            if let Some((number, _)) = other {
                                close(number, Value::Null, out);
                            }
                            let index = self.number();
                            let tool = None;
                            out.push_back(ProviderEvent::BlockStarted { index, kind, tool });
                            index
                        }
                    };
                    let index = number;
                    out.push_back(ProviderEvent::Delta { index, text });
                    Some((number, kind))
                }
            };
            self.open.insert(index, Open::Text(now));
        }
    }

    fn finish(&mut self, index: u32, value: Value, out: &mut Ready) {
        if self.current == Some(index) {
            self.flush(out);
        }
        match self.open.remove(&index) {
            Some(Open::Other(index) | Open::Text(Some((index, _)))) => close(index, value, out),
            Some(Open::Text(None)) if !value.is_null() => {
                let index = self.number();
                out.push_back(ProviderEvent::BlockStarted {
                    index,
                    kind: BlockKind::Text,
                    tool: None,
                });
                close(index, value, out);
            }
            // An empty block is left out.
            _ => {}
        }
    }
}

fn close(index: u32, value: Value, out: &mut Ready) {
    out.push_back(ProviderEvent::BlockFinished { index, value });
}
