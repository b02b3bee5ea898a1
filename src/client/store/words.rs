//! Counts the words of a text that arrives in pieces.

/// The number of words so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Words {
    count: u64,
    within: bool,
}

impl Words {
    /// Counts the next piece. It may continue the last word.
    pub(super) fn push(&mut self, text: &str) {
        for letter in text.chars() {
            if is_word_by_itself(letter) {
                self.count += 1;
                self.within = false;
            } else if letter.is_whitespace() {
                self.within = false;
            } else if !self.within {
                self.within = true;
                self.count += 1;
            }
        }
    }

    pub(super) fn count(self) -> u64 {
        self.count
    }
}

/// Whether a character counts as a word. Chinese and Japanese have no spaces, and people count
/// characters.
fn is_word_by_itself(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{323af}')
}
