//! Completes half-typed inline markup, for display only.
//!
//! Markup that seems to be open is closed at the end, and delimiters whose meaning is uncertain are
//! held back, so that nothing flickers while text arrives. What does not look like a delimiter,
//! such as an asterisk inside a word, is shown as text until it turns out to be one. Finished
//! blocks are never repaired.

use std::ops::Range;

use super::cjk;
use super::guess::{Side, begins_break, likely, may_be_address};
use super::nest::number_of;

/// How many bytes an unclosed delimiter reaches before it is treated as a plain character.
pub(super) const REACH: usize = 400;
/// How many open delimiters are followed.
const MARKS: usize = 64;
/// White space that has no meaning at the end.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
/// The least number of bytes that are settled at once, so that there are not too many pieces.
const PIECE: usize = 64;

/// What was found in a text that may continue.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The end of the text to show.
    cut: usize,
    /// Brackets to leave out, and delimiters to show as text, in order.
    edits: Vec<(usize, Edit)>,
    /// The delimiters that close all open markup.
    closers: String,
    /// The last place at which nothing is open and a new sentence or line begins.
    pub(super) seam: Option<Range<usize>>,
    /// The last place between two words.
    pub(super) gap: Option<Range<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edit {
    Hide,
    Escape,
}

/// A run of `*`, `_` or `~` that may open emphasis.
struct Mark {
    byte: u8,
    /// The start of the run.
    at: usize,
    /// How many of its characters are not closed yet.
    count: usize,
    /// The length of the run, and whether it can close as well.
    len: usize,
    both: bool,
    /// See [`likely`].
    likely: bool,
}

struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    marks: Vec<Mark>,
    brackets: Vec<usize>,
    /// The lengths of backtick runs without a partner in the rest of the text, as bits.
    lonely: u64,
    /// Whether no `>` follows.
    unclosed: bool,
    /// The number of link addresses without an end. After eight, `](` is treated as text.
    endless: usize,
    scan: Scan,
}

/// Scans `text`, the content of a paragraph, heading or table cell.
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
    scanner.run();
    scanner.finish()
}

impl Scan {
    /// Appends the text to show to `out`, which holds the text before it.
    pub(super) fn repaired(&self, text: &str, out: &mut String) {
        let base = out.len();
        let mut shown = text[..self.cut].trim_end_matches(SPACE);
        let mut from = 0;
        for &(at, edit) in &self.edits {
            if at < shown.len() {
                out.push_str(&shown[from..at]);
                from = at;
                match edit {
                    Edit::Hide => from += 1,
                    Edit::Escape => out.push('\\'),
                }
            }
        }
        shown = &shown[from..];
        out.push_str(shown);
        out.push_str(&self.closers);
        // If only delimiters are left of a line, they might begin a block without the rest.
        if self.cut < text.len() || text.starts_with('#') {
            let line = out.rfind('\n').map_or(0, |at| at + 1);
            let mark = |byte: u8| b"#-*_=+>|:~ \t".contains(&byte);
            let rest = &out[line.max(base)..];
            if rest.bytes().all(mark) {
                out.truncate(line);
            } else if number_of(rest).is_some() && rest.ends_with(['.', ')']) {
                out.insert(out.len() - 1, '\\');
            }
        }
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
        if !self.marks.is_empty() && self.scan.closers.is_empty() {
            // Characters that would join the closing delimiters are held back.
            let shown = self.text[..self.scan.cut].trim_end_matches(SPACE);
            let struck = self.marks.last().is_some_and(|mark| mark.byte == b'~');
            let shown = shown.trim_end_matches(|c| struck && c == '~');
            let words = shown.trim_end_matches(['*', '_', '~']);
            let shown = if words.ends_with(SPACE) {
                words.trim_end_matches(SPACE)
            } else {
                shown
            };
            let slashes = shown.len() - shown.trim_end_matches('\\').len();
            self.scan.cut = shown.len() - slashes % 2;
        }
        // Markup without content is held back like a delimiter run at the end.
        while let Some(mark) = self.marks.last()
            && self.text[..self.scan.cut].trim_end().len() <= mark.at + mark.count
        {
            self.scan.cut = self.scan.cut.min(mark.at);
            self.marks.pop();
        }
        for mark in self.marks.iter().rev() {
            for at in mark.at..mark.at + mark.count {
                if mark.likely && mark.count == mark.len {
                    self.scan.closers.push(char::from(mark.byte));
                } else {
                    self.scan.edits.push((at, Edit::Escape));
                }
            }
        }
        self.scan.edits.sort_unstable();
        self.scan
    }

    fn cut(&mut self, at: usize) -> bool {
        self.scan.cut = at;
        false
    }

    /// Whether markup that began at `at` may still be completed.
    fn near(&self, at: usize) -> bool {
        self.bytes.len() - at <= REACH && !self.bytes[at..].contains(&b'\n')
    }

    fn next_is_letter(&self, at: usize) -> bool {
        self.text
            .get(at..)
            .and_then(|rest| rest.chars().next())
            .is_some_and(char::is_alphabetic)
    }

    /// Notes a place between words, and perhaps between sentences. A letter must follow, because
    /// then the rest is a paragraph whatever comes before it.
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

    /// Notes a place after Chinese or Japanese punctuation, which no space follows.
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
        let likely = self.at == self.bytes.len() || likely(self.text[..start].chars().next_back());
        if !likely || !self.near(start) {
            return true;
        }
        let code = self.text[self.at..].trim_end_matches(['`', ' ', '\t', '\n']);
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
            // More of the run may follow. If it closes something, that is closed anyway.
            return self.cut(start);
        }
        if byte == b'~' && count > 2 {
            return true;
        }
        let struck = |mark: &Mark| (mark.byte, mark.len) == (b'~', 2);
        if byte == b'~' && count == 1 && self.marks.iter().any(struck) {
            // The parser treats neither as a delimiter then.
            self.scan.edits.push((start, Edit::Escape));
            return true;
        }
        let last = self.text[..start].chars().next_back();
        let before = Side::of(last);
        let after = Side::of(self.text[self.at..].chars().next());
        let left = after.opens(before);
        let right = before.opens(after);
        let (opens, closes) = match byte {
            b'_' => (
                left && (!right || before == Side::Punctuation),
                right && (!left || after == Side::Punctuation),
            ),
            _ if cjk::flanks_both(self.text, start..self.at) && (byte, count) != (b'~', 1) => {
                (true, true)
            }
            _ => (left, right),
        };
        let mut rest = count;
        while closes && rest > 0 {
            let same = |mark: &Mark| {
                let thirds = (mark.both || opens)
                    && (mark.len + count).is_multiple_of(3)
                    && !count.is_multiple_of(3);
                mark.byte == byte
                    && if byte == b'~' {
                        mark.count == rest
                    } else {
                        !thirds
                    }
            };
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
            let digit = self.bytes[self.at].is_ascii_digit();
            let twice = |mark: &Mark| mark.byte == byte && mark.count == rest;
            let twice = self.marks.iter().any(twice);
            self.marks.push(Mark {
                byte,
                at: start,
                count: rest,
                len: count,
                both: closes,
                // A single one before a number is an operator or means “about”.
                likely: likely(last)
                    && (byte != b'~' || count == 2)
                    && !(digit && count == 1)
                    && !twice,
            });
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
        if limit == self.bytes.len()
            && may_be_address(&self.text[self.at + 1..])
            && !self.hides_a_marker(open)
        {
            self.hide_bracket(open);
            return self.cut(close);
        }
        self.endless += 1;
        true
    }

    /// Whether, without the bracket at `at`, its line would begin with what may be a block marker.
    fn hides_a_marker(&self, at: usize) -> bool {
        let before = self.bytes[..at]
            .strip_suffix(b"!")
            .unwrap_or(&self.bytes[..at]);
        let begins = before.last().is_none_or(|byte| *byte == b'\n');
        let next = self.bytes.get(at + 1);
        begins && next.is_some_and(|byte| b"*-+>#=|_~`0123456789".contains(byte))
    }

    fn hide_bracket(&mut self, at: usize) {
        self.scan.edits.push((at, Edit::Hide));
        if at > 0 && self.bytes[at - 1] == b'!' {
            self.scan.edits.push((at - 1, Edit::Hide));
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
            // A half-typed `<br>` is held back. Other tags are shown as text anyway.
            Some(_) if begins_break(&self.bytes[start..]) => return self.cut(start),
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
                true
            }
        }
    }
}
