//! What a page may be told in a model's words: text, addresses and names.

use pulldown_cmark::LinkType;

/// Writes `<a …>` if the address may be followed.
pub(super) fn link_tag(kind: LinkType, address: &str, tag: &mut String) -> bool {
    let mail = kind == LinkType::Email;
    if !mail && !allowed(address) {
        return false;
    }
    tag.push_str("<a href=\"");
    tag.push_str(if mail { "mailto:" } else { "" });
    escape(address, tag);
    tag.push_str("\" rel=\"noopener noreferrer nofollow\" target=\"_blank\">");
    true
}

/// Only absolute web addresses, mail and places on this page. The parser has already decoded
/// entities and escapes. A browser would drop tabs and line ends and read a backslash as a
/// slash, so an address with any of those is none.
fn allowed(address: &str) -> bool {
    if address
        .chars()
        .any(|c| c <= ' ' || c == '\\' || c.is_control() || direction(c))
    {
        return false;
    }
    let scheme = |scheme: &str| {
        let head = address.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme)
            .then(|| &address[scheme.len()..])
    };
    // With fewer or more than two slashes a browser would read a path or a host out of the
    // wrong part; `http:x` even is a relative address.
    let web = scheme("https://").or_else(|| scheme("http://"));
    web.or_else(|| scheme("mailto:"))
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        || address.starts_with('#')
}

/// The language an info string names, as far as it is safe and short enough for a class name.
pub(super) fn language(info: &str) -> String {
    info.trim_start_matches([' ', '\t'])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '#' | '.' | '_' | '-'))
        .take(32)
        .collect()
}

/// Appends `text` so that it is text in an element and in a quoted attribute.
pub(super) fn escape(text: &str, out: &mut String) {
    escape_with(text, out, |c| matches!(c, '\u{202D}' | '\u{202E}'));
}

/// As [`escape`], for code, where no invisible character may change the order of what is read.
pub(super) fn escape_code(text: &str, out: &mut String) {
    escape_with(text, out, direction);
}

fn escape_with(text: &str, out: &mut String, hidden: impl Fn(char) -> bool) {
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let replacement = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            c if visible(c) && !hidden(c) => continue,
            _ => "\u{FFFD}",
        };
        out.push_str(&text[from..at]);
        out.push_str(replacement);
        from = at + c.len_utf8();
    }
    out.push_str(&text[from..]);
}

/// Not a control character that has no meaning in a text.
pub(super) fn visible(c: char) -> bool {
    !c.is_control() || matches!(c, '\n' | '\t' | '\r')
}

/// Marks that reorder the text around them.
pub(super) fn direction(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Which way a text is written, by its first strong letter: true for right to left. `None` if it
/// has none. Digits and punctuation go either way.
pub(super) fn right_to_left(text: &str) -> Option<bool> {
    text.chars().find_map(|c| match c {
        '\u{200F}' | '\u{061C}' => Some(true),
        '\u{200E}' => Some(false),
        c if c.is_alphabetic() => Some(matches!(u32::from(c),
            0x0590..=0x08FF
            | 0xFB1D..=0xFDFF
            | 0xFE70..=0xFEFF
            | 0x10800..=0x10FFF
            | 0x1E800..=0x1EFFF)),
        _ => None,
    })
}
