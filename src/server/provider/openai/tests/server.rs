//! A server of raw bytes on the loopback.

use super::*;
use crate::server::provider::http::http_client;
use std::{
    io,
    sync::{Mutex, atomic::AtomicUsize},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub(super) const OK: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
pub(super) const HELLO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
pub(super) const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// A server that hands every request, with its socket, to a handler.
pub(super) struct Server {
    pub(super) port: u16,
    pub(super) accepted: Arc<AtomicUsize>,
    pub(super) requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) async fn start<F, R>(handler: F) -> Self
    where
        F: Fn(String, TcpStream) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Option<TcpStream>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            accepted: Arc::default(),
            requests: Arc::default(),
        };
        let (accepted, requests) = (server.accepted.clone(), server.requests.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let (handler, requests) = (handler.clone(), requests.clone());
                tokio::spawn(async move {
                    let mut socket = Some(socket);
                    while let Some(mut open) = socket.take() {
                        let Ok(request) = read_request(&mut open).await else {
                            break;
                        };
                        requests.lock().unwrap().push(request.clone());
                        socket = handler(request, open).await;
                    }
                });
            }
        });
        server
    }

    /// A server that answers everything with these bytes and closes.
    pub(super) async fn saying(bytes: impl Into<String>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, mut socket| {
            let bytes = bytes.clone();
            async move {
                let _ = socket.write_all(bytes.as_bytes()).await;
                let _ = socket.shutdown().await;
                None
            }
        })
        .await
    }

    pub(super) fn config(&self) -> OpenAiConfig {
        OpenAiConfig {
            name: "Acme".into(),
            base_url: format!("http://127.0.0.1:{}/v1/", self.port),
            api_key: Some(Secret::new(KEY)),
            ..OpenAiConfig::default()
        }
    }

    pub(super) fn provider(&self) -> OpenAi {
        OpenAi::new(self.config(), http_client().unwrap()).unwrap()
    }

    pub(super) fn request(&self, number: usize) -> String {
        self.requests.lock().unwrap()[number].clone()
    }
}

async fn read_request(socket: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if bytes.len() >= head + 4 + length {
                return Ok(String::from_utf8(bytes).unwrap());
            }
        }
        match socket.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

pub(super) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

pub(super) fn status(line: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {line}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

pub(super) fn whole(body: &str) -> String {
    format!("{OK}{}0\r\n\r\n", chunk(body))
}
