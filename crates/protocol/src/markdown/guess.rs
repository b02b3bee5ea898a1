//! Whether half-typed characters are likely to become markup, by what stands beside them.

use super::cjk;
use super::repair::REACH;

/// Whether a delimiter after `before` looks like the start of markup. Inside words, and after
/// symbols of programs and numbers, it is more often plain text.
pub(super) fn likely(before: Option<char>) -> bool {
    before.is_none_or(|c| {
        c.is_whitespace() || cjk::is_cjk(c) || "([{<>|\"'“”‘’„«»‹›*_~-–—:,;!?¿¡….".contains(c)
    })
}

/// Whether the text after `](` may be the beginning of an address and its title.
pub(super) fn may_be_address(rest: &str) -> bool {
    let rest = rest.trim_start();
    let end = if rest.starts_with('<') {
        rest.find('>').map(|end| end + 1)
    } else {
        rest.find(char::is_whitespace)
    };
    let Some(end) = end else { return true };
    let title = rest[end..].trim_start();
    title.len() < REACH && (title.is_empty() || title.starts_with(['"', '\'', '(']))
}

/// Whether `rest` is the beginning of a `<br>`.
pub(super) fn begins_break(rest: &[u8]) -> bool {
    let is = |tag: &[u8]| {
        tag.get(..rest.len())
            .is_some_and(|tag| tag.eq_ignore_ascii_case(rest))
    };
    is(b"<br/") || is(b"<br /")
}

/// The kind of character beside a delimiter run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Space,
    Punctuation,
    Word,
}

impl Side {
    pub(super) fn of(c: Option<char>) -> Self {
        match c {
            None => Self::Space,
            Some(c) if c.is_whitespace() => Self::Space,
            Some(c) if c.is_alphanumeric() => Self::Word,
            Some(_) => Self::Punctuation,
        }
    }

    /// Whether a run between `other` and this character attaches to this one: it is
    /// [left- or right-flanking](https://spec.commonmark.org/0.31.2/#left-flanking-delimiter-run).
    pub(super) fn opens(self, other: Self) -> bool {
        self == Self::Word || (self == Self::Punctuation && other != Self::Word)
    }
}
