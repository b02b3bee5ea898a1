//! Images that the person chooses, pastes or drops, and their way to the server.

use crate::base;
use gloo_net::http::Request;
use headwater_protocol::{Error, ErrorCode, IMAGES, ImageId, MAX_IMAGE_BYTES};
use wasm_bindgen::JsCast;
pub(crate) use web_sys::File;
use web_sys::{ClipboardEvent, DragEvent, Event, FileList, HtmlInputElement};

/// The images that were chosen in a file field. The field is emptied, so that the same file can be
/// chosen again.
pub(crate) fn chosen_images(event: &Event) -> Vec<File> {
    let target = event.target();
    let Some(input) = target.and_then(|target| target.dyn_into::<HtmlInputElement>().ok()) else {
        return Vec::new();
    };
    let found = images(input.files());
    if !found.is_empty() {
        input.set_value("");
    }
    found
}

/// The images that were pasted. What comes as text too is text: tables come as both.
pub(crate) fn pasted_images(event: &ClipboardEvent) -> Vec<File> {
    let data = event.clipboard_data();
    let data = data.filter(|data| !data.types().includes(&"text/plain".into(), 0));
    let found = images(data.and_then(|data| data.files()));
    if !found.is_empty() {
        event.prevent_default();
    }
    found
}

/// The images that were dropped. Call it while files are dragged over the page as well: without
/// that the browser would leave the page to show what is dropped.
pub(crate) fn dropped_images(event: &DragEvent) -> Vec<File> {
    let data = event.data_transfer();
    let Some(data) = data.filter(|data| data.types().includes(&"Files".into(), 0)) else {
        return Vec::new();
    };
    event.prevent_default();
    images(data.files())
}

fn images(files: Option<FileList>) -> Vec<File> {
    let files = files.into_iter().flat_map(|files| {
        let all = 0..files.length();
        all.filter_map(move |at| files.get(at))
    });
    files
        .filter(|file| file.type_().starts_with("image/"))
        .collect()
}

/// Sends an image to the server.
///
/// # Errors
/// `too_large`; what the server says of the file; `connection` where the server was not reached.
pub(crate) async fn upload(file: File) -> Result<ImageId, Error> {
    // The server stops reading there, which a browser takes for a broken connection.
    if file.size() > MAX_IMAGE_BYTES as f64 {
        let sentence = format!(
            "An image may have {} MB at most.",
            MAX_IMAGE_BYTES / 1_000_000
        );
        return Err(Error::new(ErrorCode::TooLarge, sentence));
    }
    match post(file).await {
        Ok(answer) => answer,
        Err(_) => {
            let sentence = "The image did not reach the server. Attach it again.";
            Err(Error::new(ErrorCode::Connection, sentence))
        }
    }
}

async fn post(file: File) -> Result<Result<ImageId, Error>, gloo_net::Error> {
    let response = Request::post(&base::address(IMAGES))
        .body(file)?
        .send()
        .await?;
    Ok(match response.ok() {
        true => Ok(response.json().await?),
        false => Err(response.json().await?),
    })
}
