//! A server of raw bytes on the loopback.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The head of a streamed answer.
pub(in crate::provider) const OK: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// A server that hands every request, with its socket, to a handler.
pub(in crate::provider) struct Server {
    pub(in crate::provider) port: u16,
    pub(in crate::provider) accepted: Arc<AtomicUsize>,
    pub(in crate::provider) requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(in crate::provider) async fn start<F, R>(handler: F) -> Self
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
    pub(in crate::provider) async fn saying(bytes: impl Into<String>) -> Self {
        let bytes = bytes.into();
        Self::deciding(move |_| bytes.clone()).await
    }

    /// A server that answers each request with the bytes that it deserves, and closes.
    pub(in crate::provider) async fn deciding<F>(decide: F) -> Self
    where
        F: Fn(&str) -> String + Clone + Send + Sync + 'static,
    {
        Self::start(move |request, mut socket| {
            let bytes = decide(&request);
            async move {
                let _ = socket.write_all(bytes.as_bytes()).await;
                let _ = socket.shutdown().await;
                None
            }
        })
        .await
    }

    /// Its address with this path.
    pub(in crate::provider) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How many requests came.
    pub(in crate::provider) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// A request as it came, head and body.
    pub(in crate::provider) fn request(&self, number: usize) -> String {
        self.requests.lock().unwrap()[number].clone()
    }

    /// The body of a request.
    pub(in crate::provider) fn sent(&self, number: usize) -> serde_json::Value {
        let request = self.request(number);
        serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

/// Waits until the client closes. It must not send anything more.
pub(in crate::provider) async fn until_closed(socket: &mut TcpStream) {
    let mut buffer = [0; 16];
    let read = socket.read(&mut buffer).await;
    assert!(!matches!(read, Ok(1..)));
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

/// A chunk of a body.
pub(in crate::provider) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// An answer with a status line, more headers and a body.
pub(in crate::provider) fn status(line: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {line}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A streamed answer in one chunk.
pub(in crate::provider) fn whole(body: &str) -> String {
    format!("{OK}{}0\r\n\r\n", chunk(body))
}
