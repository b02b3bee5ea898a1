//! The client for HTTP of all providers, for the exporter of OpenTelemetry.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use parking_lot::Mutex;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// The most bytes of an answer that are read. It says which spans were refused.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends on the thread that calls it, which is that of the batches. It has a runtime of its own, so that no
/// thread of a run has anything to do with it.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    timeout: Duration,
    /// Made by the first request, on the thread that also drops it: none of tokio's threads may do that.
    runtime: Mutex<Option<Runtime>>,
}

impl Client {
    pub(super) fn new(http: reqwest::Client, timeout: Duration) -> Self {
        Self {
            http,
            timeout,
            runtime: Mutex::default(),
        }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.http.execute(request.try_into()?).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let (mut body, mut pieces) = (BytesMut::new(), answer.bytes_stream());
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece?);
            if body.len() > MAX_ANSWER {
                return Err("the answer is too long".into());
            }
        }
        let mut answer = Response::new(body.freeze());
        (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
        Ok(answer)
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut runtime = self.runtime.lock();
        let runtime = match &mut *runtime {
            Some(runtime) => runtime,
            none => none.insert(Builder::new_current_thread().enable_all().build()?),
        };
        let send = async { tokio::time::timeout(self.timeout, self.send(request)).await };
        runtime.block_on(send)?
    }
}
