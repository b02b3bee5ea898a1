//! Connections: how many may be open, and how long one may be silent.
//!
//! Browsers send their request at once. A client that connects and sends nothing, or half a request, is
//! disconnected, so that it cannot use up the connections. A connection that waits for the server, such
//! as an event stream, lasts as long as its response, and one that has become a WebSocket as long as that. A
//! client that does not read what is sent to it is disconnected, too.

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use std::{io, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;
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

/// Serves until `ended`, then returns once every connection has finished its current response.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    ended: CancellationToken,
) {
    let free = Arc::new(Semaphore::new(limits.connections));
    let open = TaskTracker::new();
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head);
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
        let service = TowerToHyperService::new(Extension(place).layer(routes.clone()));
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(limits.send));
        let connection = server
            .serve_connection(TokioIo::new(Box::pin(socket)), service)
            .with_upgrades();
        let ended = ended.clone();
        open.spawn(async move {
            let mut connection = pin!(connection);
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = ended.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(why) = served {
                tracing::debug!(%why, "a connection ended");
            }
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
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
