//! Finds the thinking that some servers leave in the text, as `<think>…</think>` at its start.

use crate::protocol::BlockKind;

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Sorts the text of one answer into reasoning and text, however it is cut.
///
/// It holds back only what may be the beginning of a tag. Only the very start of an answer counts:
/// later on, somebody may be writing about tags.
#[derive(Debug, Default)]
pub(super) struct Think {
    state: State,
    held: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing but white space and a part of the tag so far.
    #[default]
    Start,
    /// Behind the opening tag, before the first word.
    Opened,
    Inside,
    /// Behind the closing tag, before the first word.
    Closed,
    Plain,
}

impl Think {
    /// Takes the next text and gives out what is certain.
    pub(super) fn push(&mut self, text: &str, out: &mut Vec<(BlockKind, String)>) {
        self.held.push_str(text);
        while self.step(out) {}
    }

    /// Gives out what was held back, because no more text comes.
    pub(super) fn flush(&mut self, out: &mut Vec<(BlockKind, String)>) {
        let kind = match self.state {
            State::Inside | State::Opened => BlockKind::Reasoning,
            _ => BlockKind::Text,
        };
        self.say(kind, self.held.len(), out);
        if self.state == State::Start {
            self.state = State::Plain;
        }
    }

    /// Whether there may be more to do with what is held.
    fn step(&mut self, out: &mut Vec<(BlockKind, String)>) -> bool {
        if self.held.is_empty() {
            return false;
        }
        match self.state {
            State::Start => {
                let rest = self.held.trim_start();
                if let Some(inside) = rest.strip_prefix(OPEN) {
                    self.held.drain(..self.held.len() - inside.len());
                    self.state = State::Opened;
                    return true;
                }
                // An answer of nothing but white space is not held back for ever.
                if OPEN.starts_with(rest) && self.held.len() < 64 {
                    return false;
                }
                self.state = State::Plain;
                true
            }
            State::Opened | State::Closed => {
                let space = self.held.len() - self.held.trim_start().len();
                self.held.drain(..space);
                if self.held.is_empty() {
                    return false;
                }
                self.state = match self.state {
                    State::Opened => State::Inside,
                    _ => State::Plain,
                };
                true
            }
            State::Inside => {
                if let Some(at) = self.held.find(CLOSE) {
                    self.say(BlockKind::Reasoning, at, out);
                    self.held.drain(..CLOSE.len());
                    self.state = State::Closed;
                    return true;
                }
                let keep = (1..CLOSE.len())
                    .rev()
                    .find(|&length| self.held.ends_with(&CLOSE[..length]))
                    .unwrap_or(0);
                self.say(BlockKind::Reasoning, self.held.len() - keep, out);
                false
            }
            State::Plain => {
                self.say(BlockKind::Text, self.held.len(), out);
                false
            }
        }
    }

    fn say(&mut self, kind: BlockKind, length: usize, out: &mut Vec<(BlockKind, String)>) {
        if length > 0 {
            out.push((kind, self.held.drain(..length).collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (String, String) {
        let (mut think, mut parts) = (Think::default(), Vec::new());
        for piece in pieces {
            think.push(piece, &mut parts);
        }
        think.flush(&mut parts);
        let of = |wanted| {
            parts
                .iter()
                .filter(|(kind, _)| *kind == wanted)
                .map(|(_, text)| text.as_str())
                .collect()
        };
        (of(BlockKind::Reasoning), of(BlockKind::Text))
    }

    #[test]
    fn thinking_is_found_however_it_is_cut() {
        for (text, reasoning, rest) in [
            ("", "", ""),
            ("Hello", "", "Hello"),
            ("<think>a</think>b", "a", "b"),
            ("\n <think>\na\n</think>\n\nb\n", "a\n", "b\n"),
            ("<think></think>b", "", "b"),
            ("<think>\n\n</think>\n\nb", "", "b"),
            ("<think>a < b </thin </think>c", "a < b </thin ", "c"),
            ("<think>never closed", "never closed", ""),
            ("<think>cut in the tag</thi", "cut in the tag</thi", ""),
            ("<thin", "", "<thin"),
            ("<thinking>a", "", "<thinking>a"),
            ("  leading space", "", "  leading space"),
            ("\n\n", "", "\n\n"),
            (
                "Say <think>not this</think>",
                "",
                "Say <think>not this</think>",
            ),
            (
                "<think>a</think>b<think>c</think>",
                "a",
                "b<think>c</think>",
            ),
            ("<think>é漢</think>👍🏽 ü", "é漢", "👍🏽 ü"),
        ] {
            let expected = (reasoning.to_owned(), rest.to_owned());
            assert_eq!(sorted([text]), expected, "{text:?}");
            let mut places: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
            places.push(text.len());
            let single = places.windows(2).map(|pair| &text[pair[0]..pair[1]]);
            assert_eq!(sorted(single), expected, "{text:?}");
            for &cut in &places {
                assert_eq!(
                    sorted([&text[..cut], &text[cut..]]),
                    expected,
                    "{text:?} {cut}"
                );
            }
        }
    }

    #[test]
    fn plain_text_is_never_held_back() {
        let (mut think, mut parts) = (Think::default(), Vec::new());
        for (number, piece) in ["a", " <", "th", "ink>"].into_iter().enumerate() {
            think.push(piece, &mut parts);
            assert_eq!(parts.len(), number + 1);
        }
        think = Think::default();
        for _ in 0..100 {
            think.push(" ", &mut parts);
        }
        assert!(parts.len() > 4);
    }
}
