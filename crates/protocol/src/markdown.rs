//! Markdown that is still being written, as safe HTML.
//!
//! A [`Renderer`] takes a growing text and splits it into top-level blocks. A [`Block`] is finished
//! as soon as no later text can change it. It is rendered once and never touched again; the last
//! block is [`Open`]. However the text is split into deltas, the blocks are those of [`render`].
//! Everything here is pure, for the server and the browser alike.
//!
//! - `line`: which block a line begins
//! - `draft`: the open block, and which lines belong to it
//! - `nest`: containers inside lists and quotes
//! - `code`: code blocks, which are only appended to
//! - `view`: what is shown of an open block, at a cost in proportion to the text
//! - `cjk`: emphasis in languages that put no spaces between words
//! - `repair`: completes half-typed inline text for display
//! - `guess`: whether half-typed characters are likely to become markup
//! - `parser`: pulldown-cmark and its options
//! - `html`: writes the parser's events as HTML
//! - `safe`: what a model may put on a page
//! - `speech`: the text for screen readers
//!
//! The dialect is [CommonMark](https://spec.commonmark.org) with the tables, strikethrough and task
//! lists of [GFM](https://github.github.com/gfm/). Nothing may make a block depend on one that is
//! far away, so references and footnotes stay text, and the spacing of a list item depends on its
//! own blank lines alone. Emphasis follows the amendment for Chinese, Japanese and Korean. A block
//! whose first letter is written right to left gets the attribute `dir`. Raw HTML is shown as text
//! and ends at a blank line or where another block begins. Images become links. Indentation is
//! followed through 32 nested containers, and tags are written up to 48 elements deep.

mod cjk;
mod code;
mod draft;
mod guess;
mod html;
mod line;
mod nest;
mod parser;
mod repair;
mod safe;
mod speech;
#[cfg(test)]
mod tests;
mod view;

use std::ops::Range;

use draft::{Draft, Ended, Kind, Step};
use line::{Line, Start};
use nest::number_of;
pub use safe::escape;
pub use speech::plain_text;

/// A finished top-level block. It never changes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Safe, well-formed HTML.
    pub html: String,
    /// The bytes of the source text that the block was made from.
    pub range: Range<usize>,
}

/// The last block, which may still change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open<'a> {
    /// Anything but code. The HTML of the block is the concatenation of the four parts.
    ///
    /// As long as `range.start` and `before` stay the same, `settled` only grows, by whole
    /// nodes. A page can build the elements of `before` and `after` once. Inside the innermost of
    /// them, it then appends the new part of `settled` and replaces `tail`.
    Html {
        /// The opening tags, and the head of a table.
        before: &'a str,
        /// Content that will not change while the block is open.
        settled: &'a str,
        /// Content that may change with every call, with half-typed markup completed.
        tail: &'a str,
        /// The closing tags.
        after: &'a str,
        /// The bytes of the source text so far.
        range: Range<usize>,
    },
    /// A code block, to be shown in a [`code_frame`].
    Code {
        /// The language that the info string names, reduced to characters that are safe in a class
        /// name.
        language: &'a str,
        /// The code so far. It only grows while `range.start` stays the same.
        text: &'a str,
        /// The bytes of the source text so far.
        range: Range<usize>,
    },
}

impl Open<'_> {
    /// The bytes of the source text so far.
    pub fn range(&self) -> &Range<usize> {
        match self {
            Self::Html { range, .. } | Self::Code { range, .. } => range,
        }
    }

    /// The whole block as HTML.
    pub fn html(&self) -> String {
        match self {
            Self::Html {
                before,
                settled,
                tail,
                after,
                ..
            } => [*before, settled, tail, after].concat(),
            Self::Code { language, text, .. } => {
                let (mut html, close) = code_frame(language);
                safe::escape_code(text, &mut html);
                html.push_str(close);
                html
            }
        }
    }
}

/// Turns a growing Markdown text into blocks.
#[derive(Debug, Default)]
pub struct Renderer {
    source: String,
    finished: Vec<Block>,
    draft: Option<Draft>,
    /// The start of the incomplete line.
    line: usize,
    /// The end of the text that was searched for line ends.
    searched: usize,
    /// Whether it is known which block the incomplete line belongs to. It is part of the draft
    /// then.
    decided: bool,
    /// The length that the incomplete line must reach before another attempt to decide.
    retry: usize,
    /// See [`settled`](Self::settled).
    settled: usize,
}

impl Renderer {
    /// A renderer without any text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends text.
    pub fn push(&mut self, delta: &str) {
        self.source.push_str(delta);
        while let Some(found) = self.source[self.searched..].find('\n') {
            let end = self.searched + found;
            let line = self.source[self.line..end].trim_end_matches('\r').len();
            self.end_line(self.line + line);
            self.line = end + 1;
            self.searched = self.line;
        }
        self.searched = self.source.len();
        self.begin_line();
        self.settle();
    }

    /// Finishes the open block, because the text is complete. Text pushed later begins a new block.
    pub fn finish(&mut self) {
        let end = self.source.trim_end_matches(['\r', '\n']).len();
        if self.line < end {
            self.end_line(end);
        }
        self.close();
        self.line = self.source.len();
        self.settle();
    }

    /// All text so far.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The blocks that will not change, in order. Later text only appends to the list.
    pub fn finished(&self) -> &[Block] {
        &self.finished
    }

    /// The block after the last finished one as far as it can be shown.
    ///
    /// Characters are shown as text until they are certainly markup, so later text never takes back
    /// a block. No word is held back, except in what may be a link's address. Characters at the end
    /// that may still become different kinds of markup, such as a line of three dashes, are held
    /// back. The tail of a long block may lag behind by 1/64 of its length, so that the total cost
    /// stays in proportion to the text; [`refresh`](Self::refresh) catches up.
    pub fn open(&mut self) -> Option<Open<'_>> {
        let typed = self.source.len() - self.line;
        if self.draft.is_none() && typed < 64 && number_of(&self.source[self.line..]).is_some() {
            // It may become the number of a list item, and is a word until then.
            return Some(Open::Html {
                before: "<p>",
                settled: "",
                tail: self.source[self.line..].trim(),
                after: "</p>",
                range: self.line..self.source.len(),
            });
        }
        let draft = self.draft.as_mut()?;
        draft.look(&self.source, self.line, self.decided);
        self.settle();
        let draft = self.draft.as_ref()?;
        let end = if self.decided {
            self.source.len()
        } else {
            draft.end
        };
        let range = draft.start..end.max(draft.end);
        if let Kind::Code(code) = &draft.kind {
            return Some(Open::Code {
                language: &code.language,
                text: &code.text,
                range,
            });
        }
        let view = &draft.view;
        let frame = !view.before.is_empty() && !matches!(draft.kind, Kind::List(_));
        if view.settled.is_empty() && view.tail.is_empty() && !frame {
            return None;
        }
        Some(Open::Html {
            before: &view.before,
            settled: &view.settled,
            tail: &view.tail,
            after: view.after,
            range,
        })
    }

    /// Makes the next [`open`](Self::open) show all text, for a pause in the stream. Returns
    /// whether the last one left something out.
    pub fn refresh(&mut self) -> bool {
        self.draft
            .as_mut()
            .is_some_and(|draft| draft.view.refresh())
    }

    /// The end of the source text whose meaning is certain, so that it can be read aloud (see
    /// [`plain_text`]). It is the end of a finished block, of a list item, or of a sentence that
    /// [`open`](Self::open) has shown.
    pub fn settled(&self) -> usize {
        self.settled
    }

    fn settle(&mut self) {
        let settled = match (&self.draft, self.finished.last()) {
            // A table is read as a whole.
            (Some(draft), _) if matches!(draft.kind, Kind::Table(_)) => draft.start,
            (Some(draft), _) => draft.view.from,
            (None, Some(block)) => block.range.end,
            (None, None) => 0,
        };
        self.settled = self.settled.max(settled);
    }

    /// Reads the line that ends at `end`.
    fn end_line(&mut self, end: usize) {
        let range = self.line..end;
        if !self.decided {
            let text = &self.source[range.clone()];
            if let Some(line) = Line::read(text, 0, true) {
                self.apply(&line);
            }
        }
        self.decided = false;
        self.retry = 0;
        let Some(draft) = &mut self.draft else {
            return;
        };
        match draft.end_line(range.clone(), &self.source) {
            Ended::No => {}
            Ended::Whole => self.close(),
            Ended::Table(header) => self.split_table(header, end),
        }
    }

    /// Ends a paragraph before its last line, which turned out to be the header of a table.
    fn split_table(&mut self, header: usize, end: usize) {
        let Some(mut paragraph) = self.draft.take() else {
            return;
        };
        let mut table = Draft {
            start: header,
            end,
            kind: Kind::Line,
            view: view::View::new(header),
        };
        table.become_table(end, &self.source);
        paragraph.end = self.source[..header].trim_end_matches(['\r', '\n']).len();
        self.finished.push(paragraph.finish(&self.source));
        self.draft = Some(table);
    }

    /// Reads the beginning of an incomplete line.
    fn begin_line(&mut self) {
        let text = &self.source[self.line..];
        if text.is_empty() {
            return;
        }
        if !self.decided && text.len() >= self.retry {
            // Asking at every byte of a long undecided line would be quadratic.
            if text.len() > 64 {
                self.retry = text.len() + text.len() / 4;
            }
            let text = text.trim_end_matches('\r');
            // Only a list that begins with 1 ends a paragraph.
            let paragraph =
                matches!(&self.draft, Some(draft) if matches!(draft.kind, Kind::Paragraph(_)));
            let goes_on = paragraph && number_of(text).is_some_and(|number| number > 1);
            let text_line = goes_on.then_some(Line {
                indent: 0,
                text: 0,
                start: Start::Text,
            });
            if let Some(line) = Line::read(text, 0, false).or(text_line) {
                self.apply(&line);
                self.decided = true;
            }
        }
        if let Some(Draft {
            kind: Kind::Code(code),
            start,
            ..
        }) = &mut self.draft
            // The first line of a fenced block is not code; that of an indented block is.
            && match code.is_fence() {
                true => *start != self.line,
                false => self.decided,
            }
        {
            code.partial(&self.source[self.line..]);
        }
    }

    /// Continues the draft with the line that begins here, or begins another one.
    fn apply(&mut self, line: &Line) {
        let stays = self
            .draft
            .as_mut()
            .map(|draft| draft.begin_line(line, self.line, &self.source));
        if stays != Some(Step::Stay) {
            self.close();
            self.draft = Draft::new(line, self.line);
        }
    }

    fn close(&mut self) {
        if let Some(draft) = self.draft.take() {
            self.finished.push(draft.finish(&self.source));
        }
    }
}

/// Renders a complete text.
pub fn render(text: &str) -> Vec<Block> {
    let mut renderer = Renderer::new();
    renderer.push(text);
    renderer.finish();
    renderer.finished
}

/// The markup before and after the escaped text of a code block.
pub fn code_frame(language: &str) -> (String, &'static str) {
    let language = safe::language(language);
    let language = if language.is_empty() {
        "text"
    } else {
        &language
    };
    let before = [
        "<figure class=\"code\"><figcaption><span class=\"language\">",
        language,
        "</span><button type=\"button\" class=\"copy\" data-copy>Copy</button></figcaption>",
        "<pre tabindex=\"0\"><code class=\"language-",
        language,
        "\">",
    ];
    (before.concat(), "</code></pre></figure>")
}
