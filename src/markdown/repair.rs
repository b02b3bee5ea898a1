//! Guesses how half-typed inline text goes on, for display only.
//!
//! What opens is closed at the end, and what cannot be told yet is hidden, so that nothing
//! flickers while it is typed. The guess is never used for a finished block.

use std::ops::Range;

/// How far an unclosed mark reaches before it is taken for a plain character.
const REACH: usize = 400;
/// Open marks that are followed.
const MARKS: usize = 64;
/// Text settled at once is at least this long, so that there are not too many pieces.
const PIECE: usize = 64;

/// What was found in some text that may go on.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Where the text to show ends.
    cut: usize,
    /// Brackets to leave out.
    hidden: Vec<usize>,
    /// What closes all that is open.
    closers: String,
    /// The last place where nothing is open and a new sentence or line begins.
    pub(super) seam: Option<Range<usize>>,
    /// The last place between two words.
    pub(super) gap: Option<Range<usize>>,
}

/// A run of `*`, `_` or `~` that may open.
struct Mark {
    byte: u8,
    count: usize,
}

struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    marks: Vec<Mark>,
    brackets: Vec<usize>,
    /// Lengths of backtick runs that have no partner in the rest of the text.
    lonely: u64,
    /// No `>` follows.
    unclosed: bool,
    /// Link addresses that had no end; after some more of them nobody would call it a link.
    endless: usize,
    scan: Scan,
}

/// Looks at `text`, the inside of a paragraph, heading or cell.
pub(super) fn scan(text: &str) -> Scan {
    let mut scanner = Scanner {
        text,
        bytes: text.as_bytes(),
        at: 0,
        marks: Vec::new(),
        brackets: Vec::new(),
        lonely: 0,
        unclosed: false,
        endless: 0,
        scan: Scan {
            cut: text.len(),
            ..Scan::default()
        },
    };
    // What may become the box of a task.
    if text.len() <= 3 && text.starts_with('[') {
        scanner.scan.cut = 0;
        return scanner.scan;
    }
    scanner.run();
    scanner.finish()
}

impl Scan {
    /// Appends the text to show to `out`.
    pub(super) fn repaired(&self, text: &str, out: &mut String) {
        let mut shown = text[..self.cut].trim_end_matches([' ', '\t', '\r', '\n']);
        let mut from = 0;
        for &at in &self.hidden {
            if at < shown.len() {
                out.push_str(&shown[from..at]);
                from = at + 1;
            }
        }
        shown = &shown[from..];
        out.push_str(shown);
        out.push_str(&self.closers);
    }
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            let go_on = match byte {
                b'\\' => self.backslash(),
                b'`' => self.backtick(),
                b'*' | b'_' | b'~' => self.mark(byte),
                b'[' => {
                    if self.brackets.len() < MARKS {
                        self.brackets.push(self.at);
                    }
                    self.at += 1;
                    true
                }
                b']' => self.bracket(),
                b'<' => self.angle(),
                b'&' => self.entity(),
                b' ' | b'\n' => {
                    self.space();
                    self.at += 1;
                    true
                }
                0xE3 | 0xEF => {
                    self.full_stop();
                    self.at += 3;
                    true
                }
                _ => {
                    self.at += 1;
                    true
                }
            };
            if !go_on {
                return;
            }
        }
    }

    fn finish(mut self) -> Scan {
        for mark in self.marks.iter().rev() {
            for _ in 0..mark.count {
                self.scan.closers.push(char::from(mark.byte));
            }
        }
        while let Some(at) = self.brackets.pop() {
            if self.near(at) {
                self.hide_bracket(at);
            }
        }
        self.scan
    }

    fn cut(&mut self, at: usize) -> bool {
        self.scan.cut = at;
        false
    }

    /// Whether something that began at `at` may still be completed.
    fn near(&self, at: usize) -> bool {
        self.bytes.len() - at <= REACH && !self.bytes[at..].contains(&b'\n')
    }

    fn next_is_letter(&self, at: usize) -> bool {
        self.text
            .get(at..)
            .and_then(|rest| rest.chars().next())
            .is_some_and(char::is_alphabetic)
    }

    /// A place between words, and perhaps between sentences. A piece of text that begins with
    /// a letter is a paragraph whatever was before it.
    fn space(&mut self) {
        let at = self.at;
        let Some(&before) = at.checked_sub(1).and_then(|at| self.bytes.get(at)) else {
            return;
        };
        if matches!(before, b' ' | b'\t' | b'\\' | b'\r') || !self.next_is_letter(at + 1) {
            return;
        }
        let ends = self.bytes[at] == b'\n' || matches!(before, b'.' | b'!' | b'?' | b':' | b';');
        self.place(at..at + 1, ends);
    }

    /// Chinese and Japanese sentences have no space between them.
    fn full_stop(&mut self) {
        let end = self.at + 3;
        if let Some(stop) = self.text.get(self.at..end)
            && self.next_is_letter(end)
        {
            match stop {
                "。" | "！" | "？" | "；" => self.place(end..end, true),
                "，" | "、" | "：" => self.place(end..end, false),
                _ => {}
            }
        }
    }

    fn place(&mut self, place: Range<usize>, ends: bool) {
        let clean = self.marks.is_empty() && self.brackets.is_empty();
        if ends && clean && place.start >= PIECE {
            self.scan.seam = Some(place.clone());
        }
        self.scan.gap = Some(place);
    }

    fn backslash(&mut self) -> bool {
        match self.bytes.get(self.at + 1) {
            None => return self.cut(self.at),
            Some(next) => self.at += 1 + usize::from(next.is_ascii_punctuation()),
        }
        true
    }

    fn run_length(&self, at: usize) -> usize {
        let byte = self.bytes[at];
        self.bytes[at..].iter().take_while(|b| **b == byte).count()
    }

    fn backtick(&mut self) -> bool {
        let start = self.at;
        let len = self.run_length(start);
        self.at += len;
        let bit = 1u64
            .checked_shl(u32::try_from(len).unwrap_or(64))
            .unwrap_or(0);
        if bit == 0 || self.lonely & bit != 0 {
            return true;
        }
        let mut from = self.at;
        while let Some(found) = self.bytes[from..].iter().position(|b| *b == b'`') {
            let run = self.run_length(from + found);
            from += found + run;
            if run == len {
                self.at = from;
                return true;
            }
        }
        self.lonely |= bit;
        if !self.near(start) {
            return true;
        }
        let code = self.text[self.at..].trim_end_matches('`');
        if code.trim().is_empty() {
            return self.cut(start);
        }
        self.scan.closers.extend(std::iter::repeat_n('`', len));
        self.cut(self.at + code.len())
    }

    fn mark(&mut self, byte: u8) -> bool {
        let start = self.at;
        let count = self.run_length(start);
        self.at += count;
        if self.at == self.bytes.len() {
            // Perhaps only half of it is there; what it closes is closed anyway.
            return self.cut(start);
        }
        if byte == b'~' && count > 2 {
            return true;
        }
        let before = Side::of(self.text[..start].chars().next_back());
        let after = Side::of(self.text[self.at..].chars().next());
        let left = after.opens(before);
        let right = before.opens(after);
        let (opens, closes) = match byte {
            b'_' => (
                left && (!right || before == Side::Punctuation),
                right && (!left || after == Side::Punctuation),
            ),
            _ => (left, right),
        };
        let mut rest = count;
        while closes && rest > 0 {
            let same = |mark: &Mark| mark.byte == byte && (byte != b'~' || mark.count == rest);
            let Some(index) = self.marks.iter().rposition(same) else {
                break;
            };
            self.marks.truncate(index + 1);
            let taken = self.marks[index].count.min(rest);
            rest -= taken;
            self.marks[index].count -= taken;
            if self.marks[index].count == 0 {
                self.marks.truncate(index);
            }
        }
        if opens && rest > 0 && self.marks.len() < MARKS {
            self.marks.push(Mark { byte, count: rest });
        }
        true
    }

    fn bracket(&mut self) -> bool {
        let close = self.at;
        self.at += 1;
        let Some(open) = self.brackets.pop() else {
            return true;
        };
        match self.bytes.get(self.at) {
            Some(b'(') if self.endless < 8 => {}
            None if self.near(open) => {
                self.hide_bracket(open);
                return self.cut(close);
            }
            _ => return true,
        }
        let mut depth = 0usize;
        let limit = self.bytes.len().min(self.at + 4 * REACH);
        for at in self.at..limit {
            match self.bytes[at] {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\n' if self.bytes.get(at + 1) == Some(&b'\n') => return true,
                _ => {}
            }
            if depth == 0 {
                self.at = at + 1;
                return true;
            }
        }
        if limit == self.bytes.len() {
            self.hide_bracket(open);
            return self.cut(close);
        }
        self.endless += 1;
        true
    }

    fn hide_bracket(&mut self, at: usize) {
        let hidden = &mut self.scan.hidden;
        let place = hidden.partition_point(|before| *before < at);
        hidden.insert(place, at);
        if at > 0 && self.bytes[at - 1] == b'!' {
            hidden.insert(place, at - 1);
        }
        if self.text[at + 1..].trim().is_empty() {
            self.scan.cut = self.scan.cut.min(at);
        }
    }

    fn angle(&mut self) -> bool {
        let start = self.at;
        self.at += 1;
        match self.bytes.get(self.at) {
            None => return self.cut(start),
            Some(b'/' | b'!' | b'?') => {}
            Some(byte) if byte.is_ascii_alphabetic() => {}
            Some(_) => return true,
        }
        let close = |bytes: &[u8]| bytes.iter().position(|b| *b == b'>');
        match (!self.unclosed)
            .then(|| close(&self.bytes[self.at..]))
            .flatten()
        {
            Some(found) => {
                self.at += found + 1;
                true
            }
            None => {
                self.unclosed = true;
                if self.near(start) {
                    return self.cut(start);
                }
                true
            }
        }
    }

    fn entity(&mut self) -> bool {
        let start = self.at;
        let rest = &self.bytes[start + 1..];
        if rest.len() < 32 && rest.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'#') {
            return self.cut(start);
        }
        self.at += 1;
        true
    }
}

/// What stands beside a run of marks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Space,
    Punctuation,
    Word,
}

impl Side {
    fn of(c: Option<char>) -> Self {
        match c {
            None => Self::Space,
            Some(c) if c.is_whitespace() => Self::Space,
            Some(c) if c.is_alphanumeric() => Self::Word,
            Some(_) => Self::Punctuation,
        }
    }

    /// Whether a run between `other` and this belongs to this side.
    fn opens(self, other: Self) -> bool {
        self == Self::Word || (self == Self::Punctuation && other != Self::Word)
    }
}
