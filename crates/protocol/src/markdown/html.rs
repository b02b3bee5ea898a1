//! Writes the parser's events as HTML.
//!
//! Together with `safe`, this decides what a model can put on a page. Only a fixed set of tags and
//! attributes is written, text and attribute values are escaped, raw HTML is text, addresses pass
//! an allow-list, and images become links.

mod events;

use super::{parser::parse, safe::right_to_left};
use pulldown_cmark::{Alignment, Tag};

/// How deep elements are nested. Deeper ones lose their tags and keep their text. Browsers stop at
/// 512 levels and lay out slowly long before.
const DEPTH: usize = 48;

/// The most columns of a table. A wider one is shown as lines of text.
const COLUMNS: usize = 64;

/// Opening tags of a table up to its head.
const TABLE: &str =
    "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>";
/// Closing tags of a table after its last row.
pub(super) const TABLE_END: &str = "</tbody></table></div>";

/// Whether HTML shows nothing: it has neither text nor a rule.
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

/// The HTML of a text, and what was found in it.
#[derive(Default)]
pub(super) struct Written {
    pub(super) html: String,
    /// The number of top-level blocks.
    pub(super) blocks: usize,
    /// The start of each body row of the last table in `html`.
    pub(super) rows: Vec<usize>,
    /// Whether the first letter is written right to left.
    pub(super) rtl: Option<bool>,
}

/// Renders `text` as a document.
pub(super) fn write(text: &str) -> Written {
    let mut writer = Writer::new(false, Some(false));
    parse(text, |event| writer.event(event));
    writer.finish()
}

/// Renders one list item without the list around it. `rtl` says whether the list is written right
/// to left, if that is known.
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

/// The attribute of an element that is written right to left.
pub(super) const RTL: &str = " dir=\"rtl\"";
/// The attribute of an element that is written left to right inside such an element.
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
    /// The closing tag; empty if the element is left out.
    close: &'static str,
    /// The place in the HTML for the attribute `dir`, as long as the element can have one and has
    /// no letter yet.
    undirected: Option<usize>,
    /// Whether the element is written right to left, if it has a direction of its own.
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

/// The elements whose first letter decides their direction.
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
    /// The number of elements in `open` without a letter.
    undirected: usize,
    /// Whether the surrounding text is written right to left, if that is known.
    rtl: Option<bool>,
    /// Whether the outermost list is written without its own tags.
    item: bool,
    /// Whether the end tag of the outermost item is still to be written.
    item_open: bool,
    /// The number of open `<a>` elements and of open images, which cannot contain other links.
    links: usize,
    images: usize,
    /// The start of an image's text in the HTML.
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

    /// Begins a block. One outside the list of a rendered item becomes part of the item.
    fn block(&mut self) {
        if self.open.is_empty() {
            self.written.blocks += 1;
            if self.item && !std::mem::replace(&mut self.item_open, true) {
                self.push("<li>");
            }
        }
    }

    /// Opens an element unless it is nested too deep. `room` is the depth of its required children.
    fn element(&mut self, open: &str, close: &'static str, room: usize) {
        let fits = self.images == 0 && self.open.len() + room < DEPTH;
        self.child(open, close, fits);
    }

    /// Reads text. Its first letter decides the direction of the open elements without one.
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

    /// Opens an element that is only valid inside its parent, and is left out with it.
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

    /// Closes a table before a block that is not part of it. The parser puts blocks into a table
    /// when it gives up on one with too many cells.
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
