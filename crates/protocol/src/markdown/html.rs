//! Writes the parser's events as HTML.
//!
//! With `safe`, the writer is the guard of what a model may put on a page. It knows a fixed set
//! of tags and attributes; text and attribute values are escaped; raw HTML is text; an address
//! passes an allow-list; an image is a link.

mod events;

use super::{parser::parse, safe::right_to_left};
use pulldown_cmark::{Alignment, Tag};

/// Elements nested in each other. What is nested deeper keeps its text and loses its tags:
/// browsers stop at 512 and lay out slowly long before.
const DEPTH: usize = 48;

/// Columns of a table; a wider one is shown as lines of text.
const COLUMNS: usize = 64;

/// Opening tags of a table up to its head.
const TABLE: &str =
    "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>";
/// Closing tags of a table after its last row.
pub(super) const TABLE_END: &str = "</tbody></table></div>";

/// Whether there is nothing to be seen in some HTML: elements without text, and no rule.
pub(super) fn blank(html: &str) -> bool {
    let mut rest = html;
    while let Some(tag) = rest.trim_start().strip_prefix('<') {
        let end = tag.find('>').map_or(tag.len(), |end| end + 1);
        if tag.starts_with("hr") {
            return false;
        }
        rest = &tag[end..];
    }
    rest.trim_start().is_empty()
}

/// What a parse found besides the HTML.
#[derive(Default)]
pub(super) struct Written {
    pub(super) html: String,
    /// Blocks at the top.
    pub(super) blocks: usize,
    /// Where each body row of the last table begins in `html`.
    pub(super) rows: Vec<usize>,
    /// Whether the first letter is written from right to left.
    pub(super) rtl: Option<bool>,
}

/// Renders `text`, a document of its own.
pub(super) fn write(text: &str) -> Written {
    let mut writer = Writer::new(false, Some(false));
    parse(text, |event| writer.event(event));
    writer.finish()
}

/// Renders one list item without the list around it, which is written right to left or not, as
/// far as that is known.
pub(super) fn write_item(text: &str, rtl: Option<bool>) -> Written {
    let mut writer = Writer::new(true, rtl);
    parse(text, |event| writer.event(event));
    writer.finish()
}

/// Renders a paragraph without its tags, if `text` is exactly one.
pub(super) fn write_inline(text: &str) -> Option<Written> {
    let mut written = write(text);
    let html = &mut written.html;
    let tag = html.find('>')? + 1;
    if written.blocks != 1 || !html.starts_with("<p") || !html.ends_with("</p>") {
        return None;
    }
    html.truncate(html.len() - "</p>".len());
    html.drain(..tag);
    Some(written)
}

/// The attribute of what is written right to left.
pub(super) const RTL: &str = " dir=\"rtl\"";
/// The attribute of what is written left to right inside of that.
const LTR: &str = " dir=\"ltr\"";

/// The opening tag of an ordered list.
pub(super) fn list_start(number: u64, rtl: bool) -> String {
    let mut tag = String::from("<ol");
    tag.push_str(if rtl { RTL } else { "" });
    if number != 1 {
        tag.push_str(" start=\"");
        tag.push_str(&number.to_string());
        tag.push('"');
    }
    tag.push('>');
    tag
}

/// An open element.
struct Open {
    /// Its closing tag; an empty one closes an element left out.
    close: &'static str,
    /// Where its attribute goes should it be written the other way than what is around it, if it
    /// can have one and has no letter yet.
    undirected: Option<usize>,
    /// Which way it is written, where that is its own matter and known.
    rtl: Option<bool>,
}

impl Open {
    fn new(close: &'static str) -> Self {
        Self {
            close,
            undirected: None,
            rtl: None,
        }
    }
}

/// Elements that are written the way of their own first letter.
const DIRECTED: [&str; 12] = [
    "p",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "ul",
    "ol",
    "li",
    "div",
    "th",
    "td",
];

struct Writer {
    written: Written,
    open: Vec<Open>,
    /// Elements in `open` that wait for a letter.
    undirected: usize,
    /// Which way the text around is written, if that is known.
    rtl: Option<bool>,
    /// Only the inside of the outermost list is wanted.
    item: bool,
    /// The outermost item's end tag is held back until the next item or the end.
    item_open: bool,
    /// Open `<a>` elements, and open images: neither may hold another link.
    links: usize,
    images: usize,
    /// Where an image's text begins.
    alt: usize,
    code: bool,
    alignments: Vec<Alignment>,
    column: usize,
    head: bool,
}

impl Writer {
    fn new(item: bool, rtl: Option<bool>) -> Self {
        Self {
            written: Written::default(),
            open: Vec::new(),
            undirected: 0,
            rtl,
            item,
            item_open: false,
            links: 0,
            images: 0,
            alt: 0,
            code: false,
            alignments: Vec::new(),
            column: 0,
            head: false,
        }
    }

    fn finish(mut self) -> Written {
        while let Some(open) = self.open.pop() {
            self.push(open.close);
        }
        if self.item_open {
            self.push("</li>");
        }
        self.written
    }

    fn push(&mut self, html: &str) {
        self.written.html.push_str(html);
    }

    /// A block begins. Should there be one beside the list of an item, it goes into the item.
    fn block(&mut self) {
        if self.open.is_empty() {
            self.written.blocks += 1;
            if self.item && !std::mem::replace(&mut self.item_open, true) {
                self.push("<li>");
            }
        }
    }

    /// Opens an element unless it is too deep; `room` is how deep its necessary children go.
    fn element(&mut self, open: &str, close: &'static str, room: usize) {
        let fits = self.images == 0 && self.open.len() + room < DEPTH;
        self.child(open, close, fits);
    }

    /// Text comes. Its first letter tells how the elements are written that had none so far.
    fn letters(&mut self, text: &str) {
        if self.undirected == 0 && self.written.rtl.is_some() {
            return;
        }
        let Some(rtl) = right_to_left(text) else {
            return;
        };
        self.undirected = 0;
        self.written.rtl = self.written.rtl.or(Some(rtl));
        let mut around = *self.rtl.get_or_insert(rtl);
        let mut grown = 0;
        for open in &mut self.open {
            if let Some(at) = open.undirected.take() {
                if rtl != around {
                    let attribute = if rtl { RTL } else { LTR };
                    self.written.html.insert_str(at + grown, attribute);
                    grown += attribute.len();
                }
                open.rtl = Some(rtl);
            }
            around = open.rtl.unwrap_or(around);
        }
    }

    /// Opens an element that is only valid inside its parent, and so shares its fate.
    fn part(&mut self, open: &str, close: &'static str) {
        let parent = self.open.last().is_some_and(|open| !open.close.is_empty());
        self.child(open, close, parent);
    }

    fn child(&mut self, open: &str, close: &'static str, wanted: bool) {
        let mut element = Open::new(if wanted { close } else { "" });
        if wanted {
            let name = open.find([' ', '>']).unwrap_or(open.len());
            if DIRECTED.contains(&&open[1..name]) {
                element.undirected = Some(self.written.html.len() + name);
                self.undirected += 1;
            }
            self.push(open);
        }
        self.open.push(element);
    }

    /// The parser gives up on a table that would need too many cells, and puts what follows
    /// into it.
    fn leave_table(&mut self, tag: &Tag<'_>) {
        let part = matches!(tag, Tag::TableHead | Tag::TableRow);
        if let Some(table) = self
            .open
            .last_mut()
            .filter(|open| !part && open.close == TABLE_END)
        {
            table.close = "";
            self.written.html.push_str(TABLE_END);
        }
    }

    fn trim_line_end(&mut self) {
        let len = self.written.html.trim_end_matches('\n').len();
        self.written.html.truncate(len);
    }
}
