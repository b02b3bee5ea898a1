//! Writes the parser's events as HTML.
//!
//! With `safe`, the writer is the guard of what a model may put on a page. It knows a fixed set
//! of tags and attributes; text and attribute values are escaped; raw HTML is text; an address
//! passes an allow-list; an image is a link.

use super::safe::{escape, escape_code, language, link_tag};
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

/// What a parse found besides the HTML.
#[derive(Default)]
pub(super) struct Written {
    pub(super) html: String,
    /// Blocks at the top.
    pub(super) blocks: usize,
    /// Where each body row of the last table begins in `html`.
    pub(super) rows: Vec<usize>,
}

/// Renders `text`, a document of its own.
pub(super) fn write(text: &str) -> Written {
    let mut writer = Writer::new(false);
    parse(text, |event| writer.event(event));
    writer.finish()
}

/// Renders one list item without the list around it.
pub(super) fn write_item(text: &str) -> String {
    let mut writer = Writer::new(true);
    parse(text, |event| writer.event(event));
    writer.finish().html
}

/// Renders the inside of a paragraph, if `text` is exactly one.
pub(super) fn write_inline(text: &str) -> Option<String> {
    let Written {
        mut html, blocks, ..
    } = write(text);
    let inner = html.strip_prefix("<p>")?.strip_suffix("</p>")?.len();
    if blocks != 1 {
        return None;
    }
    html.drain(..3);
    html.truncate(inner);
    Some(html)
}

/// Feeds the events of `text` to `each`.
pub(super) fn parse<'a>(text: &'a str, mut each: impl FnMut(Event<'_>)) {
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

struct Writer {
    written: Written,
    /// Closing tags of the open elements; an empty one closes an element left out.
    open: Vec<&'static str>,
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
    fn new(item: bool) -> Self {
        Self {
            written: Written::default(),
            open: Vec::new(),
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
        while self.open.pop().map(|tag| self.push(tag)).is_some() {}
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
            Event::Text(text) | Event::Html(text) => escape(&text, &mut self.written.html),
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

    /// Opens an element that is only valid inside its parent, and so shares its fate.
    fn part(&mut self, open: &str, close: &'static str) {
        let parent = self.open.last().is_some_and(|tag| !tag.is_empty());
        self.child(open, close, parent);
    }

    fn child(&mut self, open: &str, close: &'static str, wanted: bool) {
        if wanted {
            self.push(open);
        }
        self.open.push(if wanted { close } else { "" });
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
            Tag::List(_) if item_list => self.open.push(""),
            Tag::List(None) => self.element("<ul>", "</ul>", 1),
            Tag::List(Some(number)) => self.element(&list_start(number), "</ol>", 1),
            Tag::Item if self.item && self.open.len() == 1 => {
                // Text that the parser puts after the list stays in its last item, so the
                // item's end is written when the next one begins.
                let close = std::mem::replace(&mut self.item_open, true);
                self.push(if close { "</li><li>" } else { "<li>" });
                self.open.push("");
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
            | Tag::MetadataBlock(_) => self.open.push(""),
        }
    }

    /// The parser gives up on a table that would need too many cells, and puts what follows
    /// into it.
    fn leave_table(&mut self, tag: &Tag<'_>) {
        let part = matches!(tag, Tag::TableHead | Tag::TableRow);
        if let Some(close) = self
            .open
            .last_mut()
            .filter(|close| !part && **close == TABLE_END)
        {
            *close = "";
            self.written.html.push_str(TABLE_END);
        }
    }

    fn end(&mut self, tag: TagEnd) {
        let close = self.open.pop().unwrap_or_default();
        match tag {
            TagEnd::Image => {
                self.images = self.images.saturating_sub(1);
                if self.written.html.len() == self.alt {
                    self.push("image");
                }
            }
            TagEnd::HtmlBlock => self.trim_line_end(),
            TagEnd::CodeBlock => self.code = false,
            TagEnd::TableHead => self.head = false,
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
            self.links += usize::from(self.open.get(before) == Some(&"</a>"));
        } else {
            self.open.push("");
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
pub(super) fn list_start(number: u64) -> String {
    let mut tag = String::from("<ol");
    if number != 1 {
        tag.push_str(" start=\"");
        tag.push_str(&number.to_string());
        tag.push('"');
    }
    tag.push('>');
    tag
}
