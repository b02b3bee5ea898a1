//! Markdown as text for screen readers.

use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};

use super::{parser, safe};

/// The text without its markup, for screen readers. Blocks of code are only announced, not read
/// out.
pub fn plain_text(text: &str) -> String {
    let mut out = String::new();
    let mut code = false;
    parser::parse(text, |event| match event {
        Event::Start(Tag::CodeBlock(kind)) => {
            code = true;
            out.push_str("Code");
            if let CodeBlockKind::Fenced(info) = kind {
                let language = safe::language(&info);
                out.push_str(if language.is_empty() { "" } else { " in " });
                out.push_str(&language);
            }
            out.push('.');
        }
        Event::End(TagEnd::CodeBlock) => {
            code = false;
            out.push('\n');
        }
        Event::Text(text) | Event::Code(text) if !code => out.push_str(&text),
        Event::SoftBreak | Event::HardBreak => out.push(' '),
        Event::End(TagEnd::TableCell) => out.push_str(", "),
        Event::End(
            TagEnd::Paragraph
            | TagEnd::Heading(_)
            | TagEnd::Item
            | TagEnd::TableRow
            | TagEnd::TableHead,
        ) => {
            let len = out.trim_end_matches([' ', ',', '\n']).len();
            out.truncate(len);
            out.push('\n');
        }
        _ => {}
    });
    out.truncate(out.trim_end().len());
    out
}
