//! A model's server, OpenAI-compatible, whose tokens come on schedule whatever the reader does.
//!
//! Each request says in its question what answer it wants, see [`Prompt`]. The connections are tasks;
//! the tokens of all of them are written by the one thread of the [`pacer`].

mod pacer;

use crate::{clock::now, http, prompt::Prompt};
use pacer::{Answer, Pacer};
use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};

const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
    Transfer-Encoding: chunked\r\n\r\n";
const MODELS: &str =
    r#"{"object":"list","data":[{"id":"bench","object":"model","created":0,"owned_by":"bench"}]}"#;

/// The running upstream.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    pacer: Arc<Pacer>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the socket of an answer was closed by its reader, by the answer's number.
    closed: Mutex<HashMap<u32, u64>>,
    /// Answers that are being sent or waited for.
    open: AtomicUsize,
}

impl Upstream {
    /// Listens on a free port of the loopback interface.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let upstream = Self {
            address: listener.local_addr()?,
            pacer: Pacer::start()?,
            state: Arc::default(),
        };
        let server = upstream.clone();
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else {
                    // Too many open files, for example: some of them close in a moment.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let server = server.clone();
                tokio::spawn(async move {
                    let _ = socket.set_nodelay(true);
                    // A peer may leave at any time; what it lost shows at its reader.
                    let _ = server.connection(Arc::new(socket)).await;
                });
            }
        });
        Ok(upstream)
    }

    /// How late each token was written since the last call, in nanoseconds.
    pub(crate) fn take_lateness(&self) -> Vec<u64> {
        self.pacer.take_lateness()
    }

    /// When the reader of answer `id` closed its socket before the end.
    pub(crate) fn closed(&self, id: u32) -> Option<u64> {
        self.state
            .closed
            .lock()
            .ok()
            .and_then(|closed| closed.get(&id).copied())
    }

    /// Answers that are being sent or waited for.
    pub(crate) fn open(&self) -> usize {
        self.state.open.load(Ordering::Relaxed)
    }

    /// Appends a stream to a Durable Streams server, one request a token, on the same schedule as
    /// answers.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn append(
        &self,
        target: SocketAddr,
        path: &str,
        prompt: Prompt,
    ) -> io::Result<()> {
        let socket = Arc::new(http::connect(target).await?);
        let (answer, ended) = Answer::appends(socket.clone(), path, prompt);
        socket.writable().await?;
        self.pacer.submit(answer);
        // The answers to the appends have to be read, or the server could not send them.
        tokio::select! {
            _ = ended => {}
            failed = drain(&socket) => return failed,
        }
        let done = http::request("DELETE", path, "text/plain", "");
        http::call(target, &done).await.map(|_| ())
    }

    async fn connection(&self, socket: Arc<TcpStream>) -> io::Result<()> {
        let mut received = Vec::new();
        loop {
            let Some((start, body)) = read_request(&socket, &mut received).await? else {
                return Ok(());
            };
            match Prompt::find(&body) {
                Some(prompt) if start.starts_with("POST") => self.answer(&socket, prompt).await?,
                _ => {
                    let head =
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
                    let models = format!("{head}: {}\r\n\r\n{MODELS}", MODELS.len());
                    http::write(&socket, models.as_bytes()).await?;
                }
            }
        }
    }

    async fn answer(&self, socket: &Arc<TcpStream>, prompt: Prompt) -> io::Result<()> {
        let (answer, ended) = Answer::chunks(socket.clone(), prompt);
        let closed = answer.closed.clone();
        http::write(socket, STREAM).await?;
        self.state.open.fetch_add(1, Ordering::Relaxed);
        self.pacer.submit(answer);
        let left = tokio::select! {
            _ = ended => false,
            // Nothing is sent to us while we answer, so this is the end.
            _ = drain(socket) => true,
        };
        self.state.open.fetch_sub(1, Ordering::Relaxed);
        if !left {
            return Ok(());
        }
        closed.store(true, Ordering::Relaxed);
        if let Ok(mut closed) = self.state.closed.lock() {
            closed.insert(prompt.id, now());
        }
        Err(ErrorKind::ConnectionAborted.into())
    }
}

/// Reads until the other side closes.
async fn drain(socket: &TcpStream) -> io::Result<()> {
    while http::read(socket, |bytes| !bytes.is_empty()).await? {}
    Ok(())
}

/// The start line and the body of the next request, or `None` at the end of the connection.
async fn read_request(
    socket: &TcpStream,
    received: &mut Vec<u8>,
) -> io::Result<Option<(String, Vec<u8>)>> {
    loop {
        if let Some((start, body, length)) = parse_request(received)? {
            received.drain(..length);
            return Ok(Some((start, body)));
        }
        let more = http::read(socket, |bytes| {
            received.extend_from_slice(bytes);
            !bytes.is_empty()
        });
        if !more.await? {
            return Ok(None);
        }
    }
}

fn parse_request(bytes: &[u8]) -> io::Result<Option<(String, Vec<u8>, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let invalid = |_| io::Error::from(ErrorKind::InvalidData);
    let httparse::Status::Complete(head) = request.parse(bytes).map_err(invalid)? else {
        return Ok(None);
    };
    let start = format!(
        "{} {}",
        request.method.unwrap_or_default(),
        request.path.unwrap_or_default()
    );
    let rest = &bytes[head..];
    let length = match http::body_length(request.headers) {
        // Questions are short: their chunks need no decoding to be found in them.
        Some(None) => match memchr::memmem::find(rest, b"0\r\n\r\n") {
            Some(end) => end + 5,
            None => return Ok(None),
        },
        Some(Some(length)) => length as usize,
        None => 0,
    };
    Ok(rest
        .get(..length)
        .map(|body| (start, body.to_vec(), head + length)))
}
