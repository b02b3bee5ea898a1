//! Upload and download of images.

use super::{document::status_of, forms};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use headwater_engine::{Engine, db::images::too_large};
use headwater_protocol::{Error, ErrorCode, ImageId, MAX_IMAGE_BYTES};
use std::sync::Arc;

/// `POST /api/images`: stores the image in the body. The response is its identifier as a JSON
/// string, for [`crate::api::start_run`].
pub async fn upload(State(engine): State<Arc<Engine>>, body: Body) -> Response {
    match keep(&engine, body).await {
        Ok(id) => Json(id).into_response(),
        Err(why) => refuse(why),
    }
}

/// `GET /api/images/{id}`: sends an image.
pub async fn show(State(engine): State<Arc<Engine>>, Path(id): Path<String>) -> Response {
    let wanted = ImageId(id);
    match engine.image(wanted).await {
        Ok(Some(image)) => {
            let headers = [
                (header::CONTENT_TYPE, image.media_type.as_str()),
                // In a browser's cache it would outlive its conversation.
                (header::CACHE_CONTROL, "no-store"),
                (
                    header::CONTENT_SECURITY_POLICY,
                    "default-src 'none'; sandbox",
                ),
                (
                    HeaderName::from_static("cross-origin-resource-policy"),
                    "same-origin",
                ),
            ];
            (headers, image.data).into_response()
        }
        Ok(None) => refuse(Error::new(ErrorCode::NotFound, "There is no such image.")),
        Err(why) => refuse(why),
    }
}

fn refuse(why: Error) -> Response {
    (status_of(&why), Json(why)).into_response()
}

async fn keep(engine: &Engine, body: Body) -> Result<ImageId, Error> {
    let data = forms::read(body, MAX_IMAGE_BYTES).await?;
    engine.keep_image(data.ok_or_else(too_large)?).await
}

/// Parses a comma-separated list of identifiers.
pub fn from_list(list: Option<&str>) -> Vec<ImageId> {
    let ids = list.unwrap_or_default().split(',').map(str::trim);
    ids.filter(|id| !id.is_empty())
        .map(|id| ImageId(id.to_owned()))
        .collect()
}
