//! A provider of our own: it gives prepared answers, one for each connection.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A prepared answer.
#[derive(Clone, Debug)]
pub struct Reply {
    head: String,
    body: Vec<u8>,
    chunked: bool,
}

impl Reply {
    /// A stream that ends with its connection, so that its bytes are those of the body alone.
    pub fn stream(body: impl Into<Vec<u8>>) -> Self {
        Self {
            head: "200 OK\r\ncontent-type: text/event-stream".into(),
            body: body.into(),
            chunked: false,
        }
    }

    /// The same in one chunk, so that a connection that ends too early can be told from an end.
    pub fn chunked(body: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::stream(body);
        reply.head.push_str("\r\ntransfer-encoding: chunked");
        reply.chunked = true;
        reply
    }

    /// A failure: its status, with more headers behind it, and its body.
    pub fn status(head: &str, body: &str) -> Self {
        Self {
            head: format!(
                "{head}\r\ncontent-type: application/json\r\ncontent-length: {}",
                body.len()
            ),
            body: body.into(),
            chunked: false,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {}\r\nconnection: close\r\n\r\n", self.head).into_bytes();
        if self.chunked {
            bytes.extend(format!("{:x}\r\n", self.body.len()).bytes());
        }
        bytes.extend_from_slice(&self.body);
        if self.chunked {
            bytes.extend_from_slice(b"\r\n0\r\n\r\n");
        }
        bytes
    }
}

/// A server on a free port of the loopback.
pub struct Upstream {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Upstream {
    /// Gives one answer after the other, and the last one for ever.
    pub async fn start(replies: Vec<Reply>) -> Self {
        Self::deciding(move |number, _| replies[number.min(replies.len() - 1)].clone()).await
    }

    /// Answers each request as it deserves: by its number, from 0, and its body.
    pub async fn deciding(decide: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let seen = requests.clone();
        let decide = Arc::new(decide);
        let accepting = tokio::spawn(async move {
            for number in 0.. {
                let Ok((socket, _)) = listener.accept().await else {
                    return;
                };
                let (decide, seen) = (decide.clone(), seen.clone());
                tokio::spawn(async move {
                    let reply = |request: &str| decide(number, request).bytes();
                    // Whoever asks may close whenever it wants.
                    let _ = answer(socket, reply, &seen).await;
                });
            }
        });
        Self {
            address,
            requests,
            accepting,
        }
    }

    /// The bodies of the requests, in the order they came.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(
    mut socket: TcpStream,
    reply: impl Fn(&str) -> Vec<u8>,
    requests: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let request = request(&mut socket).await?;
    let reply = reply(&request);
    requests.lock().expect("no panic").push(request);
    socket.write_all(&reply).await?;
    socket.shutdown().await
}

/// The body of a request.
async fn request(socket: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if bytes.len() >= head + 4 + length {
                return Ok(String::from_utf8_lossy(&bytes[head + 4..]).into_owned());
            }
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
