//! `headwater serve`.

use super::lock::{self, Holder, Lock};
use crate::{
    protocol::{Error, ErrorCode},
    server::{App, config::Config, connections, guard::Hosts, router, shutdown},
};
use leptos::config::LeptosOptions;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::net::TcpListener;

/// How long connections may take to close after the last run has ended.
const CLOSE: Duration = Duration::from_secs(4);

/// How often answers are looked for that nobody writes. There should be none.
const LOST: Duration = Duration::from_secs(10);

/// Serves until a signal, then ends in order.
pub(super) async fn serve(config: Config) -> Result<(), Error> {
    super::log_to_stderr("info");
    let lock = match lock::take(&config.data)? {
        Holder::Us(lock) => lock,
        Holder::Other(address) => {
            return Err(Error::new(
                ErrorCode::Storage,
                format!(
                    "Another Headwater uses the data folder {} already{}. Stop it, or choose \
                     another folder with --data.",
                    config.data.display(),
                    if address.is_empty() {
                        String::new()
                    } else {
                        format!(" (at {address})")
                    }
                ),
            ));
        }
    };
    let server = Server::start(&config, lock).await?;
    println!("listening on {}", server.address);
    if !config.addr.ip().is_loopback() {
        tracing::warn!(
            "there are no accounts: everybody who reaches this address can read and write all \
             conversations"
        );
    }
    let grace = shutdown::signal(config.grace).await;
    tracing::info!(
        seconds = grace.as_secs_f32(),
        "ending; running answers get a grace"
    );
    tokio::select! {
        () = server.stop(grace) => {}
        _ = shutdown::signal(grace) => tracing::warn!("ending at once"),
    }
    Ok(())
}

/// A server that runs in this process.
pub(super) struct Server {
    /// Its address, `http://…`.
    pub(super) address: String,
    app: Arc<App>,
    task: tokio::task::JoinHandle<()>,
    _lock: Lock,
}

impl Server {
    /// Opens everything and listens. The data folder is locked by the caller.
    pub(super) async fn start(config: &Config, mut lock: Lock) -> Result<Self, Error> {
        let listener = bind(config.addr).await?;
        let local = listener.local_addr().unwrap_or(config.addr);
        let address = format!("http://{}", reachable(local));
        let app = App::open(config)?;
        let routes = router(
            app.clone(),
            leptos_options(local),
            Hosts::new(&config.allow_hosts, local.ip()),
        );
        lock.publish(&address);
        tokio::spawn(close_lost(Arc::downgrade(&app)));
        let limits = connections::Limits::default();
        let ended = app.shutdown.cut.clone();
        let task = tokio::spawn(connections::serve(listener, routes, limits, ended));
        Ok(Self {
            address,
            app,
            task,
            _lock: lock,
        })
    }

    /// Ends in order: no new runs, a grace for those that run, streams closed, disk written.
    pub(super) async fn stop(self, grace: Duration) {
        self.app.shutdown.run(grace).await;
        if tokio::time::timeout(CLOSE, self.task).await.is_err() {
            tracing::warn!("some connections did not close in time");
        }
    }
}

/// The address to open, for one that we listen on: who listens on all addresses has none that can
/// be asked, but this machine's own is among them.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

/// Looks from time to time for answers that are stored as running and that nobody writes.
async fn close_lost(app: Weak<App>) {
    loop {
        tokio::time::sleep(LOST).await;
        let Some(app) = app.upgrade() else { return };
        match app.close_lost().await {
            Ok(0) => {}
            Ok(count) => tracing::warn!(count, "answers without a task were closed"),
            Err(why) => tracing::warn!(%why, "answers without a task could not be closed"),
        }
    }
}

async fn bind(addr: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(addr).await.map_err(|why| {
        let message = match why.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "The address {addr} is in use. Stop the other program, or choose another address \
                 with --addr, such as --addr 127.0.0.1:0 for any free port."
            ),
            _ => format!("Cannot listen on {addr}: {why}. Choose another address with --addr."),
        };
        Error::new(ErrorCode::InvalidRequest, message)
    })
}

/// Where the page's files are. `cargo leptos` says so by environment; otherwise they lie beside
/// the program, as `make run` builds them.
fn leptos_options(addr: SocketAddr) -> LeptosOptions {
    if std::env::var_os("LEPTOS_OUTPUT_NAME").is_some()
        && let Ok(file) = leptos::config::get_configuration(None)
    {
        let mut options = file.leptos_options;
        options.site_addr = addr;
        return options;
    }
    let root = site_root();
    LeptosOptions::builder()
        .output_name("headwater")
        .site_root(root.to_string_lossy().into_owned())
        .site_pkg_dir("pkg")
        .site_addr(addr)
        .env(leptos::config::Env::PROD)
        .build()
}

fn site_root() -> PathBuf {
    if let Some(root) = std::env::var_os("LEPTOS_SITE_ROOT") {
        return root.into();
    }
    // target/release/headwater → target/site
    std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.join("site")))
        .filter(|site| site.is_dir())
        .unwrap_or_else(|| Path::new("target/site").to_owned())
}
