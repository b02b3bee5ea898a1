//! The Markdown parser and its options.

use super::cjk;
use pulldown_cmark::{Event, Options, Parser};

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
