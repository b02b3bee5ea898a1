//! Connections: how many may be open, and how long one may be silent.
//!
//! Browsers send their request at once. A client that connects and sends nothing, or half a request, is
//! disconnected, so that it cannot use up the connections. A connection that waits for the server, such
//! as an event stream, lasts as long as its response.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{io, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Limits on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest time until the head of a request is complete, and the longest pause between two
    /// requests of a connection.
    pub head: Duration,
    /// The most connections at once. Further clients wait until one of them ends.
    pub connections: usize,
}

impl Default for Limits {
    /// 30 s, the [default of hyper](https://docs.rs/hyper/1/hyper/server/conn/http1/struct.Builder.html#method.header_read_timeout),
    /// and half of the files that the process may open, less a few for the database and the tools:
    /// an answer that is streamed needs a connection to its provider as well.
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
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
            Some((accept(&listener).await, place))
        };
        let Some(Some((socket, place))) = ended.run_until_cancelled(next).await else {
            break;
        };
        let service = TowerToHyperService::new(routes.clone());
        let connection = server
            .serve_connection(TokioIo::new(socket), service)
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
            drop(place);
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// Accepts the next connection. Errors concern a single client, or pass after a while.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                // A token is one small packet; waiting for a second one to fill it would cost 40 ms.
                let _ = socket.set_nodelay(true);
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

/// Whether a client left before it was served.
fn has_left(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
