//! Emphasis in Chinese, Japanese and Korean, where no space stands beside a mark.
//!
//! CommonMark lets `**` open or close by what stands on both of its sides: beside punctuation it
//! wants a space or more punctuation on the other side. `**「…」**は` has neither, so its marks
//! would stay on the page. The amendment that other parsers adopted takes CJK text for either. It
//! comes to one rule: *a run of marks with no white space beside it, and a CJK character on one
//! side at least, both opens and closes.* All other runs are as they were.
//!
//! The parser cannot be told, but it can be shown: for it, punctuation is put on both sides of
//! such a run, and taken out of what it reports.

use pulldown_cmark::{CowStr, Event, Tag};

/// Stands beside marks for the parser, which takes it for punctuation. Of all such characters
/// hardly any is less used (a chevron of an old home computer); a text that has it stays as it is.
const SIGN: char = '\u{1FBCA}';

/// The text for the parser, if it has a run that the amendment is about.
pub(super) fn signed(text: &str) -> Option<String> {
    if text.is_ascii() || text.contains(SIGN) {
        return None;
    }
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut from, mut at) = (0, 0);
    // Only the markers of quotes were on this line so far: a run after them begins its text.
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
                // One `~` is a mark of ranges, and three are a fence.
                if !begins && (byte == b'*' || at - start == 2) && flanks_both(text, start..at) {
                    // The border of a cell must stay beside it. It has the same effect.
                    let sign = |border: bool| if border { "" } else { SIGN_STR };
                    out.push_str(&text[from..start]);
                    out.push_str(sign(bytes[start - 1] == b'|'));
                    out.push_str(&text[start..at]);
                    out.push_str(sign(bytes.get(at) == Some(&b'|')));
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

const SIGN_STR: &str = "\u{1FBCA}";

/// An event of a text that was [`signed`], as it would be without.
pub(super) fn unsigned(event: Event<'_>) -> Event<'_> {
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
    if text.contains(SIGN) {
        text.replace(SIGN, "").into()
    } else {
        text
    }
}

/// Whether the run of `*` or `~~` at `run` is one that the amendment is about.
pub(super) fn flanks_both(text: &str, run: std::ops::Range<usize>) -> bool {
    let mut before = text[..run.start].chars().rev();
    let (Some(mut last), Some(next)) = (before.next(), text[run.end..].chars().next()) else {
        return false;
    };
    if last.is_whitespace() || next.is_whitespace() {
        return false;
    }
    // A selector belongs to the character before it; the one after these makes an emoji of it.
    if matches!(last, '\u{FE00}'..='\u{FE0E}') {
        last = before.next().unwrap_or(last);
    }
    is_cjk(last) || is_cjk(next)
}

/// Wide characters that are no emoji, Hangul, and the selectors of ideographs' variants: the
/// blocks that hold them, with what is unassigned between them.
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
