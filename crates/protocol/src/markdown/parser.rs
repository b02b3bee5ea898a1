//! The Markdown parser and its options.

use super::cjk;
use pulldown_cmark::{Event, Options, Parser};

/// Calls `each` with every event of `text`.
pub(super) fn parse(text: &str, mut each: impl FnMut(Event<'_>)) {
    match cjk::marked(text) {
        Some(text) => feed(&text, &mut |event| each(cjk::unmarked(event))),
        None => feed(text, &mut each),
    }
}

fn feed<'a>(text: &'a str, mut each: &mut dyn FnMut(Event<'_>)) {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    #[cfg(test)]
    super::tests::count(text.len());
    let parser: Parser<'a> = Parser::new_ext(text, options);
    // A reference definition would vanish from the page, and would change blocks that are far away
    // while text still arrives. So it is escaped and shown as text.
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
