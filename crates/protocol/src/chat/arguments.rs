//! The arguments of a tool call in a form for people, while they are still arriving.
//!
//! A model writes them as JSON, piece by piece. It is not valid JSON before the last piece, and its
//! escapes are hard to read. [`Arguments`] turns it into lines of `name: value`. It only ever
//! appends, so the result for a prefix is a prefix of the result for the whole, and a piece costs
//! its own length.

/// Turns arguments into lines, piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    shown: String,
    at: Place,
    /// The number of open brackets within a value.
    depth: u32,
    /// The characters after a backslash, while an escape is incomplete.
    escape: Option<String>,
    /// The first half of a surrogate pair (`\ud83d\ude00`).
    high: Option<u16>,
}

/// What the next character belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    /// The opening brace.
    #[default]
    Start,
    /// A name, or the closing brace.
    Name,
    /// More of a name.
    InName,
    /// The colon.
    Colon,
    /// A value.
    Value,
    /// More of a string.
    InText,
    /// More of a value that is shown as it is written: anything but a string.
    InPlain,
    /// More of a string within such a value; `true` after a backslash.
    InPlainText(bool),
    /// The object has ended. The rest is ignored.
    End,
    /// The input is not an object. All of it is shown as it is written.
    NoObject,
}

impl Arguments {
    /// The lines so far.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &str) {
        for c in piece.chars() {
            self.at = self.take(c);
        }
    }

    fn take(&mut self, c: char) -> Place {
        match self.at {
            Place::Start if c.is_whitespace() => Place::Start,
            Place::Start if c == '{' => Place::Name,
            Place::Start | Place::NoObject => self.show(c, Place::NoObject),
            Place::Name if c == '"' => {
                if !self.shown.is_empty() {
                    self.shown.push('\n');
                }
                Place::InName
            }
            Place::Name if c == '}' => Place::End,
            Place::InName | Place::InText if self.escape.is_some() => {
                self.unescape(c);
                self.at
            }
            Place::InName | Place::InText if c == '\\' => {
                self.escape = Some(String::new());
                self.at
            }
            Place::InName if c == '"' => Place::Colon,
            Place::InText if c == '"' => Place::Name,
            Place::InName | Place::InText => self.show(c, self.at),
            Place::Colon if c == ':' => {
                self.shown.push_str(": ");
                Place::Value
            }
            Place::Value if c.is_whitespace() => Place::Value,
            Place::Value if c == '"' => Place::InText,
            Place::Value | Place::InPlain => match c {
                ',' if self.depth == 0 => Place::Name,
                '}' | ']' if self.depth == 0 => Place::End,
                _ => {
                    match c {
                        '{' | '[' => self.depth += 1,
                        '}' | ']' => self.depth -= 1,
                        _ => {}
                    }
                    let next = match c {
                        '"' => Place::InPlainText(false),
                        _ => Place::InPlain,
                    };
                    self.show(c, next)
                }
            },
            Place::InPlainText(escaped) => {
                let next = match c {
                    '"' if !escaped => Place::InPlain,
                    _ => Place::InPlainText(c == '\\' && !escaped),
                };
                self.show(c, next)
            }
            Place::Name | Place::Colon | Place::End => self.at,
        }
    }

    fn show(&mut self, c: char, next: Place) -> Place {
        self.shown.push(c);
        next
    }

    fn unescape(&mut self, c: char) {
        let Some(mut escape) = self.escape.take() else {
            return;
        };
        escape.push(c);
        match escape.strip_prefix('u') {
            None => self.shown.push(match c {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                c => c,
            }),
            Some(digits) if digits.len() >= 4 => {
                let unit = u16::from_str_radix(digits, 16).unwrap_or(0xfffd);
                if (0xd800..0xdc00).contains(&unit) {
                    self.high = Some(unit);
                } else {
                    let units = self.high.take().into_iter().chain([unit]);
                    let chars = char::decode_utf16(units);
                    self.shown
                        .extend(chars.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
                }
            }
            Some(_) => self.escape = Some(escape),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn shown(text: &str) -> String {
        let mut arguments = Arguments::default();
        arguments.push(text);
        arguments.shown().to_owned()
    }

    #[test]
    fn names_and_values_are_lines() {
        for (text, want) in [
            ("", ""),
            ("{}", ""),
            (" { \"a\" : \"b\" }\n", "a: b"),
            (
                r#"{"query":"how \"streams\" get lost","limit":3,"deep":{"x":[1,{"y":"}\"]"}]},"no":null}"#,
                "query: how \"streams\" get lost\nlimit: 3\ndeep: {\"x\":[1,{\"y\":\"}\\\"]\"}]}\nno: null",
            ),
            (
                r#"{"text":"one\ntwo\t\u00e9\ud83d\ude00\\"}"#,
                "text: one\ntwo\té😀\\",
            ),
            (r#"{"a":"\ud83dx"}"#, "a: x"),
            ("[1, 2]", "[1, 2]"),
            ("no JSON", "no JSON"),
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn no_part_of_an_escape_is_shown() {
        let mut arguments = Arguments::default();
        let mut seen = Vec::new();
        for piece in ["{\"a\":\"x\\", "u00", "e9\\ud83d", "\\u", "de00\\", "n"] {
            arguments.push(piece);
            seen.push(arguments.shown().to_owned());
        }
        assert_eq!(
            seen,
            ["a: x", "a: x", "a: xé", "a: xé", "a: xé😀", "a: xé😀\n"]
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_prefix_shows_a_prefix_however_it_is_split(
            map in prop::collection::btree_map("[a-z\"\\\\é]{1,6}", value(), 0..5),
            piece in 1..9_usize,
        ) {
            let text = json!(map).to_string();
            let lines: Vec<String> = map
                .iter()
                .map(|(name, value)| match value {
                    Value::String(text) => format!("{name}: {text}"),
                    other => format!("{name}: {other}"),
                })
                .collect();
            let whole = lines.join("\n");
            let mut arguments = Arguments::default();
            let chars: Vec<char> = text.chars().collect();
            for piece in chars.chunks(piece) {
                arguments.push(&piece.iter().collect::<String>());
                prop_assert!(whole.starts_with(arguments.shown()));
            }
            prop_assert_eq!(arguments.shown(), whole);
        }

        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            let _ = shown(&text);
        }
    }
}
