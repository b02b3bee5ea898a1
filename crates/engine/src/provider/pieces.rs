//! Joins the pieces of a text. Some servers send only new text (deltas), others all text so far
//! (snapshots), and some repeat the whole text at the end.

use headwater_protocol::BlockKind;

/// The text and the reasoning of an answer. The methods return new text with the kind of its block.
/// It may be empty.
#[derive(Debug, Default)]
pub(super) struct Prose {
    pub(super) text: Pieces,
    pub(super) thoughts: Pieces,
}

impl Prose {
    /// Takes a piece of the text.
    pub(super) fn text(&mut self, piece: &str) -> (BlockKind, String) {
        (BlockKind::Text, self.text.take(piece))
    }

    /// Takes a piece of the reasoning. Text that was held back is returned before it.
    pub(super) fn think(&mut self, piece: &str) -> [(BlockKind, String); 2] {
        let new = self.thoughts.take(piece);
        let held = match new.is_empty() {
            true => String::new(),
            false => self.text.end(),
        };
        [(BlockKind::Text, held), (BlockKind::Reasoning, new)]
    }

    /// Returns the text that was held back as a possible repetition, because something else
    /// follows.
    pub(super) fn flush(&mut self) -> [(BlockKind, String); 2] {
        [
            (BlockKind::Reasoning, self.thoughts.end()),
            (BlockKind::Text, self.text.end()),
        ]
    }
}

/// One text of an answer.
///
/// A piece that begins with all earlier text may be a snapshot, or new text that happens to begin
/// alike. It is held back until the next piece or the end shows which.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    text: String,
    count: u32,
    held: Vec<String>,
    /// Whether every piece is known to be a snapshot.
    grows: bool,
}

/// From this length on, in bytes, equal texts are hardly a coincidence.
const LONG: usize = 16;

/// The most equal pieces that are held back.
const MAX_HELD: usize = 8;

/// Likewise for a piece that continues the first one.
const SHORT: usize = 4;

impl Pieces {
    /// Takes the next piece and returns what is new.
    pub(super) fn take(&mut self, piece: &str) -> String {
        if piece.is_empty() {
            return String::new();
        }
        if self.grows {
            return self.grown(piece);
        }
        let mut new = String::new();
        if let Some(last) = self.held.last() {
            let longer = last.len() > self.text.len() && piece.len() > last.len();
            if piece == last && self.held.len() < MAX_HELD {
                self.held.push(piece.into());
                return new;
            }
            if longer && piece.starts_with(last.as_str()) {
                self.grows = true;
                self.held.clear();
                return self.grown(piece);
            }
            new = self.add_held();
        }
        if self.may_repeat(piece) {
            self.held.push(piece.into());
        } else {
            new += &self.add(piece);
        }
        new
    }

    /// Takes the complete text and returns the part that is new. If it is a different text, only
    /// what was held back is returned.
    pub(super) fn whole(&mut self, text: &str) -> String {
        match text.strip_prefix(self.text.as_str()) {
            Some(rest) => {
                self.held.clear();
                let rest = rest.to_owned();
                self.add(&rest)
            }
            None => self.end(),
        }
    }

    /// Whether a piece equals all text so far.
    pub(super) fn is_all(&self, piece: &str) -> bool {
        self.count > 0 && self.held.is_empty() && piece == self.text
    }

    /// Returns the part of the held-back text that is not a repetition, because no piece follows
    /// for now.
    pub(super) fn end(&mut self) -> String {
        match self.held.last() {
            Some(last) if last.len() > self.text.len() && self.text.len() < SHORT => {
                self.add_held()
            }
            Some(_) => {
                let last = self.held.pop().unwrap_or_default();
                self.held.clear();
                self.grown(&last)
            }
            None => String::new(),
        }
    }

    fn add_held(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        held.iter().map(|piece| self.add(piece)).collect()
    }

    fn may_repeat(&self, piece: &str) -> bool {
        let longer = piece.len() > self.text.len();
        let same = self.count > 1 && piece.len() == self.text.len() && piece.len() >= LONG;
        self.count > 0 && (longer || same) && piece.starts_with(self.text.as_str())
    }

    fn grown(&mut self, piece: &str) -> String {
        if let Some(rest) = piece.strip_prefix(self.text.as_str()) {
            let rest = rest.to_owned();
            return self.add(&rest);
        }
        if self.text.starts_with(piece) {
            return String::new();
        }
        self.add(piece)
    }

    fn add(&mut self, piece: &str) -> String {
        self.count += 1;
        self.text.push_str(piece);
        piece.into()
    }
}

#[cfg(test)]
mod tests {
    use super::Pieces;

    fn told(pieces: &[&str]) -> String {
        let mut all = Pieces::default();
        let mut text: String = pieces.iter().map(|piece| all.take(piece)).collect();
        text += &all.end();
        text
    }

    #[test]
    fn pieces_that_hold_all_so_far_are_told_once() {
        for (pieces, text) in [
            (&["It", "It is", "It is so", "It is so."][..], "It is so."),
            (&["It is", "It is so."], "It is so."),
            (
                &[
                    "It is",
                    " so, and that",
                    " is all.",
                    "It is so, and that is all.",
                ],
                "It is so, and that is all.",
            ),
            (&["It", "It is", "It is", "It is so"], "It is so"),
            (&["日", "日本", "日本語", "日本語!"], "日本語!"),
        ] {
            assert_eq!(told(pieces), text, "{pieces:?}");
        }
    }

    #[test]
    fn the_same_words_again_are_told_again() {
        for pieces in [
            &["ha", "ha", "ha"][..],
            &["1", "10", "1"],
            &["a", "ab"],
            &["no, ", "no, ", "no, no"],
            &["\n", "\n", "\n\n", "x"],
            &["The same sentence twice. ", "The same sentence twice. "],
            &["a", "b", "ab", "abab"],
            &["one two ", "three four ", "one two three four ", "five"],
        ] {
            assert_eq!(told(pieces), pieces.concat(), "{pieces:?}");
        }
    }

    #[test]
    fn the_whole_text_at_the_end_adds_what_was_not_told() {
        let mut all = Pieces::default();
        assert_eq!(all.take("It is"), "It is");
        assert_eq!(all.whole("It is so."), " so.");
        assert_eq!(all.whole("It is so."), "");
        assert_eq!(all.whole("Another."), "");
    }
}
