//! What is shown of a block while it is open.
//!
//! Rendering costs what it reads, so it reads little: a part of the block that can no longer
//! change is settled once, and the rest is rendered again only when it has grown by a share of
//! its own size. The cost of any number of looks is thus in proportion to the text.

use super::draft::{Draft, Kind, List, Paragraph};
use super::html;
use super::line::{header_columns, like_delimiter};
use super::nest::{Leaf, Nest};
use super::repair::scan;

/// A tail is rendered again when it has grown by this share of what that costs.
const SHARE: usize = 64;
/// A paragraph's tail of this length is settled between two words, whatever is open in it.
const LONG: usize = 2048;

/// The rendered parts of an open block.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) before: String,
    pub(super) settled: String,
    pub(super) tail: String,
    pub(super) after: &'static str,
    /// Up to where the source is in `settled`.
    pub(super) from: usize,
    /// Up to where it was when `tail` was rendered, and what the next time will cost.
    shown: usize,
    cost: usize,
    /// It turned out not to be made of pieces, and is shown as a whole.
    whole: bool,
}

impl View {
    pub(super) fn new(start: usize) -> Self {
        Self {
            from: start,
            ..Self::default()
        }
    }

    /// The source before `at` is in `settled` now.
    pub(super) fn settle(&mut self, at: usize) {
        self.from = at;
        self.refresh();
    }

    /// Makes the next look render.
    pub(super) fn refresh(&mut self) {
        self.shown = 0;
        self.cost = 0;
    }

    /// Whether the text up to `end` is worth rendering, given what was shown before.
    fn due(&self, end: usize) -> bool {
        end != self.shown && end.abs_diff(self.shown) * SHARE >= self.cost
    }

    fn rendered(&mut self, end: usize, cost: usize) {
        self.shown = end;
        self.cost = cost;
    }

    /// Gives up on pieces.
    fn make_whole(&mut self, start: usize) {
        *self = Self::new(start);
        self.whole = true;
    }
}

impl Draft {
    /// Brings the view up to date with the source, of which what follows `line` is a line
    /// that is not whole yet, and is hidden unless `decided`.
    pub(super) fn look(&mut self, source: &str, line: usize, decided: bool) {
        let end = if decided { source.len() } else { line };
        match &self.kind {
            Kind::Code(_) => {}
            Kind::Line => self.look_whole(source, end, |_| Some(0)),
            Kind::Quote(nest) => {
                let leaf = leaf(nest, source, line, decided);
                self.look_whole(source, end, |start| {
                    leaf.map(|leaf| leaf.saturating_sub(start))
                });
            }
            Kind::List(list) => {
                self.view.after = List::close(list);
                let leaf = leaf(&list.nest, source, line, decided);
                self.look_item(source, end, leaf);
            }
            Kind::Table(_) => self.look_rows(source, line.min(end), end),
            Kind::Paragraph(_) => self.look_paragraph(source, line, end),
        }
    }

    /// Renders everything; `leaf` says where the last text begins, relative to the block.
    fn look_whole(&mut self, source: &str, end: usize, leaf: impl Fn(usize) -> Option<usize>) {
        if self.view.due(end) {
            let text = repaired(&source[self.start..end], leaf(self.start));
            self.view.tail = html::write(&text).html;
            self.view.rendered(end, text.len());
        }
    }

    fn look_item(&mut self, source: &str, end: usize, leaf: Option<usize>) {
        let from = self.view.from;
        if end > from && self.view.due(end) {
            let leaf = leaf.map(|leaf| leaf.saturating_sub(from));
            let text = repaired(&source[from..end], leaf);
            self.view.tail = html::write_item(&text);
            self.view.rendered(end, text.len());
        } else if end <= from {
            self.view.tail.clear();
        }
    }

    /// Renders rows below a copy of the head, which the parser needs to know the columns.
    fn look_rows(&mut self, source: &str, line: usize, end: usize) {
        let Kind::Table(table) = &self.kind else {
            return;
        };
        if self.view.after.is_empty() {
            return self.look_whole(source, end, |_| None);
        }
        if !self.view.due(end) {
            return;
        }
        let mut text = String::from(&source[self.start..table.head]);
        text.push('\n');
        text.push_str(source[self.view.from..line].trim_start_matches(['\r', '\n']));
        let row = repaired_row(&source[line..end]);
        // The parser takes a row without any cell for the table's end.
        let partial = !row.trim_matches(['|', ' ', '\t', '\r']).is_empty();
        text.push_str(if partial { &row } else { "" });
        let cost = text.len();
        let written = html::write(&text);
        let first = written.rows.first().copied();
        let last = written.rows.last().copied().filter(|_| partial);
        let rows = written.html.strip_suffix(html::TABLE_END).map(str::len);
        let (Some(rows), 1) = (rows, written.blocks) else {
            self.view.make_whole(self.start);
            return self.look_whole(source, end, |_| None);
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
        if self.looks_like_table(source, paragraph, line, end) {
            let header = source[self.start..end].lines().next().unwrap_or_default();
            if self.view.due(end) {
                self.view.make_whole(self.start);
                let text = head(header);
                self.view.tail = html::write(&text).html;
                self.view.rendered(end, text.len());
                // Should it become text after all, pieces are fine again.
                self.view.whole = false;
            }
            return;
        }
        let end = self.settled_end(source, paragraph, line, end);
        if !self.view.due(end) || end <= self.view.from {
            return;
        }
        if self.view.whole {
            return self.look_whole(source, end, |_| Some(0));
        }
        if self.look_pieces(source, end).is_none() {
            self.view.make_whole(self.start);
            self.look_whole(source, end, |_| Some(0));
        }
    }

    /// Shows the inside of a paragraph, settling what it can. `None` if the parser does not
    /// take it for a paragraph.
    fn look_pieces(&mut self, source: &str, end: usize) -> Option<()> {
        let view = &mut self.view;
        let mut text = &source[view.from..end];
        let mut found = scan(text);
        let long = text.len() > LONG;
        let place = found
            .seam
            .take()
            .or_else(|| found.gap.take().filter(|_| long));
        if let Some(place) = place {
            let mut piece = String::new();
            scan(&text[..place.start]).repaired(&text[..place.start], &mut piece);
            view.settled.push_str(&html::write_inline(&piece)?);
            view.settled.push_str(&text[place.clone()]);
            view.from += place.end;
            text = &text[place.end..];
            found = scan(text);
        }
        let mut tail = String::new();
        found.repaired(text, &mut tail);
        view.before = String::from("<p>");
        view.after = "</p>";
        view.tail = if tail.is_empty() {
            tail
        } else {
            html::write_inline(&tail)?
        };
        view.rendered(end, text.len());
        Some(())
    }

    /// A first line that begins with a pipe, and nothing else but perhaps a delimiter row.
    fn looks_like_table(
        &self,
        source: &str,
        paragraph: &Paragraph,
        line: usize,
        end: usize,
    ) -> bool {
        let piped = source[self.start..]
            .trim_start_matches(' ')
            .starts_with('|');
        piped
            && match paragraph.lines {
                0 => true,
                1 => like_delimiter(&source[line.min(end)..end]),
                _ => false,
            }
    }

    /// Holds back lines that may turn out to be a table below this paragraph.
    fn settled_end(&self, source: &str, paragraph: &Paragraph, line: usize, end: usize) -> usize {
        let typed = &source[line.min(end)..end];
        let row = |text: &str| text.trim_start_matches(' ').starts_with('|');
        if paragraph.lines > 1 && row(&source[paragraph.last.clone()]) && like_delimiter(typed) {
            paragraph.last.start
        } else if paragraph.lines > 0 && (row(typed) || like_delimiter(typed)) {
            line.min(end)
        } else {
            end
        }
    }
}

/// Where the last text of an open list or quote begins, with the half-typed line taken in.
fn leaf(nest: &Nest, source: &str, line: usize, decided: bool) -> Option<usize> {
    let of = |nest: &Nest| match nest.leaf {
        Leaf::Paragraph(at) | Leaf::Heading(at) => Some(at),
        Leaf::None | Leaf::Fence { .. } => None,
    };
    if !decided || line == source.len() {
        return of(nest);
    }
    let mut nest = nest.clone();
    nest.take(&source[line..], line);
    of(&nest)
}

/// `text` with the half-typed marks after `leaf` repaired.
fn repaired(text: &str, leaf: Option<usize>) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let leaf = leaf.unwrap_or(text.len()).min(text.len());
    out.push_str(&text[..leaf]);
    scan(&text[leaf..]).repaired(&text[leaf..], &mut out);
    out
}

/// A row of which only the last cell can be half-typed.
fn repaired_row(row: &str) -> String {
    let cell = row.rfind('|').map_or(0, |pipe| pipe + 1);
    let mut text = String::from(&row[..cell]);
    scan(&row[cell..]).repaired(&row[cell..], &mut text);
    text
}

/// The table that a header row alone begins, with the delimiter row it lacks.
fn head(header: &str) -> String {
    let mut text = repaired_row(header);
    let columns = header_columns(&text);
    text.push_str("\n|");
    for _ in 0..columns {
        text.push_str("-|");
    }
    text
}
