//! The server: its state and its routes.
//!
//! - [`config`], [`registry`], [`health`]: what is set up, which providers there are, how they do.
//! - [`provider`]: vendors. [`engine`]: time. [`log`]: order. [`store`]: conversations.
//!   [`search`]: what can be found in them.
//! - [`prompt`]: what a model is told of a conversation. [`tool`]: what it may call. [`images`]:
//!   pictures with messages.
//! - [`commands`], [`events`]: what can be asked for, how a run is followed.
//! - [`connections`], [`guard`], [`form`], [`status`]: sockets, who may ask, in what form, how errors
//!   are answered. [`pages`], [`plain`]: pages with script and without.
//! - [`shutdown`]: the end.

pub mod commands;
pub mod config;
pub mod connections;
pub mod engine;
pub mod events;
pub mod form;
pub mod guard;
pub mod health;
pub mod images;
pub mod log;
pub mod metrics;
pub mod pages;
pub mod plain;
pub mod prompt;
pub mod provider;
pub mod registry;
pub mod search;
pub mod settings;
pub mod shutdown;
pub mod status;
pub mod store;
pub mod tool;

use crate::{
    api,
    protocol::{Error, ErrorCode, Event},
    ui,
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef, Request, State},
    http::{HeaderValue, Uri, header},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use config::Config;
use engine::recovery::Recovery;
use events::Delivery;
use guard::Hosts;
use leptos::{config::LeptosOptions, prelude::*};
use leptos_axum::{AxumRouteListing, LeptosRoutes, generate_route_list};
use log::Log;
use registry::Registry;
use shutdown::Shutdown;
use std::sync::{Arc, OnceLock};
use tool::Tools;

/// Everything that the handlers share.
pub struct App {
    /// All runs.
    pub log: Arc<Log>,
    /// All providers.
    pub registry: Registry,
    /// How event streams behave.
    pub delivery: Delivery,
    /// What to do about failures of providers.
    pub recovery: Recovery,
    /// System prompt of every conversation.
    pub system: Option<String>,
    /// What models may call.
    pub tools: Tools,
    /// The way out.
    pub shutdown: Shutdown,
    /// Held by whatever changes which runs there are.
    starts: tokio::sync::Mutex<()>,
}

impl App {
    /// Opens the log, closing what a dead process left open, and makes the providers.
    ///
    /// # Errors
    /// `storage` or `invalid_request`, with a sentence for whoever starts the server.
    pub fn open(config: &Config) -> Result<Arc<Self>, Error> {
        let (log, closed) = Log::open(&config.data, config.data_limit_mb)?;
        if closed > 0 {
            tracing::info!(
                closed,
                "answers that were cut off are kept and can be continued"
            );
        }
        Ok(Self::new(
            log,
            Registry::new(config)?,
            Tools::new(config)?,
            config,
        ))
    }

    /// Puts the parts together.
    pub fn new(log: Log, registry: Registry, tools: Tools, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            log: Arc::new(log),
            registry,
            delivery: config.delivery,
            recovery: config.recovery,
            system: config.system.clone(),
            tools,
            shutdown: Shutdown::default(),
            starts: tokio::sync::Mutex::default(),
        })
    }

    /// A ping, with the trouble of the log if there is any.
    pub fn ping(&self) -> Event {
        let trouble = self.log.writer.trouble();
        let notice = trouble.borrow().as_ref().map(|why| why.message.clone());
        Event::Ping { notice }
    }
}

/// The app that the current request belongs to.
///
/// # Errors
/// `internal` outside of a request.
pub fn app() -> Result<Arc<App>, Error> {
    use_context::<Arc<App>>()
        .ok_or_else(|| Error::new(ErrorCode::Internal, "The server is not set up."))
}

/// What axum's handlers take as their state.
#[derive(Clone)]
pub struct AppState {
    /// The app.
    pub app: Arc<App>,
    /// Where the page's files are.
    pub leptos: LeptosOptions,
}

impl FromRef<AppState> for LeptosOptions {
    fn from_ref(state: &AppState) -> Self {
        state.leptos.clone()
    }
}

impl FromRef<AppState> for Arc<App> {
    fn from_ref(state: &AppState) -> Self {
        state.app.clone()
    }
}

/// All routes.
pub fn router(app: Arc<App>, leptos: LeptosOptions, hosts: Hosts) -> Router {
    let routes = page_routes();
    let state = AppState {
        app: app.clone(),
        leptos,
    };
    let context = {
        let app = app.clone();
        move || {
            provide_context(app.clone());
            plain::provide_policy();
        }
    };
    let shell = {
        let options = state.leptos.clone();
        move || ui::shell(options.clone())
    };
    let files =
        leptos_axum::file_and_error_handler_with_context::<AppState, _>(context.clone(), ui::shell);
    Router::new()
        .route("/health", get(metrics::health))
        .route("/ready", get(metrics::ready))
        .route("/metrics", get(metrics::metrics))
        .route(plain::LIST, get(plain::list))
        .route("/plain/{conversation}", get(plain::page))
        .route(api::IMAGES, post(images::upload))
        .route("/api/images/{id}", get(images::show))
        .leptos_routes_with_context(&state, routes, context, shell)
        .fallback(
            async move |uri: Uri, state: State<AppState>, request: Request| match status::no_handler(
                &request,
            ) {
                Some(response) => response,
                None => files(uri, state, request).await,
            },
        )
        .layer(middleware::from_fn(pages::render))
        .layer(middleware::from_fn(status::as_data))
        .layer(middleware::from_fn_with_state(app, plain::forms))
        .layer(middleware::from_fn(status::from_error))
        .layer(middleware::from_fn(status::head))
        .layer(middleware::from_fn(form::check))
        // The check above has the limit that counts.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(keep_nothing))
        .layer(middleware::from_fn_with_state(hosts, guard::guard))
        .with_state(state)
}

/// The routes of the pages, found once in the life of the process: while Leptos walks through the
/// app for them, no page that is rendered beside it, by another server, would get its data.
fn page_routes() -> Vec<AxumRouteListing> {
    static ROUTES: OnceLock<Vec<AxumRouteListing>> = OnceLock::new();
    ROUTES.get_or_init(|| generate_route_list(ui::App)).clone()
}

/// Pages and data are not to be found in a browser's cache when their conversation is deleted.
/// The page's own files may stay there, and are asked for each time: they are small and local.
async fn keep_nothing(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_file = !path.starts_with("/api/") && last.contains('.');
    let mut response = next.run(request).await;
    let is_file = is_file && response.status().is_success();
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static(match is_file {
            true => "no-cache",
            false => "no-store",
        }));
    response
}
