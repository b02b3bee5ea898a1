//! How the text of a model joins the text that its message holds already.

use super::overlap::Overlap;
use crate::provider::PARAGRAPH;
use headwater_protocol::BlockKind;

/// Joins the text of one call of a model to the text before it: removes what a continuation
/// repeats, or begins a paragraph.
///
/// Only the first block of text is concerned. While nothing of it is certain to stay, it is not
/// opened in the log either: an empty block would be a seam, or a paragraph, of its own.
#[derive(Debug, Default)]
pub(super) struct Join {
    overlap: Option<Overlap>,
    /// Whether the next text begins a paragraph.
    paragraph: bool,
    /// Whether the text of this call has to begin a paragraph.
    after_text: bool,
    /// The provider's number of the first block of text, once it has begun.
    block: Option<u32>,
}

impl Join {
    /// For a model that was asked in words to go on from `written`, and may repeat the end of it.
    pub(super) fn without_overlap(written: &str) -> Self {
        Self {
            overlap: Some(Overlap::new(written)),
            ..Self::default()
        }
    }

    /// For a model that has written text before its tools ran.
    pub(super) fn as_paragraph() -> Self {
        Self {
            paragraph: true,
            after_text: true,
            ..Self::default()
        }
    }

    /// Takes the beginning of a block. `false` if the block begins in the log only with its first
    /// text.
    pub(super) fn begin(&mut self, index: u32, kind: BlockKind) -> bool {
        if kind == BlockKind::Text {
            self.block.get_or_insert(index);
        }
        !(self.concerns(index) && (self.overlap.is_some() || self.paragraph))
    }

    /// Takes text of a block, and returns the part that can be written now.
    pub(super) fn push(&mut self, index: u32, text: String) -> String {
        if !self.concerns(index) {
            return text;
        }
        let text = match &mut self.overlap {
            Some(overlap) => overlap.push(text),
            None => text,
        };
        self.in_paragraph(text)
    }

    /// Returns the text that was held back, with the number of its block: no more of it comes.
    pub(super) fn finish(&mut self) -> Option<(u32, String)> {
        let block = self.block?;
        let held = self.overlap.take()?.finish();
        Some((block, self.in_paragraph(held)))
    }

    /// Whether this is the first block of text.
    pub(super) fn concerns(&self, index: u32) -> bool {
        self.block == Some(index)
    }

    /// The first block of text turned out not to be text, so another one will be the first.
    pub(super) fn restart(&mut self) {
        self.block = None;
        self.paragraph = self.after_text;
    }

    /// Begins the paragraph, if that is still to be done. Nothing is left of blank lines before it.
    fn in_paragraph(&mut self, text: String) -> String {
        if !self.paragraph {
            return text;
        }
        match text.trim_start_matches(['\n', '\r']) {
            "" => String::new(),
            text => {
                self.paragraph = false;
                [PARAGRAPH, text].concat()
            }
        }
    }
}
