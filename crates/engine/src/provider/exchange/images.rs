//! Images in a conversation with a model that takes none.

use crate::provider::{ChatMessage, ChatRequest, Part};

/// The text in place of an image of an earlier message.
const UNSEEN: &str = "(An image that you cannot see.)";

/// The request without its images, after a refusal that is about images. `None` if it has none, or
/// if the last message has some: then the person must read the refusal.
///
/// llama.cpp refuses images with status 500 and OpenRouter with 404.
pub(super) fn left_out(request: &ChatRequest, status: u16, said: &[u8]) -> Option<ChatRequest> {
    let said = String::from_utf8_lossy(said).to_lowercase();
    let about_images = [
        "image",
        "vision",
        "multimodal",
        "mmproj",
        "content must be a string",
    ]
    .iter()
    .any(|word| said.contains(word));
    let asked = request
        .messages
        .last()
        .is_some_and(ChatMessage::shows_images);
    let is_image = |part: &Part| matches!(part, Part::Image(_));
    let has_any = || {
        let mut parts = request.messages.iter().flat_map(|turn| &turn.parts);
        parts.any(is_image)
    };
    if !matches!(status, 400 | 404 | 415 | 422 | 500 | 501) || !about_images || asked || !has_any()
    {
        return None;
    }
    let mut request = request.clone();
    for part in request.messages.iter_mut().flat_map(|turn| &mut turn.parts) {
        if is_image(part) {
            *part = Part::Text(format!("{UNSEEN}\n\n"));
        }
    }
    Some(request)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use crate::provider::{Image, PARAGRAPH, Role};

    fn image() -> Part {
        Part::Image(Image {
            media_type: "image/png".into(),
            data: bytes::Bytes::from_static(b"png"),
        })
    }

    fn asked(parts: Vec<Vec<Part>>) -> ChatRequest {
        let role = Role::User;
        ChatRequest {
            messages: parts
                .into_iter()
                .map(|parts| ChatMessage { role, parts })
                .collect(),
            ..ChatRequest::default()
        }
    }

    #[test]
    fn a_model_that_cannot_see_reads_that_there_was_an_image_before() {
        let text = |text: &str| Part::Text(text.into());
        let no = b"This model does not support image input";
        for (parts, left) in [
            (vec![vec![image(), text("?")], vec![text("And?")]], true),
            // The first message was never answered.
            (vec![vec![image(), text(PARAGRAPH), text("And?")]], true),
            (vec![vec![text("A"), text(PARAGRAPH), image()]], false),
            (vec![vec![image(), text("?")]], false),
            (vec![vec![text("?")]], false),
        ] {
            let request = asked(parts);
            let other = left_out(&request, 400, no);
            assert_eq!(other.is_some(), left, "{request:?}");
            if let Some(other) = other {
                assert_eq!(other.messages[0].text().matches(UNSEEN).count(), 1);
                assert_eq!(left_out(&other, 400, no), None);
            }
            assert_eq!(left_out(&request, 400, b"temperature is too high"), None);
            assert_eq!(left_out(&request, 401, no), None);
        }
    }
}
