//! Resends commands that did not reach the server.

use crate::{api::ApiError, browser};
use headwater_protocol::{Error, ErrorCode};

/// The first pause in milliseconds. Each later one is twice as long as the one before.
const FIRST_PAUSE_MS: u32 = 300;

/// Calls until the server has answered, at most `retries` times after the first. Only for
/// idempotent commands.
///
/// # Errors
/// The server's error, or why the last call did not reach it.
pub(super) async fn with_retries<T, F>(
    retries: u32,
    mut call: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut pause = FIRST_PAUSE_MS;
    for _ in 0..retries {
        match call().await {
            Err(ApiError(error))
                if matches!(error.code, ErrorCode::Connection | ErrorCode::ShuttingDown) =>
            {
                browser::sleep(pause).await;
                pause *= 2;
            }
            answer => return answer.map_err(|ApiError(error)| error),
        }
    }
    call().await.map_err(|ApiError(error)| error)
}
