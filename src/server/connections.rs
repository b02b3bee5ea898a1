//! Connections: how many may be open, and how long one may be silent.
//!
//! Browsers send their request at once. A client that connects and sends nothing, or half a request, is
//! disconnected, so that it cannot use up the connections. A connection that waits for the server, such
//! as an event stream, lasts as long as its response, and one that has become a WebSocket as long as that. A
//! client that does not read what is sent to it is disconnected, too.

mod tls;

use axum::{Extension, Router, middleware::AddExtension};
use hyper::server::conn::{http1, http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
pub use tls::Tls;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tower::Layer;

/// Limits on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest time until the head of a request is complete, and the longest pause between two
    /// requests of a connection.
    pub head: Duration,
    /// The longest time in which a client takes nothing of what is sent to it, and the longest time in which
    /// its system confirms nothing. Whoever was only away resumes.
    pub send: Duration,
    /// The most connections at once. Further clients wait until one of them ends.
    pub connections: usize,
}

impl Default for Limits {
    /// Twice 30 s, the [default of hyper](https://docs.rs/hyper/1/hyper/server/conn/http1/struct.Builder.html#method.header_read_timeout)
    /// for heads, and half of the files that the process may open, less a few for the database and the tools:
    /// an answer that is streamed needs a connection to its provider as well.
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            send: Duration::from_secs(30),
            connections: (open_files().saturating_sub(OTHER_FILES) / 2).max(32),
        }
    }
}

/// Files for the database, its readers, the journal, tools and standard streams.
const OTHER_FILES: usize = 160;

/// How many files the process may open, after raising its soft limit to the hard limit: the soft limit
/// is 1024 on many systems, for old programs that call `select`.
#[cfg(unix)]
fn open_files() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    /// The server has no use for more.
    const ENOUGH: u64 = 65_536;
    let mut limit = getrlimit(Resource::Nofile);
    let now = limit.current.unwrap_or(ENOUGH);
    let wanted = limit.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if wanted > now {
        limit.current = Some(wanted);
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return wanted as usize;
        }
    }
    now.min(ENOUGH) as usize
}

#[cfg(not(unix))]
fn open_files() -> usize {
    1024
}

/// The place of a connection among those that may be open. Each request has it as an extension, so that a
/// connection that has become a WebSocket keeps it, and [`serve`] waits for its end.
#[derive(Clone)]
pub struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
    _open: TaskTrackerToken,
}

/// The most requests at once on a connection of HTTP/2, the least that
/// [RFC 9113](https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2) recommends.
const AT_ONCE: u32 = 100;

/// Serves until `ended`, then returns once every connection has finished its current response. With a certificate,
/// all connections are encrypted.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    tls: Option<TlsAcceptor>,
    ended: CancellationToken,
) {
    let free = Arc::new(Semaphore::new(limits.connections));
    let open = TaskTracker::new();
    let mut full = false;
    loop {
        let next = async {
            let place = match free.clone().try_acquire_owned() {
                Ok(place) => {
                    full = false;
                    place
                }
                Err(_) => {
                    if !std::mem::replace(&mut full, true) {
                        tracing::warn!(limits.connections, "all connections are in use");
                    }
                    free.clone().acquire_owned().await.ok()?
                }
            };
            Some((accept(&listener, limits.send).await, place))
        };
        let Some(Some((socket, place))) = ended.run_until_cancelled(next).await else {
            break;
        };
        let place = Place {
            _permit: Arc::new(place),
            _open: open.token(),
        };
        let routes = Extension(place).layer(routes.clone());
        let connection = Connection {
            routes: TowerToHyperService::new(routes),
            limits,
            ended: ended.clone(),
        };
        let tls = tls.clone();
        open.spawn(async move {
            if let Err(why) = connection.serve(socket, tls).await {
                tracing::debug!(%why, "a connection ended");
            }
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// The requests of one connection.
struct Connection {
    routes: TowerToHyperService<AddExtension<Router, Place>>,
    limits: Limits,
    ended: CancellationToken,
}

/// Why a connection ends early; only the log reads it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Connection {
    async fn serve(self, socket: TcpStream, tls: Option<TlsAcceptor>) -> Result<(), Failure> {
        let Some(tls) = tls else {
            let socket = self.timed(socket);
            return self.http_1(socket).await;
        };
        let head = self.limits.head;
        if !timeout(head, speaks_tls(&socket)).await?? {
            return Ok(timeout(head, say_https(socket)).await??);
        }
        let socket = timeout(head, tls.accept(self.timed(socket))).await??;
        match socket.get_ref().1.alpn_protocol() {
            Some(tls::HTTP_2) => self.http_2(socket).await,
            _ => self.http_1(socket).await,
        }
    }

    /// A socket that fails when its client takes nothing for too long.
    fn timed(&self, socket: TcpStream) -> Pin<Box<TimeoutStream<TcpStream>>> {
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(self.limits.send));
        Box::pin(socket)
    }

    async fn http_1(self, socket: impl Socket) -> Result<(), Failure> {
        let mut server = http1::Builder::new();
        server
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head);
        let connection = server
            .serve_connection(TokioIo::new(socket), self.routes)
            .with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            served = connection.as_mut() => return Ok(served?),
            () = self.ended.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }

    async fn http_2(self, socket: impl Socket) -> Result<(), Failure> {
        let mut server = http2::Builder::new(TokioExecutor::new());
        server
            .timer(TokioTimer::new())
            .max_concurrent_streams(AT_ONCE)
            .keep_alive_interval(self.limits.head)
            .keep_alive_timeout(self.limits.send);
        let connection = server.serve_connection(TokioIo::new(socket), self.routes);
        let mut connection = pin!(connection);
        tokio::select! {
            served = connection.as_mut() => return Ok(served?),
            () = self.ended.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }
}

/// What requests come over.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for S {}

/// Whether a client begins a handshake: the first byte of one is 22
/// ([RFC 8446](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)), and no request of HTTP begins with that.
async fn speaks_tls(socket: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(socket.peek(&mut first).await? == 0 || first[0] == 22)
}

/// Tells a client that speaks plain HTTP what it has to do.
async fn say_https(mut socket: TcpStream) -> io::Result<()> {
    let sentence = "This port speaks HTTPS. Put https:// before the address.\n";
    let response = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: \
         close\r\n\r\n{sentence}",
        sentence.len()
    );
    socket.write_all(response.as_bytes()).await?;
    socket.shutdown().await?;
    // A socket that is closed with something unread in it takes back what was sent.
    let mut request = [0; 1024];
    while socket.read(&mut request).await? > 0 {}
    Ok(())
}

/// Accepts the next connection. Errors concern a single client, or pass after a while.
async fn accept(listener: &TcpListener, send: Duration) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                // A token is one small packet; waiting for a second one to fill it would cost 40 ms.
                let _ = socket.set_nodelay(true);
                bound(&socket, send);
                return socket;
            }
            Err(why) if has_left(&why) => {}
            Err(why) => {
                tracing::error!(%why, "no connection can be taken; trying again in a second");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Bounds what the system keeps for a client that does not take it. Without, that may be megabytes, for a
/// quarter of an hour.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bound(socket: &TcpStream, send: Duration) {
    let socket = SockRef::from(socket);
    let _ = socket.set_tcp_user_timeout(Some(send));
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bound(_: &TcpStream, _: Duration) {}

/// How much a socket takes beyond what it can send now, in bytes. What it does not take is merged for a reader
/// that is behind.
const UNSENT: u32 = 128 * 1024;

/// Whether a client left before it was served.
fn has_left(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
