//! Separates reasoning from text, for servers that leave both in one stream.
//!
//! Reasoning comes at the start of an answer between two tags, such as `<think>…</think>`. If the
//! chat template has already written the opening tag, only the closing tag arrives, and the text
//! before it was reasoning.

use headwater_protocol::BlockKind;

/// The tags that servers and models use, among them DeepSeek, Qwen and most others, models that are
/// prompted to reason in markup, Gemini's OpenAI-compatible endpoint, Magistral, Kimi-VL, Seed-OSS,
/// LongCat, OpenThinker, Command A, MedGemma and gpt-oss.
const TAGS: [(&str, &str); 13] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<unused94>thought", "<unused95>"),
    (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
];

/// The longest white space that is held back at the start of an answer, in bytes.
const MOST_SPACE: usize = 64;

/// Text whose kind is certain, or a correction of earlier text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// More text of this kind.
    Text(BlockKind, String),
    /// All text before this was reasoning.
    WasReasoning,
}

/// Splits one answer into reasoning and text, wherever the stream is cut.
///
/// Only what may become a tag is held back. An opening tag counts only at the start of an answer,
/// because later text may be about tags. A closing tag without an opening one counts once, and
/// neither in code nor in the middle of a sentence.
#[derive(Debug, Default)]
pub(super) struct ThinkParser {
    state: State,
    held: String,
    /// The end of the part of `held` that was released.
    from: usize,
    context: Context,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing but white space and a part of a tag so far.
    #[default]
    Start,
    /// After the opening tag with this index in [`TAGS`], before the first word.
    Opened(usize),
    Inside(usize),
    /// After the closing tag, before the first word.
    Closed,
    /// In text that may turn out to be reasoning.
    Unsure,
    Plain,
}

impl ThinkParser {
    /// Takes the next text and releases what is certain.
    pub(super) fn push(&mut self, text: &str, out: &mut Vec<Piece>) {
        self.held.drain(..std::mem::take(&mut self.from));
        self.held.push_str(text);
        while self.step(false, out) {}
    }

    /// Releases all text, because no more follows.
    pub(super) fn flush(&mut self, out: &mut Vec<Piece>) {
        while self.step(true, out) {}
        let kind = match self.state {
            State::Inside(_) | State::Opened(_) => BlockKind::Reasoning,
            _ => BlockKind::Text,
        };
        self.say(kind, self.rest().len(), out);
        if self.state == State::Start {
            self.state = State::Unsure;
        }
    }

    /// Makes one decision about the held text. Returns whether another one may be possible. `over`
    /// says that no more text follows.
    fn step(&mut self, over: bool, out: &mut Vec<Piece>) -> bool {
        if self.rest().is_empty() {
            return false;
        }
        match self.state {
            State::Start => self.start(),
            State::Opened(_) | State::Closed => {
                self.from = self.held.len() - self.rest().trim_start().len();
                if self.rest().is_empty() {
                    return false;
                }
                self.state = match self.state {
                    State::Opened(tag) => State::Inside(tag),
                    _ => State::Plain,
                };
                true
            }
            State::Inside(tag) => self.inside(TAGS[tag].1, over, out),
            State::Unsure => self.unsure(over, out),
            State::Plain => {
                self.say(BlockKind::Text, self.rest().len(), out);
                false
            }
        }
    }

    /// The text that is held back.
    fn rest(&self) -> &str {
        self.held.get(self.from..).unwrap_or_default()
    }

    fn start(&mut self) -> bool {
        let rest = self.rest().trim_start();
        let mut may_come = rest.is_empty();
        for (number, (open, close)) in TAGS.iter().enumerate() {
            for (tag, next) in [(open, State::Opened(number)), (close, State::Closed)] {
                match begins(rest, tag) {
                    Begin::Whole => {
                        self.from = self.held.len() - rest.len() + tag.len();
                        self.state = next;
                        return true;
                    }
                    Begin::Part => may_come = true,
                    Begin::No => {}
                }
            }
        }
        // White space is not held back for ever.
        if may_come && self.rest().len() < MOST_SPACE {
            return false;
        }
        self.state = State::Unsure;
        true
    }

    fn inside(&mut self, close: &str, over: bool, out: &mut Vec<Piece>) -> bool {
        let Some((at, begin)) = find(self.rest(), |rest| begins(rest, close)) else {
            self.say(BlockKind::Reasoning, self.rest().len(), out);
            return false;
        };
        self.say(BlockKind::Reasoning, at, out);
        let next = self.behind(close);
        if begin == Begin::Part || (next.is_none() && !over && self.context.last == Some('`')) {
            return false;
        }
        if self.context.last == Some('`') && next == Some('`') {
            // The model reasons about the tag itself.
            self.say(BlockKind::Reasoning, close.len(), out);
        } else {
            self.from += close.len();
            self.state = State::Closed;
        }
        true
    }

    /// The character after a tag.
    fn behind(&self, tag: &str) -> Option<char> {
        self.rest().get(tag.len()..)?.chars().next()
    }

    /// Looks for a closing tag without an opening one.
    fn unsure(&mut self, over: bool, out: &mut Vec<Piece>) -> bool {
        let known = |rest: &str| {
            let mut begin = Begin::No;
            for (open, close) in &TAGS {
                begin = begin.max(begins(rest, open)).max(begins(rest, close));
            }
            begin
        };
        let Some((at, begin)) = find(self.rest(), known) else {
            self.say(BlockKind::Text, self.rest().len(), out);
            return false;
        };
        self.say(BlockKind::Text, at, out);
        if begin == Begin::Part {
            return false;
        }
        let is = |tag: &str| begins(self.rest(), tag) == Begin::Whole;
        let Some(close) = TAGS.iter().map(|(_, close)| *close).find(|tag| is(tag)) else {
            // The text is about an opening tag, so its closing tag will be text as well.
            if let Some((open, _)) = TAGS.iter().find(|(open, _)| is(open)) {
                self.context.opened += usize::from(!self.context.is_code());
                self.say(BlockKind::Text, open.len(), out);
            }
            return true;
        };
        let next = self.behind(close);
        if next.is_none() && !over {
            return false;
        }
        if self.context.opened > 0 {
            self.context.opened -= usize::from(!self.context.is_code());
            self.say(BlockKind::Text, close.len(), out);
        } else if self.context.ends_thinking(next) {
            out.push(Piece::WasReasoning);
            self.from += close.len();
            self.state = State::Closed;
        } else {
            self.say(BlockKind::Text, close.len(), out);
        }
        true
    }

    fn say(&mut self, kind: BlockKind, length: usize, out: &mut Vec<Piece>) {
        if length > 0 {
            let text = self.held[self.from..self.from + length].to_owned();
            self.from += length;
            self.context.read(&text);
            out.push(Piece::Text(kind, text));
        }
    }
}

/// The surroundings of a possible tag.
#[derive(Debug, Default)]
struct Context {
    last: Option<char>,
    /// Whether the last character that is not white space ended a sentence.
    has_ended: bool,
    /// The beginning of the line, long enough to recognize a code fence.
    line: String,
    /// The opening fence of the current code block.
    fence: Option<String>,
    /// The number of backtick runs in this line.
    ticks: usize,
    /// The number of opening tags in the text that are not closed.
    opened: usize,
}

impl Context {
    fn read(&mut self, text: &str) {
        for letter in text.chars() {
            if letter == '\n' {
                self.end_line();
            } else {
                if self.line.len() < 16 {
                    self.line.push(letter);
                }
                self.ticks += usize::from(letter == '`' && self.last != Some('`'));
            }
            if !letter.is_whitespace() {
                self.has_ended = ".!?…。！？".contains(letter);
            }
            self.last = Some(letter);
        }
    }

    fn end_line(&mut self) {
        let line = self.line.trim_start();
        let mark = line.chars().next().filter(|mark| "`~".contains(*mark));
        if let Some(mark) = mark {
            let run: String = line.chars().take_while(|letter| *letter == mark).collect();
            let closes = |fence: &String| run.starts_with(fence.as_str());
            match &self.fence {
                None if run.len() >= 3 => self.fence = Some(run),
                Some(fence) if closes(fence) && line.trim_end() == run => self.fence = None,
                _ => {}
            }
        }
        self.line.clear();
        self.ticks = 0;
    }

    fn is_code(&self) -> bool {
        self.fence.is_some() || self.ticks % 2 == 1
    }

    /// Whether a closing tag here, followed by `next`, ends reasoning and is not itself text.
    fn ends_thinking(&self, next: Option<char>) -> bool {
        if self.is_code() {
            return false;
        }
        let quotes = |letter: char| "\"'`“”„‘’«»()[]".contains(letter);
        match (self.last, next) {
            (None | Some('\n'), _) => true,
            (Some(before), None | Some('\n' | '\r')) => !quotes(before),
            // Between quotes or delimiters, or in a list of tags, it is text.
            (Some(before), Some(next)) if quotes(before) || quotes(next) => false,
            (Some(before), Some(next)) if before == next && !next.is_whitespace() => false,
            (Some(before), Some(next)) if "/|,<>=".contains([before, next]) => false,
            // Models put the tag on a line of its own, directly after their last word, or after the
            // end of a sentence. A tag within a sentence has spaces around it.
            (Some(before), _) => !before.is_whitespace() || self.has_ended,
        }
    }
}

/// Whether a text begins with a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Begin {
    No,
    /// The whole text is the beginning of the tag.
    Part,
    Whole,
}

fn begins(text: &str, tag: &str) -> Begin {
    let length = text.len().min(tag.len());
    let same = text.as_bytes()[..length].eq_ignore_ascii_case(&tag.as_bytes()[..length]);
    match (same && length > 0, length == tag.len()) {
        (true, true) => Begin::Whole,
        (true, false) => Begin::Part,
        _ => Begin::No,
    }
}

/// The first place at which a tag begins or may begin.
fn find(text: &str, begins: impl Fn(&str) -> Begin) -> Option<(usize, Begin)> {
    // Every tag begins with one of these.
    text.match_indices(['<', '[', '◁'])
        .map(|(at, _)| (at, begins(&text[at..])))
        .find(|(_, begin)| *begin != Begin::No)
}

#[cfg(test)]
mod tests;
