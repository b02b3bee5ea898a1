//! Removes what a model says again when it is asked in words to go on.

/// The shortest repetition that is taken for one, in bytes: shorter ones happen by chance.
const LEAST: usize = 6;

/// How much of a continuation is looked at, in bytes. Text is held back until that much is there.
const WINDOW: usize = 240;

/// Holds back the beginning of a continuation until it is known whether it repeats the end of what
/// was written before.
#[derive(Debug)]
pub struct Overlap {
    /// The end of the earlier text; empty once the matter is settled.
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

    /// Takes a piece of the continuation, returns what may be shown of it.
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

    /// The continuation is over, or long enough: returns what is left.
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

    /// Whether what is held may still grow into a repetition of the tail's end.
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
