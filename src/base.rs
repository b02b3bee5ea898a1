//! The path under which the server is reached, such as `/chat` behind a proxy that has other services beside it,
//! and the addresses below it.
//!
//! It can be another one for each request, if the proxy says so. On the server it belongs to the request; the
//! browser finds it in the document. Paths in the code are those without it.

use std::borrow::Cow;

/// The address of a path of this server, from wherever the page was opened. `path` begins with a slash.
pub(crate) fn address(path: &str) -> String {
    [&current(), path].concat()
}

/// The path without the part that all addresses begin with. It is the whole one where that is missing.
pub(crate) fn strip(path: &str) -> &str {
    let base = current();
    let rest = path.strip_prefix(&*base);
    match rest {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

/// The path that all addresses begin with: empty, or with a slash at its start and none at its end.
#[cfg(feature = "hydrate")]
pub(crate) fn current() -> Cow<'static, str> {
    use std::sync::OnceLock;
    /// Where the server's page has it.
    const ATTRIBUTE: &str = "data-base";
    static BASE: OnceLock<String> = OnceLock::new();
    let of_document = || {
        let root = leptos::prelude::document().document_element();
        root.and_then(|root| root.get_attribute(ATTRIBUTE))
            .unwrap_or_default()
    };
    Cow::Borrowed(BASE.get_or_init(of_document))
}

#[cfg(not(feature = "hydrate"))]
pub(crate) fn current() -> Cow<'static, str> {
    #[cfg(feature = "ssr")]
    return Cow::Owned(of_request::current());
    #[cfg(not(feature = "ssr"))]
    Cow::Borrowed("")
}

#[cfg(feature = "ssr")]
pub(crate) use of_request::{Base, scope};

#[cfg(feature = "ssr")]
mod of_request {
    use leptos::prelude::use_context;
    use std::sync::Arc;

    tokio::task_local! {
        static BASE: Base;
    }

    /// The path of a request.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Base(pub(crate) Arc<str>);

    /// Does a part of a request's work, in which its path is the current one.
    pub(crate) async fn scope<T>(base: Base, work: impl Future<Output = T>) -> T {
        BASE.scope(base, work).await
    }

    /// Pages are rendered in tasks of their own, which have the path in their context.
    pub(super) fn current() -> String {
        let base = use_context::<Base>().or_else(|| BASE.try_with(Clone::clone).ok());
        base.unwrap_or_default().0.to_string()
    }
}
