//! The rendered form of an open block.
//!
//! The cost of rendering is that of the text that is read, so little is read: a part of the block
//! that can no longer change is settled once, and the rest is rendered again only when it has grown
//! by a share of its own size. The total cost is in proportion to the text, however often it is
//! rendered.

use super::draft::{Draft, Kind};
use super::html;
use super::line::like_delimiter;
use super::nest::{Leaf, Nest, Typed};
use super::repair::scan;

/// A tail is rendered again when it has grown by 1/64 of the bytes that this reads.
const SHARE: usize = 64;
/// From this length on, in bytes, the tail of a paragraph is settled between two words, even if
/// markup is open in it.
const LONG: usize = 2048;

/// The rendered parts of an open block.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) before: String,
    pub(super) settled: String,
    pub(super) tail: String,
    pub(super) after: &'static str,
    /// The end of the source text that is in `settled`.
    pub(super) from: usize,
    /// The end of the source text when `tail` was rendered, and the bytes that the next rendering
    /// will read.
    shown: usize,
    cost: usize,
    /// Whether the last rendering left something out.
    lags: bool,
    /// Whether the block cannot be settled in pieces, and is rendered as a whole.
    whole: bool,
    /// Whether the paragraph in `settled` is written right to left.
    rtl: Option<bool>,
}

impl View {
    pub(super) fn new(start: usize) -> Self {
        Self {
            from: start,
            ..Self::default()
        }
    }

    /// Notes that the source before `at` is in `settled` now.
    pub(super) fn settle(&mut self, at: usize) {
        self.from = at;
        self.refresh();
    }

    /// Makes the next call render. Returns whether the last one left something out.
    pub(super) fn refresh(&mut self) -> bool {
        self.shown = 0;
        self.cost = 0;
        std::mem::take(&mut self.lags)
    }

    /// Whether the text up to `end` has grown enough to be rendered again.
    fn due(&mut self, end: usize) -> bool {
        let enough = end.abs_diff(self.shown) * SHARE >= self.cost;
        self.lags = end != self.shown && !enough;
        end != self.shown && enough
    }

    fn rendered(&mut self, end: usize, cost: usize) {
        self.shown = end;
        self.cost = cost;
    }

    /// Stops settling pieces.
    fn make_whole(&mut self, start: usize) {
        *self = Self::new(start);
        self.whole = true;
    }
}

impl Draft {
    /// Brings the view up to date with the source. The incomplete line that begins at `line` is
    /// hidden unless it is `decided`.
    pub(super) fn look(&mut self, source: &str, line: usize, decided: bool) {
        let end = if decided { source.len() } else { line };
        match &self.kind {
            Kind::Code(_) => {}
            Kind::Line => self.look_whole(source, end, Some(0), false),
            Kind::Quote(nest) => {
                let (end, leaf, number) = typed(nest, source, line, end);
                let leaf = leaf.map(|leaf| leaf.saturating_sub(self.start));
                self.look_whole(source, end, leaf, number);
            }
            Kind::List(list) => {
                self.view.after = list.close();
                let (end, leaf, number) = typed(&list.nest, source, line, end);
                self.look_item(source, end, leaf, number);
            }
            Kind::Table(_) => self.look_rows(source, line.min(end), end),
            Kind::Paragraph(_) => self.look_paragraph(source, line, end),
        }
    }

    /// Renders the whole block. `leaf` is the start of the last text, relative to the block.
    fn look_whole(&mut self, source: &str, end: usize, leaf: Option<usize>, number: bool) {
        if self.view.due(end) {
            let text = repaired(&source[self.start..end], leaf, number);
            let html = html::write(&text).html;
            self.view.tail = if html::blank(&html) {
                String::new()
            } else {
                html
            };
            self.view.rendered(end, text.len());
        }
    }

    fn look_item(&mut self, source: &str, end: usize, leaf: Option<usize>, number: bool) {
        let Kind::List(list) = &self.kind else {
            return;
        };
        let from = self.view.from;
        if end > from && self.view.due(end) {
            let leaf = leaf.map(|leaf| leaf.saturating_sub(from));
            let text = repaired(&source[from..end], leaf, number);
            let item = html::write_item(&text, list.rtl);
            self.view.before = list.open(list.rtl.or(item.rtl));
            self.view.tail = if html::blank(&item.html) {
                String::new()
            } else {
                item.html
            };
            self.view.rendered(end, text.len());
        } else if end <= from {
            self.view.tail.clear();
        }
    }

    /// Renders rows below a copy of the head, from which the parser learns the columns.
    fn look_rows(&mut self, source: &str, line: usize, end: usize) {
        let Kind::Table(table) = &self.kind else {
            return;
        };
        if self.view.after.is_empty() {
            return self.look_whole(source, end, None, false);
        }
        if !self.view.due(end) {
            return;
        }
        let mut text = String::from(&source[self.start..table.head]);
        text.push('\n');
        text.push_str(source[self.view.from..line].trim_start_matches(['\r', '\n']));
        let row = repaired_row(&source[line..end]);
        // For the parser, a row without cells ends the table.
        let partial = !row.trim_matches(['|', ' ', '\t', '\r']).is_empty();
        text.push_str(if partial { &row } else { "" });
        let cost = text.len();
        let written = html::write(&text);
        let first = written.rows.first().copied();
        let last = written.rows.last().copied().filter(|_| partial);
        let rows = written.html.strip_suffix(html::TABLE_END).map(str::len);
        let (Some(rows), 1) = (rows, written.blocks) else {
            self.view.make_whole(self.start);
            return self.look_whole(source, end, None, false);
        };
        let last = last.unwrap_or(rows);
        let first = first.unwrap_or(rows).min(last);
        self.view.settled.push_str(&written.html[first..last]);
        self.view.tail.clear();
        self.view.tail.push_str(&written.html[last..rows]);
        self.view.from = line;
        self.view.rendered(end, cost);
    }

    fn look_paragraph(&mut self, source: &str, line: usize, end: usize) {
        let Kind::Paragraph(paragraph) = &self.kind else {
            return;
        };
        // This may become the delimiter row of a table, and has no word in it.
        let undecided = paragraph.lines > 0 && like_delimiter(&source[line.min(end)..end]);
        let end = if undecided { line.min(end) } else { end };
        // What may become the header row must not be settled as text.
        let row = |at: usize| source[at..end].trim_start_matches(' ').starts_with('|');
        let last = if paragraph.lines > 0 {
            paragraph.last.start
        } else {
            line
        };
        let rows = [last, line].into_iter().find(|at| *at < end && row(*at));
        let rows = rows.unwrap_or(end);
        if !self.view.due(end) || end <= self.view.from {
            return;
        }
        if self.view.whole {
            return self.look_whole(source, end, Some(0), false);
        }
        if self.look_pieces(source, rows, end).is_none() {
            self.view.make_whole(self.start);
            self.look_whole(source, end, Some(0), false);
        }
    }

    /// Renders the content of a paragraph, and settles what it can. `None` if the parser does not
    /// see a paragraph.
    fn look_pieces(&mut self, source: &str, rows: usize, end: usize) -> Option<()> {
        let view = &mut self.view;
        let mut text = &source[view.from..end];
        let mut found = scan(text);
        let long = text.len() > LONG;
        if rows < end {
            let before = scan(&source[view.from..rows.max(view.from)]);
            (found.seam, found.gap) = (before.seam, before.gap);
        }
        let place = found
            .seam
            .take()
            .or_else(|| found.gap.take().filter(|_| long));
        if let Some(place) = place {
            let mut piece = String::new();
            scan(&text[..place.start]).repaired(&text[..place.start], &mut piece);
            let piece = html::write_inline(&piece)?;
            view.settled.push_str(&piece.html);
            view.rtl = view.rtl.or(piece.rtl);
            view.settled.push_str(&text[place.clone()]);
            view.from += place.end;
            text = &text[place.end..];
            found = scan(text);
        }
        let mut tail = String::new();
        found.repaired(text, &mut tail);
        let tail = if tail.is_empty() {
            html::Written::default()
        } else {
            html::write_inline(&tail)?
        };
        let empty = view.settled.is_empty() && tail.html.is_empty();
        let rtl = view.rtl.or(tail.rtl) == Some(true);
        let open = ["<p", if rtl { html::RTL } else { "" }, ">"];
        (view.before, view.after) = if empty {
            (String::new(), "")
        } else {
            (open.concat(), "</p>")
        };
        view.tail = tail.html;
        view.rendered(end, text.len());
        Some(())
    }
}

/// What can be shown of an open list or quote with its incomplete line: the end, the start of the
/// last text, and whether it ends with a number that may become a marker.
fn typed(nest: &Nest, source: &str, line: usize, end: usize) -> (usize, Option<usize>, bool) {
    let of = |nest: &Nest| match nest.leaf {
        Leaf::Paragraph(at) | Leaf::Heading(at) => Some(at),
        Leaf::None | Leaf::Fence { .. } => None,
    };
    if end <= line {
        return (end, of(nest), false);
    }
    match nest.typed(&source[line..end]) {
        Typed::Open => (line, of(nest), false),
        Typed::Number => (end, None, true),
        Typed::Known => {
            let mut nest = nest.clone();
            nest.take(&source[line..end], line);
            (end, of(&nest), false)
        }
    }
}

/// `text` with the half-typed markup after `leaf` completed. A `number` at its end is escaped, so
/// that it does not become a list item.
fn repaired(text: &str, leaf: Option<usize>, number: bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    if number {
        let text = text.trim_end();
        let delimiter = text.len() - usize::from(text.ends_with(['.', ')']));
        out.push_str(&text[..delimiter]);
        if delimiter < text.len() {
            out.push('\\');
            out.push_str(&text[delimiter..]);
        }
        return out;
    }
    let leaf = leaf.unwrap_or(text.len()).min(text.len());
    out.push_str(&text[..leaf]);
    scan(&text[leaf..]).repaired(&text[leaf..], &mut out);
    out
}

/// A table row with its last cell completed, the only one that can be half-typed.
fn repaired_row(row: &str) -> String {
    let cell = row.rfind('|').map_or(0, |pipe| pipe + 1);
    let mut text = String::new();
    scan(&row[cell..]).repaired(&row[cell..], &mut text);
    text.insert_str(0, &row[..cell]);
    text
}
