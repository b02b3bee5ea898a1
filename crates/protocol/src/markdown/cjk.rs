//! Emphasis in Chinese, Japanese and Korean, which put no spaces between words.
//!
//! In [CommonMark](https://spec.commonmark.org/0.31.2/#left-flanking-delimiter-run), the characters
//! on both sides of `**` decide whether it opens or closes emphasis. Beside punctuation it needs
//! white space or more punctuation on the other side. `**「…」**は` has neither, so its asterisks
//! would stay on the page. The [amendment](https://github.com/tats-u/markdown-cjk-friendly) that
//! other parsers have adopted accepts CJK characters as well. It comes to one rule: *a delimiter
//! run without white space beside it, and with a CJK character on at least one side, both opens and
//! closes.* All other runs keep their meaning.
//!
//! The parser has no option for this. So punctuation is put on both sides of such a run before
//! parsing, and removed from the parser's events.

use pulldown_cmark::{CowStr, Event, Tag};

/// The inserted character. The parser treats it as punctuation, and hardly any text contains it (it
/// is a chevron of an old home computer). A text that does is left as it is.
const MARKER: char = '\u{1FBCA}';

/// The text with the inserted characters. `None` if no run in it needs them.
pub(super) fn marked(text: &str) -> Option<String> {
    if text.is_ascii() || text.contains(MARKER) {
        return None;
    }
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut from, mut at) = (0, 0);
    // Whether the line has only had quote markers so far: a run after them may be a list item's.
    let mut begins = true;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'\n' => begins = true,
            b' ' | b'\t' | b'>' => {}
            b'*' | b'~' => {
                while bytes.get(at) == Some(&byte) {
                    at += 1;
                }
                // A single `~` denotes a range, and three are a fence.
                if !begins && (byte == b'*' || at - start == 2) && flanks_both(text, start..at) {
                    // The border of a table cell is punctuation already, and must stay beside the
                    // run.
                    let marker = |border: bool| if border { "" } else { MARKER_STR };
                    out.push_str(&text[from..start]);
                    out.push_str(marker(bytes[start - 1] == b'|'));
                    out.push_str(&text[start..at]);
                    out.push_str(marker(bytes.get(at) == Some(&b'|')));
                    from = at;
                }
                begins = false;
            }
            _ => {
                begins = false;
                let escapes = byte == b'\\' && bytes.get(at).is_some_and(u8::is_ascii_punctuation);
                at += usize::from(escapes);
            }
        }
    }
    if from == 0 {
        return None;
    }
    out.push_str(&text[from..]);
    Some(out)
}

const MARKER_STR: &str = "\u{1FBCA}";

/// Removes the characters that [`marked`] inserted from an event.
pub(super) fn unmarked(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Text(text) => Event::Text(clean(text)),
        Event::Code(text) => Event::Code(clean(text)),
        Event::Html(text) => Event::Html(clean(text)),
        Event::InlineHtml(text) => Event::InlineHtml(clean(text)),
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        }) => Event::Start(Tag::Link {
            link_type,
            dest_url: clean(dest_url),
            title,
            id,
        }),
        Event::Start(Tag::Image {
            link_type,
            dest_url,
            title,
            id,
        }) => Event::Start(Tag::Image {
            link_type,
            dest_url: clean(dest_url),
            title,
            id,
        }),
        event => event,
    }
}

fn clean(text: CowStr<'_>) -> CowStr<'_> {
    if text.contains(MARKER) {
        text.replace(MARKER, "").into()
    } else {
        text
    }
}

/// Whether the amendment makes the run of `*` or `~~` at `run` both open and close.
pub(super) fn flanks_both(text: &str, run: std::ops::Range<usize>) -> bool {
    let mut before = text[..run.start].chars().rev();
    let (Some(mut last), Some(next)) = (before.next(), text[run.end..].chars().next()) else {
        return false;
    };
    if last.is_whitespace() || next.is_whitespace() {
        return false;
    }
    // A variation selector belongs to the character before it. U+FE0F is left out: it makes an
    // emoji.
    if matches!(last, '\u{FE00}'..='\u{FE0E}') {
        last = before.next().unwrap_or(last);
    }
    is_cjk(last) || is_cjk(next)
}

/// Whether a character is wide and not an emoji, Hangul, or a variation selector of ideographs. The
/// ranges are whole blocks, including their unassigned code points.
pub(super) fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x11FF
        | 0x20A9
        | 0x2329..=0x232A
        | 0x2630..=0x2637
        | 0x268A..=0x268F
        | 0x2E80..=0xA4C6
        | 0xA960..=0xA97C
        | 0xAC00..=0xD7FB
        | 0xF900..=0xFAFF
        | 0xFE10..=0xFE19
        | 0xFE30..=0xFE6B
        | 0xFF01..=0xFFEE
        | 0x16FE0..=0x18DF2
        | 0x1AFF0..=0x1B2FB
        | 0x1D300..=0x1D376
        | 0x1F200..=0x1F219
        | 0x1F21B..=0x1F22E
        | 0x1F237
        | 0x1F23B..=0x1F265
        | 0x20000..=0x3FFFD
        | 0xE0100..=0xE01EF)
}
