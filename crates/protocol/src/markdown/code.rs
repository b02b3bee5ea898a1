//! The text of an open code block. It is only appended to, so a page can show a block of any length
//! by appending the new text.

use super::line::closes_fence;
use super::safe::{direction, escape_code, language, visible};

/// A code block at the top level.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) language: String,
    /// The code so far, without what may still become the closing fence.
    pub(super) text: String,
    /// The character and the length of the opening fence; `None` for indented code.
    fence: Option<(u8, usize)>,
    /// Columns to strip from each line.
    indent: usize,
    /// How far the current line was read, and whether it is known to be code.
    seen: usize,
    shown: bool,
    /// Blank lines of indented code. They belong to the block only if more code follows.
    blank: String,
}

impl Code {
    pub(super) fn fenced(mark: u8, len: usize, indent: usize) -> Self {
        Self {
            language: String::new(),
            text: String::new(),
            fence: Some((mark, len)),
            indent,
            seen: 0,
            shown: false,
            blank: String::new(),
        }
    }

    pub(super) fn indented() -> Self {
        Self {
            fence: None,
            indent: 4,
            ..Self::fenced(0, 0, 0)
        }
    }

    pub(super) fn is_fence(&self) -> bool {
        self.fence.is_some()
    }

    /// Reads the opening line.
    pub(super) fn open(&mut self, line: &str) {
        if let Some((mark, _)) = self.fence {
            let info = line.trim_start().trim_start_matches(char::from(mark));
            self.language = language(info);
        }
    }

    /// Reads the current line as far as it has arrived. `line` grows with each call.
    pub(super) fn partial(&mut self, line: &str) {
        if !self.shown {
            let undecided = |b: &u8| match self.fence {
                Some((mark, _)) => *b == mark || matches!(b, b' ' | b'\t' | b'\r'),
                None => matches!(b, b' ' | b'\t' | b'\r'),
            };
            if line.as_bytes()[self.seen..].iter().all(undecided) {
                self.seen = line.len();
                return;
            }
            self.show(line);
        }
        // A carriage return may belong to the line end.
        let end = line.trim_end_matches('\r').len().max(self.seen);
        self.append(&line[self.seen..end]);
        self.seen = end;
    }

    /// Reads the complete line, without its end. Returns whether it closes the block.
    pub(super) fn line(&mut self, line: &str) -> bool {
        if !self.shown {
            if let Some((mark, len)) = self.fence
                && closes_fence(line, 0, mark, len)
            {
                return true;
            }
            if self.fence.is_none() && line.trim_matches([' ', '\t']).is_empty() {
                let (bytes, spaces) = strip(line, self.indent);
                self.blank.extend(std::iter::repeat_n(' ', spaces));
                self.blank.push_str(&line[bytes..]);
                self.blank.push('\n');
                self.seen = 0;
                return false;
            }
            self.show(line);
        }
        self.append(&line[self.seen.min(line.len())..]);
        self.text.push('\n');
        self.seen = 0;
        self.shown = false;
        false
    }

    /// Decides that the current line is code.
    fn show(&mut self, line: &str) {
        self.text.push_str(&self.blank);
        self.blank.clear();
        let (bytes, spaces) = strip(line, self.indent);
        self.text.extend(std::iter::repeat_n(' ', spaces));
        self.seen = bytes;
        self.shown = true;
    }

    /// Appends code. The page shows it unchanged, so invisible characters that could mislead the
    /// reader become U+FFFD.
    fn append(&mut self, part: &str) {
        if part.chars().all(|c| visible(c) && !direction(c)) {
            self.text.push_str(part);
        } else {
            let safe = |c: char| {
                if visible(c) && !direction(c) {
                    c
                } else {
                    '\u{FFFD}'
                }
            };
            self.text.extend(part.chars().map(safe));
        }
    }

    pub(super) fn html(&self) -> String {
        let (open, close) = super::code_frame(&self.language);
        let mut html = open;
        escape_code(&self.text, &mut html);
        html.push_str(close);
        html
    }
}

/// The bytes of white space to remove for `columns`, and the spaces that remain of a split tab.
fn strip(line: &str, columns: usize) -> (usize, usize) {
    let (mut at, mut column) = (0, 0);
    while column < columns {
        match line.as_bytes().get(at) {
            Some(b' ') => column += 1,
            Some(b'\t') => column += 4 - column % 4,
            _ => break,
        }
        at += 1;
    }
    (at, column.saturating_sub(columns))
}

#[cfg(test)]
mod tests {
    use super::super::line::skip_space;
    use super::strip;

    #[test]
    fn strips_columns() {
        assert_eq!(strip("      a", 4), (4, 0));
        assert_eq!(strip("\ta", 4), (1, 0));
        assert_eq!(strip("\ta", 2), (1, 2));
        assert_eq!(strip("  a", 4), (2, 0));
        assert_eq!(skip_space(b" \tx", 0), (2, 4));
    }
}
