//! Writes the parser's events as HTML.
//!
//! With `safe`, the writer is the guard of what a model may put on a page. It knows a fixed set
//! of tags and attributes; text and attribute values are escaped; raw HTML is text; an address
//! passes an allow-list; an image is a link.

use super::cjk;
use super::safe::{escape, escape_code, language, link_tag, right_to_left};
use pulldown_cmark::{
    Alignment, CodeBlockKind, CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd,
};

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

/// Feeds the events of `text` to `each`.
pub(super) fn parse(text: &str, mut each: impl FnMut(Event<'_>)) {
    match cjk::signed(text) {
        Some(text) => feed(&text, &mut |event| each(cjk::unsigned(event))),
        None => feed(text, &mut each),
    }
}

fn feed<'a>(text: &'a str, mut each: &mut dyn FnMut(Event<'_>)) {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    #[cfg(test)]
    super::tests::count(text.len());
    let parser: Parser<'a> = Parser::new_ext(text, options);
    // A reference definition would vanish from the page, and what it means for a block far
    // away cannot be known while text still arrives. It is shown as the text it is.
    let mut definitions = Vec::new();
    for (_, definition) in parser.reference_definitions().iter() {
        definitions.resize(text.len(), false);
        definitions[definition.span.start] = true;
    }
    if definitions.is_empty() {
        parser.for_each(each);
        return;
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for (at, c) in text.char_indices() {
        if definitions[at] {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    #[cfg(test)]
    super::tests::count(escaped.len());
    Parser::new_ext(&escaped, options).for_each(&mut each);
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

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.code => escape_code(&text, &mut self.written.html),
            Event::Text(text) => {
                self.letters(&text);
                escape(&text, &mut self.written.html);
            }
            Event::Html(text) => escape(&text, &mut self.written.html),
            // Cells of tables have no other way to break a line, so models write it a lot.
            Event::InlineHtml(html) if line_break(&html) && self.images == 0 => self.push("<br>"),
            Event::InlineHtml(html) => escape(&html, &mut self.written.html),
            Event::Code(code) => {
                let tags = self.images == 0;
                self.push(if tags { "<code>" } else { "" });
                escape_code(&code, &mut self.written.html);
                self.push(if tags { "</code>" } else { "" });
            }
            Event::SoftBreak => self.push("\n"),
            Event::HardBreak => self.push(if self.images == 0 { "<br>" } else { "\n" }),
            Event::Rule => {
                self.block();
                self.push("<hr>");
            }
            Event::TaskListMarker(done) => self.push(if done {
                "<input type=\"checkbox\" aria-label=\"Task\" disabled checked> "
            } else {
                "<input type=\"checkbox\" aria-label=\"Task\" disabled> "
            }),
            // Their options are off; should one come, its text is all that is safe to show.
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                escape(&text, &mut self.written.html)
            }
        }
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

    fn start(&mut self, tag: Tag<'_>) {
        let item_list = self.item && self.open.is_empty() && matches!(tag, Tag::List(_));
        if !inline(&tag) && !item_list {
            self.block();
            self.leave_table(&tag);
        }
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.element("<p>", "</p>", 0),
            Tag::Heading { level, .. } => match level {
                HeadingLevel::H1 => self.element("<h3>", "</h3>", 0),
                HeadingLevel::H2 => self.element("<h4>", "</h4>", 0),
                HeadingLevel::H3 => self.element("<h5>", "</h5>", 0),
                _ => self.element("<h6>", "</h6>", 0),
            },
            Tag::BlockQuote(_) => self.element("<blockquote>", "</blockquote>", 0),
            Tag::CodeBlock(kind) => self.start_code(&kind),
            Tag::List(_) if item_list => self.open.push(Open::new("")),
            Tag::List(None) => self.element("<ul>", "</ul>", 1),
            Tag::List(Some(number)) => self.element(&list_start(number, false), "</ol>", 1),
            Tag::Item if self.item && self.open.len() == 1 => {
                // Text that the parser puts after the list stays in its last item, so the
                // item's end is written when the next one begins.
                let close = std::mem::replace(&mut self.item_open, true);
                self.push(if close { "</li>" } else { "" });
                let mut item = Open::new("");
                item.undirected = Some(self.written.html.len() + "<li".len());
                self.undirected += 1;
                self.push("<li>");
                self.open.push(item);
            }
            Tag::Item => self.part("<li>", "</li>"),
            Tag::Table(alignments) => {
                // Every row is filled up to the head's width, so a wide head would make a page
                // of megabytes out of a few lines.
                let room = if alignments.len() > COLUMNS { DEPTH } else { 4 };
                self.alignments = alignments;
                self.element(TABLE, TABLE_END, room);
            }
            Tag::TableHead => {
                self.head = true;
                self.column = 0;
                self.part("<thead><tr>", "</tr></thead><tbody>");
            }
            Tag::TableRow => {
                self.column = 0;
                self.written.rows.push(self.written.html.len());
                self.part("<tr>", "</tr>");
            }
            Tag::TableCell => self.start_cell(),
            Tag::Emphasis => self.element("<em>", "</em>", 0),
            Tag::Strong => self.element("<strong>", "</strong>", 0),
            Tag::Strikethrough => self.element("<del>", "</del>", 0),
            Tag::Link {
                link_type,
                dest_url,
                ..
            } => self.start_link(link_type, &dest_url),
            Tag::Image { dest_url, .. } => {
                self.start_link(LinkType::Inline, &dest_url);
                self.alt = self.written.html.len();
                self.images += 1;
            }
            Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => self.open.push(Open::new("")),
        }
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

    fn end(&mut self, tag: TagEnd) {
        let element = self.open.pop();
        let close = element.as_ref().map_or("", |open| open.close);
        if element.is_some_and(|open| open.undirected.is_some()) {
            self.undirected -= 1;
        }
        match tag {
            TagEnd::Image => {
                self.images = self.images.saturating_sub(1);
                if self.written.html.len() == self.alt {
                    self.push("image");
                }
            }
            TagEnd::HtmlBlock => self.trim_line_end(),
            TagEnd::CodeBlock => self.code = false,
            TagEnd::TableHead => {
                self.head = false;
                // A table is written the way of its head, which is shown before any row comes.
                if let Some(table) = self.open.last_mut()
                    && table.undirected.take().is_some()
                {
                    self.undirected -= 1;
                }
            }
            TagEnd::TableCell => self.column += 1,
            _ => {}
        }
        if close == "</a>" {
            self.links -= 1;
        }
        self.push(close);
        // Without its tags a block still must not run into the next word.
        if close.is_empty() && separates(&tag) && !self.written.html.ends_with('\n') {
            self.push("\n");
        }
    }

    fn start_code(&mut self, kind: &CodeBlockKind<'_>) {
        let info = match kind {
            CodeBlockKind::Fenced(info) => info,
            CodeBlockKind::Indented => &CowStr::Borrowed(""),
        };
        let (open, close) = super::code_frame(&language(info));
        self.code = true;
        self.element(&open, close, 2);
    }

    fn start_cell(&mut self) {
        let class = match self.alignments.get(self.column) {
            Some(Alignment::Left) => " class=\"left\"",
            Some(Alignment::Center) => " class=\"center\"",
            Some(Alignment::Right) => " class=\"right\"",
            Some(Alignment::None) | None => "",
        };
        let mut tag = String::from(if self.head { "<th" } else { "<td" });
        tag.push_str(class);
        tag.push('>');
        self.part(&tag, if self.head { "</th>" } else { "</td>" });
    }

    fn start_link(&mut self, kind: LinkType, address: &str) {
        let mut tag = String::new();
        if self.links == 0 && self.images == 0 && link_tag(kind, address, &mut tag) {
            let before = self.open.len();
            self.element(&tag, "</a>", 0);
            self.links += usize::from(
                self.open
                    .get(before)
                    .is_some_and(|open| open.close == "</a>"),
            );
        } else {
            self.open.push(Open::new(""));
        }
    }

    fn trim_line_end(&mut self) {
        let len = self.written.html.trim_end_matches('\n').len();
        self.written.html.truncate(len);
    }
}

fn inline(tag: &Tag<'_>) -> bool {
    matches!(
        tag,
        Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Link { .. } | Tag::Image { .. }
    )
}

fn separates(tag: &TagEnd) -> bool {
    matches!(
        tag,
        TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::HtmlBlock | TagEnd::TableCell
    )
}

fn line_break(html: &str) -> bool {
    html.len() <= 6
        && html
            .get(..3)
            .is_some_and(|tag| tag.eq_ignore_ascii_case("<br"))
        && matches!(html[3..].trim_start_matches(' '), ">" | "/>")
}

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
