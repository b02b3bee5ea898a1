//! Reads the JSON that providers write.

use serde_json::Value;

/// Reads a document.
///
/// Servers that cut their text by UTF-16 units, as JavaScript does, send half of an emoji as the
/// escape of a lone surrogate. It becomes U+FFFD: one broken character is better than a broken answer.
pub(super) fn parse(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).or_else(|error| match mended(text) {
        Some(mended) => serde_json::from_str(&mended),
        None => Err(error),
    })
}

/// Parses the arguments of a call. `last` is where the last piece begins. Of a server that sends all
/// arguments with every piece, or twice, those that came last count. What cannot be parsed is null.
pub(super) fn arguments(text: &str, last: usize) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| {
        let objects = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let objects: Result<Vec<Value>, _> = objects.collect();
        let object = match objects {
            Ok(mut objects) => objects.pop(),
            Err(_) => text
                .get(last..)
                .and_then(|piece| serde_json::from_str(piece).ok()),
        };
        object.filter(Value::is_object).unwrap_or_default()
    })
}

/// The text of a field; empty if there is none.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The list of a field; empty if there is none.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// The document without lone surrogates; `None` if there are none.
fn mended(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut any = false;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                any = true;
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            // Another escape: the character behind the sign is part of it.
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out.push_str(rest);
    any.then_some(out)
}

/// The number of an escape such as `\u00e9` at the start of a text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::parse;
    use proptest::prelude::*;

    #[test]
    fn half_a_character_breaks_no_document() {
        for (text, value) in [
            (r#""plain é 👍""#, "plain é 👍"),
            (r#""\ud83d\udc4d""#, "👍"),
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""a\uDC4Db""#, "a\u{fffd}b"),
            (r#""\ud83d\ud83d\udc4d""#, "\u{fffd}👍"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
            (r#""\ud83d\\udc4d""#, "\u{fffd}\\udc4d"),
            (r#""\\ud83d\ud83d""#, "\\ud83d\u{fffd}"),
        ] {
            assert_eq!(parse(text).unwrap(), value, "{text}");
        }
        for text in [
            "",
            "{",
            r#""\ud83"#,
            r#""\ud83d"#,
            r#""\é\ud83d""#,
            "\\",
            "\\é",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_trap(text in "[\\\\u\"dD8cC3{}é ]{0,40}") {
            let _ = parse(&text);
            let _ = parse(&format!("\"{text}\""));
        }
    }
}
