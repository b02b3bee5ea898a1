//! Media in an answer: images, which are shown, and everything else, which becomes a sentence.

use super::{Image, base64};
use serde_json::Value;

/// The sentence in place of sound.
pub(super) const SOUND: &str = "The answer holds sound, which cannot be played here.";

/// An image, or a sentence about media that cannot be shown.
pub(super) enum Media {
    Image(Image),
    /// A sentence for the answer.
    Remark(String),
}

impl Media {
    /// Reads base64. `media_type` comes from the server and may be empty.
    pub(super) fn from_base64(data: &str, media_type: &str) -> Self {
        let kind = media_type.split('/').next().unwrap_or_default();
        if matches!(kind, "" | "image")
            && let Some(data) = base64::decode(data)
            && let Some(media_type) = Image::media_type_of(&data)
        {
            return Self::Image(Image {
                media_type: media_type.into(),
                data: data.into(),
            });
        }
        Self::Remark(match kind {
            "image" | "" => "The answer holds an image that cannot be shown here.".into(),
            "audio" => SOUND.into(),
            "video" => "The answer holds a film, which cannot be shown here.".into(),
            _ => "The answer holds a file that cannot be shown here.".into(),
        })
    }

    /// Reads an address. A `data:` URL contains the image. Other addresses become a sentence with a
    /// link, so that no other server is contacted without a click.
    pub(super) fn from_address(address: &str) -> Self {
        if let Some(rest) = address.strip_prefix("data:")
            && let Some((kind, data)) = rest.split_once(',')
        {
            return Self::from_base64(data, kind.split(';').next().unwrap_or_default());
        }
        let is_plain = address.starts_with("https://")
            && !address.contains(|letter: char| letter.is_whitespace() || "<>()".contains(letter));
        Self::Remark(match is_plain {
            true => format!("The answer holds an image: <{address}>"),
            false => "The answer holds an image that cannot be shown here.".into(),
        })
    }

    /// Reads an object in one of OpenAI's forms: `{"image_url": {"url": …}}`, `{"image_url": …}`,
    /// `{"url": …}`, `{"b64_json": …}`, `{"source": {"data": …, "media_type": …}}`.
    pub(super) fn from_object(value: &Value) -> Option<Self> {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str);
        if let Some(address) = ["/image_url/url", "/image_url", "/url", "/source/url"]
            .into_iter()
            .find_map(text)
        {
            return Some(Self::from_address(address));
        }
        let data = ["/b64_json", "/source/data", "/data", "/result"];
        let data = data.into_iter().find_map(text)?;
        let kind = [
            "/source/media_type",
            "/media_type",
            "/mime_type",
            "/mimeType",
        ];
        let kind = kind.into_iter().find_map(text).unwrap_or_default();
        Some(Self::from_base64(data, kind))
    }
}

/// A remark as a paragraph of the answer. Unless it is the `first` text, a blank line precedes it.
pub(super) fn paragraph(remark: &str, first: bool) -> String {
    let before = if first { "" } else { "\n\n" };
    format!("{before}*{remark}*\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The first bytes of a PNG file.
    const PNG: &str = "iVBORw0KGgo=";

    fn is_image(media: Option<Media>) -> bool {
        matches!(media, Some(Media::Image(image)) if image.media_type == "image/png")
    }

    #[test]
    fn an_image_is_found_in_every_form() {
        let address = format!("data:image/png;base64,{PNG}");
        for value in [
            json!({"type": "image_url", "image_url": {"url": address}}),
            json!({"type": "output_image", "image_url": address}),
            json!({"b64_json": PNG}),
            json!({"source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
            json!({"mimeType": "image/png", "data": PNG}),
        ] {
            assert!(is_image(Media::from_object(&value)), "{value}");
        }
        assert!(is_image(Some(Media::from_base64(PNG, ""))));
    }

    #[test]
    fn what_is_no_image_is_said() {
        for (media, word) in [
            (Media::from_base64("UklGRg==", "audio/wav"), "sound"),
            (Media::from_base64(PNG, "audio/wav"), "sound"),
            (Media::from_base64("not base64!", "image/png"), "image"),
            (Media::from_base64("PHN2Zy8+", "image/svg+xml"), "image"),
            (
                Media::from_address("https://a.example/b.png"),
                "<https://a.example/b.png>",
            ),
            (
                Media::from_address("javascript:alert(1)"),
                "cannot be shown",
            ),
            (
                Media::from_address("https://a.example/> [x](y)"),
                "cannot be shown",
            ),
        ] {
            match media {
                Media::Remark(sentence) => assert!(sentence.contains(word), "{sentence}"),
                Media::Image(_) => panic!("an image instead of {word}"),
            }
        }
    }
}
