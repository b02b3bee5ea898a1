//! The block that is still open: which lines belong to it, and what it becomes.

use std::ops::Range;

use super::code::Code;
use super::html::{self, Written};
use super::line::{Line, Marker, Start, delimiter_columns, header_columns};
use super::nest::{Leaf, Nest};
use super::view::View;

/// An open top-level block.
#[derive(Debug)]
pub(super) struct Draft {
    /// The start of the block in the source.
    pub(super) start: usize,
    /// The end of its last line that is not blank, without the line end.
    pub(super) end: usize,
    pub(super) kind: Kind,
    pub(super) view: View,
}

#[derive(Debug)]
pub(super) enum Kind {
    Paragraph(Paragraph),
    /// A heading or a rule: one line.
    Line,
    Code(Code),
    Quote(Nest),
    List(List),
    Table(Table),
}

#[derive(Debug, Default)]
pub(super) struct Paragraph {
    /// The number of complete lines.
    pub(super) lines: usize,
    /// The last complete line.
    pub(super) last: Range<usize>,
    /// Whether the current line underlines the paragraph, which makes it a heading.
    underlined: bool,
}

#[derive(Debug)]
pub(super) struct List {
    marker: Marker,
    /// Whether the list is written right to left. The first item with a letter decides.
    pub(super) rtl: Option<bool>,
    /// The indentation of the current item's lines, in columns.
    width: usize,
    /// The start of the current item.
    pub(super) item: usize,
    pub(super) nest: Nest,
    /// Whether the last line was blank.
    blank: bool,
    /// Whether the current item has only its marker so far.
    bare: bool,
    /// Whether a blank line follows the bare marker, so that nothing more can belong to the item.
    dead: bool,
}

#[derive(Debug)]
pub(super) struct Table {
    /// The end of the delimiter row.
    pub(super) head: usize,
}

/// The effect of a line on an open block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The line belongs to the block.
    Stay,
    /// The block ended before the line.
    End,
}

impl Draft {
    /// The block that `line`, at `start` of the source, begins.
    pub(super) fn new(line: &Line, start: usize) -> Option<Self> {
        let kind = if line.indented() {
            Kind::Code(Code::indented())
        } else if let Some(marker) = line.item() {
            Kind::List(List {
                marker,
                rtl: None,
                width: line.indent + marker.width,
                item: start,
                nest: Nest::default(),
                blank: false,
                bare: marker.empty,
                dead: false,
            })
        } else {
            match line.start {
                Start::Blank => return None,
                Start::Heading | Start::Rule => Kind::Line,
                Start::Underline { mark: b'-', len } if len >= 3 => Kind::Line,
                Start::Fence { mark, len } => Kind::Code(Code::fenced(mark, len, line.indent)),
                Start::Quote => Kind::Quote(Nest::default()),
                _ => Kind::Paragraph(Paragraph::default()),
            }
        };
        let mut view = View::new(start);
        if let Kind::List(list) = &kind {
            view.before = list.open(None);
        }
        Some(Self {
            start,
            end: start,
            kind,
            view,
        })
    }

    /// Reads the beginning of the next line.
    pub(super) fn begin_line(&mut self, line: &Line, at: usize, source: &str) -> Step {
        let stays = match &mut self.kind {
            Kind::Line => false,
            Kind::Code(code) => {
                // A fenced block reads its lines itself.
                code.is_fence() || line.indent >= 4 || line.start == Start::Blank
            }
            Kind::Paragraph(paragraph) => {
                paragraph.underlined =
                    line.indent < 4 && matches!(line.start, Start::Underline { .. });
                paragraph.underlined || !line.interrupts()
            }
            Kind::Table(_) => {
                let bare = Line { indent: 0, ..*line };
                !bare.interrupts() && bare.item().is_none()
            }
            Kind::Quote(nest) => {
                let quote = line.start == Start::Quote && line.indent < 4;
                quote || (matches!(nest.leaf, Leaf::Paragraph(_)) && line.lazy())
            }
            Kind::List(list) => match list.begin_line(line) {
                Some(next) => {
                    if let Some(width) = next {
                        self.settle_item(at, width, source);
                    }
                    true
                }
                None => false,
            },
        };
        if stays { Step::Stay } else { Step::End }
    }

    /// A new item begins at `at`: the one before it is complete.
    fn settle_item(&mut self, at: usize, marker: (Marker, usize), source: &str) {
        if let Kind::List(list) = &mut self.kind {
            let html = list.write_item(with_line_end(source, list.item..self.end));
            self.view.settled.push_str(&html);
            self.view.before = list.open(list.rtl);
            self.view.settle(at);
            list.item = at;
            list.width = marker.1;
            list.bare = marker.0.empty;
        }
    }

    /// Takes a whole line. True if the block ends with it.
    pub(super) fn end_line(&mut self, line: Range<usize>, source: &str) -> Ended {
        let text = &source[line.clone()];
        let blank = text.bytes().all(|b| matches!(b, b' ' | b'\t'));
        let opening = self.end == self.start;
        if !blank {
            self.end = line.end;
        }
        match &mut self.kind {
            Kind::Line => return Ended::Whole,
            Kind::Code(code) if code.is_fence() => {
                if opening {
                    code.open(text);
                } else if code.line(text) {
                    return Ended::Whole;
                } else {
                    // Blank lines are code here.
                    self.end = line.end;
                }
            }
            Kind::Code(code) => {
                code.line(text);
            }
            Kind::Paragraph(paragraph) => {
                if paragraph.underlined {
                    return Ended::Whole;
                }
                let columns = delimiter_columns(text).filter(|_| paragraph.lines > 0);
                let header = &source[paragraph.last.clone()];
                if columns.is_some_and(|columns| columns == header_columns(header)) {
                    if paragraph.lines == 1 {
                        self.become_table(line.end, source);
                    } else if header.trim_start().starts_with('|') {
                        return Ended::Table(paragraph.last.start);
                    }
                    return Ended::No;
                }
                paragraph.lines += 1;
                paragraph.last = line;
            }
            Kind::Quote(nest) => nest.take(text, line.start),
            Kind::List(list) => {
                list.nest.take(text, line.start);
                list.dead |= list.bare && blank;
                list.bare &= !blank && line.start == list.item;
                list.blank = blank;
            }
            Kind::Table(_) => {}
        }
        Ended::No
    }

    /// The paragraph so far was a table's header and delimiter row.
    pub(super) fn become_table(&mut self, end: usize, source: &str) {
        let Written {
            html, blocks, rows, ..
        } = html::write(&source[self.start..end]);
        self.end = end;
        self.view = View::new(self.start);
        self.kind = Kind::Table(Table { head: end });
        match html.strip_suffix(html::TABLE_END) {
            Some(before) if blocks == 1 && rows.is_empty() => {
                self.view.before = String::from(before);
                self.view.after = html::TABLE_END;
                self.view.settle(end);
            }
            // The parser disagrees, so the block is shown as a whole.
            _ => {}
        }
    }

    /// The finished block.
    pub(super) fn finish(mut self, source: &str) -> super::Block {
        let range = self.start..self.end;
        let html = match &mut self.kind {
            Kind::Code(code) => code.html(),
            Kind::List(list) => {
                let item = list.write_item(with_line_end(source, list.item..self.end));
                let mut html = list.open(list.rtl);
                html.push_str(&self.view.settled);
                html.push_str(&item);
                html.push_str(list.close());
                html
            }
            _ => html::write(with_line_end(source, range.clone())).html,
        };
        super::Block { html, range }
    }
}

/// The text at `range` with its line end, without which the parser leaves out the last one of code.
fn with_line_end(source: &str, range: Range<usize>) -> &str {
    let rest = &source[range.end..];
    let line_end = if rest.starts_with("\r\n") {
        2
    } else {
        usize::from(rest.starts_with('\n'))
    };
    &source[range.start..range.end + line_end]
}

/// The effect of the end of a line on a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    No,
    Whole,
    /// The line before it is a table's header, which ends the paragraph there.
    Table(usize),
}

impl List {
    /// Reads the beginning of a line. `None` if the list ended before it; otherwise the marker and
    /// the width of the item that the line begins, if any.
    fn begin_line(&mut self, line: &Line) -> Option<Option<(Marker, usize)>> {
        if line.start == Start::Blank || (line.indent >= self.width && !self.dead) {
            return Some(None);
        }
        let sibling = line
            .item()
            .filter(|marker| marker.mark == self.marker.mark && line.indent < 4);
        if let Some(marker) = sibling {
            self.dead = false;
            return Some(Some((marker, line.indent + marker.width)));
        }
        let lazy = !self.blank && matches!(self.nest.leaf, Leaf::Paragraph(_)) && line.lazy();
        lazy.then_some(None)
    }

    /// The HTML of a complete item.
    fn write_item(&mut self, text: &str) -> String {
        let Written { html, rtl, .. } = html::write_item(text, self.rtl);
        self.rtl = self.rtl.or(rtl);
        html
    }

    /// The opening tag.
    pub(super) fn open(&self, rtl: Option<bool>) -> String {
        let rtl = rtl == Some(true);
        if self.marker.ordered() {
            html::list_start(u64::from(self.marker.number), rtl)
        } else {
            ["<ul", if rtl { html::RTL } else { "" }, ">"].concat()
        }
    }

    pub(super) fn close(&self) -> &'static str {
        if self.marker.ordered() {
            "</ol>"
        } else {
            "</ul>"
        }
    }
}
