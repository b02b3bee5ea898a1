//! Keys that cannot be printed by accident.

use std::fmt;

/// A key. Its `Debug` and `Display` print three stars, and it cannot be serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A key, without the white space around it that copying often adds.
    pub fn new(key: impl AsRef<str>) -> Self {
        Self(key.as_ref().trim().to_owned())
    }

    /// The key itself, for the header of a request and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the key is empty, as when an environment variable is set to nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a word gives away a part of the key.
    fn is_hinted_by(&self, word: &str) -> bool {
        // Providers quote wrong keys with a few characters left at both ends.
        const PART: usize = 6;
        let key = self.0.as_bytes();
        key.len() >= 2 * PART
            && key
                .windows(PART)
                .any(|part| word.as_bytes().windows(PART).any(|here| here == part))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Removes from a foreign text whatever looks like a key: ours, a part of ours, a masked one, or one
/// with a well-known beginning.
pub fn scrub(text: &str, key: Option<&Secret>) -> String {
    let key = key.filter(|key| key.0.len() >= 3);
    let text = match key {
        Some(key) => text.replace(key.expose(), "***"),
        None => text.to_owned(),
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = rest.find(|c| !is_key_char(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        let body = word.trim_end_matches('.');
        if looks_like_a_key(body) || key.is_some_and(|key| key.is_hinted_by(body)) {
            out.push_str("***");
            out.push_str(&word[body.len()..]);
        } else {
            out.push_str(word);
        }
        let next = tail.find(is_key_char).unwrap_or(tail.len());
        out.push_str(&tail[..next]);
        rest = &tail[next..];
    }
    out
}

fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-*.+/=".contains(c)
}

fn looks_like_a_key(word: &str) -> bool {
    const STARTS: [&str; 9] = [
        "sk-", "sk_", "pk-", "gsk_", "xai-", "AIza", "hf_", "nvapi-", "eyJ",
    ];
    // A name and a sign may stand before it, as in `key=sk-…`.
    word.contains("***")
        || word
            .split(['=', '/', '+'])
            .any(|part| part.len() >= 8 && STARTS.iter().any(|start| part.starts_with(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_prints_three_stars() {
        let key = Secret::new(" sk-live-0123456789abcdef\n");
        assert_eq!(
            format!("{key} {key:?} {:#?}", Some(&key)),
            "*** *** Some(\n    ***,\n)"
        );
        assert_eq!(key.expose(), "sk-live-0123456789abcdef");
        assert!(Secret::new(" \n").is_empty());
    }

    #[test]
    fn foreign_texts_lose_whatever_looks_like_a_key() {
        let key = Secret::new("Zq7-live-0123456789abcdef");
        for (text, clean) in [
            ("Bad key Zq7-live-0123456789abcdef.", "Bad key ***."),
            ("“Zq7-live-0123456789abcdef”", "“***”"),
            ("Bad key Zq7-li…, see", "Bad key ***…, see"),
            ("Bad key Zq7-live****cdef, see", "Bad key ***, see"),
            ("Ends with abcdef", "Ends with ***"),
            ("Another: sk-proj-abcdefgh", "Another: ***"),
            (
                "Authorization: Bearer gsk_abcdefghi",
                "Authorization: Bearer ***",
            ),
            ("key=sk-1234567", "***"),
            (
                "The model gpt-4o-mini-2024-07-18 is busy.",
                "The model gpt-4o-mini-2024-07-18 is busy.",
            ),
            ("", ""),
        ] {
            assert_eq!(scrub(text, Some(&key)), clean);
        }
        assert_eq!(
            scrub("ollama runs", Some(&Secret::new("ollama"))),
            "*** runs"
        );
        assert_eq!(scrub("a and b", Some(&Secret::new("a"))), "a and b");
        assert_eq!(scrub("sk-12345678", None), "***");
    }
}
