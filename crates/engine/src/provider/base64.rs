//! Base64, the form in which images travel inside JSON.

use ::base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};

/// Reads what encoders get wrong too: missing padding, and bits behind the last byte that are not
/// zero.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Encodes bytes in the standard alphabet, with padding
/// ([RFC 4648, section 4](https://www.rfc-editor.org/rfc/rfc4648#section-4)).
pub(super) fn encode(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// Decodes text in the standard or the URL-safe alphabet, with or without padding and line breaks.
/// Returns `None` for anything else.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches(|letter: char| letter == '=' || letter.is_whitespace());
    let standard: Vec<u8> = text
        .bytes()
        .filter(|letter| !matches!(letter, b'\r' | b'\n'))
        .map(|letter| match letter {
            b'-' => b'+',
            b'_' => b'/',
            letter => letter,
        })
        .collect();
    LENIENT.decode(standard).ok()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn the_examples_of_the_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
            let bare = text.trim_end_matches('=');
            assert_eq!(decode(bare).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(decode("-_\r\n/-").as_deref(), decode("+//+").as_deref());
        for wrong in ["A", "AB=C", "A B", "é"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        assert_eq!(encode(&[0xfb, 0xff, 0xfe]), "+//+");
        assert_eq!(encode(&[0, 16, 131]), "ABCD");
    }
}
