//! Makes text, addresses and language names that a model wrote safe for a page.

use pulldown_cmark::LinkType;

/// Writes `<a …>` and returns true if the address is allowed.
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

/// Whether an address is an absolute web address, a mail address or a fragment of this page. The
/// parser has already decoded entities and escapes. Browsers
/// [remove](https://url.spec.whatwg.org/#concept-basic-url-parser) tabs and line ends and treat a
/// backslash as a slash, so an address with any of those is refused.
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
    // With another number of slashes, a browser would take the host from the wrong part. `http:x`
    // is even a relative address.
    let web = scheme("https://").or_else(|| scheme("http://"));
    web.or_else(|| scheme("mailto:"))
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        || address.starts_with('#')
}

/// The language that an info string names: at most 32 characters that are safe in a class name.
pub(super) fn language(info: &str) -> String {
    info.trim_start_matches([' ', '\t'])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '#' | '.' | '_' | '-'))
        .take(32)
        .collect()
}

/// Appends `text`, escaped for the content of an element and for a quoted attribute.
pub fn escape(text: &str, out: &mut String) {
    escape_with(text, out, |c| matches!(c, '\u{202D}' | '\u{202E}'));
}

/// Like [`escape`], for code, in which no invisible character may change the order of the text
/// ([Trojan Source](https://trojansource.codes)).
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

/// Whether a character is no control character, or one that has a meaning in text.
pub(super) fn visible(c: char) -> bool {
    !c.is_control() || matches!(c, '\n' | '\t' | '\r')
}

/// Whether a character is a [bidirectional control](https://www.unicode.org/reports/tr9/) that
/// reorders the text around it.
pub(super) fn direction(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether a text is written right to left, by its first strong character. `None` if it has none,
/// such as a text of digits and punctuation.
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
