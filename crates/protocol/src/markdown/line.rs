//! Reads the beginning of a line: which block it begins or continues.
//!
//! A line is classified as soon as its prefix allows it, and never reclassified. So a document is
//! split in the same way however it arrives.

/// The beginning of a line, after the markers of its containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Columns of white space before the first visible character.
    pub(super) indent: usize,
    /// The byte offset of that character.
    pub(super) text: usize,
    pub(super) start: Start,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Blank,
    /// `#` to `######`.
    Heading,
    /// Three or more backticks or tildes.
    Fence {
        mark: u8,
        len: usize,
    },
    /// A thematic break that cannot be an underline.
    Rule,
    /// Nothing but `=` or nothing but `-`. Below a paragraph it makes a heading; elsewhere it is a
    /// rule, an empty list item or text.
    Underline {
        mark: u8,
        len: usize,
    },
    Quote,
    Item(Marker),
    /// Text that begins with a pipe: perhaps a table.
    Row,
    Text,
}

/// A bullet or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// `-`, `+`, `*`, or for numbers `.` or `)`. Another one begins another list.
    pub(super) mark: u8,
    pub(super) number: u32,
    /// Columns from the marker's first character to the item's content.
    pub(super) width: usize,
    /// Whether nothing follows on this line.
    pub(super) empty: bool,
}

impl Line {
    /// Reads `line`, without its line end. Unless it is `whole`, more may follow; the result is
    /// `None` while that could change it. `column` is where the line begins, which tabs depend on.
    pub(super) fn read(line: &str, column: usize, whole: bool) -> Option<Line> {
        let bytes = line.as_bytes();
        let (text, indent) = skip_space(bytes, column);
        let rest = &bytes[text..];
        let start = match rest.first() {
            None => whole.then_some(Start::Blank),
            Some(b'#') => heading(rest, whole),
            Some(b'`' | b'~') => fence(rest, whole),
            Some(b'>') => Some(Start::Quote),
            Some(b'|') => Some(Start::Row),
            Some(b'-' | b'+' | b'*' | b'_' | b'=') => dashes(rest, column + indent, whole),
            Some(b'0'..=b'9') => number(rest, column + indent, whole),
            Some(_) => Some(Start::Text),
        }?;
        Some(Line {
            indent,
            text,
            start,
        })
    }

    /// Whether the indentation alone makes this line code.
    pub(super) fn indented(&self) -> bool {
        self.indent >= 4 && self.start != Start::Blank
    }

    /// Whether this line ends a paragraph in the same container.
    pub(super) fn interrupts(&self) -> bool {
        match self.start {
            Start::Blank => true,
            _ if self.indent >= 4 => false,
            Start::Heading | Start::Fence { .. } | Start::Rule | Start::Quote => true,
            Start::Underline { mark, len } => mark == b'-' && len >= 3,
            Start::Item(marker) => !marker.empty && (!marker.ordered() || marker.number == 1),
            Start::Row | Start::Text => false,
        }
    }

    /// Whether this line continues an open paragraph although it lacks the markers of its
    /// containers: a [lazy continuation
    /// line](https://spec.commonmark.org/0.31.2/#lazy-continuation-line).
    pub(super) fn lazy(&self) -> bool {
        self.start != Start::Blank
            && !self.interrupts()
            && (self.indented() || self.item().is_none())
    }

    /// The list marker, if the line has one.
    pub(super) fn item(&self) -> Option<Marker> {
        match self.start {
            Start::Item(marker) => Some(marker),
            Start::Underline { mark: b'-', len: 1 } => Some(Marker {
                mark: b'-',
                number: 0,
                width: 2,
                empty: true,
            }),
            _ => None,
        }
    }
}

impl Marker {
    pub(super) fn ordered(&self) -> bool {
        matches!(self.mark, b'.' | b')')
    }
}

/// The bytes and the columns of leading spaces and tabs.
pub(super) fn skip_space(bytes: &[u8], column: usize) -> (usize, usize) {
    let (mut at, mut indent) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b' ' => indent += 1,
            b'\t' => indent += 4 - (column + indent) % 4,
            _ => break,
        }
        at += 1;
    }
    (at, indent)
}

/// The number of columns of a table's delimiter row (`|---|:-:|`). `None` if it is not one.
pub(super) fn delimiter_columns(line: &str) -> Option<usize> {
    let line = line.trim_matches([' ', '\t']);
    if !line.contains('|') || !line.contains('-') {
        return None;
    }
    let inner = line.strip_prefix('|').unwrap_or(line);
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    let mut columns = 0;
    for cell in inner.split('|') {
        if !cell.contains('-') || cell.bytes().any(|b| !matches!(b, b'-' | b':' | b' ')) {
            return None;
        }
        columns += 1;
    }
    Some(columns)
}

/// The number of cells of a table's header row: its pipes without the outer ones, plus one.
pub(super) fn header_columns(line: &str) -> usize {
    let line = line.trim_matches([' ', '\t']);
    let bytes = line.as_bytes();
    let (mut pipes, mut escaped, mut closed) = (0, false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        if byte == b'|' && !escaped {
            pipes += 1;
            closed = at + 1 == bytes.len();
        }
        escaped = byte == b'\\';
    }
    let opened = bytes.first() == Some(&b'|');
    (pipes + 1usize).saturating_sub(usize::from(opened) + usize::from(closed && bytes.len() > 1))
}

/// Whether a line has only characters that a delimiter row can have.
pub(super) fn like_delimiter(line: &str) -> bool {
    line.bytes()
        .all(|b| matches!(b, b'-' | b':' | b'|' | b' ' | b'\t' | b'\r'))
}

/// Whether a line closes a fence.
pub(super) fn closes_fence(line: &str, column: usize, mark: u8, len: usize) -> bool {
    let (text, indent) = skip_space(line.as_bytes(), column);
    let rest = &line.as_bytes()[text..];
    let run = run(rest, mark);
    indent < 4
        && run >= len
        && rest[run..]
            .iter()
            .all(|b| matches!(b, b' ' | b'\t' | b'\r'))
}

fn run(bytes: &[u8], mark: u8) -> usize {
    bytes.iter().take_while(|b| **b == mark).count()
}

fn heading(rest: &[u8], whole: bool) -> Option<Start> {
    let level = run(rest, b'#');
    match rest.get(level) {
        _ if level > 6 => Some(Start::Text),
        Some(b' ' | b'\t') => Some(Start::Heading),
        Some(_) => Some(Start::Text),
        None => whole.then_some(Start::Heading),
    }
}

fn fence(rest: &[u8], whole: bool) -> Option<Start> {
    let mark = rest[0];
    let len = run(rest, mark);
    if len < 3 {
        return (whole || len < rest.len()).then_some(Start::Text);
    }
    // A backtick in the info string makes it inline code, so the decision needs the whole line.
    if mark == b'`' && rest[len..].contains(&b'`') {
        return Some(Start::Text);
    }
    whole.then_some(Start::Fence { mark, len })
}

fn dashes(rest: &[u8], column: usize, whole: bool) -> Option<Start> {
    let mark = rest[0];
    let only = rest.iter().all(|b| *b == mark || matches!(b, b' ' | b'\t'));
    if only && !whole {
        return None;
    }
    let len = run(rest, mark);
    if only {
        let spaced = rest[len..].contains(&mark);
        let count = rest.iter().filter(|b| **b == mark).count();
        if !spaced && matches!(mark, b'-' | b'=') {
            return Some(Start::Underline { mark, len });
        }
        if count >= 3 && matches!(mark, b'-' | b'*' | b'_') {
            return Some(Start::Rule);
        }
    }
    if matches!(mark, b'_' | b'=') {
        return Some(Start::Text);
    }
    marker(rest, 1, mark, 0, column, whole)
}

fn number(rest: &[u8], column: usize, whole: bool) -> Option<Start> {
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits > 9 {
        return Some(Start::Text);
    }
    let number = rest[..digits]
        .iter()
        .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    match rest.get(digits) {
        Some(mark @ (b'.' | b')')) => marker(rest, digits + 1, *mark, number, column, whole),
        Some(_) => Some(Start::Text),
        None => whole.then_some(Start::Text),
    }
}

fn marker(
    rest: &[u8],
    len: usize,
    mark: u8,
    number: u32,
    column: usize,
    whole: bool,
) -> Option<Start> {
    let (skipped, space) = skip_space(&rest[len..], column + len);
    let empty = len + skipped == rest.len();
    if empty && !whole {
        return None;
    }
    if !empty && space == 0 {
        return Some(Start::Text);
    }
    let width = if empty || space > 4 {
        len + 1
    } else {
        len + space
    };
    Some(Start::Item(Marker {
        mark,
        number,
        width,
        empty,
    }))
}
