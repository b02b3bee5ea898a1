//! Hides secrets.

use super::{Rewrite, Rewriter};
use headwater_protocol::BlockKind;
use serde_json::Value;
use std::sync::Arc;

/// What stands in the place of a secret.
const HIDDEN: &str = "[hidden]";

/// The forms of keys that vendors document: how they begin, and how many letters, digits, `_` and `-`
/// follow at least.
const KEYS: [(&str, usize); 15] = [
    // OpenAI, Anthropic and many that speak their dialects.
    ("sk-", 16),
    // Stripe.
    ("sk_live_", 16),
    ("rk_live_", 16),
    // Amazon.
    ("AKIA", 16),
    ("ASIA", 16),
    // Google.
    ("AIza", 35),
    // GitHub.
    ("ghp_", 36),
    ("gho_", 36),
    ("ghs_", 36),
    ("github_pat_", 22),
    // GitLab.
    ("glpat-", 20),
    // Slack.
    ("xoxb-", 20),
    ("xoxp-", 20),
    // Hugging Face.
    ("hf_", 30),
    // npm.
    ("npm_", 36),
];

/// The most characters of a key that are held back. What is longer is a key before its end is there.
const LONGEST: usize = 256;

/// Hides keys in the forms of known vendors, and words of one's own, in everything that models and tools
/// write. The end of a text is held back as long as it may be the beginning of a secret; where an answer
/// breaks off there, the beginning is hidden as well. Arguments of calls come when they are whole, because
/// a secret may be written with escapes in them.
///
/// A secret whose halves are in two attempts or in two blocks is not known as one.
#[derive(Clone, Debug, Default)]
pub struct Mask(Arc<Secrets>);

/// What is hidden.
#[derive(Clone, Debug, Default)]
struct Secrets {
    words: Vec<String>,
    has_keys: bool,
}

impl Mask {
    /// Hides keys: `sk-…`, `ghp_…`, `AKIA…` and their like.
    pub fn keys(mut self) -> Self {
        Arc::make_mut(&mut self.0).has_keys = true;
        self
    }

    /// Hides a word, wherever it stands and exactly as it is written. An empty one changes nothing.
    pub fn word(mut self, word: impl Into<String>) -> Self {
        let word = word.into();
        if !word.is_empty() {
            let words = &mut Arc::make_mut(&mut self.0).words;
            words.push(word);
            // Of two that begin alike, the longer one is hidden.
            words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        }
        self
    }

    /// A whole text without its secrets.
    fn hidden(&self, text: &str) -> String {
        let mut masking = self.text();
        let mut hidden = masking.push(text);
        hidden += &masking.finish();
        hidden
    }

    fn text(&self) -> Masking {
        Masking {
            mask: self.clone(),
            held: String::new(),
            last: None,
            inside: false,
        }
    }
}

impl Rewrite for Mask {
    fn block(&self, kind: BlockKind) -> Option<Box<dyn Rewriter>> {
        Some(match kind {
            BlockKind::ToolInput => Box::new(Arguments {
                mask: self.clone(),
                held: String::new(),
            }),
            _ => Box::new(self.text()),
        })
    }

    fn value(&self, value: &mut Value) {
        hide_in(self, value);
    }
}

fn hide_in(mask: &Mask, value: &mut Value) {
    match value {
        Value::String(text) => *text = mask.hidden(text),
        Value::Array(items) => items.iter_mut().for_each(|item| hide_in(mask, item)),
        Value::Object(fields) => {
            let whole = std::mem::take(fields).into_iter();
            fields.extend(whole.map(|(name, mut item)| {
                hide_in(mask, &mut item);
                (mask.hidden(&name), item)
            }));
        }
        Value::Number(number) => {
            let text = number.to_string();
            let hidden = mask.hidden(&text);
            if hidden != text {
                *value = Value::String(hidden);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// The arguments of a call, which are JSON if the model made no mistake.
struct Arguments {
    mask: Mask,
    held: String,
}

impl Rewriter for Arguments {
    fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        String::new()
    }

    fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        let Ok(before) = serde_json::from_str::<Value>(&held) else {
            return self.mask.hidden(&held);
        };
        let mut value = before.clone();
        hide_in(&self.mask, &mut value);
        // As the model wrote them, if there is nothing to hide.
        if value == before {
            held
        } else {
            value.to_string()
        }
    }

    fn break_off(&mut self) -> String {
        // Half of them is of no use to anybody, and nobody can say what is in it.
        match std::mem::take(&mut self.held).is_empty() {
            true => String::new(),
            false => HIDDEN.to_owned(),
        }
    }
}

/// A text that is being masked.
struct Masking {
    mask: Mask,
    /// The end of the text, which may be the beginning of a secret.
    held: String,
    /// The last character before it.
    last: Option<char>,
    /// Whether the text goes on with the rest of a very long key.
    inside: bool,
}

/// What stands at a place of the text.
enum Found {
    /// A word of so many bytes.
    Word(usize),
    /// A key of so many bytes, which may go on.
    Key(usize),
    /// Perhaps the beginning of one.
    Perhaps,
    Nothing,
}

fn is_key_character(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '-'
}

impl Masking {
    /// Writes what is certain. At the end of the text everything is.
    fn write(&mut self, is_end: bool) -> String {
        let mut out = String::new();
        let mut place = 0;
        while let Some(letter) = self.held[place..].chars().next() {
            if self.inside && is_key_character(letter) {
                place += letter.len_utf8();
                continue;
            }
            self.inside = false;
            let found = self.look(place, is_end);
            match found {
                Found::Word(length) | Found::Key(length) => {
                    out.push_str(HIDDEN);
                    place += length;
                    self.last = Some(']');
                    self.inside = matches!(found, Found::Key(_)) && place == self.held.len();
                }
                Found::Perhaps => break,
                Found::Nothing => {
                    out.push(letter);
                    self.last = Some(letter);
                    place += letter.len_utf8();
                }
            }
        }
        self.held.drain(..place);
        out
    }

    fn look(&self, place: usize, is_end: bool) -> Found {
        let rest = &self.held[place..];
        let mut perhaps = false;
        for word in &self.mask.0.words {
            if rest.starts_with(word) {
                return if perhaps {
                    Found::Perhaps
                } else {
                    Found::Word(word.len())
                };
            }
            // A longer word that may still come is waited for.
            perhaps |= !is_end && word.starts_with(rest);
        }
        let begins = !self.last.is_some_and(is_key_character);
        if self.mask.0.has_keys && begins {
            for (prefix, least) in KEYS {
                let Some(tail) = rest.strip_prefix(prefix) else {
                    perhaps |= !is_end && prefix.starts_with(rest);
                    continue;
                };
                let length = tail.find(|letter| !is_key_character(letter));
                let whole = length.is_some() || is_end;
                let length = length.unwrap_or(tail.len());
                if length > LONGEST || (whole && length >= least) {
                    return Found::Key(prefix.len() + length);
                }
                perhaps |= !whole;
            }
        }
        match perhaps {
            true => Found::Perhaps,
            false => Found::Nothing,
        }
    }
}

impl Rewriter for Masking {
    fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        self.write(false)
    }

    fn finish(&mut self) -> String {
        self.write(true)
    }

    fn break_off(&mut self) -> String {
        // A letter or two begin many words, and tell little of a secret.
        match self.held.chars().count() {
            0..3 => self.finish(),
            _ => HIDDEN.to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hidden(mask: &Mask, pieces: &[&str]) -> String {
        let mut masking = mask.text();
        let mut out: String = pieces.iter().map(|piece| masking.push(piece)).collect();
        out += &masking.finish();
        out
    }

    fn mask() -> Mask {
        Mask::default()
            .keys()
            .word("bluebird")
            .word("blue")
            .word("geheim🔑")
            .word("")
    }

    #[test]
    fn keys_and_words_are_hidden_and_their_like_are_not() {
        let long = format!("sk-{}", "a".repeat(1000));
        let cases = [
            ("The key is sk-abcdefghijklmnop.", "The key is [hidden]."),
            ("sk-abcdefghijklmnop", "[hidden]"),
            (
                "sk-short and task-abcdefghijklmnopqrst",
                "sk-short and task-abcdefghijklmnopqrst",
            ),
            ("AKIAIOSFODNN7EXAMPLE\n", "[hidden]\n"),
            ("(ghp_0123456789abcdefghijklmnopqrstuvwxyz)", "([hidden])"),
            (
                "bluebird, blue, bluebir, red",
                "[hidden], [hidden], [hidden]bir, red",
            ),
            ("geheim🔑geheim", "[hidden]geheim"),
            ("sk", "sk"),
            (&format!("{long}!"), "[hidden]!"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(hidden(&mask(), &[text]), expected, "{text}");
            let letters: Vec<String> = text.chars().map(String::from).collect();
            let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
            assert_eq!(
                hidden(&mask(), &letters),
                expected,
                "{text}, letter by letter"
            );
        }
    }

    #[test]
    fn a_text_that_breaks_off_in_a_secret_does_not_show_its_beginning() {
        for (text, expected) in [
            ("It is bluebi", "It is [hidden]"),
            ("It is sk-abcde", "It is [hidden]"),
            ("It is over", "It is over"),
        ] {
            let mut masking = mask().text();
            let shown = masking.push(text) + &masking.break_off();
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn arguments_are_masked_whatever_escapes_they_are_written_with() {
        for (written, expected) in [
            (
                r#"{"a": "line\nsk-abcdefghijklmnop"}"#,
                r#"{"a":"line\n[hidden]"}"#,
            ),
            (
                r#"{"blue": "\u0062luebird", "n": 1}"#,
                r#"{"[hidden]":"[hidden]","n":1}"#,
            ),
            (r#"{ "a" :  "green" }"#, r#"{ "a" :  "green" }"#),
            (r#"{"a": "sk-abcdefghijklmnop"#, r#"{"a": "[hidden]"#),
        ] {
            let mut rewriter = mask().block(BlockKind::ToolInput).unwrap();
            assert_eq!(rewriter.push(&written[..5]), "");
            let shown = rewriter.push(&written[5..]) + &rewriter.finish();
            assert_eq!(shown, expected, "{written}");
        }
        let mut value = serde_json::json!({ "n": 4711, "m": 12 });
        Mask::default().word("4711").value(&mut value);
        assert_eq!(value, serde_json::json!({ "n": "[hidden]", "m": 12 }));
    }

    #[test]
    fn ordinary_text_is_not_held_back_and_values_are_masked_deeply() {
        let mut masking = mask().text();
        assert_eq!(masking.push("Hello, wor"), "Hello, wor");
        assert_eq!(masking.push("ld. b"), "ld. ");
        assert_eq!(masking.push("oats"), "boats");
        let mut value = serde_json::json!({ "a": ["blue", 1, { "b": "sk-abcdefghijklmnop" }] });
        mask().value(&mut value);
        let expected = serde_json::json!({ "a": ["[hidden]", 1, { "b": "[hidden]" }] });
        assert_eq!(value, expected);
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_text_make_no_difference(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "sk-", "abcdefghijklmnop", "blue", "bird", " ", "geheim", "🔑", "-", "k", "AKIA",
                    "IOSFODNN7EXAMPLE", ".", "b",
                ]),
                0..12,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let text = parts.concat();
            let places: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| places[cut.index(places.len())]).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            let whole = hidden(&mask(), &[&text]);
            prop_assert_eq!(&hidden(&mask(), &pieces), &whole);
            for secret in ["bluebird", "blue", "geheim🔑"] {
                prop_assert!(!whole.contains(secret));
            }
        }
    }
}
