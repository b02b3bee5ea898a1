//! Splits text into pieces that look like a model's tokens, always at the same places.

use serde::Deserialize;

/// How text is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pieces {
    /// Words with the space before them. Long ones are split into parts of 3 to 5 characters.
    #[default]
    Words,
    /// Single Unicode scalar values, so that joined emoji come in parts.
    Chars,
    /// Uncut.
    Whole,
}

impl Pieces {
    /// Length in bytes of the piece at the start of `text`, which is not empty.
    ///
    /// `into` is how far the text's current word has been sent already; the caller keeps it
    /// between calls and starts with [`Word::default`].
    pub(super) fn cut(self, text: &str, word: &mut Word) -> usize {
        match self {
            Self::Whole => text.len(),
            Self::Chars => text.chars().next().map_or(0, char::len_utf8),
            Self::Words => word.cut(text),
        }
    }

    /// The number of pieces of a text.
    pub(super) fn count(self, mut text: &str) -> u64 {
        let mut word = Word::default();
        let mut count = 0;
        while !text.is_empty() {
            text = &text[self.cut(text, &mut word)..];
            count += 1;
        }
        count
    }
}

/// The rest of a long word that is sent in parts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Word {
    chars: usize,
    parts: usize,
}

impl Word {
    fn cut(&mut self, text: &str) -> usize {
        let mut space = 0;
        if self.parts == 0 {
            space = text
                .find(|c: char| !c.is_whitespace())
                .unwrap_or(text.len());
            // A very long word without a space (base64, Chinese) is cut as it comes: looking for
            // its end each time would cost the square of its length.
            self.chars = text[space..]
                .chars()
                .take_while(|c| !c.is_whitespace())
                .take(60)
                .count();
            self.parts = self.chars.div_ceil(5).max(1);
        }
        let take = self.chars.div_ceil(self.parts);
        self.chars -= take;
        self.parts -= 1;
        let rest = &text[space..];
        let end = rest
            .char_indices()
            .nth(take)
            .map_or(rest.len(), |(at, _)| at);
        space + end
    }
}

/// Filler text of this many word pieces. Every tenth is its number, so that a loss is visible.
pub(super) fn filler(pieces: u32) -> String {
    const WORDS: [&str; 16] = [
        "the", "log", "is", "long", "and", "each", "line", "has", "its", "own", "mark", "so",
        "none", "can", "get", "lost",
    ];
    let mut text = String::new();
    for number in 1..=pieces {
        match number {
            1 => {}
            n if n % 100 == 1 => text.push_str("\n\n"),
            _ => text.push(' '),
        }
        if number % 10 == 0 {
            text.push_str(&number.to_string());
        } else {
            // A fixed pseudo-random order. Plain cycling would repeat one sentence over and over.
            let pick = number.wrapping_mul(2_654_435_761) >> 28;
            text.push_str(WORDS[pick as usize % WORDS.len()]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: Pieces, text: &str) -> Vec<&str> {
        let (mut rest, mut word, mut out) = (text, Word::default(), Vec::new());
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(pieces.cut(rest, &mut word));
            assert!(!piece.is_empty());
            out.push(piece);
            rest = tail;
        }
        out
    }

    #[test]
    fn words_keep_the_space_before_them_and_long_ones_are_balanced() {
        assert_eq!(
            cut(Pieces::Words, "A stream  of\ncharacters "),
            ["A", " str", "eam", "  of", "\nchara", "cters", " "]
        );
        assert_eq!(cut(Pieces::Words, "你好,世界朋友"), ["你好,世", "界朋友"]);
        assert_eq!(cut(Pieces::Chars, "é👩‍🚀").len(), 4);
        assert_eq!(cut(Pieces::Whole, "a b c").len(), 1);
        assert_eq!(Pieces::Words.count(""), 0);
    }

    #[test]
    fn filler_has_exactly_the_pieces_asked_for() {
        for n in [0, 1, 9, 10, 101, 10_000, 99_999] {
            assert_eq!(Pieces::Words.count(&filler(n)), u64::from(n), "{n}");
        }
    }

    #[test]
    fn nothing_is_lost_in_a_very_long_word() {
        let text = "x".repeat(100_000);
        let pieces = cut(Pieces::Words, &text);
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|p| (3..=5).contains(&p.len())));
    }
}
