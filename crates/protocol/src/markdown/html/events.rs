//! The tags, the text and the attributes of each event.

use super::{COLUMNS, DEPTH, Open, TABLE, TABLE_END, Writer, list_start};
use crate::markdown::{
    code_frame,
    safe::{escape, escape_code, language, link_tag},
};
use pulldown_cmark::{
    Alignment, CodeBlockKind, CowStr, Event, HeadingLevel, LinkType, Tag, TagEnd,
};

impl Writer {
    pub(super) fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.code => escape_code(&text, &mut self.written.html),
            Event::Text(text) => {
                self.letters(&text);
                escape(&text, &mut self.written.html);
            }
            Event::Html(text) => escape(&text, &mut self.written.html),
            // Table cells have no other way to break a line, so models often write `<br>`.
            Event::InlineHtml(html) if is_line_break(&html) && self.images == 0 => {
                self.push("<br>")
            }
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
            // These options are off. If one came all the same, only its text would be safe.
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                escape(&text, &mut self.written.html)
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        let item_list = self.item && self.open.is_empty() && matches!(tag, Tag::List(_));
        if !is_inline(&tag) && !item_list {
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
                // Text that the parser puts after the list belongs to the last item, so the end
                // tag is written when the next item begins.
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
                // The parser fills every row up to the width of the head, so a wide head would turn
                // a few lines into megabytes.
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
                // The head decides the direction, because it is shown before any row arrives.
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
        // Even without its tags, a block must not run into the next word.
        if close.is_empty() && separates(&tag) && !self.written.html.ends_with('\n') {
            self.push("\n");
        }
    }

    fn start_code(&mut self, kind: &CodeBlockKind<'_>) {
        let info = match kind {
            CodeBlockKind::Fenced(info) => info,
            CodeBlockKind::Indented => &CowStr::Borrowed(""),
        };
        let (open, close) = code_frame(&language(info));
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
}

fn is_inline(tag: &Tag<'_>) -> bool {
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

fn is_line_break(html: &str) -> bool {
    html.len() <= 6
        && html
            .get(..3)
            .is_some_and(|tag| tag.eq_ignore_ascii_case("<br"))
        && matches!(html[3..].trim_start_matches(' '), ">" | "/>")
}
