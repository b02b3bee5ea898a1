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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use crate::provider::http::http_client;
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    #[test]
    fn a_connection_that_the_collector_has_closed_meanwhile_is_no_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            for _ in 0..3 {
                let (mut socket, _) = listener.accept().unwrap();
                let (mut seen, mut piece) = (Vec::new(), [0; 1024]);
                while !seen.ends_with(b"spans") {
                    let read = socket.read(&mut piece).unwrap();
                    seen.extend_from_slice(&piece[..read]);
                }
                socket
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .unwrap();
            }
        });
        let client = Client::new(http_client().unwrap(), Duration::from_secs(10));
        for _ in 0..3 {
            let request = Request::post(&address).body(Bytes::from_static(b"spans"));
            let answer = client.send_bytes(request.unwrap());
            let answer = futures::executor::block_on(answer).unwrap();
            assert_eq!(answer.status(), 200);
            // Long enough for the close to arrive, and nobody looks at the socket meanwhile.
            thread::sleep(Duration::from_millis(100));
        }
        server.join().unwrap();
    }
}
