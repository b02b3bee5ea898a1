//! All routes and the layers that every request passes. This is the only module that names the pages.

use super::{
    base_path::{self, BasePath},
    export, forms,
    guard::{self, Hosts},
    images, metrics, pages, plain, policy, probe, socket,
    state::AppState,
    status, streams, trace,
};
use crate::{base::Base, ui};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{Uri, request::Parts},
    middleware,
    routing::{any, get, post},
};
use headwater_engine::{Engine, observer::Metrics};
use headwater_protocol::{IMAGES, socket as wire};
use leptos::{
    config::LeptosOptions,
    prelude::{provide_context, use_context},
};
use leptos_axum::{AxumRouteListing, LeptosRoutes, generate_route_list};
use leptos_router::location::RequestUrl;
use std::sync::{Arc, OnceLock};

/// The whole server over an engine. `metrics` is an observer of it, `hosts` are the names that it answers under, and
/// `path` is where it is reached below them.
pub fn router(
    engine: Arc<Engine>,
    metrics: Metrics,
    leptos: LeptosOptions,
    hosts: Hosts,
    path: BasePath,
) -> Router {
    let routes = page_routes();
    let state = AppState {
        engine: engine.clone(),
        metrics,
        leptos,
    };
    let context = {
        let engine = engine.clone();
        move || {
            provide_context(engine.clone());
            provide_path();
            policy::of_page();
        }
    };
    let shell = {
        let options = state.leptos.clone();
        move || ui::shell(options.clone())
    };
    let files =
        leptos_axum::file_and_error_handler_with_context::<AppState, _>(context.clone(), ui::shell);
    let routes =
        Router::new()
            .route("/health", get(metrics::health))
            .route("/ready", get(metrics::ready))
            .route("/metrics", get(metrics::metrics))
            .route(plain::LIST, get(plain::list))
            .route("/plain/{conversation}", get(plain::page))
            .route(export::LOG, get(export::run_log))
            .route(wire::PATH, any(socket::connect))
            .route(streams::EVENTS, post(streams::post))
            .route(streams::POLL, get(streams::poll))
            .route(probe::PAGE, get(probe::page))
            .route(probe::STREAM, get(probe::stream))
            .route(probe::DIAGNOSIS, post(probe::diagnosis))
            .route(IMAGES, post(images::upload))
            .route("/api/images/{id}", get(images::show))
            .leptos_routes_with_context(&state, routes, context, shell)
            .fallback(
                async move |uri: Uri, state: State<AppState>, request: Request| {
                    match status::no_handler(&request) {
                        Some(response) => response,
                        None => files(uri, state, request).await,
                    }
                },
            )
            .layer(middleware::from_fn(pages::render))
            .layer(middleware::from_fn(status::as_data))
            .layer(middleware::from_fn(status::from_error))
            .layer(middleware::from_fn(forms::answer_with_pages))
            .layer(middleware::from_fn(status::head))
            .layer(middleware::from_fn(forms::check))
            // `forms::check` limits bodies.
            .layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn(policy::keep_nothing))
            .layer(middleware::from_fn_with_state(hosts, guard::guard))
            .layer(middleware::from_fn(trace::requests))
            .with_state(state);
    // What is routed must have its final address already.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn_with_state(path, base_path::strip))
}

/// Tells a page that is rendered where the server is reached, and gives it the address that its browser shows.
fn provide_path() {
    let Some(request) = use_context::<Parts>() else {
        return;
    };
    let Some(base) = request.extensions.get::<Base>() else {
        return;
    };
    let address = request.uri.path_and_query();
    let address = address.map_or("/", |address| address.as_str());
    // The host is one of those that Leptos itself makes up.
    let whole = ["http://leptos.dev", &base.0, address].concat();
    provide_context(RequestUrl::new(&whole));
    provide_context(base.clone());
}

/// The routes of the pages. They are found once in the life of the process, because pages of another
/// server that are rendered while Leptos walks through the app would not get their data.
fn page_routes() -> Vec<AxumRouteListing> {
    static ROUTES: OnceLock<Vec<AxumRouteListing>> = OnceLock::new();
    ROUTES.get_or_init(|| generate_route_list(ui::App)).clone()
}
