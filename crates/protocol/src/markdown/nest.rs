//! Follows the containers inside an open list or quote, line by line. That is enough to know
//! whether a line without markers continues a paragraph, and where the last piece of text begins.

use super::line::{Line, Marker, Start, closes_fence, like_delimiter, skip_space};

/// How many nested containers are followed. Deeper ones count as text, which can only misplace a
/// boundary.
const DEPTH: usize = 32;

/// The longest line, in bytes, that is read again with every character because nothing is certain
/// yet.
const MARKS: usize = 1024;

/// The containers that are open after some line, outermost first.
#[derive(Clone, Debug, Default)]
pub(super) struct Nest {
    containers: Vec<Container>,
    pub(super) leaf: Leaf,
}

#[derive(Clone, Copy, Debug)]
enum Container {
    Quote,
    /// A list item, with the indentation of its lines in columns.
    Item(usize),
}

/// The innermost open block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Leaf {
    #[default]
    None,
    /// A paragraph whose text begins at this offset of the source.
    Paragraph(usize),
    /// A heading of one line, whose `#` are at this offset.
    Heading(usize),
    Fence {
        mark: u8,
        len: usize,
    },
}

/// What is known of an incomplete line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Its kind is certain.
    Known,
    /// It is only a number. It may become the marker of a list item, and is text until then.
    Number,
    /// It has no word yet, and more text could change its kind.
    Open,
}

/// A place in a line, in bytes and in columns.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    line: &'a str,
    at: usize,
    column: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    fn read(&self) -> Line {
        // A whole line always has an answer.
        Line::read(self.rest(), self.column, true).unwrap_or(Line {
            indent: 0,
            text: 0,
            start: Start::Text,
        })
    }

    /// Skips `bytes` of markers and then up to `columns` of white space.
    fn skip(&mut self, bytes: usize, columns: usize) {
        self.at += bytes;
        let target = self.column + columns;
        while let Some(byte) = self.line.as_bytes().get(self.at) {
            let step = match byte {
                b' ' => 1,
                b'\t' => 4 - self.column % 4,
                _ => break,
            };
            if self.column + step > target {
                // Only a part of the tab is skipped. The column says how much.
                if *byte == b'\t' {
                    self.column = target;
                }
                break;
            }
            self.column += step;
            self.at += 1;
        }
    }
}

impl Nest {
    /// Reads a complete line, without its end, that begins at `offset` of the source.
    pub(super) fn take(&mut self, line: &str, offset: usize) {
        let mut cursor = Cursor {
            line,
            at: 0,
            column: 0,
        };
        let matched = self.match_containers(&mut cursor);
        if matched < self.containers.len() {
            if matches!(self.leaf, Leaf::Paragraph(_)) && cursor.read().lazy() {
                return;
            }
            self.containers.truncate(matched);
            self.leaf = Leaf::None;
        }
        if let Leaf::Fence { mark, len } = self.leaf {
            if closes_fence(cursor.rest(), cursor.column, mark, len) {
                self.leaf = Leaf::None;
            }
            return;
        }
        self.open(cursor, offset);
    }

    /// What is known of the incomplete `line`.
    pub(super) fn typed(&self, line: &str) -> Typed {
        // This runs for every new character, so its cost must be bounded.
        if line.len() > MARKS {
            return Typed::Known;
        }
        let mut cursor = Cursor {
            line,
            at: 0,
            column: 0,
        };
        let matched = self.match_containers(&mut cursor) == self.containers.len();
        let mut paragraph = matches!(self.leaf, Leaf::Paragraph(_));
        if matched && let Leaf::Fence { mark, .. } = self.leaf {
            let mut rest = cursor.rest().bytes();
            let ends = rest.all(|byte| byte == mark || matches!(byte, b' ' | b'\t'));
            return if ends { Typed::Open } else { Typed::Known };
        }
        loop {
            if paragraph && matched && like_delimiter(cursor.rest()) {
                return Typed::Open;
            }
            let Some(line) = Line::read(cursor.rest(), cursor.column, false) else {
                return match number_of(cursor.rest()) {
                    Some(number) if paragraph && number > 1 => Typed::Known,
                    Some(_) if !paragraph => Typed::Number,
                    _ => Typed::Open,
                };
            };
            let marks = match line.start {
                _ if line.indented() => return Typed::Known,
                Start::Quote => 1,
                Start::Item(marker) => marks(cursor.rest().as_bytes(), &line, &marker),
                _ => return Typed::Known,
            };
            let width = line.item().map_or(2, |marker| marker.width);
            cursor.column += line.indent + marks;
            cursor.skip(line.text + marks, width - marks);
            paragraph = false;
        }
    }

    fn match_containers(&self, cursor: &mut Cursor<'_>) -> usize {
        for (index, container) in self.containers.iter().enumerate() {
            let (skipped, indent) = skip_space(cursor.rest().as_bytes(), cursor.column);
            let next = cursor.rest().as_bytes().get(skipped);
            match container {
                Container::Quote if indent < 4 && next == Some(&b'>') => {
                    cursor.column += indent + 1;
                    cursor.skip(skipped + 1, 1);
                }
                Container::Item(width) if indent >= *width => cursor.skip(0, *width),
                Container::Item(_) if next.is_none() => {}
                _ => return index,
            }
        }
        self.containers.len()
    }

    /// Opens the blocks that the rest of a line begins.
    fn open(&mut self, mut cursor: Cursor<'_>, offset: usize) {
        loop {
            let line = cursor.read();
            let in_paragraph = matches!(self.leaf, Leaf::Paragraph(_));
            let text = offset + cursor.at + line.text;
            if line.indented() {
                if !in_paragraph {
                    self.leaf = Leaf::None;
                }
                return;
            }
            match line.start {
                Start::Quote if self.containers.len() < DEPTH => {
                    self.push(Container::Quote);
                    cursor.column += line.indent + 1;
                    cursor.skip(line.text + 1, 1);
                }
                Start::Blank | Start::Rule => {
                    self.leaf = Leaf::None;
                    return;
                }
                Start::Heading => {
                    self.leaf = Leaf::Heading(text);
                    return;
                }
                Start::Fence { mark, len } => {
                    self.leaf = Leaf::Fence { mark, len };
                    return;
                }
                Start::Underline { mark, len } if in_paragraph || (mark == b'-' && len >= 3) => {
                    self.leaf = Leaf::None;
                    return;
                }
                _ => match line.item() {
                    Some(marker)
                        if (!in_paragraph || line.interrupts())
                            && self.containers.len() < DEPTH =>
                    {
                        self.push(Container::Item(line.indent + marker.width));
                        if marker.empty {
                            return;
                        }
                        let marks = marks(cursor.rest().as_bytes(), &line, &marker);
                        cursor.column += line.indent + marks;
                        cursor.skip(line.text + marks, marker.width - marks);
                    }
                    _ => {
                        if !in_paragraph {
                            self.leaf = Leaf::Paragraph(text);
                        }
                        return;
                    }
                },
            }
        }
    }

    fn push(&mut self, container: Container) {
        self.containers.push(container);
        self.leaf = Leaf::None;
    }
}

/// The number, if a line has nothing else so far but perhaps the delimiter of a list item.
pub(super) fn number_of(line: &str) -> Option<u32> {
    let line = line.trim_matches([' ', '\t']);
    let digits = line.strip_suffix(['.', ')']).unwrap_or(line);
    let all = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| all)
}

/// The length of the bullet, or of the number with its delimiter, in bytes.
fn marks(rest: &[u8], line: &Line, marker: &Marker) -> usize {
    let mark = |byte: &u8| *byte == marker.mark;
    rest[line.text..].iter().position(mark).unwrap_or(0) + 1
}
