//! `headwater serve`: runs the web server until a signal ends it.

use super::logging;
use crate::server::{
    config::Config,
    connections::{self, Tls},
    demo::demo,
    guard::Hosts,
    router,
};
use headwater_engine::{
    Engine,
    config::Script,
    lock::{self, Holder, Lock},
    observer::{Collector, Metrics, OpenTelemetry},
    shutdown,
};
use headwater_protocol::{Error, ErrorCode};
use leptos::config::LeptosOptions;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait to be accepted; the system's own limit may be lower. All readers of a
/// server that restarts come back in the same moment, and one that finds no place tries again only
/// after a second.
const BACKLOG: u32 = 4096;

/// How long observers may take to see the ends of the last runs.
const OBSERVED: Duration = Duration::from_secs(2);

/// How long a collector may take to accept the last traces.
const TRACED: Duration = Duration::from_secs(2);

/// How long connections may take to close once no run is left.
const CLOSE: Duration = Duration::from_secs(4);

/// Serves until SIGTERM or SIGINT, then shuts down in order.
pub(super) async fn serve(config: Config) -> Result<(), Error> {
    logging::init(config.log_format, "info");
    let lock = match lock::take(&config.engine.data)? {
        Holder::Us(lock) => lock,
        Holder::Other(address) => return Err(lock::in_use(&config.engine.data, &address)),
    };
    let server = Server::start(&config, lock).await?;
    println!(
        "listening on {}{}",
        server.address,
        config.base_path.fixed()
    );
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        address = server.address,
        data = %config.engine.data.display(),
        providers = server.engine.registry.names().collect::<Vec<_>>().join(","),
        "started"
    );
    if !config.addr.ip().is_loopback() {
        tracing::warn!(
            "there are no accounts: everybody who reaches this address can read and write all \
             conversations"
        );
    }
    let grace = shutdown::signal(config.grace).await;
    tracing::info!(
        running = server.engine.log.running().len(),
        grace_seconds = grace.as_secs_f32(),
        "ending; running answers get a grace"
    );
    tokio::select! {
        interrupted = server.stop(grace) => tracing::info!(interrupted, "stopped"),
        _ = shutdown::signal(grace) => tracing::warn!("ending at once"),
    }
    Ok(())
}

/// A server that runs in this process.
pub(super) struct Server {
    /// Its address, `http://…`.
    pub(super) address: String,
    engine: Arc<Engine>,
    telemetry: Option<OpenTelemetry>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Opens the engine and listens. The caller has locked the data folder.
    pub(super) async fn start(config: &Config, lock: Lock) -> Result<Self, Error> {
        let listener = bind(config.addr)?;
        let local = listener.local_addr().unwrap_or(config.addr);
        let tls = config.tls.as_ref().map(Tls::acceptor).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", reachable(local));
        let metrics = Metrics::default();
        let mut builder = Engine::builder(config.engine.clone())
            .locked(lock)
            .observer(metrics.clone());
        let collector = Collector::from_environment(|name| std::env::var(name).ok())?;
        let telemetry = collector.as_ref().map(OpenTelemetry::new).transpose()?;
        if let Some(telemetry) = &telemetry {
            builder = builder.observer(telemetry.clone());
        }
        if let Some(Script::Builtin) = config.engine.script {
            builder = builder.chain("demo", demo());
        }
        let engine = builder.open()?;
        let routes = router(
            engine.clone(),
            metrics,
            leptos_options(local),
            Hosts::new(&config.allow_hosts, local.ip()),
            config.base_path.clone(),
        );
        engine.publish(&address);
        let limits = connections::Limits::default();
        let ended = engine.shutdown.cut.clone();
        let task = tokio::spawn(connections::serve(listener, routes, limits, tls, ended));
        Ok(Self {
            address,
            engine,
            telemetry,
            task,
        })
    }

    /// Shuts down in order: accepts no new runs, lets running ones finish within `grace`, and
    /// closes all streams. Returns the number of interrupted answers.
    pub(super) async fn stop(self, grace: Duration) -> usize {
        let interrupted = self.engine.shutdown.run(grace).await;
        if tokio::time::timeout(OBSERVED, self.engine.observed())
            .await
            .is_err()
        {
            tracing::warn!("an observer has not seen the ends of all answers");
        }
        if let Some(telemetry) = &self.telemetry {
            telemetry.shutdown(TRACED).await;
        }
        if tokio::time::timeout(CLOSE, self.task).await.is_err() {
            tracing::warn!("some connections did not close in time");
        }
        interrupted
    }
}

/// The address to open in a browser: loopback if the server listens on all addresses.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

fn bind(addr: SocketAddr) -> Result<TcpListener, Error> {
    listen(addr).map_err(|why| {
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

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart does not wait for connections that the last process closed. On Windows, this would let
    // two processes have one address.
    if cfg!(unix) {
        socket.set_reuseaddr(true)?;
    }
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// The paths of the page's files. `cargo leptos` sets them as environment variables. Otherwise the
/// files are beside the program, where `make run` builds them.
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
