//! Removes the repetition at the beginning of a continuation that a model was asked for in words.

/// The shortest repetition that is removed, in bytes. Shorter ones happen by chance.
const LEAST: usize = 6;

/// How many bytes of a continuation are compared. At most this much text is held back.
const WINDOW: usize = 240;

/// Holds back the beginning of a continuation until it is certain whether it repeats the end of the
/// text before it.
#[derive(Debug)]
pub struct Overlap {
    /// The end of the earlier text. Empty once the comparison is done.
    tail: String,
    held: String,
}

impl Overlap {
    /// Compares with the end of `earlier`.
    pub fn new(earlier: &str) -> Self {
        let mut start = earlier.len().saturating_sub(WINDOW);
        while !earlier.is_char_boundary(start) {
            start += 1;
        }
        Self {
            tail: earlier[start..].to_owned(),
            held: String::new(),
        }
    }

    /// Takes a piece of the continuation, and returns the text that is certain to stay.
    pub fn push(&mut self, text: String) -> String {
        if self.tail.is_empty() {
            return text;
        }
        self.held.push_str(&text);
        if self.held.len() < self.tail.len() && self.may_repeat() {
            return String::new();
        }
        self.finish()
    }

    /// Ends the comparison, and returns the held text without the repetition.
    pub fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        let tail = std::mem::take(&mut self.tail);
        let repeated = (LEAST..=held.len().min(tail.len()))
            .rev()
            .find(|length| {
                held.is_char_boundary(*length)
                    && tail.is_char_boundary(tail.len() - length)
                    && tail.ends_with(&held[..*length])
            })
            .unwrap_or(0);
        held[repeated..].to_owned()
    }

    /// Whether the held text can still become a repetition.
    fn may_repeat(&self) -> bool {
        self.tail
            .char_indices()
            .any(|(start, _)| self.tail[start..].starts_with(&self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(earlier: &str, pieces: &[&str], expect: &str) {
        let mut overlap = Overlap::new(earlier);
        let mut text: String = pieces
            .iter()
            .map(|piece| overlap.push((*piece).into()))
            .collect();
        text.push_str(&overlap.finish());
        assert_eq!(text, expect);
    }

    #[test]
    fn a_repeated_end_is_removed_and_everything_else_is_kept() {
        check("The river ran down to", &[" the sea."], " the sea.");
        check(
            "The river ran down to",
            &["ran down to the", " sea."],
            " the sea.",
        );
        check(
            "The river ran down to",
            &["ra", "n do", "wn to", " the sea."],
            " the sea.",
        );
        check("The river ran down to", &["to the sea."], "to the sea.");
        check("Größe über alles", &["über alles", " hinaus"], " hinaus");
        check("", &["Hello"], "Hello");
        check("abcdefgh", &["abcdefgh"], "");
    }
}
